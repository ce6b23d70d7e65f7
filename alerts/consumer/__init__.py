"""Read the journal, run the detectors and update incidents, in one transaction per batch."""
