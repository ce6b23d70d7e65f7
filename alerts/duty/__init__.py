"""Who is on duty near an incident: zones, bell schedules, shifts, calendars, overrides. Pure."""
