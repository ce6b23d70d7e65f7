"""Detectors that work minute by minute: sensor faults and building-wide air changes."""
