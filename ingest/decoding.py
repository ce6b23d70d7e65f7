"""Code shared by all decoders: `Decoder`, `Context` and join windows."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, Final, Generic, TypedDict, TypeVar, Unpack

import msgspec

from detection.arrivals import Arrivals
from detection.quantities import FINE_PARTICLES
from ingest.errors import DecodeError, PayloadError, Reason
from ingest.payloads import decode_text, parse_state
from ingest.validation import (
    Limits,
    Message,
    Readings,
    SensorNames,
    build_reading,
    fold_id,
    parse_time,
)
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from storage.reading import Reading


_V = TypeVar("_V")
_WINDOW_S: Final = 1.0
_LEARNED_S: Final = 600.0
_USUAL_S: Final = 4 * 3600.0
_LEARNED: Final = 8


class Noted(TypedDict, total=False):
    """What a message contains besides values."""

    events: Iterable[str]
    flags: Iterable[str]
    seq: int | None


_LOOKED_AT: Final = 8
"""Entries that `Bounded` checks at once, so that adding one never takes long."""


class Bounded(OrderedDict[str, _V], Generic[_V]):
    """A dict that keeps about `size` entries, dropping the oldest that `is_kept` doesn't keep."""

    def __init__(self, size: int, is_kept: Callable[[str], bool] = lambda _key: False) -> None:
        super().__init__()
        self.size = size
        self._is_kept = is_kept

    def __setitem__(self, key: str, value: _V) -> None:
        """Set an entry and make it the newest."""
        super().__setitem__(key, value)
        self.move_to_end(key)
        for _ in range(_LOOKED_AT if len(self) > self.size else 0):
            oldest = next(iter(self))
            if not self._is_kept(oldest):
                del self[oldest]
                break
            self.move_to_end(oldest)


@dataclass(slots=True)
class _Open:
    """A join window that is still open."""

    opened: float
    closes: float
    stamp: float | None
    message: Message
    raw: dict[str, object] = field(default_factory=dict)
    noted: dict[str, Any] = field(default_factory=dict)


class _Snapshot(msgspec.Struct):
    tables: dict[str, list[tuple[str, Any]]]
    waiting: list[tuple[str, list[Message]]]
    windows: list[tuple[str, _Open]]


class Joiner:
    """Join values that arrive in separate messages into readings.

    Values of one sensor that arrive within `window_s` become one reading.
    """

    def __init__(self, window_s: float = _WINDOW_S, sensors: int = 4_096) -> None:
        self.window_s = window_s
        self._sensors = sensors
        self.topics: Bounded[str] = Bounded(sensors)
        self.windows: OrderedDict[str, _Open] = OrderedDict()

    def add(
        self,
        sensor: str,
        stamp: float | None,
        message: Message,
        limits: Limits,
        raw: dict[str, object],
        *,
        window_s: float | None = None,
        **more: Unpack[Noted],
    ) -> Readings:
        """Add values to the sensor's window; return the readings of windows that closed."""
        noted: dict[str, Any] = {**more}
        done = self.on_time(message.received, limits)
        window = self.windows.get(sensor)
        if window is not None and (
            not _is_same_time(window.stamp, stamp)
            or not window.raw.keys().isdisjoint(raw)
            or window.message.retained != message.retained
        ):
            done += self._close(sensor, limits)
            window = None
        if window is None:
            if len(self.windows) >= self._sensors:
                done += self._close(next(iter(self.windows)), limits)
            bare = Message("", b"", message.received, message.retained, packet=message.packet)
            closes = message.received + (self.window_s if window_s is None else window_s)
            window = self.windows[sensor] = _Open(message.received, closes, stamp, bare)
        self.topics[sensor] = message.topic
        window.raw.update(raw)
        for key, value in noted.items():
            if key in ("events", "flags"):
                if value:
                    window.noted[key] = [*window.noted.get(key, ()), *value]
            elif value is not None:
                window.noted[key] = value
        return done

    def separate(self, sensor: str, keys: Iterable[str], limits: Limits) -> Readings:
        """Take quantities out of the sensor's window; return them as a reading, if it had any."""
        window = self.windows.get(sensor)
        raw = {key: window.raw.pop(key) for key in keys if key in window.raw} if window else {}
        if window is None or not raw:
            return []
        if not window.raw and not window.noted:
            del self.windows[sensor]
        return [build_reading(sensor, window.stamp, window.message, limits, raw)]

    def next_deadline(self) -> float | None:
        """Return when the next window closes, as a receive time in Unix seconds, or None."""
        return min((window.closes for window in self.windows.values()), default=None)

    def get_waiting_since(self) -> float | None:
        """Return the receive time of the first message in the oldest open window, or None."""
        return next((window.opened for window in self.windows.values()), None)

    def on_time(self, now: float, limits: Limits) -> Readings:
        """Close the windows that end by `now`; return their readings."""
        due = [s for s, w in self.windows.items() if w.closes <= now]
        return [reading for sensor in due for reading in self._close(sensor, limits)]

    def close(self, limits: Limits) -> Readings:
        """Close all windows; return their readings."""
        return [reading for s in list(self.windows) for reading in self._close(s, limits)]

    def _close(self, sensor: str, limits: Limits) -> Readings:
        window = self.windows.pop(sensor)
        try:
            return [
                build_reading(
                    sensor, window.stamp, window.message, limits, window.raw, **window.noted
                )
            ]
        except DecodeError:
            return []  # only flags are left: `separate` took the values


