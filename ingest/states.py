"""What some formats need to remember between messages, in one explicit, bounded object.

`Joiner` makes one reading of the values of one sensor that arrive within a window. A window opens
with its first value and closes when it is over, when a quantity comes a second time, or when the
device's own time stamp changes. Its time is the device's, or the receive time of its first value.

All tables are bounded; what was used longest ago is forgotten first. `snapshot` and `restore` carry
everything over a restart, in mid-stream, open windows included.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from ingest.errors import DecodeError
from ingest.firmware import version_of
from ingest.message import Message
from ingest.validation import Limits, build_reading

if TYPE_CHECKING:
    from storage.reading import Reading

_V = TypeVar("_V")
_WINDOW_S: Final = 1.0


class Bounded(OrderedDict[str, _V], Generic[_V]):
    """A dict that forgets its oldest entry beyond `size`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __setitem__(self, key: str, value: _V) -> None:
        """Set and make newest."""
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self.size:
            self.popitem(last=False)


@dataclass(slots=True)
class _Open:
    """A window that still collects."""

    opened: float
    closes: float
    stamp: float | None
    message: Message
    raw: dict[str, object] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    firmware: object = None
    seq: int | None = None


class _Snapshot(msgspec.Struct):
    tables: dict[str, list[tuple[str, Any]]]
    waiting: list[tuple[str, list[Message]]]
    windows: list[tuple[str, _Open]]


class Joiner:
    """Join single values into readings, driven by receive times; pure."""

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
        events: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        firmware: object = None,
        window_s: float | None = None,
        seq: int | None = None,
    ) -> list[Reading]:
        """Add values; return the readings whose window this closes."""
        done = self.on_time(message.received, limits)
        window = self.windows.get(sensor)
        if window is not None and (
            not _same(window.stamp, stamp)
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
        window.events.extend(events)
        window.flags.extend(flags)
        if firmware is not None:
            window.firmware = firmware
        if seq is not None:
            window.seq = seq
        return done

    def next_deadline(self) -> float | None:
        """When the next window closes, Unix seconds of receive time; None if none is open."""
        return min((window.closes for window in self.windows.values()), default=None)

    def waiting_since(self) -> float | None:
        """When the oldest open window was opened, Unix seconds of receive time."""
        for window in self.windows.values():
            return window.opened
        return None

    def on_time(self, now: float, limits: Limits) -> list[Reading]:
        """Close the windows that are over at `now`."""
        due = [s for s, w in self.windows.items() if w.closes <= now]
        return [reading for sensor in due for reading in self._close(sensor, limits)]

    def close(self, limits: Limits) -> list[Reading]:
        """Close all windows."""
        return [reading for s in list(self.windows) for reading in self._close(s, limits)]

    def _close(self, sensor: str, limits: Limits) -> list[Reading]:
        window = self.windows.pop(sensor)
        try:
            return [
                build_reading(
                    sensor,
                    window.stamp,
                    window.message,
                    limits,
                    window.raw,
                    events=window.events,
                    flags=window.flags,
                    firmware=window.firmware,
                    seq=window.seq,
                )
            ]
        except DecodeError:
            # Each value was checked when it came; a window can only fail by its time stamp,
            # which was checked as well.
            return []


def _same(one: float | None, other: float | None) -> bool:
    """Whether two time stamps are the same, two unusable ones (NaN) included."""
    return one == other or (one is not None and other is not None and one != one and other != other)  # noqa: PLR0124 - NaN


class States:
    """Memory of the decoders of one service.

    `joiner`: open windows.
    `units`: units by property, by device (key: decoder and device).
    `hints`: unit by state topic, from discovery.
    `firmware`: version of what runs there, by sensor id as decoded, or by topic, from descriptions.
    `children`: sensor ids seen behind a gateway (key: decoder and gateway).
    `last`: what a device known last (key: decoder and device).
    `waiting`: messages that cannot be read before the description of their device arrives.
    """

    def __init__(self, window_s: float = _WINDOW_S) -> None:
        self.joiner = Joiner(window_s)
        self.units: Bounded[dict[str, Any]] = Bounded(4_096)
        self.hints: Bounded[str] = Bounded(16_384)
        self.firmware: Bounded[str] = Bounded(16_384)
        self.children: Bounded[list[str]] = Bounded(256)
        self.last: Bounded[dict[str, Any]] = Bounded(4_096)
        self.waiting: Bounded[list[Message]] = Bounded(256)

    def withdraw_discovery(self, topic: str) -> None:
        """Forget what discovery said about a state topic."""
        for table in (self.hints, self.firmware):
            table.pop(topic, None)

    def describe(self, place: str, firmware: object) -> None:
        """Remember what a description calls the firmware of a sensor, or of one behind a topic."""
        version = version_of(firmware)
        if version:
            self.firmware[place] = version

    def described(self, sensor: str, topic: str) -> str:
        """Return the version that descriptions give for a sensor seen under a topic, or none."""
        return self.firmware.get(sensor) or self.firmware.get(
            self.joiner.topics.get(sensor, topic), ""
        )

    def child(self, gateway: str, sensor: str) -> None:
        """Remember that a sensor was seen behind a gateway."""
        seen = self.children.get(gateway)
        if seen is None:
            seen = self.children[gateway] = []
        if sensor not in seen and len(seen) < 512:
            seen.append(sensor)

    def snapshot(self) -> bytes:
        """Return everything as bytes."""
        tables = {name: list(table.items()) for name, table in self._tables().items()}
        windows = list(self.joiner.windows.items())
        return msgspec.msgpack.encode(_Snapshot(tables, list(self.waiting.items()), windows))

    def restore(self, snapshot: bytes) -> None:
        """Take over what `snapshot` returned; raises `msgspec.MsgspecError`."""
        found = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        for name, table in self._tables().items():
            table.clear()
            for key, value in found.tables.get(name, []):
                table[key] = value
        self.waiting.clear()
        for key, messages in found.waiting:
            self.waiting[key] = messages
        self.joiner.windows = OrderedDict(found.windows)

    def _tables(self) -> dict[str, Bounded[Any]]:
        names = ("units", "hints", "firmware", "children", "last")
        return {name: getattr(self, name) for name in names} | {"topics": self.joiner.topics}
