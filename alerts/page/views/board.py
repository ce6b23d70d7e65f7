"""The board of all rooms, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from alerts.page import queries
from alerts.page.page_context import NavLink, PageGroup, serves
from alerts.page.views import charts
from language.messages import LANGUAGES, gettext, language, mark, speaking

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_TITLE: Final = mark("There is an air sensor in this room")
_SIGN: Final = (
    mark("It measures fine particles, gases, humidity and temperature."),
    mark("If it detects vaping or smoke, staff are notified and come."),
    mark("The system has no microphone, no camera, and no names of students."),
    mark("Vaping and smoking are not allowed at school."),
    mark("Questions? Please ask at the school office."),
)
_ROOM_WINDOW_S: Final = 1800.0


class BoardPages(PageGroup):
    """Rooms now."""

    nav: ClassVar[tuple[NavLink, ...]] = (
        NavLink(
            "/",
            mark("Rooms"),
            ("/rooms/",),
            icon='<path d="M4 21V4h10v17M14 8l6 2v11M2 21h20" class="line"/>',
        ),
    )

    @serves("/")
    async def board(self, request: Request) -> Response:
        """Show open incidents and all rooms."""
        return self._context.render(request, "board.html", **await self._content())

    @serves("/partials/board")
    async def partial(self, request: Request) -> Response:
        """Return the part of the board that changes."""
        return self._context.render(request, "board_content.html", **await self._content())

    @serves("/sign")
    async def sign(self, request: Request) -> Response:
        """Show a sign for the door, to print, in every language that we have."""
        signs = []
        for code in sorted(LANGUAGES, key=lambda code: code != language()):
            with speaking(code):
                lines = [*map(gettext, _SIGN)]
                signs.append({"code": code, "title": gettext(_TITLE), "lines": lines})
        return self._context.render(request, "sign.html", signs=signs)

    @serves("/rooms/{id}")
    async def room(self, request: Request) -> Response:
        """Show one room: the air of the last 30 minutes and its incidents."""
        context = self._context
        room = context.room(request)
        return context.render(
            request,
            "room.html",
            state=next(s for s in await self._states() if s.room.id == room.id),
            sensors=context.registry.sensors_in(room.id),
            incidents=context.named(await context.read(queries.incidents, room=room.id, limit=10)),
        )

    @serves("/rooms/{id}/series")
    async def series(self, request: Request) -> Response:
        """Return the last 30 minutes of a room as JSON."""
        now = self._context.settings.clock()
        room = self._context.room(request)
        return await charts.series(self._context, room.id, now - _ROOM_WINDOW_S, now)

    async def _content(self) -> dict[str, Any]:
        context, states = self._context, await self._states()
        return {
            "buildings": queries.board(states),
            "open_incidents": context.named(await context.read(queries.incidents, only_open=True)),
            "silent_rooms": sum(s.level == "silent" for s in states),
            "reachable": any(m.targets for m in context.policy.staff),
        }

    async def _states(self) -> list[queries.RoomState]:
        settings = self._context.settings
        latest = await self._context.in_thread(settings.series.latest)
        intervals = settings.intervals()
        return await self._context.read(
            queries.rooms, self._context.registry, latest, settings.clock(), intervals
        )
