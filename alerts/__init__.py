"""Incidents, notices to the staff, and the staff page."""
