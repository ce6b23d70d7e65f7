"""Readings that never came, and messages that no honest device or broker sends.

Missing readings
----------------
A gap in a device's sequence numbers is not yet a loss: messages overtake each other, and after a
reconnection the broker delivers some of them again, behind newer ones. So a gap stays open for
`OPEN_S`, and only what is still missing then counts. A counter that begins anew is no gap: its
number is at or below one that came before, and its time is later. Neither is a jump larger than
`MAX_JUMP`: no buffer holds that much, the counter was set.

Findings
--------
The first line of defense is the broker, where an account writes under its own name alone
(`deploy/mosquitto.acl`). This is the second, for the day on which a password is known or the list
of rights is wrong. A finding is a reading without values, with one event that decoders never make,
so it is journaled and becomes an incident; it never keeps a reading from alerting.

- ``two_senders``: the numbers of a sensor went back, and then went on where they were before.
- ``repeated``: more than `REPEATS` messages within `WINDOW_S` that were accepted long before, and
  that the broker does not say it delivers again.
- ``refused``: more than `REFUSED` messages in `WINDOW_S` under a sensor's topic are no readings.
- ``flooded``: far too many messages come under its name (`ingest.floods`).

More than `UNREGISTERED` new sensors that nobody registered are no finding of one sensor but a fault
of the service (`alerts.operations`). While most of what comes is old, a backlog is read; then
neither those nor ``refused`` count.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from detection.details import INTEGRITY, Detail
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FINDINGS: Final = frozenset(f"integrity:{what}" for what in INTEGRITY)

MAX_JUMP: Final = 1_000_000
OPEN_S: Final = 60.0
"""How long a missing number may still come, in seconds of receive time."""
_OPEN_GAPS: Final = 64
_NEAR: Final = 100
"""Numbers within which a line goes on; two lines are further apart."""
WINDOW_S: Final = 60.0
OLD_S: Final = 60.0
REPEATS: Final = 30
FRESH_S: Final = 5.0
REFUSED: Final = 20
UNREGISTERED: Final = 50
AGAIN_S: Final = 60.0
"""A finding that goes on is reported again so often, which keeps its incident open."""


@dataclass(slots=True)
class _Rate:
    """Counts within a stretch of time that begins anew when it is over."""

    most: int
    since: float = -math.inf
    count: int = 0

    def is_exceeded(self, now: float) -> bool:
        """Count one; whether there were more than `most` within `WINDOW_S`."""
        if not 0 <= now - self.since <= WINDOW_S:
            self.since, self.count = now, 0
        self.count += 1
        return self.count > self.most


@dataclass(slots=True)
class _Numbers:
    newest: int
    time: float
    before: int | None = None
    """Newest number before the counter went back."""
    gaps: list[tuple[int, int, float]] = field(default_factory=list)
    """First and last missing number, and when it showed; in order of the numbers."""

    def add(self, seq: int, reading: Reading) -> tuple[int, bool]:
        """Return how many readings are missing from now on, and whether two devices send."""
        missing = self._close(reading.received)
        jump = seq - self.newest
        timed = reading.is_timed
        stamp = reading.time if reading.stamp is None else reading.stamp
        two = jump > _NEAR and self.before is not None and 0 < seq - self.before <= _NEAR
        if two or jump > MAX_JUMP or (jump < 0 and timed and stamp > self.time):
            missing += self._close(math.inf)
            self.before = self.newest if jump < 0 else None
            self.newest, self.time = seq, stamp
            return missing, two
        if jump < 0:
            self._fill(seq)
        elif jump > 1:
            self.gaps.append((self.newest + 1, seq - 1, reading.received))
        while len(self.gaps) > _OPEN_GAPS:
            first, last, _ = self.gaps.pop(0)
            missing += last - first + 1
        self.newest = max(self.newest, seq)
        self.time = max(self.time, stamp)
        return missing, False

    def _close(self, now: float) -> int:
        """Count and forget the gaps that have been open for long enough."""
        if not self.gaps:
            return 0
        over = [gap for gap in self.gaps if now - gap[2] >= OPEN_S]
        self.gaps = [gap for gap in self.gaps if now - gap[2] < OPEN_S]
        return sum(last - first + 1 for first, last, _ in over)

    def _fill(self, seq: int) -> None:
        for k, (first, last, since) in enumerate(self.gaps):
            if first <= seq <= last:
                parts = [(first, seq - 1, since), (seq + 1, last, since)]
                self.gaps[k : k + 1] = [part for part in parts if part[0] <= part[1]]
                return


class Integrity:
    """Follow the messages of registered sensors alone; O(open gaps) a message."""

    def __init__(self, on_fault: Callable[[Detail], None] = lambda _what: None) -> None:
        self._on_fault = on_fault
        self._numbers: dict[str, _Numbers] = {}
        self._repeats: dict[str, _Rate] = {}
        self._refused: dict[str, _Rate] = {}
        self._unregistered = _Rate(UNREGISTERED)
        self._reported: dict[tuple[str, Detail], float] = {}
        self._found: list[Reading] = []
        self._old = 0.0
        """Share of what came lately that was not fresh."""

    def restore(self, readings: Iterable[Reading]) -> Counter[str]:
        """Know the last numbers of the journal's tail; return readings missing, by sensor."""
        missing: Counter[str] = Counter()
        for reading in readings:
            if n := self._add(reading)[0]:
                missing[reading.sensor] += n
        return missing

    def on_flood(self, sensor: str | None, now: float) -> None:
        """Take a name that floods (`ingest.floods`); `sensor` is None if it is not registered."""
        if sensor is None:
            self._on_fault(Detail.STRANGERS)
        else:
            self._find(sensor, Detail.FLOODED, now)

    def on_reading(self, reading: Reading) -> int:
        """Take a new reading; return how many of its sensor are missing that were not before."""
        now = reading.received
        if reading.is_timed:
            self._old += 0.05 * ((abs(now - reading.time) > FRESH_S) - self._old)
        missing, two = self._add(reading)
        if two:
            self._find(reading.sensor, Detail.TWO_SENDERS, now)
        return missing

    def on_repeated(self, reading: Reading, *, delivered_again: bool) -> None:
        """Take a reading that was accepted before."""
        now = reading.received
        if delivered_again or "retained" in reading.flags or now - reading.time < OLD_S:
            return
        if self._repeats.setdefault(reading.sensor, _Rate(REPEATS)).is_exceeded(now):
            self._find(reading.sensor, Detail.REPEATED, now)

    def on_refused(self, sensor: str, now: float) -> None:
        """Take a message under a sensor's topic that was refused."""
        if self._old < 0.5 and self._refused.setdefault(sensor, _Rate(REFUSED)).is_exceeded(now):
            self._find(sensor, Detail.REFUSED, now)

    def on_unregistered(self, now: float) -> None:
        """Take a sensor that nobody registered, seen for the first time."""
        if self._old < 0.5 and self._unregistered.is_exceeded(now):
            self._on_fault(Detail.STRANGERS)

    def take_findings(self) -> tuple[Reading, ...]:
        """Return what was found since the last call, to be journaled."""
        found, self._found = tuple(self._found), []
        return found

    def _add(self, reading: Reading) -> tuple[int, bool]:
        if reading.seq is None:
            return 0, False
        numbers = self._numbers.get(reading.sensor)
        if numbers is None:
            self._numbers[reading.sensor] = _Numbers(reading.seq, reading.time)
            return 0, False
        return numbers.add(reading.seq, reading)

    def _find(self, sensor: str, what: Detail, now: float) -> None:
        last = self._reported.get((sensor, what))
        if last is not None and 0 <= now - last < AGAIN_S:
            return
        self._reported[sensor, what] = now
        self._found.append(Reading(sensor, now, now, events=(f"integrity:{what}",)))
