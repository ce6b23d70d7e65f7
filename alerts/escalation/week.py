"""Lay out the shifts of some days for planning: stretches with the same people, and gaps."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from alerts.duty.shifts import Shift
    from alerts.escalation.coverage import CoverageGap


class Stretch(NamedTuple):
    """A part of a shift with the same people, or with nobody if all were removed."""

    shift: Shift
    start: datetime
    end: datetime
    people: tuple[str, ...]


class Gap(NamedTuple):
    """A time when nobody is on duty for some rooms, by id."""

    start: datetime
    end: datetime
    rooms: tuple[str, ...]


def find_stretches(shift: Shift, start: datetime, end: datetime) -> Iterator[Stretch]:
    """Yield the stretches that begin in [start, end), in order; adjacent periods are joined."""
    spans = [(span.start, span.end) for span in shift.find_spans(start, end)]
    spans += [(one.start, one.end) for one in shift.overrides if one.add and not one.remove]
    last: Stretch | None = None
    for begin, over in sorted(spans):
        if not start <= begin < end:
            continue
        for at, until in pairwise([begin, *sorted(set(shift.find_edges(begin, over))), over]):
            people = tuple(one.person for one in shift.find_on_duty(at))
            if last is not None and at < last.end:
                continue  # an addition within the shift
            if last is not None and (last.end, last.people) == (at, people):
                last = last._replace(end=until)
                continue
            if last is not None:
                yield last
            last = Stretch(shift, at, until, people)
    if last is not None:
        yield last


def join_gaps(gaps: Iterable[CoverageGap]) -> list[Gap]:
    """Join the gaps of several rooms and of adjacent periods."""
    rooms: dict[tuple[datetime, datetime], dict[str, None]] = {}
    for gap in gaps:
        rooms.setdefault((gap.start, gap.end), {})[gap.room] = None
    found: list[Gap] = []
    for (start, end), named in sorted(rooms.items(), key=lambda one: one[0]):
        own = tuple(named)
        if found and (found[-1].end, found[-1].rooms) == (start, own):
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Gap(start, end, own))
    return found
