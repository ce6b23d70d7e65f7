"""Wire formats: what real devices publish, byte for byte, made from what they measured.

One class a format, one line in `ENCODERS`. Where a format has no time, no sensor id or fewer
digits, neither has the message.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from sensor_sim.wire.base import Encoder, WireDevice, WireMessage, WireNetwork, WireRow, trace_rows
from sensor_sim.wire.formats import (
    AirGradientEncoder,
    EspHomeEncoder,
    NativeEncoder,
    Zigbee2MqttEncoder,
)
from sensor_sim.wire.tasmota import TasmotaEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sensor_sim.trace import DeviceTrace

__all__ = ["ENCODERS", "Encoder", "Fleet", "WireDevice", "WireMessage", "WireNetwork", "WireRow"]

ENCODERS: Final[Mapping[str, Callable[[WireDevice, WireNetwork], Encoder]]] = {
    "native": NativeEncoder,
    "tasmota": TasmotaEncoder,
    "airgradient": AirGradientEncoder,
    "esphome": EspHomeEncoder,
    "zigbee2mqtt": Zigbee2MqttEncoder,
}
"""Wire format by name, the key of `DeviceTrace.wire`."""

_SAME_MOMENT_S: Final = 2.0


class Fleet:
    """The devices of a school on the wire, with the state of their firmware."""

    def __init__(self, network: WireNetwork | None = None) -> None:
        self._network = WireNetwork() if network is None else network
        self._encoders: dict[str, Encoder] = {}

    def encode(self, traces: Iterable[DeviceTrace]) -> Iterator[WireMessage]:
        """Yield the messages of one stretch of time over all devices, in order of `sent`.

        Stretches come in order of time; a new device first publishes its connect messages. Raises
        `ValueError` for a wire format that is not in `ENCODERS`.
        """
        streams = [self._device(trace) for trace in traces]
        yield from heapq.merge(*streams, key=_sent)

    def _device(self, trace: DeviceTrace) -> Iterator[WireMessage]:
        if trace.wire not in ENCODERS:
            raise ValueError(f"unknown wire format {trace.wire!r}; known: {', '.join(ENCODERS)}")
        encoder = self._encoders.get(trace.sensor)
        fresh = encoder is None
        if encoder is None:
            device = WireDevice(trace.sensor, trace.model)
            encoder = self._encoders[trace.sensor] = ENCODERS[trace.wire](device, self._network)
        return _messages(trace, encoder, fresh=fresh)


def _sent(message: WireMessage) -> float:
    return message.sent


def _messages(trace: DeviceTrace, encoder: Encoder, *, fresh: bool) -> Iterator[WireMessage]:
    events = sorted(trace.events)
    if fresh and (len(trace.sent) or events):
        first = min([*trace.sent[:1].tolist(), *(at for at, _ in events[:1])])
        yield from encoder.connect(first)
    done = 0
    for row in trace_rows(trace):
        while done < len(events) and events[done][0] <= row.sent:
            at, event = events[done]
            same = row.values if row.sent - at <= _SAME_MOMENT_S else None
            yield from encoder.event(at, event, same)
            done += 1
        yield from encoder.reading(row)
    for at, event in events[done:]:
        yield from encoder.event(at, event)
