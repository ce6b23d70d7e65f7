"""Pure numpy/scipy detection of events in restroom air; imports nothing else of this project."""
