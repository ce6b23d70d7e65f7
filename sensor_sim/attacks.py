"""Faults and attacks on demand: what students, dust, power strips and networks do to sensors.

Two kinds, both seeded and both streaming, so that a simulation of any length can carry them and
any split into chunks gives the same:

* *at the sensor* (`TraceAttack`): what the device measures or whether it runs changes;
  `on_trace` is called with the stretches of each device in order of time.
* *on the wire* (`MessageAttack`): messages are held, lost, repeated, forged or added;
  `on_messages` turns a stream ordered by `sent` into another one.

Attacks at the sensor leave a row of truth, since a perfect detector would notice them. Attacks on
the wire leave none: the receiver has to survive them, not to report them.
"""

from __future__ import annotations

import gzip
import heapq
import json
import math
from collections import deque
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from sensor_sim.streams import stream
from sensor_sim.trace import DeviceTrace, Truth
from sensor_sim.wire import ENCODERS, WireDevice, WireMessage, WireNetwork, WireRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = [
    "ATTACKS",
    "GARBAGE",
    "BlownAt",
    "ClockJump",
    "Covered",
    "Flood",
    "Garbage",
    "GatewayOutage",
    "MessageAttack",
    "Replay",
    "RippedOff",
    "Spoof",
    "TraceAttack",
    "Unplugged",
    "apply_to_messages",
    "apply_to_trace",
]

_PARTICLES: Final = tuple(
    i
    for i, key in enumerate(COLUMNS)
    if key.startswith("pm") or (key[0] == "n" and key != "nox_index")
)
_RESOLUTION: Final = np.array([QUANTITIES[k].resolution for k in COLUMNS])
_LOW: Final = np.array([QUANTITIES[k].low for k in COLUMNS])
_HIGH: Final = np.array([QUANTITIES[k].high for k in COLUMNS])
_KEEPALIVE_S: Final = 45.0


class TraceAttack(Protocol):
    """A fault at one sensor."""

    @property
    def sensor(self) -> str:
        """Id of the sensor."""

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch as the attacked device would have it."""

    def truth(self, room: str) -> Truth:
        """Return what happened, as a perfect detector would report it."""


class MessageAttack(Protocol):
    """A fault of the network, or an attacker on it."""

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the messages as they arrive at the broker, ordered by `sent`."""


def apply_to_trace(trace: DeviceTrace, attacks: Iterable[TraceAttack]) -> DeviceTrace:
    """`trace` after all those of `attacks` that are on its sensor, in their order."""
    for attack in attacks:
        if attack.sensor == trace.sensor:
            trace = attack.on_trace(trace)
    return trace


def apply_to_messages(
    messages: Iterable[WireMessage], attacks: Iterable[MessageAttack]
) -> Iterator[WireMessage]:
    """`messages` after all of `attacks`, in their order."""
    for attack in attacks:
        messages = attack.on_messages(messages)
    return iter(messages)


def _truth(name: str, kind: str, sensor: str, room: str, start: float, end: float) -> Truth:
    return Truth(
        session=f"{name}-{sensor}-{start:.0f}",
        sensor=sensor,
        room=room,
        source=name,
        kind=kind,
        start=start,
        end=end,
        arrival=start,
        peak_time=start,
        peak_excess=0.0,
        baseline=math.nan,
        masked_by="",
        puffs=0,
    )


