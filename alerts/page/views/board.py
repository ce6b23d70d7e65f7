"""The board of all rooms, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from alerts.page import queries as reading
from alerts.page.page_context import NavLink, PageGroup
from alerts.page.views import charts

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from storage.registry import Room

_ROOM_WINDOW_S: Final = 1800.0


class BoardPages(PageGroup):
    """Rooms now."""

    nav: ClassVar[tuple[NavLink, ...]] = (NavLink("/", "Rooms", ("/rooms/",)),)

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [
            Route("/", self.board),
            Route("/partials/board", self.partial),
            Route("/rooms/{id}", self.room),
            Route("/rooms/{id}/series", self.series),
        ]

    async def board(self, request: Request) -> Response:
        """Rooms now, and what needs somebody."""
        session = await self._context.may_read(request)
        return self._context.render(request, "board.html", session, **await self._content())

    async def partial(self, request: Request) -> Response:
        """Return the part of the board that changes."""
        session = await self._context.may_read(request)
        return self._context.render(request, "board_content.html", session, **await self._content())

    async def room(self, request: Request) -> Response:
        """Show one room: the air of the last 30 minutes and its incidents."""
        context = self._context
        session = await context.may_read(request)
        room = self._room(request)
        states = await self._states()
        recent = await context.threads.run(
            lambda: reading.incidents(context.settings.database, room=room.id, limit=10)
        )
        return context.render(
            request,
            "room.html",
            session,
            state=next(s for s in states if s.room.id == room.id),
            sensors=context.registry.sensors_in(room.id),
            incidents=context.named(recent),
        )

    async def series(self, request: Request) -> Response:
        """Return the last 30 minutes of a room as JSON."""
        await self._context.may_read(request)
        room = self._room(request)
        now = self._context.settings.clock()
        return await charts.series(self._context, room.id, now - _ROOM_WINDOW_S, now)

    async def _content(self) -> dict[str, Any]:
        settings = self._context.settings
        states = await self._states()
        open_incidents = await self._context.threads.run(
            lambda: reading.incidents(settings.database, only_open=True)
        )
        levels = [s.level for s in states]
        return {
            "buildings": reading.board(states),
            "open_incidents": self._context.named(open_incidents),
            "counts": {level: levels.count(level) for level in dict.fromkeys(levels)},
            "reachable": any(m.targets for m in settings.engine.policy.staff),
        }

    async def _states(self) -> list[reading.RoomState]:
        settings = self._context.settings
        latest = await self._context.threads.run(settings.series.latest)
        return await self._context.threads.run(
            reading.rooms,
            settings.database,
            self._context.registry,
            latest,
            settings.clock(),
            settings.intervals(),
        )

    def _room(self, request: Request) -> Room:
        room = self._context.registry.rooms.get(request.path_params["id"])
        if room is None:
            raise HTTPException(404, "There is no such room.")
        return room
