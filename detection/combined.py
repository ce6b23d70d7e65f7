"""Run all detectors over one stream of readings.

Each reading is processed at its own time, or at its receive time if that is earlier. Otherwise,
when a device clock that ran ahead is corrected, new readings would look old and the sensor would
look silent.

The service, a replay and a cluster all use this one object, so the same readings give the same
events everywhere. `detection.detector` detects plumes, `DeviceEvents` handles what devices report
about themselves, and `MinuteDetectors` finds sensor faults and building-wide air changes, which
explain some vape alerts.

Any split of a stream into batches gives the same events. Sensors in different buildings are
independent, with one exception: a minute of `MinuteDetectors` closes with the first reading after
its end from *any* sensor. If a stream is divided by building, the events are the same, but each
part emits them only at its own first reading after that minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from detection.channels import FOLLOWED, ReadingBatch
from detection.detector import Detector
from detection.errors import SnapshotError
from detection.events import (
    DEVICE_VERSION,
    INTEGRITY,
    ChannelEvidence,
    Detail,
    Event,
    EventKind,
    EventPhase,
)
from detection.per_minute.ambient import Ambient
from detection.per_minute.minutes import Minutes
from detection.per_minute.sensor_faults import SensorFaults
from detection.quantities import COLUMN_INDEX, COLUMNS
from language.messages import build_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from detection.per_minute.ambient import Place

FAULT_AFTER_S: Final = 120.0
HOLD_S: Final = 600.0
"""A device's alarm or fault is over when the device has not reported it for this long."""
FINDING_HOLD_S: Final = 300.0
"""An ingest finding's event ends this long after its first report. A device's alarm that is still
reported after this long becomes a new event, so that people who answered are notified again if the
condition continues."""
BATTERY_LOW: Final = 15.0
BATTERY_GOOD: Final = 25.0
"""Charge in %."""
BATTERY_HOLD_S: Final = 3 * 86_400.0
"""A low battery is over after this long without a report. Some devices report it once a day."""

_BATTERY: Final = "low_battery"
_FINDING: Final = "integrity:"
_REPORTS: Final[Mapping[str, tuple[EventKind, float, Detail]]] = {
    "tamper": (EventKind.TAMPER, 1.0, Detail.TAMPERED),
    "vendor_vape": (EventKind.VAPE, 0.6, Detail.VENDOR_VAPE),
    "vendor_burning": (EventKind.SMOKE, 0.6, Detail.VENDOR_BURNING),
    "vendor_interference": (EventKind.SPRAY, 0.6, Detail.VENDOR_INTERFERENCE),
    **{f"{_FINDING}{detail}": (EventKind.INTEGRITY, 1.0, detail) for detail in INTEGRITY},
}


@dataclass(slots=True)
class _Report:
    """A condition that a device still reports."""

    onset: float
    last: float
    count: int
    alerted_at: float | None


