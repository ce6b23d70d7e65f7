"""The staff page: rooms now, incidents, acknowledge, feedback."""
