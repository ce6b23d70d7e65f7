"""Where a valid configuration would leave incidents to nobody: dead routes, empty periods.

A route at the end of a branch that no room and no kind can reach is a mistake. So is a lesson
period in which a receiver with shifts has nobody on duty in any week. What depends on the date
(holidays, terms, substitutions, calendars) is left to ``plumewatch routes gaps``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from typing import TYPE_CHECKING, Final

from alerts.duty.bells import WEEKDAYS, Timetable
from alerts.duty.calendar import CalendarHours
from alerts.duty.shifts import ClockHours, LessonHours
from alerts.duty.wall_time import clock, uncovered
from alerts.policy import PAGED
from alerts.routing.labels import SEVERITIES
from alerts.routing.tree import chosen, nodes
from plumewatch.config.faults import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from alerts.duty.bells import Bells
    from alerts.duty.roster import Roster
    from alerts.duty.shifts import Shift
    from alerts.routing.tree import Route
    from plumewatch.config.model import PlumewatchConfig

_MONDAY: Final = date(2001, 1, 1)
"""Of the week that stands for every week."""


def coverage_gaps(config: PlumewatchConfig, roster: Roster) -> Iterator[ConfigFault]:
    """Find routes that no incident reaches, then periods without anybody on duty."""
    if config.routing is not None:
        yield from _unreachable(roster.root, _places(config))
    seen: set[str] = set()
    for where, receiver, _ in nodes(roster.root):
        if receiver not in seen:
            seen.add(receiver)
            yield from _empty(_path(where), receiver, roster)


def _places(config: PlumewatchConfig) -> Iterator[Mapping[str, str]]:
    """Return the labels of every room with each of its sensors."""
    sensors: dict[str, list[str]] = {}
    for sensor in config.sensor:
        sensors.setdefault(sensor.room, []).append(sensor.id)
    for room in config.room:
        for sensor_id in sensors.get(room.id, [""]):
            yield {
                "site": room.site or config.site,
                "building": room.building,
                "floor": room.floor,
                "room": room.id,
                "room_type": room.kind,
                "sensor": sensor_id,
            }


def _path(where: tuple[int, ...]) -> str:
    return ".".join(["routing", *(f"routes.{i}" for i in where)])


def _unreachable(root: Route, places: Iterable[Mapping[str, str]]) -> Iterator[ConfigFault]:
    """Try every place, kind and severity, as far as conditions tell them apart."""
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
            said = ", ".join(map(str, node.matchers))
            yield ConfigFault(
                _path(where),
                f"{said} to {receiver!r}",
                "must be reachable: no known room and kind gets there, for no place fits or a"
                f" route before takes it; kinds are {', '.join(sorted(PAGED))}",
            )


def _empty(path: str, receiver: str, roster: Roster) -> Iterator[ConfigFault]:
    """Periods that no shift of a receiver covers, in any week or on a special date."""
    shifts = [shift for shift in roster.shifts if shift.receiver == receiver]
    if not shifts or any(isinstance(shift.hours, CalendarHours) for shift in shifts):
        return
    for bells in roster.timetable.bells:
        if bells.dates:
            days = sorted(bells.dates - roster.timetable.holidays)
        else:
            days = [_MONDAY + timedelta(days=n) for n in sorted(bells.weekdays)]
        alone = _alone(bells, roster.timetable)
        usual = [_usual(shift, alone) for shift in shifts]
        gaps: dict[str, list[str]] = {}
        for day in days:
            said = str(day) if bells.dates else WEEKDAYS[day.weekday()]
            for period in alone.periods_on(day):
                whole = alone.span(day, period)
                parts = [span for shift in usual for span in shift.spans(whole.start, whole.end)]
                for gap in uncovered(whole, parts):
                    hours = "-".join(clock(t, alone.zone) for t in (gap.start, gap.end))
                    gaps.setdefault(f"period {period.name} ({hours})", []).append(said)
        for what, when in gaps.items():
            yield ConfigFault(
                path,
                f"{receiver!r} has nobody on duty in {what} of {bells.id!r} on {', '.join(when)}",
                "must have a [[shift]] then",
            )


def _alone(bells: Bells, timetable: Timetable) -> Timetable:
    """Take one schedule as it is in any week."""
    return Timetable(timetable.zone, (replace(bells, first=None, last=None),))


def _usual(shift: Shift, timetable: Timetable) -> Shift:
    """Take a shift as it is in any week, by one bell schedule."""
    hours = shift.hours
    if isinstance(hours, LessonHours):
        hours = replace(hours, timetable=timetable)
    elif isinstance(hours, ClockHours):
        hours = replace(hours, off=frozenset())
    return replace(shift, hours=hours, first=None, last=None)
