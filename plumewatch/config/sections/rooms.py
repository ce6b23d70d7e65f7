"""Rooms and sensors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from plumewatch.config.sections.common import FalseAlarms, Id, Name, TimeZone


class SiteConfig(BaseModel, extra="forbid", frozen=True):
    """One school of several, which may instead be the file `sites/ID.toml` with all its entries."""

    id: Id
    """Id in this file, addresses and file names; in a folder of sites, the name of the file."""
    name: Name
    """Name of the school."""
    timezone: TimeZone | None = None
    """IANA time zone of the school; the top-level `timezone` if left out."""


class RoomConfig(BaseModel, extra="forbid", frozen=True):
    """One room. Use the names that people say."""

    id: Id
    """Id in commands, topics and reports."""
    name: Name
    """Name of the room; every alert starts with it."""
    building: Name
    """Name of the building; rooms of one building share air and storms."""
    floor: Annotated[str, Field(max_length=80)] = ""
    """Name of the floor; rooms of one floor share storms."""
    site: Annotated[str, Field(max_length=80)] = ""
    """Id of its `[[site]]`, if there are several."""
    kind: Annotated[str, Field(min_length=1, max_length=40)] = "restroom"
    """Kind of room, label `room_type` in routes."""


class SensorConfig(BaseModel, extra="forbid", frozen=True):
    """One sensor and its room."""

    id: Id
    """Name under which it publishes: native or Tasmota topic, serial number, EUI."""
    room: Id
    """Id of its `[[room]]`."""
    model: Annotated[str, Field(max_length=40)] = ""
    """Free text; for LoRaWAN devices, the codec of their frames."""
    decoder: str = ""
    """Format, or `mapping:NAME`, if the topic does not determine it."""
    aliases: Annotated[list[Name], Field(max_length=8)] = []
    """Other names under which it publishes."""
    interval_s: Annotated[float, Field(ge=0.5, le=3600)] = 5.0
    """Seconds between readings; determines when the sensor counts as offline."""
    false_alarms_per_week: FalseAlarms | None = None
    """False alarm budget of this sensor; `detection.false_alarms_per_sensor_week` if left out."""
