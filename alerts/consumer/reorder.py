"""Put the readings of one sensor in order where messages overtook each other.

The detectors cannot use a reading that comes behind a later one of its sensor. After a reconnection
the broker delivers again what was not acknowledged, and gateways have several routes. If a device
numbers its readings, the reading behind a gap waits, for at most `MAX_WAIT_S`, until it is filled.

Readings in order never wait. A lost reading costs its successors `MAX_WAIT_S` once; after
`MAX_UNFILLED_GAPS` gaps in a row that nothing filled, gaps count as losses until one of the
sensor's readings does come out of order. Without numbers nothing waits. A reading that comes behind
a later one all the same passes at once and the consumer counts it as skipped. A number that goes
back while stamps go on is a counter that started again.

Time is the receive time of readings, and an argument: what passes is a function of the readings
alone, however they are split into batches.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Final

import msgspec

from storage.reading import Reading  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WAIT_S: Final = 1.0
"""Longest wait of a reading behind a gap, seconds of receive time."""
MAX_WAITING: Final = 64
"""Readings of one sensor that wait at most; beyond it the gap counts as a loss."""
MAX_UNFILLED_GAPS: Final = 3
"""Gaps in a row that nothing filled, after which gaps count as losses."""
_MAX_JUMP: Final = 1_000_000
_UNORDERED: Final = frozenset({"no_time", "time_replaced", "unknown_sensor"})


class _SensorQueue(msgspec.Struct):
    """One sensor: number and stamp of the newest that passed, and what waits, in order."""

    seq: int
    stamp: float
    waiting: list[Reading] = []
    unfilled_gaps: int = 0

    @property
    def deadline(self) -> float:
        return min(reading.received for reading in self.waiting) + MAX_WAIT_S


class _State(msgspec.Struct):
    now: float
    queues: dict[str, _SensorQueue]


class Reorder:
    """Put the readings of each sensor in order; O(1) for those that are."""

    def __init__(self) -> None:
        self._queues: dict[str, _SensorQueue] = {}
        self._waiting: dict[str, _SensorQueue] = {}
        self._now = float("-inf")

    def on_reading(self, reading: Reading) -> list[Reading]:
        """Add one reading, in the order of arrival; return those that may pass now."""
        passed = self.on_time(reading.received) if self._waiting else []
        self._now = max(self._now, reading.received)
        seq = reading.seq
        if seq is None or not _UNORDERED.isdisjoint(reading.flags):
            return [*passed, reading]
        queue = self._queues.get(reading.sensor)
        if queue is None:
            self._queues[reading.sensor] = _SensorQueue(seq, reading.order)
            return [*passed, reading]
        jump = seq - queue.seq
        newest = queue.waiting[-1].order if queue.waiting else queue.stamp
        if jump > _MAX_JUMP or (jump < 0 and reading.order > newest):
            passed += self._pass_all(reading.sensor, queue)
            queue.seq, queue.stamp = seq, reading.order
        elif jump <= 0:
            if jump < 0:
                queue.unfilled_gaps = 0
        elif jump == 1:
            if queue.waiting:
                queue.unfilled_gaps = 0
            return [*passed, *self._pass_with_followers(reading, queue)]
        else:
            insort(queue.waiting, reading, key=_number)
            self._waiting[reading.sensor] = queue
            queue.unfilled_gaps += len(queue.waiting) > MAX_WAITING
            if queue.unfilled_gaps >= MAX_UNFILLED_GAPS or len(queue.waiting) > MAX_WAITING:
                passed += self._pass_all(reading.sensor, queue)
            return passed
        return [*passed, reading]

    def on_time(self, now: float) -> list[Reading]:
        """Return what has waited for long enough at `now`, Unix seconds of receive time."""
        self._now = max(self._now, now)
        passed: list[Reading] = []
        while due := [
            (queue.deadline, name)
            for name, queue in self._waiting.items()
            if queue.deadline <= self._now
        ]:
            _, name = min(due)
            queue = self._waiting[name]
            queue.unfilled_gaps += 1
            passed += self._pass_with_followers(queue.waiting.pop(0), queue)
            if not queue.waiting:
                self._waiting.pop(name, None)
        return passed

    def set_back(self, now: float) -> list[Reading]:
        """Let all pass, and go on at `now`: the receive clock was set back."""
        self._now = float("inf")
        passed = self.on_time(self._now)
        self._now = now
        return passed

    def next_deadline(self) -> float | None:
        """Return when `on_time` lets something pass; None if nothing waits."""
        return min((queue.deadline for queue in self._waiting.values()), default=None)

    def snapshot(self) -> bytes:
        """Return everything as MessagePack."""
        return msgspec.msgpack.encode(_State(self._now, self._queues))

    @classmethod
    def restore(cls, body: bytes) -> Reorder:
        """Go on from a snapshot; raises `msgspec.MsgspecError`."""
        made = cls()
        found = msgspec.msgpack.decode(body, type=_State)
        made._now, made._queues = found.now, found.queues
        made._waiting = {name: queue for name, queue in found.queues.items() if queue.waiting}
        return made

    def _pass_with_followers(self, reading: Reading, queue: _SensorQueue) -> Sequence[Reading]:
        """Let a reading pass, and those that waited for it only."""
        passed = [reading]
        queue.seq, queue.stamp = _number(reading), reading.order
        filled = False
        while queue.waiting and _number(queue.waiting[0]) <= queue.seq + 1:
            filled = True
            follower = queue.waiting.pop(0)
            queue.seq, queue.stamp = _number(follower), follower.order
            passed.append(follower)
        if filled and not queue.waiting:
            self._waiting.pop(reading.sensor, None)
        return passed

    def _pass_all(self, sensor: str, queue: _SensorQueue) -> list[Reading]:
        passed, queue.waiting = queue.waiting, []
        self._waiting.pop(sensor, None)
        if passed:
            queue.seq, queue.stamp = _number(passed[-1]), passed[-1].order
        return passed


def _number(reading: Reading) -> int:
    return reading.seq or 0