class DeviceEvents:
    """Turns device reports into events: tampering, vendor alarms, faulty channels, low batteries.

    Ingest reports findings about a sensor's messages (``integrity:...``) in the same way. A channel
    is faulty only after three faulty readings over `FAULT_AFTER_S`, so that a single value out of
    range alerts nobody. A battery is low from the second report of `BATTERY_LOW` or less until a
    report of at least `BATTERY_GOOD`.
    """

    def __init__(self) -> None:
        self._active: dict[tuple[str, str], _Report] = {}

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
                self._report((sensor, name), time, values, found)
        for name in faults:
            key = (sensor, f"fault:{name.removeprefix('fault:')}")
            self._report(key, time, {}, found, least=3, after_s=FAULT_AFTER_S)
        if "battery" in values:
            self._report_battery((sensor, _BATTERY), time, values, found)
        return found

    def on_time(self, now: float) -> list[Event]:
        """End the events that are over (see `HOLD_S`, `BATTERY_HOLD_S` and `FINDING_HOLD_S`)."""
        ended: list[Event] = []
        for key in list(self._active):
            self._expire(key, now, ended)
        return ended

    def move_clock(self, by_s: float, sensors: Container[str]) -> None:
        """Shift the times of sensors' reports after a step of their clock by `by_s`."""
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
        """Restore a snapshot; raise `SnapshotError` if the bytes are not one."""
        restored = cls()
        try:
            restored._active = msgspec.msgpack.decode(body, type=dict[tuple[str, str], _Report])
        except ValueError as error:
            raise SnapshotError(f"not a snapshot of device events: {error}") from error
        return restored

    def _expire(self, key: tuple[str, str], now: float, found: list[Event]) -> None:
        active = self._active.get(key)
        if active is None:
            return
        over_at = active.last + (BATTERY_HOLD_S if key[1] == _BATTERY else HOLD_S)
        if key[1].startswith(_FINDING):
            over_at = active.onset + FINDING_HOLD_S
        if now <= over_at:
            return
        del self._active[key]
        if active.alerted_at is not None:
            found.append(self._build_event(key, active, EventPhase.ENDED, over_at, {}))

    def _report(
        self,
        key: tuple[str, str],
        time: float,
        values: Mapping[str, float],
        found: list[Event],
        least: int = 1,
        after_s: float = 0.0,
    ) -> None:
        """Count a report; alert after at least `least` reports over at least `after_s`."""
        self._expire(key, time, found)
        active = self._active.setdefault(key, _Report(time, time, 0, None))
        if key[1] in _REPORTS and time - active.onset > FINDING_HOLD_S:
            found.append(self._build_event(key, active, EventPhase.ENDED, time, {}))
            active = self._active[key] = _Report(time, time, 0, None)
        active.last = max(active.last, time)
        active.count += 1
        early = active.count < least or time - active.onset < after_s
        if active.alerted_at is None and not early:
            active.alerted_at = time
            found.append(self._build_event(key, active, EventPhase.ALERTED, time, values))

    def _report_battery(
        self, key: tuple[str, str], time: float, values: Mapping[str, float], found: list[Event]
    ) -> None:
        self._expire(key, time, found)
        active, charge = self._active.get(key), values["battery"]
        is_alerted = active is not None and active.alerted_at is not None
        if charge < BATTERY_GOOD if is_alerted else charge <= BATTERY_LOW:
            self._report(key, time, values, found, least=2)
        elif self._active.pop(key, None) and active and is_alerted:
            found.append(self._build_event(key, active, EventPhase.ENDED, time, values))

    @staticmethod
    def _build_event(
        key: tuple[str, str],
        active: _Report,
        phase: EventPhase,
        time: float,
        values: Mapping[str, float],
    ) -> Event:
        sensor, name = key
        if name.startswith("fault:"):
            quantity = name.removeprefix("fault:")
            kind, confidence = EventKind.SENSOR_FAULT, 1.0
            detail = build_fact(Detail.NO_VALID_VALUE, quantity=quantity)
            if quantity == "clock":
                detail = build_fact(Detail.CLOCK_STANDS)
        elif name == _BATTERY:
            kind, confidence = EventKind.SENSOR_FAULT, 1.0
            detail = build_fact(Detail.BATTERY_LOW)
            if "battery" in values:
                detail = build_fact(Detail.BATTERY_AT, percent=values["battery"])
        else:
            kind, confidence, code = _REPORTS[name]
            detail = build_fact(code, device="") if name.startswith("vendor_") else build_fact(code)
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
            model_version=f"{DEVICE_VERSION}-{name}",
            details=(detail,),
            time=time,
        )


FORMAT: Final = 1


