"""The sensor registry: which sensor hangs in which room, on which floor, in which building."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from language.messages import _

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def floor_name(floor: str) -> str:
    """Return a floor as people say it, whether it is registered as a number or as words.

    >>> floor_name("2"), floor_name("2nd floor"), floor_name("")
    ('floor 2', '2nd floor', '')
    """
    if not floor or "floor" in floor.lower():
        return floor
    return _("floor %(floor)s", floor=floor)


def shard_of(building: str, count: int) -> int:
    """Return the shard, of `count`, of a building (``site/name``): the CRC-32 of the text.

    >>> shard_of("Lincoln High/North", 16)
    10
    """
    return zlib.crc32(building.encode()) % count


@dataclass(frozen=True, slots=True)
class Room:
    """A room and its place; every part but the id is a name that people use."""

    id: str
    name: str
    floor: str
    building: str
    site: str
    kind: str = "restroom"

    @property
    def place(self) -> str:
        """Where it is in the school, such as ``"2nd floor, North"``."""
        return ", ".join(part for part in (floor_name(self.floor), self.building) if part)


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor as the school registered it.

    `id` is the name of its readings or the alias for it; `decoder` is empty for one by topic, and
    `interval_s` the time between readings as configured on the device.
    """

    id: str
    room: str
    model: str = ""
    decoder: str = ""
    interval_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Registry:
    """All rooms and sensors, looked up by id."""

    rooms: Mapping[str, Room] = field(default_factory=dict)
    sensors: Mapping[str, Sensor] = field(default_factory=dict)

    @classmethod
    def of(cls, rooms: Iterable[Room], sensors: Iterable[Sensor]) -> Registry:
        """Index rooms and sensors by id."""
        return cls({r.id: r for r in rooms}, {s.id: s for s in sensors})

    def room_of(self, sensor: str) -> Room | None:
        """Room in which a sensor hangs; None if the sensor is unknown."""
        entry = self.sensors.get(sensor)
        return self.rooms.get(entry.room) if entry else None

    def sensors_in(self, room: str) -> tuple[Sensor, ...]:
        """Sensors of a room, in registry order."""
        return tuple(s for s in self.sensors.values() if s.room == room)
