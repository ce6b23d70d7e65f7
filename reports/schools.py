"""Compare the schools of a district."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from reports import kpis

if TYPE_CHECKING:
    from collections.abc import Collection

    from reports.facts import Facts
    from reports.kpis import Outcome, Rate
    from reports.rows import IncidentRow
    from storage.registry import Registry, Site


class SchoolFigures(NamedTuple):
    """One school: its alerts and answers, and its sensors.

    `down` is the number of sensors that are down; None if unknown. `before` has the figures of the
    previous period; None if it is not on record.
    """

    site: Site
    outcome: Outcome
    within_5_min: Rate
    sensors: int
    down: int | None
    before: SchoolFigures | None = None

    def scale_to_ten(self, count: float) -> float | None:
        """Return a count per ten sensors; None without sensors."""
        return 10.0 * count / self.sensors if self.sensors else None

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of alerts, confirmed alerts and false alarms."""
        return self.outcome.alerts, self.outcome.confirmed, self.outcome.false


def compare_schools(facts: Facts, down: Collection[str] | None = None) -> list[SchoolFigures]:
    """Return the figures of each school; an empty list if there is only one.

    `down` has the ids of sensors that are down, by default from `list_down`. Closed schools come
    last, and are included only if they have alerts in one of the periods.
    """
    now = _measure(facts, list_down(facts) if down is None else down)
    before: dict[str, SchoolFigures] = {}
    if (earlier := facts.before) is not None:
        before = _measure(earlier, list_down(earlier) if earlier.sensor_days else None)
    joined = [found._replace(before=before.get(name)) for name, found in now.items()]
    shown = [
        found
        for found in joined
        if not found.site.closed
        or any(found.counts)
        or (found.before is not None and any(found.before.counts))
    ]
    return shown if len(shown) > 1 else []


def _measure(facts: Facts, down: Collection[str] | None) -> dict[str, SchoolFigures]:
    rows: dict[str, list[IncidentRow]] = {}
    for row in facts.counted.incidents:
        rows.setdefault(row.site, []).append(row)
    registry = facts.registry
    sensors, silent = _count_at(registry, registry.sensors), _count_at(registry, down or ())
    return {
        site.name: SchoolFigures(
            site,
            kpis.count_outcomes(rows.get(site.name, ()), ()),
            kpis.compute_response(rows.get(site.name, ()), facts.now).acknowledge.within_5_min,
            sensors[site.name],
            None if down is None else silent[site.name],
        )
        for site in registry.list_sites(with_closed=True)
    }


def list_down(facts: Facts) -> list[str]:
    """Return the sensors that were offline for the whole last day on record."""
    last = max((day.day for day in facts.sensor_days), default=None)
    return [day.sensor for day in facts.sensor_days if day.day == last and not day.online_s]


def _count_at(registry: Registry, sensors: Collection[str]) -> Counter[str]:
    rooms = (registry.find_room(sensor) for sensor in sensors)
    return Counter(room.site for room in rooms if room is not None)