@dataclass(slots=True)
class Covered:
    """A bag, tape or gum over the inlet: exchange stops, levels creep to a rest, variance dies.

    Particles settle and stick inside the case (time constant `settle_s`) to a small rest; gas and
    humidity stay where they were, humidity rising by the cover's own moisture. What is left of
    the noise is a third of a display step.

    Attributes
    ----------
    sensor : str
    start, end : float
        Unix seconds.
    seed : int
    settle_s : float
        Time constant, s.
    """

    sensor: str
    start: float
    end: float
    seed: int = 0
    settle_s: float = 90.0
    _first: NDArray[np.float64] | None = field(default=None, repr=False)
    _noise: np.random.Generator | None = field(default=None, repr=False)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch with the covered part replaced."""
        inside = (trace.sent >= self.start) & (trace.sent < self.end)
        if not inside.any():
            return trace
        values = trace.values.copy()
        if self._first is None or self._noise is None:
            self._first = values[inside][0].copy()
            self._noise = stream(self.seed, "covered", self.sensor, int(self.start))
        since = trace.sent[inside, None] - self.start
        rest = self._first.copy()
        rest[list(_PARTICLES)] *= 0.2
        rest[COLUMN_INDEX["rh"]] += 3.0
        level = rest + (self._first - rest) * np.exp(-since / self.settle_s)
        level += self._noise.normal(0.0, 1.0, level.shape) * _RESOLUTION / 3
        level = np.clip(np.round(level / _RESOLUTION) * _RESOLUTION, _LOW, _HIGH)
        values[inside] = np.where(np.isnan(values[inside]), np.nan, level)
        return replace(trace, values=values)

    def truth(self, room: str) -> Truth:
        """Return tampering over the whole time."""
        return _truth("covered", "tamper", self.sensor, room, self.start, self.end)


@dataclass(slots=True)
class BlownAt:
    """Somebody blows into the inlet: a step up and straight down again, with no decay of a plume.

    Dust of the case, coarse before fine, and breath: humid, warm, rich in CO2.

    Attributes
    ----------
    sensor : str
    start : float
        Unix seconds.
    duration_s : float
        Length of the breath, s.
    dust_ug_m3 : float
        Rise of PM10 while it lasts; PM2.5 gets 40 % of it, PM1 15 %.
    """

    sensor: str
    start: float
    duration_s: float = 2.0
    dust_ug_m3: float = 250.0
    _last: float = field(default=math.nan, repr=False)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch with the pulse, averaged over each reading's own interval."""
        if not len(trace.sent):
            return trace
        before = np.concatenate(([_begin(trace, self._last)], trace.sent[:-1]))
        self._last = float(trace.sent[-1])
        end = self.start + self.duration_s
        inside = np.minimum(trace.sent, end) - np.maximum(before, self.start)
        if not (inside > 0).any():
            return trace
        share = np.clip(inside, 0.0, None) / np.maximum(trace.sent - before, 1e-3)
        dust = self.dust_ug_m3
        pulse = {
            "pm1": 0.15 * dust,
            "pm25": 0.4 * dust,
            "pm4": 0.7 * dust,
            "pm10": dust,
            "n03": 0.2 * dust,
            "n05": 0.15 * dust,
            "n10": 0.1 * dust,
            "n25": 0.05 * dust,
            "n50": 0.01 * dust,
            "n100": 0.002 * dust,
            "rh": 25.0,
            "temp": 3.0,
            "co2": 8_000.0,
        }
        values = trace.values.copy()
        for key, rise in pulse.items():
            column = COLUMN_INDEX[key]
            values[:, column] += np.round(share * rise / _RESOLUTION[column]) * _RESOLUTION[column]
        return replace(trace, values=np.clip(values, _LOW, _HIGH))

    def truth(self, room: str) -> Truth:
        """Return tampering at the moment of the breath."""
        end = self.start + self.duration_s
        return _truth("blown_at", "tamper", self.sensor, room, self.start, end)


