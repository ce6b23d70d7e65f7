"""`plumewatch demo`: a simulated school, its screen, and the truth beside the detector."""
