"""`plumewatch demo`: a simulated school, its output, and the truth compared with detections."""
