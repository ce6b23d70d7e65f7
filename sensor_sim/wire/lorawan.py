"""A GS601 behind a LoRaWAN network server: ChirpStack v4 or The Things Stack v3.

The device sends bytes without a time; the network server wraps them in JSON with the time of
reception, the radio's figures and the frame counter. No will, no retained state: an offline
device is silent. Neither server has a codec installed here, so only the bytes are sent.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from abc import abstractmethod
from typing import TYPE_CHECKING

from sensor_sim.wire.base import (
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    hardware_id,
    iso_utc,
    json_bytes,
)
from sensor_sim.wire.gs601 import FPORT, Gs601

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMESPACE = uuid.UUID("5b2c7f6e-43d0-5a0e-9a6e-2d5c8f0e1b77")


class _LorawanEncoder(Encoder):
    RESOLUTION = Gs601.RESOLUTION

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._eui = hardware_id(device.sensor, 16)
        self._frames = Gs601(self._eui)
        self._counter = 0
        self._joins = 0
        self._rssi = -60 - int(self._eui[-2:], 16) % 50

    def connect(self, at: float) -> list[WireMessage]:
        """Return the join and the frame with the device's versions; the counter starts anew."""
        self._counter = 0
        self._joins += 1
        return [self._join(at), self._uplink(self._frames.join(), at)]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return the uplink of a periodic report, and before it those of released alarms."""
        self._rssi = round(row.values.get("rssi", self._rssi))
        return [self._uplink(frame, row.sent) for frame in self._frames.report(row.values)]

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return the alarm's uplink, or a join for a start; nothing for offline."""
        frame = self._frames.event(event, values or {})
        return super().event(at, event) if frame is None else [self._uplink(frame, at)]

    @property
    def _address(self) -> str:
        text = f"{self._eui}{self._joins}".encode()
        return "26" + hashlib.blake2b(text, digest_size=3).hexdigest()

    def _unique(self, what: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self._eui}/{self._seq}/{what}"))

    def _snr(self) -> float:
        return round(max(-18.0, min(13.0, 13.0 - (-60 - self._rssi) / 6)), 1)

    @abstractmethod
    def _join(self, at: float) -> WireMessage:
        """Return the message of the network server for a join."""

    @abstractmethod
    def _uplink(self, frame: bytes, at: float) -> WireMessage:
        """Return the message of the network server for a frame."""


class ChirpStackEncoder(_LorawanEncoder):
    """A GS601 behind ChirpStack v4: ``application/<id>/device/<devEui>/event/up``."""

    def _join(self, at: float) -> WireMessage:
        body = {
            "deduplicationId": self._unique("join"),
            "time": self._time(at),
            "deviceInfo": self._info(),
            "devAddr": self._address,
        }
        return self._message(self._topic("join"), json_bytes(body), at)

    def _uplink(self, frame: bytes, at: float) -> WireMessage:
        body: dict[str, object] = {
            "deduplicationId": self._unique("up"),
            "time": self._time(at),
            "deviceInfo": self._info(),
            "devAddr": self._address,
            "adr": True,
            "dr": 5,
            "fCnt": self._counter,
            "fPort": FPORT,
            "confirmed": False,
            "data": base64.b64encode(frame).decode(),
            "rxInfo": [
                {
                    "gatewayId": self.network.gateway,
                    "uplinkId": int(self._unique("id")[:8], 16),
                    "gwTime": self._time(at),
                    "nsTime": self._time(at + 0.04),
                    "rssi": self._rssi,
                    "snr": self._snr(),
                    "channel": self._counter % 8,
                    "location": {},
                    "context": "AAAAAA==",
                    "metadata": {"region_config_id": "us915_0", "region_common_name": "US915"},
                    "crcStatus": "CRC_OK",
                }
            ],
            "txInfo": {
                "frequency": 902_300_000 + 200_000 * (self._counter % 8),
                "modulation": {
                    "lora": {"bandwidth": 125_000, "spreadingFactor": 7, "codeRate": "CR_4_5"}
                },
            },
        }
        self._counter += 1
        return self._message(self._topic("up"), json_bytes(body), at)

    def _topic(self, event: str) -> str:
        return f"application/{self.network.application}/device/{self._eui}/event/{event}"

    def _info(self) -> dict[str, object]:
        return {
            "tenantId": self.network.tenant,
            "tenantName": "School",
            "applicationId": self.network.application,
            "applicationName": "Air quality",
            "deviceProfileId": "0d5c2f1b-7a53-4a6c-8d61-9f3f2a7c5e10",
            "deviceProfileName": "Milesight GS601",
            "deviceName": self.device.sensor,
            "devEui": self._eui,
            "deviceClassEnabled": "CLASS_C",
            "tags": {},
        }

    @staticmethod
    def _time(at: float) -> str:
        return iso_utc(at, "microseconds").replace("Z", "+00:00")


