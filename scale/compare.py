"""Hold what versions of the detector would have said against each other, and against people.

An alert is an event that would have told somebody: not one that the air of the building explains.
One that was withdrawn later has told somebody all the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scale.backtest import Alert

SAME_S: Final = 120.0
"""Two alerts of one sensor whose onsets are not further apart are of the same thing: puffs further
apart are two sessions."""


class Answer(NamedTuple):
    """What staff said of an incident.

    Attributes
    ----------
    start, end : float
        From its first evidence to its end, Unix seconds.
    """

    room: str
    kind: str
    verdict: str
    start: float
    end: float


class Differences(NamedTuple):
    """Alerts of two versions: in both (as the first said them), and in one alone."""

    both: list[Alert]
    only_first: list[Alert]
    only_second: list[Alert]


def alerts_of(alerts: Iterable[Alert], variant: int) -> list[Alert]:
    """Return the alerts of a version that would have told somebody, by onset."""
    told = (a for a in alerts if a.variant == variant and not a.explained_by)
    return sorted(told, key=lambda a: (a.onset, a.sensor, a.kind))


def differences(first: Sequence[Alert], second: Sequence[Alert]) -> Differences:
    """Pair the alerts of two versions, by sensor and kind, the nearest in order of onset.

    Parameters
    ----------
    first, second : sequence of Alert
        By onset.
    """
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
    """Say of each incident that staff answered whether these alerts would have raised it.

    An alert of the same kind in the same room counts, with its onset from `SAME_S` before the first
    evidence until the end of the incident.
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
