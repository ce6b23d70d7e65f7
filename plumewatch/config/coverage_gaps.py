"""Routes that no incident reaches, and lesson periods that no shift covers in any week.

Gaps that depend on the date (holidays, terms, overrides, calendars) are found by ``plumewatch
routes gaps``.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from alerts.escalation.coverage import weekly_gaps
from alerts.policy import PAGED
from alerts.routing.labels import SEVERITIES
from alerts.routing.tree import chosen, nodes
from plumewatch.config.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from alerts.duty.roster import Roster
    from alerts.routing.tree import Route
    from plumewatch.config.model import PlumewatchConfig


def coverage_gaps(config: PlumewatchConfig, roster: Roster) -> Iterator[ConfigFault]:
    """Yield routes that no incident reaches, then periods without anybody on duty."""
    if config.routing is not None:
        yield from _unreachable(roster.root, _places(config))
    seen: set[str] = set()
    for where, receiver, _ in nodes(roster.root):
        if receiver not in seen:
            seen.add(receiver)
            for gap in weekly_gaps(roster, receiver):
                at = f" at {gap.site}" if config.sites else ""
                yield ConfigFault(
                    _path(where),
                    f"{receiver!r} has nobody on duty{at} in {gap.period} of {gap.schedule!r} on"
                    f" {', '.join(gap.days)}",
                    "must have a [[shift]] then",
                )


def _places(config: PlumewatchConfig) -> Iterator[Mapping[str, str]]:
    sensors: dict[str, list[str]] = {}
    for sensor in config.sensor:
        sensors.setdefault(sensor.room, []).append(sensor.id)
    for room in config.room:
        for sensor_id in sensors.get(room.id, [""]):
            yield {
                "site": config.site_of(room.site).name,
                "building": room.building,
                "floor": room.floor,
                "room": room.id,
                "room_type": room.kind,
                "sensor": sensor_id,
            }


def _path(where: tuple[int, ...]) -> str:
    return ".".join(["routing", *(f"routes.{i}" for i in where)])


def _unreachable(root: Route, places: Iterable[Mapping[str, str]]) -> Iterator[ConfigFault]:
    """Try every place, kind and severity that the matchers tell apart."""
    asked = {matcher.name for *_, node in nodes(root) for matcher in node.matchers}
    apart = {frozenset((k, v) for k, v in place.items() if k in asked) for place in places}
    apart.add(frozenset())  # an outage of several sensors is in no room
    kinds = sorted(PAGED) if "kind" in asked else [""]
    severities = SEVERITIES if "severity" in asked else ("",)
    dead = {id(node) for where, _, node in nodes(root) if where and not node.routes}
    for place, kind, severity in product(apart, kinds, severities):
        if not dead:
            return
        labels = {**dict(place), "kind": kind, "severity": severity}
        dead -= {id(node.path[-1]) for node in chosen(root, labels)}
    for where, receiver, node in nodes(root):
        if id(node) in dead:
            matchers = ", ".join(map(str, node.matchers))
            yield ConfigFault(
                _path(where),
                f"{matchers} to {receiver!r}",
                "must be reachable: no registered room and kind gets here, because none matches or"
                f" an earlier route matches first; kinds are {', '.join(sorted(PAGED))}",
            )