@dataclass(slots=True)
class Unplugged:
    """The plug is pulled; the broker says so when the keep-alive runs out; later it boots.

    Attributes
    ----------
    sensor : str
    start, end : float
        Unix seconds; `end` infinite is for good.
    """

    sensor: str
    start: float
    end: float = math.inf
    _last: float = field(default=math.nan, repr=False)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch without the dark part, with `offline` and `restart`."""
        if not len(trace.sent):
            return trace
        begin, self._last = _begin(trace, self._last), float(trace.sent[-1])
        return _dark(trace, begin, self.start, self.end)

    def truth(self, room: str) -> Truth:
        """Return a fault of the sensor from the pulled plug on."""
        return _truth("unplugged", "sensor_fault", self.sensor, room, self.start, self.end)


@dataclass(slots=True)
class RippedOff:
    """Torn off the ceiling: tamper contact, a jolt of dust, and silence after `alive_s`.

    Attributes
    ----------
    sensor : str
    start : float
        Unix seconds.
    alive_s : float
        How long the cable holds, s.
    """

    sensor: str
    start: float
    alive_s: float = 8.0
    _jolt: BlownAt = field(init=False, repr=False)
    _last: float = field(default=math.nan, repr=False)

    def __post_init__(self) -> None:
        """Prepare the jolt."""
        self._jolt = BlownAt(self.sensor, self.start, self.alive_s, dust_ug_m3=120.0)

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch with the tamper event, the jolt and then nothing."""
        if not len(trace.sent):
            return trace
        begin, self._last = _begin(trace, self._last), float(trace.sent[-1])
        trace = self._jolt.on_trace(trace)
        trace = _with_events(trace, begin, self._last, ((self.start, "tamper"),))
        return _dark(trace, begin, self.start + self.alive_s, math.inf)

    def truth(self, room: str) -> Truth:
        """Return tampering from the pull on."""
        return _truth("ripped_off", "tamper", self.sensor, room, self.start, math.inf)


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The device's clock is wrong by `offset_s` for a while; it sends at the right time.

    Attributes
    ----------
    sensor : str
    start, end : float
        Unix seconds, true time.
    offset_s : float
        Error of the clock, s; positive is ahead. Inside the window `time` may run backwards.
    """

    sensor: str
    start: float
    end: float
    offset_s: float = 3600.0

    def on_trace(self, trace: DeviceTrace) -> DeviceTrace:
        """Return the stretch with the wrong device times."""
        inside = (trace.sent >= self.start) & (trace.sent < self.end)
        return replace(trace, time=trace.time + np.where(inside, self.offset_s, 0.0))

    def truth(self, room: str) -> Truth:
        """Return a fault of the sensor while its clock is wrong."""
        return _truth("clock_jump", "sensor_fault", self.sensor, room, self.start, self.end)


def _begin(trace: DeviceTrace, last: float) -> float:
    """Where the stretch begins: at the end of the one before, or one interval before its rows."""
    if not math.isnan(last):
        return last
    interval = float(np.median(np.diff(trace.sent))) if len(trace.sent) > 1 else 1.0
    return float(trace.sent[0]) - interval


def _with_events(
    trace: DeviceTrace, begin: float, end: float, more: tuple[tuple[float, str], ...]
) -> DeviceTrace:
    """Add those events that fall into the stretch, from after `begin` to `end`."""
    fitting = tuple(e for e in more if begin < e[0] <= end)
    return replace(trace, events=tuple(sorted((*trace.events, *fitting)))) if fitting else trace


def _dark(trace: DeviceTrace, begin: float, start: float, end: float) -> DeviceTrace:
    """Without readings and events from `start` to `end`, with the will and the boot."""
    last = float(trace.sent[-1])
    trace = replace(trace, events=tuple(e for e in trace.events if not start <= e[0] < end))
    told = ((start + _KEEPALIVE_S, "offline"),) if start + _KEEPALIVE_S < end else ()
    trace = _with_events(trace, begin, last, (*told, (end, "restart")))
    keep = (trace.sent < start) | (trace.sent >= end)
    return replace(trace, time=trace.time[keep], sent=trace.sent[keep], values=trace.values[keep])


@dataclass(frozen=True, slots=True)
class GatewayOutage:
    """The uplink of some sensors is down: their messages are lost, or held back and sent at once.

    Attributes
    ----------
    sensors : tuple of str
        Whose uplink; empty is everybody's.
    start, end : float
        Unix seconds.
    flush : bool
        Whether the gateway holds the messages and sends them when it is back.
    flush_hz : float
        How fast it sends them then, messages a second.
    """

    sensors: tuple[str, ...]
    start: float
    end: float
    flush: bool = False
    flush_hz: float = 50.0

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the gap, or with the burst after it."""
        held: deque[WireMessage] = deque()
        late = self.end
        for message in messages:
            while held and late <= message.sent:
                yield replace(held.popleft(), sent=late)
                late += 1 / self.flush_hz
            hit = not self.sensors or message.sensor in self.sensors
            if hit and self.start <= message.sent < self.end:
                if self.flush:
                    held.append(message)
                continue
            if hit and held:
                held.append(message)
                continue
            yield message
        for message in held:
            yield replace(message, sent=late)
            late += 1 / self.flush_hz


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded messages of one sensor are published again, byte for byte, later.

    Attributes
    ----------
    sensor : str
    start, end : float
        What is recorded, Unix seconds.
    at : float
        When the first of it is played, Unix seconds; not before `end`.
    """

    sensor: str
    start: float
    end: float
    at: float

    def __post_init__(self) -> None:
        """Check that nothing is played before it was recorded.

        Raises
        ------
        ValueError
            If it would be.
        """
        if self.at < self.end:
            raise ValueError(f"a replay at {self.at} can't come before its end {self.end}")

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the repeated messages."""
        shift = self.at - self.start
        tape: deque[WireMessage] = deque()
        for message in messages:
            while tape and tape[0].sent <= message.sent:
                yield tape.popleft()
            if message.sensor == self.sensor and self.start <= message.sent < self.end:
                tape.append(replace(message, sent=message.sent + shift))
            yield message
        yield from tape


