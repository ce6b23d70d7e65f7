"""Cisco Meraki MT: ``meraki/v1/mt/<network>/ble/<MAC>/<metric>``, one metric a topic, with ``ts``.

Known from what two public consumers read. A metric the network does not publish is not sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensor_sim.wire.base import (
    QUANTITIES_OF,
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    hardware_id,
    iso_utc,
    json_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_METRICS: Final = QUANTITIES_OF["meraki"]
_RESOLUTION: Final = {key: 10.0**-d for key, (_, d) in _METRICS.items()} | {"temp": 0.1}


class MerakiEncoder(Encoder):
    """A Meraki MT air sensor behind its gateway."""

    RESOLUTION = _RESOLUTION

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        mac = hardware_id(device.sensor, 12).upper()
        self._mac = ":".join(mac[i : i + 2] for i in range(0, 12, 2))

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return one message a metric, all with the sensor's time."""
        messages = []
        stamp = iso_utc(row.time, "microseconds")
        if "temp" in row.values:
            celsius = row.values["temp"]
            body = {
                "ts": stamp,
                "fahrenheit": round(celsius * 9 / 5 + 32, 1),
                "celsius": round(celsius, 1),
            }
            messages.append(self._metric("temperature", body, row.sent))
        for key, (metric, decimals) in _METRICS.items():
            if key in row.values:
                value = round(row.values[key], decimals) if decimals else round(row.values[key])
                messages.append(self._metric(metric, {"ts": stamp, metric: value}, row.sent))
        return messages

    def _metric(self, metric: str, body: Mapping[str, object], sent: float) -> WireMessage:
        topic = f"meraki/v1/mt/{self.network.meraki_network}/ble/{self._mac}/{metric}"
        return self._message(topic, json_bytes(body), sent)
