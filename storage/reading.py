"""The reading: one sensor, one event time, any of the known quantities; and steps of our clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    StepOf = Callable[[float], float]
    """By how many seconds the clock was set since the call before, by its time now."""

DEVICE_EVENTS = frozenset(
    {
        "tamper",
        "vendor_vape",
        "vendor_interference",
        "vendor_burning",
        "online",
        "offline",
        "restart",
    }
)
"""Events a device may report, besides `fault:<quantity>` which lives in `Reading.faults`."""


_ABOUT_BOARD: Final = frozenset({"rssi", "battery"})
"""What a board still sends when its sensor is dead."""
_ABOUT_LINK: Final = frozenset({"online", "offline"})


NO_TIME: Final = frozenset({"no_time", "time_replaced"})
"""Flags of readings whose event time is their receipt."""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One accepted reading, in the form that the journal keeps.

    `time` is its event time and `received` its receipt, Unix seconds. A missing quantity is absent
    from `values`, never 0. `faults` are the quantities that the device reports as faulty. `flags`
    are `no_time` (the receipt replaces the event time), `late`, `retained`, `simulated`, `history`
    and `unknown_sensor`. `seq` is the sequence number of the device. `firmware` is set when it is
    news. `packet` is the MQTT packet id of a reading without an event time; it tells redeliveries.
    `stamp` is the time stamp of the sensor where `time` differs (`ingest.copies`).
    `clock_step` is by how many seconds this machine's clock was set since the reading before.
    """

    sensor: str
    time: float
    received: float
    values: dict[str, float] = {}
    events: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    seq: int | None = None
    firmware: str = ""
    packet: int = 0
    stamp: float | None = None
    clock_step: float = 0.0

    @property
    def is_timed(self) -> bool:
        """Whether it counts at a time of its sensor's clock, not at its receipt."""
        return not self.flags or NO_TIME.isdisjoint(self.flags)

    @property
    def order(self) -> float:
        """What its sensor's readings are ordered by: the stamp, or `time` without another one."""
        return self.time if self.stamp is None else self.stamp

    @property
    def said(self) -> float | None:
        """The time stamp that the sensor gave to it; None if it gave none."""
        if self.stamp is not None:
            return self.stamp
        return self.time if self.is_timed else None

    @property
    def measured(self) -> bool:
        """Whether the sensor measured or noticed something; its board alone sends the rest."""
        for quantity in self.values:
            if quantity not in _ABOUT_BOARD:
                return True
        other = self.events and _ABOUT_LINK.isdisjoint(self.events)
        return bool(self.faults or other)

    def to_wire(self) -> dict[str, Any]:
        """Return the form `plumewatch decode` prints."""
        wire: dict[str, Any] = {
            "sensor": self.sensor,
            "time": self.time,
            "values": self.values,
            "events": list(self.events),
            "faults": [f"fault:{f}" if not f.startswith("fault:") else f for f in self.faults],
        }
        return wire | {"firmware": self.firmware} if self.firmware else wire


CLOCK_STEP_S: Final = 5.0
"""Less is left alone: a clock that is slewed, a process that waited between two looks."""


class ClockSteps:
    """Notices that a wall clock was set, and tells every reader of each step once.

    >>> times = iter((1.0, 2.0, 3.0, 4.0))
    >>> step_of = ClockSteps(lambda: next(times)).reader()
    >>> [step_of(wall) for wall in (100.0, 101.0, 3702.0, 3703.0)]
    [0.0, 0.0, 3600.0, 0.0]
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None
        self._total = 0.0

    def reader(self) -> StepOf:
        """Return a function of the wall time that returns what is new since its last call."""
        seen = self._total

        def step_of(now: float) -> float:
            nonlocal seen
            before, self._ahead = self._ahead, now - self._monotonic()
            if before is not None and abs(self._ahead - before) >= CLOCK_STEP_S:
                self._total += self._ahead - before
            step, seen = self._total - seen, self._total
            return step

        return step_of


def never_set(_now: float) -> float:
    """Return 0, the step of a clock that is not followed."""
    return 0.0
