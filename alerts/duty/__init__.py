"""Find who is on duty near an incident, from zones, bell schedules and shifts; no I/O."""
