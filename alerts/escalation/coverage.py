"""Find class periods when no one on duty would be notified."""

from __future__ import annotations

from functools import cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.duty.roster import build_labels
from alerts.duty.shifts import LessonHours
from alerts.notify.notice_writer import find_quiet_end
from alerts.policy import PAGED, Severity, grade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from alerts.duty.roster import Roster
    from alerts.duty.shifts import ClockHours, OnDuty, Shift
    from alerts.duty.timetable import Span
    from storage.registry import Room

    _Place = tuple[tuple[str, ...], str | None, str]
    """Receivers, zone and site, which together determine who is notified."""


_EVERY_DAY: Final = frozenset(range(7))


class Gap(NamedTuple):
    """A class period, or part of one, when no one on duty would be notified about `rooms` (ids).

    `people` are on duty but have no address or are in their quiet hours.
    """

    start: datetime
    end: datetime
    people: tuple[str, ...]
    rooms: tuple[str, ...]


def list_paged_labels(rooms: Iterable[Room]) -> list[Mapping[str, str]]:
    """Return the labels of possible incidents: every kind that pages, in every room."""
    return [
        build_labels(room, kind=kind, severity=grade(kind, 1.0, 0.0, 0).value, sensor="")
        for room in rooms
        for kind in sorted(PAGED)
    ]


def find_coverage_gaps(
    roster: Roster,
    incidents: Iterable[Mapping[str, str]],
    start: datetime,
    end: datetime,
    quiet: Mapping[str, Sequence[ClockHours]],
) -> Iterator[Gap]:
    """Yield the coverage gaps of class periods that overlap [start, end), in time order.

    `incidents` are the labels of possible incidents. `quiet` maps people to their quiet hours, when
    they are notified only of critical incidents.
    """
    places = _group_places(roster, incidents)

    @cache
    def on_duty(receiver: str, at: datetime) -> tuple[OnDuty, ...]:
        return roster.find_on_duty(receiver, at)

    lessons = _list_lessons(roster, start, end)
    edges = _find_edges(roster.shifts, [lesson for lesson, _site in lessons], quiet)
    for lesson, site in lessons:
        within = (edge for edge in edges if lesson.start < edge < lesson.end)
        for at, until in pairwise([lesson.start, *within, lesson.end]):
            away = {p for p, spans in quiet.items() if find_quiet_end(spans, at.timestamp())}
            rooms: dict[tuple[str, ...], dict[str, None]] = {}
            for (receivers, _zone, site_of), found in places.items():
                if site_of != site:
                    continue
                people = (one for receiver in receivers for one in on_duty(receiver, at))
                near = roster.group_by_distance(people, found[0][1][0]).values()
                names = [c.person for ring in near for c in ring]
                reachable = [name for name in names if roster.is_reachable(name)]
                if any(name not in away for name in reachable):
                    continue
                for room, alike in found:
                    critical = (one.get("severity") == Severity.CRITICAL.value for one in alike)
                    if not reachable or not all(critical):
                        rooms.setdefault(tuple(sorted(names)), {})[room] = None
            for names_of, of in rooms.items():
                yield Gap(at, until, names_of, tuple(of))


def _group_places(
    roster: Roster, incidents: Iterable[Mapping[str, str]]
) -> dict[_Place, list[tuple[str, list[Mapping[str, str]]]]]:
    """Group possible incidents by place, and within each place by room."""
    routed: dict[tuple[str, tuple[str, ...]], list[Mapping[str, str]]] = {}
    for labels in incidents:
        receivers = tuple(node.receiver for node in roster.match_routes(labels))
        routed.setdefault((labels["room"], receivers), []).append(labels)

    places: dict[_Place, list[tuple[str, list[Mapping[str, str]]]]] = {}
    for (room, receivers), alike in routed.items():
        place = receivers, roster.zones.find_zone(alike[0]), alike[0].get("site", "")
        places.setdefault(place, []).append((room, alike))
    return places


def _list_lessons(roster: Roster, start: datetime, end: datetime) -> list[tuple[Span, str]]:
    found = [
        (lesson, site)
        for site, timetable in roster.timetables.items()
        for lesson in LessonHours(timetable, _EVERY_DAY).find_spans(start, end)
        if lesson.start < end and lesson.end > start
    ]
    return sorted(found, key=lambda one: one[0].start)


def _find_edges(
    shifts: Iterable[Shift], lessons: Sequence[Span], quiet: Mapping[str, Sequence[ClockHours]]
) -> list[datetime]:
    """Return the times at which shifts or quiet hours may change, in order."""
    if not lessons:
        return []
    start, end = lessons[0].start, max(lesson.end for lesson in lessons)
    edges = {edge for shift in shifts for edge in shift.find_edges(start, end)}
    for one in chain.from_iterable(quiet.values()):
        edges |= {edge for span in one.find_spans(start, end) for edge in (span.start, span.end)}
    return sorted(edges)


class Stretch(NamedTuple):
    """Part of a shift during which the same people (or nobody) are on duty."""

    shift: Shift
    start: datetime
    end: datetime
    people: tuple[str, ...]


def find_stretches(shift: Shift, start: datetime, end: datetime) -> list[Stretch]:
    """Return the stretches that begin in [start, end), in order; adjacent periods are joined."""
    spans = [(span.start, span.end) for span in shift.find_spans(start, end)]
    spans += [(one.start, one.end) for one in shift.overrides if one.add and not one.remove]
    found: list[Stretch] = []
    for begin, over in sorted(spans):
        if not start <= begin < end:
            continue
        for at, until in pairwise([begin, *sorted(set(shift.find_edges(begin, over))), over]):
            people = tuple(one.person for one in shift.find_on_duty(at))
            if found and at < found[-1].end:
                continue  # someone was added during the shift itself
            if found and (found[-1].end, found[-1].people) == (at, people):
                found[-1] = found[-1]._replace(end=until)
            else:
                found.append(Stretch(shift, at, until, people))
    return found


def join_gaps(gaps: Iterable[Gap]) -> list[Gap]:
    """Combine the gaps of adjacent periods; `gaps` are in time order."""
    found: dict[tuple[tuple[str, ...], ...], list[Gap]] = {}
    for gap in gaps:
        alike = found.setdefault((gap.people, gap.rooms), [])
        if alike and alike[-1].end == gap.start:
            alike[-1] = alike[-1]._replace(end=gap.end)
        else:
            alike.append(gap)
    return sorted(chain.from_iterable(found.values()))
