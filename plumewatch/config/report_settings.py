"""From the configuration to what reports need to know of the school."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumewatch.config.roster import timetable_of
from reports.periods import SchoolTimes, Term
from reports.school import Lesson, School

if TYPE_CHECKING:
    from datetime import date

    from alerts.duty.shifts import Shift
    from plumewatch.config.model import PlumewatchConfig
    from reports.school import Place


def school_of(config: PlumewatchConfig) -> School:
    """Return places, school days, terms and roles of the school."""
    zone = config.zone()
    timetable = timetable_of(config, zone)

    def lessons_on(day: date) -> list[Lesson]:
        periods = [
            (period.name, timetable.span(day, period)) for period in timetable.periods_on(day)
        ]
        return [Lesson(s.start.timestamp(), s.end.timestamp(), name) for name, s in periods]

    terms = tuple(Term(term.name, term.first, term.last) for term in config.term)
    return School(
        config.site,
        zone,
        config.registry(),
        SchoolTimes(terms, config.reports.school_year_month),
        timetable.holidays,
        lessons_on if timetable.bells else None,
        {member.id: member.role for member in config.staff},
        {kind.value: code for kind, code in config.reports.state_codes.items()},
    )


def shifts_at(config: PlumewatchConfig, place: Place) -> list[Shift]:
    """Return the shifts of people who are on duty at a place, or everywhere."""
    near = {
        zone.id
        for zone in config.zones
        if place.building in ("", zone.building)
        and (not zone.site or place.site in ("", zone.site))
    }
    return [s for s in config.roster().shifts if not s.zones or not near.isdisjoint(s.zones)]
