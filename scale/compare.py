"""Compare the alerts of detector versions with each other, and with the verdicts of staff.

An alert is an event that would have notified somebody: not one that the air of the whole building
explains.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scale.backtest import Alert

SAME_S: Final = 120.0
"""Two alerts of one sensor with onsets this close are the same session."""


class Answer(NamedTuple):
    """Verdict of staff on an incident, from its first evidence to its end, Unix seconds."""

    room: str
    kind: str
    verdict: str
    start: float
    end: float


class Differences(NamedTuple):
    """Alerts of two versions: in both (as in the first), and in one only."""

    both: list[Alert]
    only_first: list[Alert]
    only_second: list[Alert]


def alerts_of(alerts: Iterable[Alert], variant: int) -> list[Alert]:
    """Return the alerts of a version, by onset."""
    found = (a for a in alerts if a.variant == variant and not a.explained_by)
    return sorted(found, key=lambda a: (a.onset, a.sensor, a.kind))


def differences(first: Sequence[Alert], second: Sequence[Alert]) -> Differences:
    """Pair the alerts of two versions, sorted by onset, with the nearest of the same kind."""
    waiting: defaultdict[tuple[str, str], list[Alert]] = defaultdict(list)
    for alert in second:
        waiting[alert.sensor, alert.kind].append(alert)
    both, only_first = [], []
    for alert in first:
        others = waiting[alert.sensor, alert.kind]
        near = min(others, key=lambda other: abs(other.onset - alert.onset), default=None)
        if near is not None and abs(near.onset - alert.onset) <= SAME_S:
            others.remove(near)
            both.append(alert)
        else:
            only_first.append(alert)
    left = {id(alert) for others in waiting.values() for alert in others}
    return Differences(both, only_first, [alert for alert in second if id(alert) in left])


def repeated(alerts: Iterable[Alert], answers: Sequence[Answer]) -> list[bool]:
    """Return for each answered incident whether one of the alerts would have raised it.

    Such an alert has the same kind and room, and an onset from `SAME_S` before the first evidence
    to the end of the incident.
    """
    onsets: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for alert in alerts:
        onsets[alert.room, alert.kind].append(alert.onset)
    for times in onsets.values():
        times.sort()
    found = []
    for answer in answers:
        times = onsets.get((answer.room, answer.kind), [])
        begin = bisect_left(times, answer.start - SAME_S)
        found.append(begin < bisect_right(times, answer.end))
    return found
