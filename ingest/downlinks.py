"""Downlinks: set how often a device reports, through the broker connection of ingest.

Topics come from the configuration alone, never from what a sensor sent. A device's answer arrives
with its other messages: the decoder notes the interval that it names in `States.intervals`.

===================  ==================================================================
format               sets
===================  ==================================================================
`tasmota`            `TelePeriod`; the device answers with the same on ``stat/.../RESULT``
`chirpstack`, `tts`  the reporting interval of a GS601 (``60 00`` and seconds, little-endian, on
`milesight_gateway`  port 85), with its next uplink; the device repeats it in the one after
`qingping`           real-time reports for some hours, renewed before they end if a person wants;
                     the interval that follows is the answer
===================  ==================================================================
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.errors import BrokerError
from ingest.validation import fold_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from ingest.states import States

SHORTEST_S: Final = 10
LONGEST_S: Final = 3600
LONGEST_H: Final = 24
"""Bounds of an interval and, where it ends by itself, of how long it lasts."""
_GS601_INTERVAL: Final = b"\x60\x00"
_GS601_PORT: Final = 85
_BEFORE_END_S: Final = 600.0
_AGAIN_S: Final = 60.0
NEAR: Final = 0.25
"""How far the measured interval of real-time reports may be from that asked for, as a share."""

ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "tasmota": ("/TelePeriod",),
    "chirpstack": ("/command/down",),
    "tts": ("/down/push", "/down/replace"),
    "milesight_gateway": (),
    "qingping": ("/down",),
}
"""How a topic of each format ends; empty where the integrator chooses it."""


@dataclass(frozen=True, slots=True)
class Downlink:
    """Where the commands for a registered sensor are published; `names` are its id and aliases."""

    sensor: str
    format: str
    topic: str
    names: Sequence[str] = ()

    @property
    def longest_h(self) -> int:
        """Hours that a setting lasts at most; 0 if it lasts for good."""
        return LONGEST_H if self.format == "qingping" else 0

    def payload(self, every_s: int, hours: int = 0) -> bytes:
        """Return the command that sets an interval; raise `ValueError` if it is out of bounds."""
        if not SHORTEST_S <= every_s <= LONGEST_S:
            raise ValueError(f"{SHORTEST_S} to {LONGEST_S} s")
        if self.longest_h and not 1 <= hours <= self.longest_h:
            raise ValueError(f"1 to {self.longest_h} hours")
        if self.format == "tasmota":
            return b"%d" % every_s
        if self.format == "qingping":
            content = {"type": "12", "up_itvl": str(every_s), "duration": str(hours * 3600)}
            return json.dumps(content).encode()
        data = base64.b64encode(_GS601_INTERVAL + every_s.to_bytes(2, "little")).decode()
        if self.format == "tts":
            frame = {"f_port": _GS601_PORT, "frm_payload": data, "priority": "NORMAL"}
            return json.dumps({"downlinks": [frame]}).encode()
        fields = {"confirmed": False, "fPort": _GS601_PORT, "data": data}
        if self.format == "chirpstack":
            fields["devEui"] = self.topic.split("/")[-3]
        return json.dumps(fields).encode()


class Asked(NamedTuple):
    """An interval that a device was asked for, seconds, when, Unix seconds, and for how long."""

    every_s: int
    at: float
    hours: int = 0


class Answer(NamedTuple):
    """The interval that a device named after it was asked, seconds, and when, Unix seconds."""

    every_s: float
    at: float


class Downlinks:
    """Sends commands, and finds the answers in what decoders noted; pure but for `publish`.

    `waiting`: devices that were asked and have not answered, by sensor.
    `renewing`: devices that are asked again before their interval ends, by sensor.
    """

    def __init__(
        self,
        downlinks: Iterable[Downlink],
        publish: Callable[[str, bytes], Awaitable[None]],
        states: States,
        clock: Callable[[], float],
    ) -> None:
        self.by_sensor = {downlink.sensor: downlink for downlink in downlinks}
        self.waiting: dict[str, Asked] = {}
        self.renewing: dict[str, Asked] = {}
        self._publish, self._states, self._clock = publish, states, clock

    async def send(self, sensor: str, every_s: int, hours: int = 0, *, renews: bool = False) -> str:
        """Ask a device to report at an interval; return why it was not sent, or nothing."""
        downlink, at = self.by_sensor[sensor], self._clock()
        try:
            await self._publish(downlink.topic, downlink.payload(every_s, hours))
        except (ValueError, BrokerError) as error:
            return str(error)
        self.waiting[sensor] = Asked(every_s, at, hours)
        self.renewing.pop(sensor, None)
        if renews and hours:
            self.renewing[sensor] = Asked(every_s, at, hours)
        return ""

    async def renew(self) -> dict[str, Asked]:
        """Ask devices again whose interval ends soon; return those that were, by sensor.

        What cannot be sent is tried again in a minute.
        """
        now, renewed = self._clock(), {}
        for sensor, asked in list(self.renewing.items()):
            lasts_s = 3600 * asked.hours - _BEFORE_END_S
            if sensor not in self.by_sensor or now < asked.at + lasts_s:
                continue
            if await self.send(sensor, asked.every_s, asked.hours, renews=True):
                self.renewing[sensor] = asked._replace(at=now + _AGAIN_S - lasts_s)
            else:
                renewed[sensor] = self.renewing[sensor]
        return renewed

    def take_answers(self) -> dict[str, Answer]:
        """Return the answers since the last call, by sensor."""
        found = {}
        for sensor, asked in list(self.waiting.items()):
            downlink = self.by_sensor.get(sensor)
            for name in downlink.names if downlink else ():
                every_s, at = self._states.intervals.get(fold_id(name), (0.0, 0.0))
                measured = downlink is not None and downlink.longest_h > 0
                is_other = measured and abs(every_s - asked.every_s) > NEAR * asked.every_s
                if at >= asked.at and not is_other:
                    found[sensor] = Answer(every_s, at)
                    del self.waiting[sensor]
                    break
        return found
