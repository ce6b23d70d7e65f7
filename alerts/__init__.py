"""Incidents, notices to the right adults, and the staff page."""
