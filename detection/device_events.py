"""Device reports as events: tamper, a vendor's alarm, a faulty channel, a low battery.

Findings of ingest about a sensor's messages (``integrity:...``) come the same way. A channel is
faulty only after `FAULT_AFTER_S` and three readings, so that one value out of range alerts nobody.
A battery is low from two reports of `BATTERY_LOW` on, until one of `BATTERY_GOOD`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from detection.errors import SnapshotError
from detection.events import INTEGRITY, ChannelEvidence, Detail, Event, EventKind, EventPhase
from language.messages import fact

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

FAULT_AFTER_S: Final = 120.0
HOLD_S: Final = 600.0
"""A device's alarm is the same one for this long after its last report."""
BATTERY_LOW: Final = 15.0
BATTERY_GOOD: Final = 25.0
"""Charge in %."""
BATTERY_HOLD_S: Final = 3 * 86_400.0
"""Some devices report their battery once a day."""

_BATTERY: Final = "low_battery"
_VERSION: Final = "device-1"
_REPORTS: Final[Mapping[str, tuple[EventKind, float, Detail]]] = {
    "tamper": (EventKind.TAMPER, 1.0, Detail.TAMPERED),
    "vendor_vape": (EventKind.VAPE, 0.6, Detail.VENDOR_VAPE),
    "vendor_burning": (EventKind.SMOKE, 0.6, Detail.VENDOR_BURNING),
    "vendor_interference": (EventKind.SPRAY, 0.6, Detail.VENDOR_INTERFERENCE),
    **{f"integrity:{detail}": (EventKind.INTEGRITY, 1.0, detail) for detail in INTEGRITY},
}


def is_device_alarm(model_version: str) -> bool:
    """Whether an event is a device's own alarm, not one that was detected here.

    >>> is_device_alarm("device-1-vendor_vape"), is_device_alarm("plume-6")
    (True, False)
    """
    return model_version.startswith(f"{_VERSION}-vendor_")


@dataclass(slots=True)
class _Active:
    """A condition that a device still reports."""

    onset: float
    last: float
    count: int
    alerted_at: float | None