@dataclass(frozen=True, slots=True)
class Spoof:
    """Somebody on the network publishes a made-up plume under the id of another sensor.

    Attributes
    ----------
    sensor : str
        The victim.
    start : float
        Unix seconds.
    wire, model : str
        Format and model the messages pretend.
    duration_s, every_s : float
        How long and how often, s.
    claims : str
        Other sensor id inside the payload, where the format has one (`native` only here); empty
        is none.
    seed : int
    """

    sensor: str
    start: float
    wire: str = "native"
    model: str = "SEN55"
    duration_s: float = 60.0
    every_s: float = 1.0
    claims: str = ""
    seed: int = 0

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the forged messages."""
        return heapq.merge(messages, self._forged(), key=_sent)

    def _forged(self) -> Iterator[WireMessage]:
        rng = stream(self.seed, "spoof", self.sensor, int(self.start))
        encoder = ENCODERS[self.wire](WireDevice(self.sensor, self.model), WireNetwork())
        peak = float(rng.uniform(150, 900))
        carried = encoder.resolution()
        for i in range(max(1, int(self.duration_s / self.every_s))):
            since = i * self.every_s
            level = peak * (1 - math.exp(-since / 2.0)) * math.exp(-since / 25.0)
            values = {
                "pm1": 3 + 0.9 * level,
                "pm25": 4 + level,
                "pm10": 5 + 1.05 * level,
                "voc_index": 100 + min(300.0, level / 2),
                "vape_index": min(100.0, level / 5),
                "rh": 45.0,
                "temp": 22.0,
            }
            at = self.start + since
            known = {k: v for k, v in values.items() if k in carried}
            for message in encoder.reading(WireRow(at, at, known)):
                yield self._claiming(message)

    def _claiming(self, message: WireMessage) -> WireMessage:
        forged = replace(message, sensor="")
        if not self.claims or self.wire != "native":
            return forged
        payload = json.loads(forged.payload) | {"sensor": self.claims}
        return replace(forged, payload=json.dumps(payload, separators=(",", ":")).encode())


@dataclass(frozen=True, slots=True)
class Flood:
    """Readings of sensors that nobody registered, many a second.

    Attributes
    ----------
    start, duration_s : float
        Unix seconds; s.
    rate_hz : float
        Messages a second.
    sensors : int
        How many made-up ids.
    retain : bool
        Whether each is left with the broker.
    seed : int
    """

    start: float
    duration_s: float = 10.0
    rate_hz: float = 1_000.0
    sensors: int = 100
    retain: bool = False
    seed: int = 0

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the flood."""
        return heapq.merge(messages, self._flood(), key=_sent)

    def _flood(self) -> Iterator[WireMessage]:
        rng = stream(self.seed, "flood", int(self.start))
        seen = dict.fromkeys(range(self.sensors), 0)
        for i in range(int(self.duration_s * self.rate_hz)):
            number = int(rng.integers(self.sensors))
            seen[number] += 1
            at = self.start + i / self.rate_hz
            body = {
                "time": round(at, 3),
                "seq": seen[number],
                "pm25": round(rng.uniform(0, 900), 1),
            }
            yield WireMessage(
                f"plumewatch/v1/flood-{self.seed}-{number:06d}/reading",
                json.dumps(body).encode(),
                qos=1,
                retain=self.retain,
                sent=at,
            )


