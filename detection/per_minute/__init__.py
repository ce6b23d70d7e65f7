"""Detectors that look at minutes of readings: sensor faults, and air that rooms share."""
