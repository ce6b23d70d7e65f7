"""Find class periods when no one on duty would be notified."""

from __future__ import annotations

from functools import cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

from alerts.duty.roster import build_labels
from alerts.notify.notice_writer import find_quiet_end
from alerts.policy import PAGED, Severity, grade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from alerts.duty.roster import Roster
    from alerts.duty.shifts import ClockHours, OnDuty, Shift
    from alerts.duty.timetable import Span
    from storage.registry import Room


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
    quiet: Mapping[str, Sequence[ClockHours]] | None = None,
) -> Iterator[Gap]:
    """Yield the coverage gaps of class periods that overlap [start, end), in time order.

    `incidents` are the labels of possible incidents. `quiet` maps people to their quiet hours, when
    they are notified only of critical incidents.
    """
    hours = quiet or {}
    routed: dict[tuple[str, tuple[str, ...]], list[Mapping[str, str]]] = {}
    for labels in incidents:
        receivers = tuple(node.receiver for node in roster.match_routes(labels))
        routed.setdefault((labels["room"], receivers), []).append(labels)

    @cache
    def on_duty(receiver: str, at: datetime) -> tuple[OnDuty, ...]:
        return roster.find_on_duty(receiver, at)

    for lesson, site in _list_lessons(roster, start, end):
        for at, until in _split_lesson(roster.shifts, lesson, hours):
            away = {p for p, found in hours.items() if find_quiet_end(found, at.timestamp())}
            rooms: dict[tuple[str, ...], dict[str, None]] = {}
            for (room, receivers), alike in routed.items():
                if alike[0].get("site", "") != site:
                    continue
                people = (one for receiver in receivers for one in on_duty(receiver, at))
                names = [
                    c.person
                    for ring in roster.group_by_distance(people, alike[0]).values()
                    for c in ring
                ]
                reachable = [name for name in names if roster.is_reachable(name)]
                if any(name not in away for name in reachable):
                    continue
                critical = (one.get("severity") == Severity.CRITICAL.value for one in alike)
                if not reachable or not all(critical):
                    rooms.setdefault(tuple(sorted(names)), {})[room] = None
            for names_of, of in rooms.items():
                yield Gap(at, until, names_of, tuple(of))


def _list_lessons(roster: Roster, start: datetime, end: datetime) -> list[tuple[Span, str]]:
    found = [
        (lesson, site)
        for site, timetable in roster.timetables.items()
        for lesson in timetable.find_lessons(start, end)
    ]
    return sorted(found, key=lambda one: one[0].start)


def _split_lesson(
    shifts: Iterable[Shift], lesson: Span, quiet: Mapping[str, Sequence[ClockHours]]
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the parts of a period during which neither shifts nor quiet hours change."""
    edges = {e for shift in shifts for e in shift.find_edges(lesson.start, lesson.end)}
    for one in chain.from_iterable(quiet.values()):
        for span in one.find_spans(lesson.start, lesson.end):
            edges |= {e for e in (span.start, span.end) if lesson.start < e < lesson.end}
    yield from pairwise([lesson.start, *sorted(edges), lesson.end])


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
