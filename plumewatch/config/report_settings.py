"""From the configuration to what reports need to know of the school."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumewatch.config.roster import of_site, timetable_of
from reports.periods import SchoolTimes, Term
from reports.school import Lesson, School

if TYPE_CHECKING:
    from datetime import date

    from alerts.duty.shifts import Shift
    from plumewatch.config.model import PlumewatchConfig
    from reports.school import Place


def school_of(config: PlumewatchConfig, site: str = "") -> School:
    """Return places, school days, terms and roles, of a site by its id or name, or of all."""
    named = {known.name: known.id for known in config.all_sites()}
    site = named.get(site, site)
    zone = config.zone(site)
    timetable = timetable_of(config, zone, site)

    def lessons_on(day: date) -> list[Lesson]:
        periods = [
            (period.name, timetable.span(day, period)) for period in timetable.periods_on(day)
        ]
        return [Lesson(s.start.timestamp(), s.end.timestamp(), name) for name, s in periods]

    own_terms = of_site(config.term, site)
    terms = tuple(Term(term.name, term.first, term.last) for term in own_terms)
    several = [] if site or len(config.sites) < 2 else config.sites
    return School(
        config.site,
        zone,
        config.registry(),
        SchoolTimes(terms, config.reports.school_year_month),
        timetable.holidays,
        lessons_on if timetable.bells else None,
        {member.id: member.role for member in config.staff},
        {kind.value: code for kind, code in config.reports.state_codes.items()},
        {one.name: school_of(config, one.id) for one in several},
    )


def shifts_at(config: PlumewatchConfig, place: Place) -> list[Shift]:
    """Return the shifts of people who are on duty at a place, or everywhere."""
    near = {
        zone.id
        for zone in config.zones
        if place.building in ("", zone.building)
        and (not zone.site or place.site in ("", config.site_of(zone.site).name))
    }
    return [
        s
        for s in config.roster().shifts
        if (not s.zones or not near.isdisjoint(s.zones))
        and ("" in (s.site, place.site) or s.site == place.site)
    ]
