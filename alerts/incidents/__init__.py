"""Incidents: lifecycle, mutes, silences, threshold adjustments, and their tables."""
