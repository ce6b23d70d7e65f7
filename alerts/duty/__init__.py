"""Who is on duty near an incident: zones, bell schedules, shifts, overrides. Pure."""
