"""Faults of the network and attackers on it: messages delayed, lost, repeated, forged or added.

`on_messages` turns a stream ordered by `sent` into another one. None has a row of truth: the
receiver must survive them, not report them.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sensor_sim.faults.garbage import GARBAGE
from sensor_sim.streams import stream
from sensor_sim.wire import ENCODERS, WireDevice, WireMessage, WireNetwork, WireRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class MessageAttack(Protocol):
    """A fault of the network, or an attacker on it."""

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the messages as they arrive at the broker, ordered by `sent`."""


def apply_to_messages(
    messages: Iterable[WireMessage], attacks: Iterable[MessageAttack]
) -> Iterator[WireMessage]:
    """`messages` after all of `attacks`, in their order."""
    for attack in attacks:
        messages = attack.on_messages(messages)
    return iter(messages)


@dataclass(frozen=True, slots=True)
class GatewayOutage:
    """The uplink of some sensors is down: their messages are lost, or buffered and sent afterwards.

    - `sensors`: whose uplink; empty for all.
    - `flush`: whether the gateway buffers the messages.
    - `flush_hz`: rate at which it sends them then.
    """

    sensors: tuple[str, ...]
    start: float
    end: float
    flush: bool = False
    flush_hz: float = 50.0

    def on_messages(self, messages: Iterable[WireMessage]) -> Iterator[WireMessage]:
        """Yield the stream with the gap, or with the burst after it."""
        buffered: deque[WireMessage] = deque()
        late = self.end
        for message in messages:
            while buffered and late <= message.sent:
                yield replace(buffered.popleft(), sent=late)
                late += 1 / self.flush_hz
            hit = not self.sensors or message.sensor in self.sensors
            if hit and self.start <= message.sent < self.end:
                if self.flush:
                    buffered.append(message)
                continue
            if hit and buffered:
                buffered.append(message)
                continue
            yield message
        for message in buffered:
            yield replace(message, sent=late)
            late += 1 / self.flush_hz


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded messages of one sensor are published again, byte for byte, later.

    - `start`, `end`: what is recorded, Unix seconds.
    - `at`: when the first of it is played, Unix seconds; not before `end`.
    """

    sensor: str
    start: float
    end: float
    at: float

    def __post_init__(self) -> None:
        """Check that nothing is played before it was recorded.

        Raises `ValueError` if it would be.
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

    - `wire`, `model`: format and model the messages pretend.
    - `duration_s`, `every_s`: how long and how often, s.
    - `claims`: other sensor id inside the payload, where the format has one (`native` only here);
      empty is none.
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

    - `sensors`: how many made-up ids.
    - `retain`: whether each is left with the broker.
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
    """Payloads that are not readings, or decompression bombs, on the topic of a sensor."""

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