class ThingsStackEncoder(_LorawanEncoder):
    """A GS601 behind The Things Stack v3: ``v3/<app>@<tenant>/devices/<id>/up``.

    The server leaves out fields that are zero or empty, the frame counter included.
    """

    def _join(self, at: float) -> WireMessage:
        body = {
            "end_device_ids": self._ids(),
            "correlation_ids": [f"as:up:{self._ulid('join')}"],
            "received_at": self._time(at + 0.2),
            "join_accept": {"session_key_id": self._session(), "received_at": self._time(at)},
        }
        return self._message(self._topic("join"), json_bytes(body), at)

    def _uplink(self, frame: bytes, at: float) -> WireMessage:
        uplink: dict[str, object] = {"session_key_id": self._session(), "f_port": FPORT}
        if self._counter:
            uplink["f_cnt"] = self._counter
        gateway = self.network.gateway
        uplink |= {
            "frm_payload": base64.b64encode(frame).decode(),
            "rx_metadata": [
                {
                    "gateway_ids": {"gateway_id": f"eui-{gateway}", "eui": gateway.upper()},
                    "time": self._time(at),
                    "timestamp": int(at * 1e6) % 2**32,
                    "rssi": self._rssi,
                    "channel_rssi": self._rssi,
                    "snr": self._snr(),
                    "received_at": self._time(at + 0.03),
                }
            ],
            "settings": {
                "data_rate": {
                    "lora": {
                        "bandwidth": 125_000,
                        "spreading_factor": 7,
                        "coding_rate": "4/5",
                    }
                },
                "frequency": str(902_300_000 + 200_000 * (self._counter % 8)),
                "timestamp": int(at * 1e6) % 2**32,
                "time": self._time(at),
            },
            "received_at": self._time(at + 0.04),
            "consumed_airtime": "0.077056s",
            "version_ids": {
                "brand_id": "milesight-iot",
                "model_id": "gs601",
                "hardware_version": "1.0",
                "firmware_version": "1.1",
                "band_id": "US_902_928",
            },
            "network_ids": {"net_id": "000013", "tenant_id": "ttn", "cluster_id": "nam1"},
        }
        self._counter += 1
        body = {
            "end_device_ids": self._ids(),
            "correlation_ids": [f"as:up:{self._ulid('up')}"],
            "received_at": self._time(at + 0.2),
            "uplink_message": uplink,
        }
        return self._message(self._topic("up"), json_bytes(body), at)

    def _topic(self, event: str) -> str:
        return f"v3/school-air@ttn/devices/eui-{self._eui}/{event}"

    def _ids(self) -> dict[str, object]:
        return {
            "device_id": f"eui-{self._eui}",
            "application_ids": {"application_id": "school-air"},
            "dev_eui": self._eui.upper(),
            "join_eui": "24E124C0002A0001",
            "dev_addr": self._address.upper(),
        }

    def _session(self) -> str:
        return base64.b64encode(bytes.fromhex(f"01{self._eui}{self._joins:06x}")).decode()

    def _ulid(self, what: str) -> str:
        digits = self._unique(what).replace("-", "").upper()
        return "01" + digits[:24]

    @staticmethod
    def _time(at: float) -> str:
        return iso_utc(at, "microseconds").replace("Z", "000Z")
