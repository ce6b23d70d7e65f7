"""Incidents: lifecycle, severity, mutes, silences, and their tables."""
