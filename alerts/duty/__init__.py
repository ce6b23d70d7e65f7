"""Who is on duty near an incident: zones, bell schedules, shifts, calendars, substitutions.

Pure: no clock, no store, no configuration; calendars come as bytes. Positions are those of the
roster, never measured. `alerts.duty.roster.Roster.candidates` is what the rest asks.
"""