def _is_same_time(one: float | None, other: float | None) -> bool:
    """Return whether two time stamps are equal; two unusable ones (NaN) count as equal."""
    return one == other or (one is not None and other is not None and one != one and other != other)  # noqa: PLR0124 - NaN


@dataclass(slots=True)
class _Quantity:
    """Arrivals of a quantity since the receive time `since`.

    `count`: how many since the last particle reading.
    `is_late`: whether particles arrived `_LEARNED` times before it did.
    `is_new`: whether the sensor probably didn't send it before.
    """

    since: float
    is_late: bool
    is_new: bool = False
    count: int = 0
    arrivals: Arrivals = field(default_factory=Arrivals)


@dataclass(slots=True)
class UsualValues:
    """What one sensor usually sends, in formats with one value per topic.

    The values of such a sensor are joined if they arrive within a second. A second sender could add
    humidity to each particle reading, and so explain a plume away. Therefore, a value stays by
    itself, and the detectors treat it as sent without particles, in these cases:

    - The quantity first arrived less than `_USUAL_S` ago, and more than `_LEARNED_S` after the
      sensor's first value, or after `_LEARNED` particle readings and then more often than these.
    - It isn't a particle quantity, and arrives more often than usual (`detection.arrivals`),
      although the last two particle readings didn't. Devices that report changes send both more
      often.

    `main`: the sensor's first particle quantity. `readings`: how many values of it arrived.
    """

    main: str = ""
    readings: int = 0
    quantities: dict[str, _Quantity] = field(default_factory=dict)

    def find_unusual(self, keys: Iterable[str], now: float) -> set[str]:
        """Add values that arrive at `now`; return the quantities that may be forged."""
        return {key for key in keys if not self._add(key, now)}

    def _add(self, key: str, now: float) -> bool:
        if (quantity := self.quantities.get(key)) is None:
            first = next((q.since for q in self.quantities.values()), now)
            is_new, is_late = now - first > _LEARNED_S, self.readings >= _LEARNED
            quantity = self.quantities[key] = _Quantity(now, is_late, is_new)
        is_often = quantity.arrivals.add(now)
        quantity.count += 1
        if key in FINE_PARTICLES:
            self.main = self.main or key
        if key == self.main:
            self.readings += 1
            for other in self.quantities.values():
                other.count = 0
        quantity.is_new |= quantity.is_late and quantity.count > 1
        if quantity.is_new and now - quantity.since < _USUAL_S:
            return False
        if not is_often or key in FINE_PARTICLES:
            return True
        return bool(self.main) and self.quantities[self.main].arrivals.is_fast


