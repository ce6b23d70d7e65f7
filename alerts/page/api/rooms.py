"""Rooms and sensors for programs, in their current state."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from alerts.access.api_tokens import Scope
from alerts.page.api.incidents import Place, describe_place, link_next
from alerts.page.api.operation import (
    Model,
    Number,
    OfSite,
    build_invalid,
    operation,
    to_moment,
    to_moment_if_known,
)
from alerts.page.page_group import PageGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from alerts.page.settings import SensorStatus
    from storage.registry import Room as RegisteredRoom
    from storage.registry import Sensor as Registered
    from storage.timeseries import LatestReading


class Room(Place):
    """A room. `state` is its state on the staff page, such as alarm, responding, ok or silent."""

    kind: str
    state: str
    text: str = Field(description="The state in words.")
    since: datetime | None = Field(description="When this state began, or null.")
    incident: str | None = Field(description="Id of its open or missed incident, or null.")
    seen: datetime | None = Field(description="Time of its newest reading, or null.")
    sensors: list[str] = Field(description="Ids of its sensors.")


class Rooms(Model):
    """A list of rooms."""

    items: list[Room]
    next: str | None = None


class Sensor(Model):
    """A registered sensor and its newest reading."""

    id: str
    room: str = Field(description="Id of its room.")
    site: str = Field(description="Id of the site.")
    site_name: str
    model: str
    interval_s: Number = Field(description="Seconds between its readings.")
    state: str = Field(description="alive, silent, offline or never heard. Empty if unknown.")
    time: datetime | None = Field(description="Time of its newest reading, or null.")
    values: dict[str, Number] = Field(description="Newest values, by quantity.")


class Sensors(Model):
    """A list of sensors."""

    items: list[Sensor]
    next: str | None = None


class PageQuery(OfSite):
    """Filters by site, and the part of a list to return."""

    limit: Annotated[
        int | None, Field(ge=1, le=5000, description="Maximum items per page. If omitted, all.")
    ] = None
    cursor: Annotated[
        str, Field(max_length=200, description="Position of the page, taken from `next`.")
    ] = ""


class SensorQuery(PageQuery):
    """Filters for sensors."""

    room: Annotated[str, Field(max_length=200, description="Id of a room.")] = ""


class Site(Model):
    """A school. Renaming it doesn't change its `id`."""

    id: str
    name: str
    timezone: str = Field(description="IANA time zone.")
    rooms: int = Field(description="Number of rooms.")
    sensors: int = Field(description="Number of sensors.")
    closed: date | None = Field(description="Day on which it closed, or null.")


class Sites(Model):
    """A list of sites, sorted by name."""

    items: list[Site]
    next: str | None = None


class RoomApi(PageGroup):
    """Sites, rooms and sensors for programs."""

    @operation("/sites", Scope.READ, Sites)
    async def list_sites(self, _request: Request) -> Sites:
        """List the sites that the token has access to, including closed ones."""
        registry, usual = self._context.registry, self._context.policy.zone
        rooms = Counter(room.site for room in registry.rooms.values())
        sensors = Counter(registry.rooms[s.room].site for s in registry.sensors.values())
        return Sites(
            items=[
                Site(
                    id=site.id,
                    name=site.name,
                    timezone=site.zone or usual,
                    rooms=rooms[site.name],
                    sensors=sensors[site.name],
                    closed=site.closed,
                )
                for site in registry.list_sites(with_closed=True)
            ]
        )

    @operation("/rooms", Scope.READ, Rooms, query=PageQuery)
    async def list_rooms(self, _request: Request, query: PageQuery) -> Rooms:
        """List rooms with their current state."""
        rooms = self._context.registry.rooms
        ids, following = _take_page("rooms", query, [*rooms])
        return Rooms(items=await self._load_rooms([rooms[each] for each in ids]), next=following)

    @operation("/rooms/{id}", Scope.READ, Room)
    async def get_room(self, request: Request) -> Room:
        """Get a room with its current state."""
        return (await self._load_rooms([self._context.find_room(request)]))[0]

    @operation("/sensors", Scope.READ, Sensors, query=SensorQuery)
    async def list_sensors(self, _request: Request, query: SensorQuery) -> Sensors:
        """List registered sensors with their newest reading."""
        latest = await self._context.run_in_thread(self._context.settings.series.read_latest)
        found = self._context.registry.sensors
        inside = [s.id for s in found.values() if query.room in ("", s.room)]
        ids, following = _take_page("sensors", query, inside)
        lives = self._context.read_pipeline().sensors
        return Sensors(
            items=[
                self._summarize(s, lives.get(s.id), latest.get(s.id))
                for s in map(found.__getitem__, ids)
            ],
            next=following,
        )

    @operation("/sensors/{id}", Scope.READ, Sensor)
    async def get_sensor(self, request: Request) -> Sensor:
        """Get a sensor with its newest reading."""
        sensor = self._context.find_sensor(request)
        latest = await self._context.run_in_thread(self._context.settings.series.read_latest)
        life = self._context.read_pipeline().sensors.get(sensor.id)
        return self._summarize(sensor, life, latest.get(sensor.id))

    async def _load_rooms(self, only: Sequence[RegisteredRoom]) -> list[Room]:
        registry = self._context.registry
        return [
            Room(
                **describe_place(s.room),
                kind=s.room.kind,
                state=s.level,
                text=s.text,
                since=to_moment_if_known(s.since),
                incident=s.incident or None,
                seen=to_moment_if_known(s.seen),
                sensors=[sensor.id for sensor in registry.list_sensors(s.room.id)],
            )
            for s in await self._context.load_room_states(only)
        ]

    def _summarize(
        self, sensor: Registered, life: SensorStatus | None, latest: LatestReading | None
    ) -> Sensor:
        room = self._context.registry.rooms[sensor.room]
        life = life and life.merge_stored(latest.time if latest else None)
        return Sensor(
            id=sensor.id,
            room=sensor.room,
            site=room.site_id,
            site_name=room.site,
            model=sensor.model,
            interval_s=life.interval_s if life else sensor.interval_s,
            state=life.state if life else "",
            time=to_moment(latest.time) if latest else None,
            values=dict(latest.values) if latest else {},
        )


def _take_page(path: str, query: PageQuery, ids: list[str]) -> tuple[list[str], str | None]:
    """Return the requested ids, and the path of the next page; raise 400 if the cursor is wrong."""
    if query.cursor and query.cursor not in ids:
        raise build_invalid([("cursor", "is not valid; begin without one")])
    start = ids.index(query.cursor) + 1 if query.cursor else 0
    end = start + (query.limit or len(ids))
    return ids[start:end], link_next(path, query, ids[end - 1]) if end < len(ids) else None