class DeviceEvents:
    """Follow device reports; pure, with time as an argument."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, str], _Active] = {}

    def on_reading(
        self,
        sensor: str,
        time: float,
        events: Sequence[str],
        faults: Sequence[str],
        values: Mapping[str, float],
    ) -> list[Event]:
        """Return the events of one reading's reports; unknown names are ignored.

        `faults` are keys of faulty quantities, with or without the prefix ``fault:``.
        """
        found: list[Event] = []
        for name in events:
            if name in _REPORTS:
                key = (sensor, name)
                self._expire(key, time, found)
                self._reported(key, time, values, found)
        for name in faults:
            key = (sensor, f"fault:{name.removeprefix('fault:')}")
            self._expire(key, time, found)
            self._faulty(key, time, found)
        if "battery" in values:
            self._battery((sensor, _BATTERY), time, values, found)
        return found

    def on_time(self, now: float) -> list[Event]:
        """Return the end of what has not been reported for `HOLD_S`, or `BATTERY_HOLD_S`."""
        ended: list[Event] = []
        for key in list(self._active):
            self._expire(key, now, ended)
        return ended

    def move_clock(self, by_s: float, sensors: Container[str]) -> None:
        """Move the reports of sensors along with their clock, which was set ahead by `by_s`."""
        for (sensor, _), active in self._active.items():
            if sensor in sensors:
                active.last += by_s
                if active.alerted_at is None:
                    active.onset += by_s

    def snapshot(self) -> bytes:
        """Return the state as bytes."""
        return msgspec.msgpack.encode(self._active)

    @classmethod
    def restore(cls, body: bytes) -> DeviceEvents:
        """Restore a snapshot; raise `SnapshotError` if it is none."""
        restored = cls()
        try:
            restored._active = msgspec.msgpack.decode(body, type=dict[tuple[str, str], _Active])
        except ValueError as error:
            raise SnapshotError(f"no snapshot of device events: {error}") from error
        return restored

    def _expire(self, key: tuple[str, str], now: float, found: list[Event]) -> None:
        active = self._active.get(key)
        hold_s = BATTERY_HOLD_S if key[1] == _BATTERY else HOLD_S
        if active is None or now - active.last <= hold_s:
            return
        del self._active[key]
        if active.alerted_at is not None:
            ended_at = active.last + hold_s
            found.append(self._event(key, active, EventPhase.ENDED, ended_at, {}))

    def _reported(
        self,
        key: tuple[str, str],
        time: float,
        values: Mapping[str, float],
        found: list[Event],
    ) -> None:
        active = self._active.get(key)
        if active is not None:
            active.last = max(active.last, time)
            active.count += 1
            return
        active = self._active[key] = _Active(time, time, 1, time)
        found.append(self._event(key, active, EventPhase.ALERTED, time, values))

    def _faulty(self, key: tuple[str, str], time: float, found: list[Event]) -> None:
        active = self._active.get(key)
        if active is None:
            self._active[key] = _Active(time, time, 1, None)
            return
        active.last = max(active.last, time)
        active.count += 1
        early = active.count < 3 or time - active.onset < FAULT_AFTER_S
        if active.alerted_at is None and not early:
            active.alerted_at = time
            found.append(self._event(key, active, EventPhase.ALERTED, time, {}))

    def _battery(
        self,
        key: tuple[str, str],
        time: float,
        values: Mapping[str, float],
        found: list[Event],
    ) -> None:
        self._expire(key, time, found)
        active, charge = self._active.get(key), values["battery"]
        if active is None:
            if charge <= BATTERY_LOW:
                self._active[key] = _Active(time, time, 1, None)
            return
        good = charge >= BATTERY_GOOD if active.alerted_at is not None else charge > BATTERY_LOW
        if good:
            del self._active[key]
            if active.alerted_at is not None:
                found.append(self._event(key, active, EventPhase.ENDED, time, values))
            return
        active.last = max(active.last, time)
        active.count += 1
        if active.alerted_at is None:
            active.alerted_at = time
            found.append(self._event(key, active, EventPhase.ALERTED, time, values))

    @staticmethod
    def _event(
        key: tuple[str, str],
        active: _Active,
        phase: EventPhase,
        time: float,
        values: Mapping[str, float],
    ) -> Event:
        sensor, name = key
        if name.startswith("fault:"):
            quantity = name.removeprefix("fault:")
            kind, confidence = EventKind.SENSOR_FAULT, 1.0
            detail = fact(Detail.NO_VALID_VALUE, quantity=quantity)
            if quantity == "clock":
                detail = fact(Detail.CLOCK_STANDS)
        elif name == _BATTERY:
            kind, confidence = EventKind.SENSOR_FAULT, 1.0
            detail = fact(Detail.BATTERY_LOW)
            if "battery" in values:
                detail = fact(Detail.BATTERY_AT, percent=values["battery"])
        else:
            kind, confidence, code = _REPORTS[name]
            detail = fact(code, device="") if name.startswith("vendor_") else fact(code)
        evidence = {}
        index = values.get("vape_index")
        if kind is EventKind.VAPE and index is not None:
            evidence["vape_index"] = ChannelEvidence(0.0, index, 0.0, None)
        return Event(
            sensor=sensor,
            kind=kind,
            phase=phase,
            onset=active.onset,
            alerted=time if active.alerted_at is None else active.alerted_at,
            peak_time=active.onset,
            end=active.last if phase is EventPhase.ENDED else None,
            confidence=confidence,
            probabilities={kind.value: confidence},
            evidence=evidence,
            model_version=f"{_VERSION}-{name}",
            details=(detail,),
            time=time,
        )