class States:
    """State that decoders keep between messages.

    What is known about registered sensors (`names`) is never dropped. Otherwise, one account could
    displace it by describing many devices.

    `joiner`: open join windows.
    `units`: the unit of each property of a device (key: decoder and device).
    `children`: ids of the sensors seen behind a gateway (key: decoder and gateway).
    `last`: state of a device after its last message (key: decoder and device).
    `usual`: what registered sensors usually send, by id; learned again after a restart.
    `waiting`: messages that can't be read until the description of their device arrives.
    """

    def __init__(self) -> None:
        self.names = SensorNames()
        self.joiner = Joiner()
        self.units: Bounded[dict[str, Any]] = Bounded(4_096, self._is_kept)
        self.children: Bounded[list[str]] = Bounded(256, self._is_kept)
        self.last: Bounded[dict[str, Any]] = Bounded(4_096, self._is_kept)
        self.usual: dict[str, UsualValues] = {}
        self.waiting: Bounded[list[Message]] = Bounded(256, self._is_kept)

    def _is_kept(self, key: str) -> bool:
        return self.names.is_registered(key.rpartition(" ")[2])

    def remember_child(self, gateway: str, sensor: str) -> None:
        """Remember that a sensor was seen behind a gateway."""
        seen = self.children.setdefault(gateway, [])
        if sensor not in seen and len(seen) < 512:
            seen.append(sensor)

    def snapshot(self) -> bytes:
        """Return the whole state as bytes."""
        tables = {name: list(table.items()) for name, table in self._list_tables().items()}
        windows = list(self.joiner.windows.items())
        return msgspec.msgpack.encode(_Snapshot(tables, list(self.waiting.items()), windows))

    def restore(self, snapshot: bytes) -> None:
        """Restore the state that `snapshot` returned; raises `msgspec.MsgspecError`."""
        found = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        for name, table in self._list_tables().items():
            table.clear()
            for key, value in found.tables.get(name, []):
                table[key] = value
        self.waiting.clear()
        for key, messages in found.waiting:
            self.waiting[key] = messages
        self.joiner.windows = OrderedDict(found.windows)

    def _list_tables(self) -> dict[str, Bounded[Any]]:
        names = ("units", "children", "last")
        return {name: getattr(self, name) for name in names} | {"topics": self.joiner.topics}


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a decoder uses besides the message.

    `zone`: time zone of devices that send local time without an offset.
    `zones`: time zones of sensors at other sites, by sensor id as returned by `fold_id`.
    `names`: names of registered sensors; a topic that names one may not report for another.
    `limits`: limits on messages and times.
    `registry`: registered sensors. A sensor's `model` selects the codec for its LoRaWAN frames.
    `states`: state that decoders keep between messages.
    """

    zone: tzinfo = UTC
    limits: Limits = field(default_factory=Limits)
    registry: Registry = field(default_factory=Registry)
    states: States = field(default_factory=States)
    zones: Mapping[str, tzinfo] = field(default_factory=dict)
    names: SensorNames = field(default_factory=SensorNames)

    def find_zone(self, sensor: str) -> tzinfo:
        """Return the time zone in which a sensor sends local time."""
        return self.zones.get(fold_id(sensor), self.zone) if self.zones else self.zone

    def validate(
        self,
        sensor: str,
        message: Message,
        raw: Mapping[str, object],
        stamp: float | None = None,
        *,
        faults: Iterable[str] = (),
        state: bool = False,
        **more: Unpack[Noted],
    ) -> Reading:
        """Validate the values of one sensor, and return a reading; raises `PayloadError`."""
        return build_reading(
            sensor, stamp, message, self.limits, raw, faults=faults, state=state, **more
        )

    def join(
        self,
        sensor: str,
        message: Message,
        raw: dict[str, object],
        stamp: float | None = None,
        *,
        window_s: float | None = None,
        **more: Unpack[Noted],
    ) -> Readings:
        """Add values to the join window of a sensor; return the readings of windows that closed.

        Values that a registered sensor doesn't usually send are a reading by themselves.
        """
        joiner, known = self.states.joiner, self.names.find(sensor) if message.live else None
        if known is not None:
            usual = self.states.usual.setdefault(known, UsualValues())
            unusual = usual.find_unusual(raw, message.received)
            if unusual:
                done = joiner.on_time(message.received, self.limits)
                done += joiner.separate(sensor, unusual, self.limits)
                return [*done, self.validate(sensor, message, raw, stamp, **more)]
        return joiner.add(sensor, stamp, message, self.limits, raw, window_s=window_s, **more)


@dataclass(frozen=True, slots=True)
class Decoder:
    """One row of the table of decoders.

    `topics`: MQTT topic filters; a `#` inside a filter matches one or more levels
    (``tele/#/SENSOR``). Empty for formats whose topic the user chooses.
    `decode`: raises only `DecodeError`. It returns an empty list if it understood the message but
    there is nothing to store: a value in a join window, a description, a downlink receipt.
    `descriptions`: filters of topics with large descriptions (`Limits.description_bytes`).
    `over_http`: whether the format is accepted over HTTP. Formats that join the values of several
    topics are not.
    """

    name: str
    topics: tuple[str, ...]
    decode: Callable[[Message, Context], Readings]
    summary: str
    descriptions: tuple[str, ...] = ()
    over_http: bool = False


def make_state_reading(sensor: str, word: str, message: Message, context: Context) -> Reading:
    """Return a reading with the event `online` or `offline`."""
    return context.validate(sensor, message, {}, events=(word,), state=True)


def read_state(sensor: str, message: Message, context: Context) -> Readings:
    """Return the reading for a birth or last will; raises `PayloadError`."""
    return [make_state_reading(sensor, parse_state(decode_text(message.payload)), message, context)]


def make_gateway_states(
    gateway: str, sensor: str, word: str, message: Message, context: Context
) -> Readings:
    """Return a state reading for a gateway and, if it is offline, for each sensor behind it."""
    names = [sensor]
    if word == "offline":
        names += [c for c in context.states.children.get(gateway, []) if c != sensor]
    return [make_state_reading(name, word, message, context) for name in names]


def check_same_device(named: str, sensor: str) -> None:
    """Reject a payload that names a different device than its topic."""
    if fold_id(named) != fold_id(sensor):
        raise PayloadError(Reason.ID_MISMATCH, f"the topic names {sensor!r}, the payload {named!r}")


def parse_stamp(value: object, message: Message, zone: tzinfo | None = None) -> float | None:
    """Parse a device's time stamp for `build_reading`; None if absent, NaN if unusable."""
    if value is None:
        return None
    stamp = parse_time(value, message.received, zone)
    return math.nan if stamp is None else stamp
