"""Rooms and sensors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FalseAlarms, Id, Name


class RoomConfig(BaseModel, extra="forbid", frozen=True):
    """One room; building and floor are names a person would say."""

    id: Id
    """Names it in commands, topics and reports."""
    name: Name
    """First words of every alert; say it as a person would."""
    building: Name
    """As a person would say it; rooms of one building share air and storms."""
    floor: Annotated[str, Field(max_length=80)] = ""
    """The same; rooms of one floor share storms."""
    site: Annotated[str, Field(max_length=80)] = ""
    """The school, where one service watches several; `site` at the top if left out."""
    kind: Annotated[str, Field(min_length=1, max_length=40)] = "restroom"
    """Kind of room, label `room_type` of routes."""


class SensorConfig(BaseModel, extra="forbid", frozen=True):
    """One sensor and where it hangs."""

    id: Id
    """Name under which it publishes: native or Tasmota topic, serial number, EUI."""
    room: Id
    """Id of its `[[room]]`."""
    model: Annotated[str, Field(max_length=40)] = ""
    """Free text; of LoRaWAN devices it names the codec of their frames."""
    decoder: str = ""
    """Format, or `mapping:NAME`, where the topic does not tell it."""
    aliases: Annotated[list[Name], Field(max_length=8)] = []
    """Other names under which it publishes."""
    interval_s: Annotated[float, Field(ge=0.5, le=3600)] = 5.0
    """Seconds between its readings; silence is measured by it."""
    false_alarms_per_week: FalseAlarms | None = None
    """Budget of this sensor; `detection.false_alarms_per_sensor_week` if left out."""
