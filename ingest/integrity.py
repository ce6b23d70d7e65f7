"""Signs that somebody else than the sensors speaks: what no honest device or broker does.

The first line of defence is the broker, where an account writes under its own name alone
(`deploy/mosquitto.acl`). This is the second, for the day on which a password is known or the list
of rights is wrong. Pure: what it finds it says as readings without values, with one event of
`FINDINGS`, which decoders never make; so findings are journalled, judged and told like a tamper
contact, and survive whatever the service does.

``two_senders``
    The numbers of a sensor run in two lines at once. A line that does not go on from the known one
    is on trial: its readings get the flag ``disputed``, so they are stored and alert nobody. If
    the known line falls silent for `TRIAL_S`, and three of its intervals, the counter has begun
    anew and the new line is taken. If the known line goes on, there are two, and the readings of
    the other stay disputed. Numbers that stand still, and those of a device that begins anew
    `RENEWALS` times within an hour, are no numbers to judge by.
``unnumbered``
    A sensor that numbers its readings is said to have sent some without: disputed too.
``repeated``
    More than `REPEATS` messages within `WINDOW_S` that were accepted long before, and that the
    broker does not say it delivers again.
``refused``
    More than `REFUSED` messages within `WINDOW_S` under the topic of one sensor are no readings.
``strangers``
    More than `STRANGERS` sensors that nobody registered are heard for the first time within
    `WINDOW_S`. It is told of the broker, as sensor `BROKER`.

While most of what comes is old, a backlog is being taken in; then the last two are not counted.
How many readings a sensor sends is no sign of anything: a gateway that was away sends them at once.

What it cannot see: a forger who continues the right numbers and silences the true sensor, and any
forger where readings carry no numbers. There the broker's rights are all there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

DISPUTED: Final = "disputed"
BROKER: Final = "mqtt-broker"
FINDINGS: Final = frozenset(
    f"integrity:{what}"
    for what in ("two_senders", "unnumbered", "repeated", "refused", "strangers")
)

TRIAL_S: Final = 15.0
RENEWALS: Final = 5
LEAP: Final = 100
"""Numbers by which a line may run ahead at once,"""
LEAP_HZ: Final = 20.0
"""and for each second since it was heard."""
_WRAPS: Final = (2**8, 2**16, 2**32)
"""Where counters of devices begin at zero again."""
NUMBERED: Final = 20
"""Numbered readings after which a sensor is one that numbers them."""
WINDOW_S: Final = 60.0
OLD_S: Final = 60.0
REPEATS: Final = 30
FRESH_S: Final = 5.0
REFUSED: Final = 20
STRANGERS: Final = 50
AGAIN_S: Final = 60.0
"""A finding that goes on is said again so often, which keeps its incident open."""

_NO_TIME: Final = frozenset({"no_time", "time_replaced"})
_NOT_LIVE: Final = frozenset({"late", "retained", "history", "cached", "simulated"})


@dataclass(slots=True)
class _Line:
    """One run of numbers: the newest, its event time, and when it was heard."""

    number: int
    time: float
    heard: float

    def goes_on(self, number: int, now: float) -> bool:
        ahead = number - self.number
        if number < LEAP:
            ahead = next((ahead + w for w in _WRAPS if w - LEAP <= self.number < w), ahead)
        return 0 < ahead <= LEAP + LEAP_HZ * max(0.0, now - self.heard)


@dataclass(slots=True)
class _Rate:
    """Counts within a stretch of time that begins anew when it is over."""

    most: int
    within_s: float
    since: float = -math.inf
    count: int = 0

    def reached(self, now: float) -> bool:
        """Count one; whether there were more than `most` in the stretch."""
        if not 0 <= now - self.since <= self.within_s:
            self.since, self.count = now, 0
        self.count += 1
        return self.count > self.most


@dataclass(slots=True)
class _Heard:
    """What is known of one sensor."""

    line: _Line | None = None
    other: _Line | None = None
    since: float = 0.0
    interval: float = 0.0
    numbered: int = 0
    unreliable: bool = False
    renewals: _Rate = field(default_factory=lambda: _Rate(RENEWALS, 3600.0))
    repeats: _Rate = field(default_factory=lambda: _Rate(REPEATS, WINDOW_S))
    refused: _Rate = field(default_factory=lambda: _Rate(REFUSED, WINDOW_S))


class Integrity:
    """Watches what is taken in of registered sensors; O(1) a message.

    The caller bounds the memory by asking of registered sensors alone.
    """

    def __init__(self) -> None:
        self._of: dict[str, _Heard] = {}
        self._strangers = _Rate(STRANGERS, WINDOW_S)
        self._said: dict[tuple[str, str], float] = {}
        self._found: list[Reading] = []
        self._old = 0.0
        """Share of what came lately that was not fresh."""

    def restore(self, readings: Iterable[Reading]) -> None:
        """Know the lines of numbers after a restart, oldest reading first; nothing is found."""
        for reading in readings:
            if reading.seq is not None and DISPUTED not in reading.flags:
                heard = self._heard(reading.sensor)
                heard.numbered += 1
                newer = heard.line is None or reading.seq > heard.line.number
                if newer or (heard.line is not None and reading.time > heard.line.time):
                    heard.line = _Line(reading.seq, reading.time, reading.received)

    def on_reading(self, reading: Reading) -> bool:
        """Take a reading that is new.

        Returns
        -------
        bool
            Whether it is disputed: to be stored, and to alert nobody.
        """
        if not _NOT_LIVE.isdisjoint(reading.flags):
            return False
        heard, now = self._heard(reading.sensor), reading.received
        if _NO_TIME.isdisjoint(reading.flags):
            self._old += 0.05 * ((abs(now - reading.time) > FRESH_S) - self._old)
        if reading.seq is None:
            known = heard.line is not None and heard.numbered >= NUMBERED
            if not (known and reading.values):
                return False
            self._find(reading.sensor, "unnumbered", now)
            return True
        return self._numbered(heard, reading, reading.seq)

    def on_repeated(self, reading: Reading, *, delivered_again: bool) -> None:
        """Take a reading that was accepted before."""
        now = reading.received
        if delivered_again or "retained" in reading.flags or now - reading.time < OLD_S:
            return
        if self._heard(reading.sensor).repeats.reached(now):
            self._find(reading.sensor, "repeated", now)

    def on_refused(self, sensor: str, now: float) -> None:
        """Take a message under a sensor's topic that was refused."""
        if self._old < 0.5 and self._heard(sensor).refused.reached(now):
            self._find(sensor, "refused", now)

    def on_stranger(self, now: float) -> None:
        """Take a sensor that nobody registered, heard for the first time."""
        if self._old < 0.5 and self._strangers.reached(now):
            self._find(BROKER, "strangers", now)

    def take(self) -> tuple[Reading, ...]:
        """Return what was found since, to be journalled."""
        found, self._found = tuple(self._found), []
        return found

    def _numbered(self, heard: _Heard, reading: Reading, number: int) -> bool:
        now, line, other = reading.received, heard.line, heard.other
        if line is None:
            heard.line = _Line(number, reading.time, now)
            heard.numbered = 1
            return False
        trial_s = max(TRIAL_S, 3 * heard.interval)
        if other is not None and now - max(line.heard, heard.since) > trial_s:
            heard.line = line = other  # the known one is silent: its counter began anew
            heard.other = other = None
            heard.unreliable = heard.unreliable or heard.renewals.reached(now)
        if heard.unreliable or number == line.number:
            return False
        if line.goes_on(number, now):
            if other is not None and other.heard > line.heard:
                self._find(reading.sensor, "two_senders", now)
            heard.interval = max(now - line.heard, 0.9 * heard.interval)
            heard.line = _Line(number, reading.time, now)
            heard.numbered += 1
            return False
        if number <= line.number and reading.time <= line.time:
            return False  # it was overtaken on the way
        if other is None:
            heard.since = now
        heard.other = _Line(number, reading.time, now)
        return True

    def _heard(self, sensor: str) -> _Heard:
        heard = self._of.get(sensor)
        if heard is None:
            heard = self._of[sensor] = _Heard()
        return heard

    def _find(self, sensor: str, what: str, now: float) -> None:
        said = self._said.get((sensor, what))
        if said is not None and 0 <= now - said < AGAIN_S:
            return
        self._said[sensor, what] = now
        self._found.append(
            Reading(sensor=sensor, time=now, received=now, events=(f"integrity:{what}",))
        )
