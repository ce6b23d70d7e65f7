"""Time series of readings."""
