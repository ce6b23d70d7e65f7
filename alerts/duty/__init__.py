"""Find who is on duty near an incident, using zones, bell schedules and shifts."""
