"""Simulate attackers who replay, forge or add messages in a stream ordered by `sent`."""

from __future__ import annotations

import gzip
import heapq
import json
import math
from collections import deque
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sensor_sim.streams import stream
from sensor_sim.wire import SimulatedDevice, WireMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np

_sent = attrgetter("sent")


def _repeated(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


GARBAGE: Final[Mapping[str, Callable[[np.random.Generator, int], bytes]]] = {
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
"""Functions that make a payload, by name; arguments are a random generator and a size."""


def apply_to_messages(
    messages: Iterable[WireMessage], attacks: Iterable[Any]
) -> Iterator[WireMessage]:
    """Apply `attacks` to `messages`, in order."""
    for attack in attacks:
        messages = attack.on_messages(messages)
    return iter(messages)


@dataclass(frozen=True, slots=True)
class Replay:
    """Replays one sensor's recorded messages later, byte for byte."""

    sensor: str
    start: float
    end: float
    at: float

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the replayed messages."""
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
    """Publishes a forged plume on a sensor's topic; `claims` is a different id in the payload."""

    sensor: str
    start: float
    duration_s: float = 60.0
    every_s: float = 1.0
    claims: str = ""

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the forged messages."""
        return heapq.merge(messages, self._forged(), key=_sent)

    def _forged(self) -> Iterator[WireMessage]:
        peak = float(stream(0, "spoof", self.sensor, int(self.start)).uniform(150, 900))
        device = SimulatedDevice(self.sensor)
        for i in range(max(1, int(self.duration_s / self.every_s))):
            since = i * self.every_s
            level = peak * (1 - math.exp(-since / 2.0)) * math.exp(-since / 25.0)
            values = {
                "pm1": 3 + 0.9 * level,
                "pm25": 4 + level,
                "pm10": 5 + 1.05 * level,
                "voc_index": 100 + min(300.0, level / 2),
                "rh": 45.0,
                "temp": 22.0,
            }
            message = device.make_reading(self.start + since, self.start + since, values)
            body = json.loads(message.payload) | ({"sensor": self.claims} if self.claims else {})
            yield replace(message, payload=json.dumps(body).encode())


@dataclass(frozen=True, slots=True)
class Flood:
    """Publishes many readings a second from unregistered sensors."""

    start: float
    duration_s: float = 10.0
    rate_hz: float = 1_000.0
    sensors: int = 100
    retain: bool = False

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the flood."""
        return heapq.merge(messages, self._flood(), key=_sent)

    def _flood(self) -> Iterator[WireMessage]:
        rng = stream(0, "flood", int(self.start))
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
                f"plumewatch/v1/flood-{number:06d}/reading",
                json.dumps(body).encode(),
                qos=1,
                retain=self.retain,
                sent=at,
            )


@dataclass(frozen=True, slots=True)
class Garbage:
    """Publishes payloads that are not readings, or decompression bombs, on a sensor's topic."""

    sensor: str
    start: float
    duration_s: float = 10.0
    rate_hz: float = 5.0
    big_bytes: int = 1_000_000

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the garbage."""
        return heapq.merge(messages, self._garbage(), key=_sent)

    def _garbage(self) -> Iterator[WireMessage]:
        rng = stream(0, "garbage", self.sensor, int(self.start))
        makers = tuple(GARBAGE.values())
        for i in range(int(self.duration_s * self.rate_hz)):
            at = self.start + i / self.rate_hz
            yield WireMessage(
                f"plumewatch/v1/{self.sensor}/reading",
                makers[i % len(makers)](rng, self.big_bytes),
                qos=1,
                sent=at,
            )


ATTACKS: Final = (Replay, Spoof, Flood, Garbage)