class MinuteDetectors:
    """Detects sensor faults and building-wide air changes from the same one-minute summaries.

    `place` returns the building and room of a sensor, if any.

    >>> slow = MinuteDetectors(lambda sensor: ("North", sensor))
    >>> slow.assign_row("n2-boys-1")
    0
    """

    def __init__(self, place: Callable[[str], Place | None]) -> None:
        self._place = place
        self._minutes = Minutes()
        self._faults = SensorFaults(self._find_building)
        self._ambient = Ambient(place)

    def assign_row(self, sensor: str) -> int:
        """Return the row of a sensor in batches; a new sensor gets the next row."""
        return self._minutes.assign_row(sensor)

    def step(self, batch: ReadingBatch) -> list[Event]:
        """Return the events that a batch of readings causes; pass batches in stream order.

        A time ahead of the stream makes other sensors look silent, so the caller must limit times
        to the receive time.
        """
        found: list[Event] = []
        for minute in self._minutes.step(batch):
            found += self._faults.on_minute(minute, self._minutes.names)
            found += self._ambient.on_minute(minute, self._minutes.names)
        return found

    def on_time(self, now: float) -> list[Event]:
        """End the faults of sensors silent for six hours at `now`, on the readings' clock."""
        return self._faults.on_time(now, self._minutes.names) if self._faults.active else []

    def set_back(self, now: float) -> None:
        """Continue at `now`, after the readings' clock was set back to it."""
        self._minutes.set_back(now)

    def mark(self, events: Iterable[Event]) -> list[Event]:
        """Mark the last `step`'s vape events that the building's air explains (`Ambient.mark`).

        Also drop history that is no longer needed.
        """
        marked = self._ambient.mark(events)
        self._ambient.forget(self._minutes.now)
        return marked

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        parts = [{name: getattr(part, name) for name in part.KEPT} for part in self._list_parts()]
        return msgspec.msgpack.encode([FORMAT, parts], enc_hook=_encode)

    @classmethod
    def restore(cls, body: bytes, place: Callable[[str], Place | None]) -> MinuteDetectors:
        """Restore a snapshot; raise `SnapshotError` if the bytes are not one of this format."""
        restored = cls(place)
        try:
            found, parts = msgspec.msgpack.decode(body, type=tuple[int, list[dict[str, Any]]])
            if found != FORMAT:
                raise SnapshotError(f"snapshot format {found}, expected {FORMAT}")
            for part, stored in zip(restored._list_parts(), parts, strict=True):
                for name, kind in part.KEPT.items():
                    setattr(part, name, msgspec.convert(stored[name], kind, dec_hook=_decode_array))
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"not a snapshot of minute detectors: {error}") from error
        return restored

    def _list_parts(self) -> tuple[Minutes | SensorFaults | Ambient, ...]:
        return self._minutes, self._faults, self._ambient

    def _find_building(self, sensor: str) -> str | None:
        place = self._place(sensor)
        return None if place is None else place[0]


def _encode(value: Any) -> Any:
    """Encode for msgspec: an array as type, shape and bytes, a numpy number as a Python number."""
    return [value.dtype.str, value.shape, value.tobytes()] if value.ndim else value.item()


def _decode_array(_: type, stored: Any) -> NDArray[np.float64]:
    kind, shape, body = stored
    return np.frombuffer(body, kind).reshape(shape).copy()


_CHARGE = COLUMN_INDEX["battery"]


@dataclass(frozen=True, slots=True)
class Stream:
    """Readings of many sensors, in stream order.

    Attributes
    ----------
    names : sequence of str
        Sensors.
    sensor : ndarray of int32, shape (n,)
        Position in `names`.
    time, received : ndarray of float64, shape (n,)
        Event and receive times, Unix seconds.
    values : ndarray of float64, shape (n, len(COLUMNS))
        In the order of `detection.quantities.COLUMNS`; NaN where absent.
    reports : mapping of int to (events, faults)
        Device events and faulty quantities by row, for readings that have any.
    """

    names: Sequence[str]
    sensor: NDArray[np.int32]
    time: NDArray[np.float64]
    received: NDArray[np.float64]
    values: NDArray[np.float64]
    reports: Mapping[int, tuple[Sequence[str], Sequence[str]]]


class CombinedState(NamedTuple):
    """State of all detectors as bytes, and the newest event time in Unix seconds."""

    plumes: bytes
    devices: bytes
    slow: bytes
    watermark: float


