"""Readings of one sensor in the order it took them, where messages overtook each other.

The detectors judge a sensor's readings in order of time and cannot use one that comes behind a
later one. Messages do overtake each other: after a reconnection the broker delivers again what was
not acknowledged, and gateways have several ways. Where a device numbers its readings, a gap in the
numbers shows that something is missing *before* it is too late, so what came too early waits, for
at most `HOLD_S`, until the gap is filled.

What is in order never waits. A reading that is lost for good costs its successors `HOLD_S` once,
and a sensor that loses readings again and again costs nothing more: after `TRIES` gaps in a row
that nothing filled, its gaps are taken for losses, until one of its readings does come out of
order. Without numbers nothing waits, since nothing shows.

What comes behind a later reading all the same passes at once and is counted by the watch as
unjudged. A number that goes back while time goes on is a counter that began anew.

`Reorder` never reads a clock: time is the receive time of readings and an argument, so what it
lets pass is a function of the readings alone, however they are split into batches.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Final

import msgspec

from storage.reading import Reading  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Sequence

HOLD_S: Final = 1.0
"""Longest wait of a reading that came too early, in seconds of receive time."""
MAX_HELD: Final = 64
"""Readings of one sensor that wait at most; beyond it the gap is taken for a loss."""
TRIES: Final = 3
"""Gaps in a row that nothing filled, after which gaps are taken for losses."""
_MAX_JUMP: Final = 1_000_000
_UNORDERED: Final = frozenset({"no_time", "time_replaced", "unknown_sensor"})


class _Line(msgspec.Struct):
    """One sensor: the newest that passed, and what waits, in order of the numbers."""

    seq: int
    time: float
    held: list[Reading] = []
    in_vain: int = 0

    @property
    def deadline(self) -> float:
        """When the gap before the first that waits is taken for a loss."""
        return min(reading.received for reading in self.held) + HOLD_S


class _State(msgspec.Struct):
    now: float
    lines: dict[str, _Line]


class Reorder:
    """Put the readings of each sensor in order; O(1) for those that are."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._waiting: dict[str, _Line] = {}
        self._now = float("-inf")

    def on_reading(self, reading: Reading) -> list[Reading]:
        """Take one reading, in the order of arrival; return those that may pass now."""
        passed = self.on_time(reading.received) if self._waiting else []
        self._now = max(self._now, reading.received)
        seq = reading.seq
        if seq is None or not _UNORDERED.isdisjoint(reading.flags):
            return [*passed, reading]
        line = self._lines.get(reading.sensor)
        if line is None:
            self._lines[reading.sensor] = _Line(seq, reading.time)
            return [*passed, reading]
        jump = seq - line.seq
        newest = line.held[-1].time if line.held else line.time
        if jump > _MAX_JUMP or (jump < 0 and reading.time > newest):
            passed += self._all(reading.sensor, line)
            line.seq, line.time = seq, reading.time
        elif jump <= 0:
            if jump < 0:
                line.in_vain = 0
        elif jump == 1:
            if line.held:
                line.in_vain = 0
            return [*passed, *self._onwards(reading, line)]
        else:
            insort(line.held, reading, key=_number)
            self._waiting[reading.sensor] = line
            line.in_vain += len(line.held) > MAX_HELD
            if line.in_vain >= TRIES or len(line.held) > MAX_HELD:
                passed += self._all(reading.sensor, line)
            return passed
        return [*passed, reading]

    def on_time(self, now: float) -> list[Reading]:
        """Return what has waited for long enough at `now`, Unix seconds of receive time."""
        self._now = max(self._now, now)
        passed: list[Reading] = []
        while due := [
            (line.deadline, name)
            for name, line in self._waiting.items()
            if line.deadline <= self._now
        ]:
            _, name = min(due)
            line = self._waiting[name]
            line.in_vain += 1
            passed += self._onwards(line.held.pop(0), line)
            if not line.held:
                self._waiting.pop(name, None)
        return passed

    def set_back(self, now: float) -> list[Reading]:
        """Let all pass, and go on at `now`: the clock of the receipt was set back."""
        self._now = float("inf")
        passed = self.on_time(self._now)
        self._now = now
        return passed

    def next_deadline(self) -> float | None:
        """When `on_time` lets something pass; None if nothing waits."""
        return min((line.deadline for line in self._waiting.values()), default=None)

    def snapshot(self) -> bytes:
        """Everything, as MessagePack."""
        return msgspec.msgpack.encode(_State(self._now, self._lines))

    @classmethod
    def restore(cls, body: bytes) -> Reorder:
        """Go on from a snapshot; from nothing if it is empty.

        Raises
        ------
        msgspec.MsgspecError
            If it is none.
        """
        made = cls()
        if body:
            found = msgspec.msgpack.decode(body, type=_State)
            made._now, made._lines = found.now, found.lines
            made._waiting = {name: line for name, line in found.lines.items() if line.held}
        return made

    def _onwards(self, reading: Reading, line: _Line) -> Sequence[Reading]:
        """Let a reading pass, and those that waited for it alone."""
        passed = [reading]
        line.seq, line.time = _number(reading), reading.time
        filled = False
        while line.held and _number(line.held[0]) <= line.seq + 1:
            filled = True
            follower = line.held.pop(0)
            line.seq, line.time = _number(follower), follower.time
            passed.append(follower)
        if filled and not line.held:
            self._waiting.pop(reading.sensor, None)
        return passed

    def _all(self, sensor: str, line: _Line) -> list[Reading]:
        passed, line.held = line.held, []
        self._waiting.pop(sensor, None)
        if passed:
            line.seq, line.time = _number(passed[-1]), passed[-1].time
        return passed


def _number(reading: Reading) -> int:
    return reading.seq or 0
