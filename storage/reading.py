"""Readings (values of one sensor at one event time), and detection of clock steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    StepOf = Callable[[float], float]
    """Takes the current time; returns by how many seconds the clock was set since the last call."""

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
"""Events that a device may report. `fault:<quantity>` is not one; it goes to `Reading.faults`."""


_ABOUT_BOARD: Final = frozenset({"rssi", "battery"})
"""Quantities that a board still sends after its sensor has died."""
_ABOUT_LINK: Final = frozenset({"online", "offline"})


NO_TIME: Final = frozenset({"no_time", "time_replaced"})
"""Flags of readings that use their receive time as event time."""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One accepted reading, as the journal stores it.

    `time`, `received`: event time and receive time in Unix seconds.
    `values`: values by quantity; a missing quantity is absent, never 0.
    `faults`: quantities with a faulty value.
    `flags`: quality flags (`ingest.validation`).
    `seq`: the device's sequence number.
    `packet`: MQTT packet id of a reading without an event time, which identifies redeliveries.
    `stamp`: the sensor's time stamp if `time` differs (`ingest.copies`).
    `clock_step`: by how many seconds this machine's clock was set since the previous reading.
    """

    sensor: str
    time: float
    received: float
    values: dict[str, float] = {}
    events: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    seq: int | None = None
    packet: int = 0
    stamp: float | None = None
    clock_step: float = 0.0

    @property
    def is_timed(self) -> bool:
        """Whether `time` is from the sensor's clock, not the receive time."""
        return not self.flags or NO_TIME.isdisjoint(self.flags)

    @property
    def order(self) -> float:
        """Sort key among the sensor's readings: the time stamp or, without one, `time`."""
        return self.time if self.stamp is None else self.stamp

    @property
    def sensor_stamp(self) -> float | None:
        """The sensor's time stamp, or None."""
        if self.stamp is not None:
            return self.stamp
        return self.time if self.is_timed else None

    @property
    def has_sensor_data(self) -> bool:
        """Whether the sensor itself, and not only its board, reported something."""
        for quantity in self.values:
            if quantity not in _ABOUT_BOARD:
                return True
        other = self.events and _ABOUT_LINK.isdisjoint(self.events)
        return bool(self.faults or other)

    def to_wire(self) -> dict[str, Any]:
        """Return the form that `plumewatch decode` prints."""
        return {
            "sensor": self.sensor,
            "time": self.time,
            "values": self.values,
            "events": list(self.events),
            "faults": [f"fault:{f}" if not f.startswith("fault:") else f for f in self.faults],
        }


CLOCK_STEP_S: Final = 5.0
"""Smaller steps are ignored. They may come from a slewed clock or a delay between two checks."""


class ClockSteps:
    """Detects that the wall clock was set, and reports each step once to every reader.

    >>> times = iter((1.0, 2.0, 3.0, 4.0))
    >>> step_of = ClockSteps(lambda: next(times)).make_reader()
    >>> [step_of(wall) for wall in (100.0, 101.0, 3702.0, 3703.0)]
    [0.0, 0.0, 3600.0, 0.0]
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None
        self._total = 0.0

    def make_reader(self) -> StepOf:
        """Return a function from wall time to the sum of the steps since its last call, s."""
        seen = self._total

        def step_of(now: float) -> float:
            nonlocal seen
            before, self._ahead = self._ahead, now - self._monotonic()
            if before is not None and abs(self._ahead - before) >= CLOCK_STEP_S:
                self._total += self._ahead - before
            step, seen = self._total - seen, self._total
            return step

        return step_of


def assume_no_step(_now: float) -> float:
    """Return 0, for use with a clock that is not checked."""
    return 0.0
