"""The registry of sensors, and of their rooms, floors, buildings and sites."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from language.messages import _

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date


def format_floor(floor: str) -> str:
    """Return the name of a floor, which may be registered as a number or as words.

    >>> format_floor("2"), format_floor("2nd floor"), format_floor("")
    ('floor 2', '2nd floor', '')
    """
    if not floor or "floor" in floor.lower():
        return floor
    return _("floor %(floor)s", floor=floor)


def find_shard(building: str, count: int) -> int:
    """Return which of `count` shards a building (``site/name``) belongs to, by its CRC-32.

    >>> find_shard("Lincoln High/North", 16)
    10
    """
    return zlib.crc32(building.encode()) % count


def join_place(*parts: str) -> str:
    """Join the non-empty parts of a place's name."""
    return ", ".join(filter(None, parts))


def make_sort_key(name: str) -> tuple[list[tuple[str, int]], str]:
    """Return a sort key that orders numbers in names by value, and is unique for each name.

    >>> sorted(["Room 10", "Room 2", "Room 1", "Room 01", "Gym"], key=make_sort_key)
    ['Gym', 'Room 01', 'Room 1', 'Room 2', 'Room 10']
    """
    parts = re.findall(r"(\D*)(\d*)", name)
    return [(text, int(number or 0)) for text, number in parts], name


@dataclass(frozen=True, slots=True)
class Site:
    """A school. People see its `name`; its `id` is used in configuration, URLs and file names."""

    id: str
    name: str
    zone: str
    """IANA time zone of the school."""
    closed: date | None = None
    """Day on which the school closed, if it did."""

    @property
    def title(self) -> str:
        """Name of the school, marked if it is closed."""
        return _("%(school)s (closed)", school=self.name) if self.closed else self.name


@dataclass(frozen=True, slots=True)
class Room:
    """A room and where it is. `name`, `floor`, `building` and `site` are names that people use."""

    id: str
    name: str
    floor: str
    building: str
    site: str
    kind: str = "restroom"
    zone: str = ""
    """Time zone of the site; if empty, the time zone of the whole installation applies."""
    names_site: bool = False
    """Whether `place` includes the site, which it does if there are several sites."""
    site_id: str = field(default="", compare=False)
    is_closed: bool = field(default=False, compare=False)

    @property
    def shown_site(self) -> str:
        """Name of the site, marked if it is closed; empty if there is only one site."""
        name = _("%(school)s (closed)", school=self.site) if self.is_closed else self.site
        return name if self.names_site else ""

    @property
    def place(self) -> str:
        """Where the room is, such as ``"2nd floor, North"``, with the site if there are several."""
        return join_place(format_floor(self.floor), self.building, self.shown_site)

    @property
    def whole_building(self) -> str:
        """Name of the building, with the site if there are several."""
        return join_place(self.building, self.shown_site)

    @property
    def full_name(self) -> str:
        """Name and place of the room."""
        return join_place(self.name, self.place)

    @property
    def short_name(self) -> str:
        """Name of the room, with its place if there are several sites."""
        return self.full_name if self.names_site else self.name


@dataclass(frozen=True, slots=True)
class Sensor:
    """A registered sensor; if `decoder` is empty, the topic selects the decoder."""

    id: str
    room: str
    model: str = ""
    decoder: str = ""
    interval_s: float = 5.0


@dataclass(slots=True)
class Quarantined:
    """An unregistered sensor or a topic without a decoder; `name` is the sensor id or the topic.

    `decoder` is empty if unknown, and `sample` is the start of the last payload.
    """

    name: str
    first_seen: float
    last_seen: float
    count: int
    decoder: str = ""
    topic: str = ""
    sample: bytes = b""


@dataclass(frozen=True, slots=True)
class Registry:
    """Rooms and sensors by id, and sites by name; closed sites are kept apart."""

    rooms: Mapping[str, Room] = field(default_factory=dict)
    sensors: Mapping[str, Sensor] = field(default_factory=dict)
    sites: Mapping[str, Site] = field(default_factory=dict)
    former: Mapping[str, Room] = field(default_factory=dict)
    """Rooms of closed sites by id, so that old records can show their names."""
    closed: Mapping[str, Site] = field(default_factory=dict)
    """Closed sites by name."""
    former_sensors: Mapping[str, Sensor] = field(default_factory=dict)
    """Sensors of closed sites by id, so that their readings stay readable."""
    _in_room: dict[str, tuple[Sensor, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the sensors by room."""
        found: dict[str, list[Sensor]] = {}
        for sensor in self.sensors.values():
            found.setdefault(sensor.room, []).append(sensor)
        object.__setattr__(self, "_in_room", {room: tuple(own) for room, own in found.items()})

    @classmethod
    def build(
        cls,
        rooms: Iterable[Room],
        sensors: Iterable[Sensor],
        sites: Iterable[Site] = (),
    ) -> Registry:
        """Build a registry; if there are several sites, rooms include the site in their place.

        Rooms and sensors of closed sites are kept apart, for old records and readings.
        """
        placed, sensors = {room.id: room for room in rooms}, tuple(sensors)
        found = {room.site: Site(room.site, room.site, room.zone) for room in placed.values()}
        found |= {site.name: site for site in sites}
        several = len(found) > 1
        placed = {
            key: replace(
                room,
                names_site=several,
                site_id=found[room.site].id,
                is_closed=found[room.site].closed is not None,
            )
            for key, room in placed.items()
        }
        former = {key: room for key, room in placed.items() if room.is_closed}
        return cls(
            {key: room for key, room in placed.items() if key not in former},
            {s.id: s for s in sensors if s.room not in former},
            {name: site for name, site in found.items() if not site.closed},
            former,
            {name: site for name, site in found.items() if site.closed},
            {s.id: s for s in sensors if s.room in former},
        )

    def limit_to(self, sites: Collection[str]) -> Registry:
        """Return a registry limited to these sites (names)."""
        rooms = {key: room for key, room in self.rooms.items() if room.site in sites}
        sensors = {key: sensor for key, sensor in self.sensors.items() if sensor.room in rooms}
        found = {name: site for name, site in self.sites.items() if name in sites}
        former = {key: room for key, room in self.former.items() if room.site in sites}
        closed = {name: site for name, site in self.closed.items() if name in sites}
        kept = {key: sensor for key, sensor in self.former_sensors.items() if sensor.room in former}
        return Registry(rooms, sensors, found, former, closed, kept)

    def get_room(self, room: str) -> Room | None:
        """Return a room, even if its site is closed; None if it is unknown."""
        return self.rooms.get(room) or self.former.get(room)

    def list_sites(self, *, with_closed: bool = False) -> list[Site]:
        """Return the sites sorted by name; closed sites come last."""
        found = [*self.sites.values(), *(self.closed.values() if with_closed else ())]
        return sorted(found, key=lambda s: (s.closed is not None, make_sort_key(s.name.casefold())))

    def find_room(self, sensor: str) -> Room | None:
        """Return the room of a sensor; None if the sensor is unknown."""
        entry = self.sensors.get(sensor)
        return self.rooms.get(entry.room) if entry else None

    def has_sensor(self, sensor: str) -> bool:
        """Return whether a sensor is registered, or was registered until its site closed."""
        return sensor in self.sensors or sensor in self.former_sensors

    def list_sensors(self, room: str) -> tuple[Sensor, ...]:
        """Return the sensors in a room, in registry order."""
        return self._in_room.get(room, ())