@dataclass(frozen=True, slots=True)
class Garbage:
    """Payloads that are no readings, or bombs, on the topic of a sensor.

    Attributes
    ----------
    sensor : str
    start, duration_s : float
        Unix seconds; s.
    rate_hz : float
        Messages a second.
    big_bytes : int
        Size of the big ones, bytes.
    seed : int
    """

    sensor: str
    start: float
    duration_s: float = 10.0
    rate_hz: float = 5.0
    big_bytes: int = 1_000_000
    seed: int = 0

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the garbage."""
        return heapq.merge(messages, self._garbage(), key=_sent)

    def _garbage(self) -> Iterator[WireMessage]:
        rng = stream(self.seed, "garbage", self.sensor, int(self.start))
        makers = tuple(GARBAGE.values())
        for i in range(int(self.duration_s * self.rate_hz)):
            at = self.start + i / self.rate_hz
            yield WireMessage(
                f"plumewatch/v1/{self.sensor}/reading",
                makers[i % len(makers)](rng, self.big_bytes),
                qos=1,
                sent=at,
            )


def _sent(message: WireMessage) -> float:
    return message.sent


def _repeated(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


GARBAGE: Final[Mapping[str, Callable[[np.random.Generator, int], bytes]]] = MappingProxyType(
    {
        "empty": lambda _rng, _big: b"",
        "random bytes": lambda rng, _big: rng.bytes(200),
        "zero bytes": lambda _rng, _big: b"\x00" * 64,
        "text": lambda _rng, _big: b"hello, is this thing on?",
        "cut JSON": lambda _rng, _big: b'{"time":"2026-09-07T10:05:00Z","pm25":7.',
        "trailing comma": lambda _rng, _big: b'{"pm25":7.1,}',
        "a list": lambda _rng, _big: b"[1,2,3]",
        "a number": lambda _rng, _big: b"42",
        "null": lambda _rng, _big: b"null",
        "no quantity": lambda _rng, _big: b'{"seq":1}',
        "NaN": lambda _rng, _big: b'{"pm25":NaN}',
        "Infinity": lambda _rng, _big: b'{"pm25":-Infinity}',
        "overflow": lambda _rng, _big: b'{"pm25":1e999}',
        "negative": lambda _rng, _big: b'{"pm25":-5}',
        "sentinel": lambda _rng, _big: b'{"rh":65535,"temp":-1000}',
        "number as text": lambda _rng, _big: b'{"pm25":"7.1"}',
        "boolean": lambda _rng, _big: b'{"pm25":true}',
        "object": lambda _rng, _big: b'{"pm25":{"value":7.1}}',
        "duplicate keys": lambda _rng, _big: b'{"pm25":7.1,"pm25":900}',
        "1970": lambda _rng, _big: b'{"time":"1970-01-01T00:00:12Z","pm25":7.1}',
        "2099": lambda _rng, _big: b'{"time":"2099-01-01T00:00:00Z","pm25":7.1}',
        "no time at all": lambda _rng, _big: b'{"time":"yesterday","pm25":7.1}',
        "huge integer": lambda _rng, _big: b'{"pm25":' + b"9" * 5_000 + b"}",
        "deep lists": lambda _rng, big: b"[" * min(big, 100_000),
        "deep objects": lambda _rng, big: _repeated(b'{"a":', min(big, 500_000)),
        "many keys": lambda _rng, big: b'{"a":0' + _repeated(b',"b":1', big) + b"}",
        "many objects": lambda _rng, big: b"[{}" + _repeated(b",{}", big) + b"]",
        "big text": lambda _rng, big: b'{"pm25":7.1,"image":"' + b"A" * big + b'"}',
        "gzip bomb": lambda _rng, big: gzip.compress(b" " * big, mtime=0),
        "bad UTF-8": lambda _rng, _big: b'{"pm25":7.1,"room":"\xff\xfe\xc0\xaf"}',
        "byte order mark": lambda _rng, _big: b'\xef\xbb\xbf{"pm25":7.1}',
        "line feeds": lambda _rng, _big: b'{"pm25":7.1,"sensor":"a\\nlevel=error b"}',
        "formula": lambda _rng, _big: b'{"pm25":7.1,"sensor":"=1+1"}',
    }
)
"""Payloads by name, each a function of a random generator and the size of big ones."""

ATTACKS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "covered": Covered,
        "blown_at": BlownAt,
        "unplugged": Unplugged,
        "ripped_off": RippedOff,
        "clock_jump": ClockJump,
        "gateway_outage": GatewayOutage,
        "replay": Replay,
        "spoof": Spoof,
        "flood": Flood,
        "garbage": Garbage,
    }
)
"""All faults and attacks by the name a scenario file calls them."""
