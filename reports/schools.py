"""Compare the schools of a district."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from reports import kpis
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reports.facts import Facts
    from reports.kpis import Outcome, Rate
    from reports.rows import IncidentRow
    from storage.registry import Registry, Site


class SchoolFigures(NamedTuple):
    """One school: its alerts and answers, and its sensors.

    `alerts_before` is None if the period before is not on record.
    """

    site: Site
    outcome: Outcome
    within_5_min: Rate
    sensors: int
    down: int
    alerts_before: int | None

    def per_ten(self, count: float) -> float | None:
        """Return a count per ten sensors; None without sensors."""
        return 10.0 * count / self.sensors if self.sensors else None


def compare_schools(facts: Facts, down: Collection[str] | None = None) -> list[SchoolFigures]:
    """Return the figures of each school; `down` are sensor ids, by default `count_down`'s."""
    now = _by_site(facts.chosen.incidents)
    before = None if facts.before is None else _by_site(facts.before.alerts)
    registry = facts.registry
    sensors = _sites_of(registry, registry.sensors)
    silent = _sites_of(registry, count_down(facts) if down is None else down)
    return [
        SchoolFigures(
            site,
            kpis.count_outcomes(now.get(name, ()), ()),
            kpis.compute_response(now.get(name, ()), facts.now).acknowledge.within_5_min,
            sensors[name],
            silent[name],
            None if before is None else kpis.count_outcomes(before.get(name, ()), ()).alerts,
        )
        for name, site in sorted(
            registry.sites.items(), key=lambda item: make_sort_key(item[0].casefold())
        )
    ]


def count_down(facts: Facts) -> list[str]:
    """Return the sensors that were offline all through the last day on record."""
    last = max((day.day for day in facts.sensor_days), default=None)
    return [day.sensor for day in facts.sensor_days if day.day == last and not day.online_s]


def _by_site(rows: Sequence[IncidentRow]) -> Mapping[str, list[IncidentRow]]:
    found: dict[str, list[IncidentRow]] = {}
    for row in rows:
        found.setdefault(row.site, []).append(row)
    return found


def _sites_of(registry: Registry, sensors: Collection[str]) -> Counter[str]:
    rooms = (registry.room_of(sensor) for sensor in sensors)
    return Counter(room.site for room in rooms if room is not None)
