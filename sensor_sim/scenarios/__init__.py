"""Scenario files: their schema, their checks, and the school they describe."""
