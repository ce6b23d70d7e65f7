"""What devices say of themselves, as events: tamper, a vendor's alarm, a faulty channel, a battery.

What the intake found about their messages (``integrity:...``) comes the same way.

The air is judged by `detection.detector`; here a device's word is taken for what it is. A channel
is called faulty only after it has been for `FAULT_AFTER_S` and three readings, so that one value
out of range calls nobody. A battery is low from two reports of `BATTERY_LOW` on, until one of
`BATTERY_GOOD`: what hovers about the limit is one event, not many.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from detection.errors import SnapshotError
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from detection.quantities import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAULT_AFTER_S: Final = 120.0
HELD_S: Final = 600.0
"""A device's alarm counts as the same one for this long after it was last said."""
BATTERY_LOW: Final = 15.0
BATTERY_GOOD: Final = 25.0
"""Charge in %."""
BATTERY_HELD_S: Final = 3 * 86_400.0
"""Some devices report their battery once a day."""

_BATTERY: Final = "low_battery"
_VERSION: Final = "device-1"
_SAID: Final[Mapping[str, tuple[EventKind, float, str]]] = {
    "tamper": (EventKind.TAMPER, 1.0, "the sensor reports tampering"),
    "vendor_vape": (EventKind.VAPE, 0.6, "the sensor's own vape alarm"),
    "vendor_burning": (EventKind.SMOKE, 0.6, "the sensor's own burning alarm"),
    "vendor_interference": (EventKind.SPRAY, 0.6, "the sensor reports interference"),
    "integrity:two_senders": (EventKind.INTEGRITY, 1.0, "a second sender uses its name"),
    "integrity:unnumbered": (EventKind.INTEGRITY, 1.0, "readings under its name lack its numbers"),
    "integrity:repeated": (EventKind.INTEGRITY, 1.0, "recorded readings of it are sent again"),
    "integrity:refused": (EventKind.INTEGRITY, 1.0, "many messages under its name are no readings"),
    "integrity:strangers": (EventKind.INTEGRITY, 1.0, "many sensors that nobody registered"),
}


@dataclass(slots=True)
class _Standing:
    """One condition a device has reported and not yet ceased to report."""

    onset: float
    last: float
    count: int
    said: float | None


