"""Messages that no honest device or broker sends, and readings that never came (`numbering`).

The first line of defense is the broker, where an account writes under its own name alone
(`deploy/mosquitto.acl`). This is the second, for the day on which a password is known or the list
of rights is wrong. A finding is a reading without values, with one event that decoders never make,
so it is journaled and becomes an incident; it never keeps a reading from alerting.

- ``two_senders``: the numbers of a sensor are those of two devices (`numbering`).
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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from detection.details import INTEGRITY, Detail
from ingest.numbering import Numbering
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FINDINGS: Final = frozenset(f"integrity:{what}" for what in INTEGRITY)

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


class Integrity:
    """Follow the messages of registered sensors alone; O(open gaps) a message."""

    def __init__(self, on_fault: Callable[[Detail], None] = lambda _what: None) -> None:
        self._on_fault = on_fault
        self._numbers: dict[str, Numbering] = {}
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
        numbers = self._numbers.get(reading.sensor)
        if numbers is None:
            if reading.seq is None:
                return 0, False
            numbers = self._numbers[reading.sensor] = Numbering()
        return numbers.add(reading)

    def _find(self, sensor: str, what: Detail, now: float) -> None:
        last = self._reported.get((sensor, what))
        if last is not None and 0 <= now - last < AGAIN_S:
            return
        self._reported[sensor, what] = now
        self._found.append(Reading(sensor, now, now, events=(f"integrity:{what}",)))
