"""Lesson periods in which an incident in some room would find nobody on duty in reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from alerts.incidents.severity import Severity
from alerts.incidents.throttling import quiet_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from alerts.duty.roster import Ring, Roster
    from alerts.duty.shifts import OnDuty
    from alerts.duty.wall_time import Span
    from alerts.incidents.throttling import QuietHours


@dataclass(frozen=True, slots=True)
class Gap:
    """A period, or part of one, in which nobody on duty would hear.

    Attributes
    ----------
    room : str
        Id.
    kinds : tuple of str
        What nobody on duty would hear of.
    receivers : tuple of str
        Who ought to have.
    start, end : datetime
        Half-open, UTC.
    no_address : tuple of str
        People on duty in reach, who have no address.
    quiet : tuple of str
        Those whose quiet hours it is.
    instead : Ring or None
        Who is told in their place; None if there is no staff.
    """

    room: str
    kinds: tuple[str, ...]
    receivers: tuple[str, ...]
    start: datetime
    end: datetime
    period: str
    no_address: tuple[str, ...]
    quiet: tuple[str, ...]
    instead: Ring | None


def gaps(
    roster: Roster,
    incidents: Iterable[Mapping[str, str]],
    start: datetime,
    end: datetime,
    quiet: Mapping[str, Sequence[QuietHours]] | None = None,
) -> Iterator[Gap]:
    """Yield the gaps of all lesson periods that touch [start, end), in order of time.

    Parameters
    ----------
    incidents : iterable of mapping of str to str
        Labels of what might happen, at least with a room and a kind; kinds of a room that the same
        receivers hear of are one gap.
    start, end : datetime
        Aware.
    quiet : mapping of str to sequence of QuietHours, optional
        Hours in which a person hears of what is critical alone.
    """
    hours = quiet or {}
    routed: dict[tuple[str, tuple[str, ...]], list[Mapping[str, str]]] = {}
    for labels in incidents:
        receivers = tuple(node.receiver for node in roster.routes(labels))
        routed.setdefault((labels["room"], receivers), []).append(labels)

    @cache
    def on_duty(receiver: str, at: datetime) -> tuple[OnDuty, ...]:
        return roster.on_duty(receiver, at)

    for lesson in sorted(roster.timetable.lessons(start, end), key=lambda span: span.start):
        for at, until in _stretches(roster, lesson, hours):
            away = {p for p, found in hours.items() if quiet_until(found, at.timestamp())}
            for (room, receivers), alike in routed.items():
                people = (one for receiver in receivers for one in on_duty(receiver, at))
                near = roster.near(people, alike[0])
                names = [c.person for ring in near.values() for c in ring]
                heard = [name for name in names if roster.can_hear(name)]
                awake = any(name not in away for name in heard)
                missed = [] if awake else [e for e in alike if not (heard and _critical(e))]
                if not missed:
                    continue
                yield Gap(
                    room=room,
                    kinds=tuple(dict.fromkeys(labels["kind"] for labels in missed)),
                    receivers=receivers,
                    start=at,
                    end=until,
                    period=lesson.label,
                    no_address=tuple(name for name in names if name not in heard),
                    quiet=tuple(heard),
                    instead=next(iter(roster.candidates(missed[0], at)), None),
                )


def _critical(labels: Mapping[str, str]) -> bool:
    return labels.get("severity") == Severity.CRITICAL.value


def _stretches(
    roster: Roster, lesson: Span, quiet: Mapping[str, Sequence[QuietHours]]
) -> Iterator[tuple[datetime, datetime]]:
    """Parts of a period in which who is on duty, and who is quiet, does not change."""
    edges = {e for shift in roster.shifts for e in shift.edges(lesson.start, lesson.end)}
    for one in (one for found in quiet.values() for one in found):
        for span in one.hours.between(lesson.start, lesson.end):
            edges |= {e for e in (span.start, span.end) if lesson.start < e < lesson.end}
    moments = [lesson.start, *sorted(edges), lesson.end]
    yield from pairwise(moments)