class DeviceEvents:
    """Follow what devices report; pure, with time as an argument."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str], _Standing] = {}

    def on_reading(
        self,
        sensor: str,
        time: float,
        events: Sequence[str],
        faults: Sequence[str],
        values: Mapping[str, float],
    ) -> list[Event]:
        """Take one reading's device events and faults.

        Parameters
        ----------
        time : float
            Event time, Unix seconds.
        events : sequence of str
            Names such as ``"tamper"``; unknown ones and liveness are not events of the air.
        faults : sequence of str
            Keys of faulty quantities, with or without the prefix ``fault:``.
        values : mapping of str to float
            The reading's values, for evidence.
        """
        found: list[Event] = []
        for name in events:
            if name in _SAID:
                key = (sensor, name)
                self._expire(key, time, found)
                self._said(key, time, values, found)
        for name in faults:
            key = (sensor, f"fault:{name.removeprefix('fault:')}")
            self._expire(key, time, found)
            self._faulty(key, time, found)
        if "battery" in values:
            self._battery((sensor, _BATTERY), time, values, found)
        return found

    def on_time(self, now: float) -> list[Event]:
        """End what has not been reported for `HELD_S`, or `BATTERY_HELD_S`."""
        ended: list[Event] = []
        for key in list(self._standing):
            self._expire(key, now, ended)
        return ended

    def snapshot(self) -> bytes:
        """State as bytes from which `restore` continues."""
        rows = [[*key, s.onset, s.last, s.count, s.said] for key, s in self._standing.items()]
        return json.dumps(rows).encode()

    @classmethod
    def restore(cls, body: bytes) -> DeviceEvents:
        """Follow on from a snapshot.

        Raises
        ------
        SnapshotError
            If the bytes are none.
        """
        restored = cls()
        try:
            for sensor, name, onset, last, count, said in json.loads(body):
                restored._standing[sensor, name] = _Standing(onset, last, count, said)
        except (ValueError, TypeError) as error:
            raise SnapshotError(f"no snapshot of device events: {error}") from error
        return restored

    def _expire(self, key: tuple[str, str], now: float, found: list[Event]) -> None:
        standing = self._standing.get(key)
        held_s = BATTERY_HELD_S if key[1] == _BATTERY else HELD_S
        if standing is None or now - standing.last <= held_s:
            return
        del self._standing[key]
        if standing.said is not None:
            said_at = standing.last + held_s
            found.append(self._event(key, standing, EventPhase.ENDED, said_at, {}))

    def _said(
        self,
        key: tuple[str, str],
        time: float,
        values: Mapping[str, float],
        found: list[Event],
    ) -> None:
        standing = self._standing.get(key)
        if standing is not None:
            standing.last = max(standing.last, time)
            standing.count += 1
            return
        standing = self._standing[key] = _Standing(time, time, 1, time)
        found.append(self._event(key, standing, EventPhase.ALERTED, time, values))

    def _faulty(self, key: tuple[str, str], time: float, found: list[Event]) -> None:
        standing = self._standing.get(key)
        if standing is None:
            self._standing[key] = _Standing(time, time, 1, None)
            return
        standing.last = max(standing.last, time)
        standing.count += 1
        early = standing.count < 3 or time - standing.onset < FAULT_AFTER_S
        if standing.said is None and not early:
            standing.said = time
            found.append(self._event(key, standing, EventPhase.ALERTED, time, {}))

    def _battery(
        self,
        key: tuple[str, str],
        time: float,
        values: Mapping[str, float],
        found: list[Event],
    ) -> None:
        self._expire(key, time, found)
        standing, charge = self._standing.get(key), values["battery"]
        if standing is None:
            if charge <= BATTERY_LOW:
                self._standing[key] = _Standing(time, time, 1, None)
            return
        good = charge >= BATTERY_GOOD if standing.said is not None else charge > BATTERY_LOW
        if good:
            del self._standing[key]
            if standing.said is not None:
                found.append(self._event(key, standing, EventPhase.ENDED, time, values))
            return
        standing.last = max(standing.last, time)
        standing.count += 1
        if standing.said is None:
            standing.said = time
            found.append(self._event(key, standing, EventPhase.ALERTED, time, values))

    @staticmethod
    def _event(
        key: tuple[str, str],
        standing: _Standing,
        phase: EventPhase,
        time: float,
        values: Mapping[str, float],
    ) -> Event:
        sensor, name = key
        if name.startswith("fault:"):
            quantity = name.removeprefix("fault:")
            label = QUANTITIES[quantity].label if quantity in QUANTITIES else quantity
            kind, confidence = EventKind.SENSOR_FAULT, 1.0
            detail = f"the sensor's {label} channel reports no valid value"
        elif name == _BATTERY:
            kind, confidence = EventKind.SENSOR_FAULT, 1.0
            charge = values.get("battery")
            detail = "the battery is low" if charge is None else f"the battery is at {charge:.0f} %"
        else:
            kind, confidence, detail = _SAID[name]
        evidence = {}
        index = values.get("vape_index")
        if kind is EventKind.VAPE and index is not None:
            evidence["vape_index"] = ChannelEvidence(0.0, index, 0.0, None)
        return Event(
            sensor=sensor,
            kind=kind,
            phase=phase,
            onset=standing.onset,
            alerted=time if standing.said is None else standing.said,
            peak_time=standing.onset,
            end=standing.last if phase is EventPhase.ENDED else None,
            confidence=confidence,
            probabilities={kind.value: confidence},
            evidence=evidence,
            model_version=f"{_VERSION}-{name}",
            detail=detail,
            time=time,
        )