class CombinedDetector:
    """Runs all detectors over a stream of readings.

    Parameters
    ----------
    place : callable
        Returns the building and room of a sensor by name, or None.

    Attributes
    ----------
    watermark : float
        Newest event time seen, Unix seconds; minus infinity before the first reading.
    """

    def __init__(self, place: Callable[[str], Place | None]) -> None:
        self.plumes = Detector()
        self.watermark = float("-inf")
        self._devices = DeviceEvents()
        self._slow = MinuteDetectors(place)
        self._received = float("-inf")
        self._known: tuple[Sequence[str], NDArray[np.int32], NDArray[np.int32]] | None = None

    def step(self, stream: Stream) -> list[Event]:
        """Process readings and return the resulting events, in order of time.

        Parameters
        ----------
        stream : Stream
            Each sensor's readings must be in order of time. A reading that is not newer than the
            sensor's last is ignored. The arrays are not modified.
        """
        if not stream.time.size:
            return []
        sensor, received, values = stream.sensor, stream.received, stream.values
        time = np.minimum(stream.time, received)
        events = self._find_device_events(stream, time)
        measured = np.asarray(np.isfinite(values).any(axis=1))
        plumes, slow = self._find_rows(stream, measured)
        self._received = max(self._received, float(received.max()))
        self.watermark = max(self.watermark, float(time.max()))
        if not measured.all():
            sensor, time, values = sensor[measured], time[measured], values[measured]
            received = received[measured]
        events += self._slow.step(ReadingBatch(slow[sensor], time, values))
        # A report with only battery or signal strength may use another clock. It must not make
        # later readings look old.
        has_air = np.isfinite(values[:, FOLLOWED]).any(axis=1)
        if not has_air.all():
            sensor, time, values = sensor[has_air], time[has_air], values[has_air]
            received = received[has_air]
        events += self.plumes.step(ReadingBatch(plumes[sensor], time, values, received))
        events += self.plumes.on_time(self.watermark, self._received)
        events += self._devices.on_time(self.watermark)
        events += self._slow.on_time(self.watermark)
        events.sort(key=lambda event: event.time)
        return self._slow.mark(events)

    def set_back(self, now: float) -> list[Event]:
        """Restart sensors with readings later than `now`; see `Detector.set_back`."""
        self._go_back(now)
        return self.plumes.set_back(now)

    def move_clock(self, now: float, by_s: float, sensors: Container[str]) -> list[Event]:
        """Adjust to a step of the receipt clock; see `Detector.move_clock`."""
        if by_s < 0:
            self._go_back(now)
        self._received = now
        self._devices.move_clock(by_s, sensors)
        return self.plumes.move_clock(now, by_s, sensors)

    def _go_back(self, now: float) -> None:
        self._slow.set_back(now)
        self._received = min(self._received, now)
        self.watermark = min(self.watermark, now)

    def get_state(self) -> CombinedState:
        """Return the state from which `restore` continues."""
        return CombinedState(
            self.plumes.snapshot(), self._devices.snapshot(), self._slow.snapshot(), self.watermark
        )

    @classmethod
    def restore(
        cls, state: CombinedState, place: Callable[[str], Place | None]
    ) -> CombinedDetector:
        """Continue from `state`.

        Raises
        ------
        SnapshotError
            If a part is not a snapshot of this format.
        """
        restored = cls(place)
        restored.plumes = Detector.restore(state.plumes)
        restored._devices = DeviceEvents.restore(state.devices)
        restored._slow = MinuteDetectors.restore(state.slow, place)
        restored.watermark = state.watermark
        return restored

    def _find_device_events(self, stream: Stream, time: NDArray[np.float64]) -> list[Event]:
        """Return the events that devices report about themselves."""
        battery = np.flatnonzero(~np.isnan(stream.values[:, _CHARGE])).tolist()
        events: list[Event] = []
        for i in sorted({*stream.reports, *battery}):
            row = stream.values[i].tolist()
            values = {key: v for key, v in zip(COLUMNS, row, strict=True) if v == v}  # noqa: PLR0124
            reported, faults = stream.reports.get(i, ((), ()))
            name = stream.names[stream.sensor[i]]
            events += self._devices.on_reading(name, float(time[i]), reported, faults, values)
        return events

    def _find_rows(
        self, stream: Stream, measured: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return rows in the plume detector and in the minute detectors, by position in `names`.

        Only sensors that measured something get a row. If the next batch has the same list of
        names, they are not looked up again.
        """
        names = stream.names
        if self._known is None or self._known[0] is not names or self._known[1].size < len(names):
            self._known = (names, *np.full((2, len(names)), -1, np.int32))
        _, plumes, slow = self._known
        found = np.zeros(len(names), np.bool_)
        found[stream.sensor[measured]] = True
        for i in np.flatnonzero(found & (plumes < 0)).tolist():
            plumes[i] = self.plumes.assign_row(names[i])
            slow[i] = self._slow.assign_row(names[i])
        return plumes, slow
