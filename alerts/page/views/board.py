"""The board of all rooms, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from alerts.page import queries
from alerts.page.page_context import Access, NavLink, PageGroup, serves
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
_REPORTING: Final = "alive"
_MOST_ROOMS: Final = 300
"""Rooms of several sites that are shown at once; of more, those of one site that is chosen."""
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
        return self._context.render(request, "board.html", **await self._content(request))

    @serves("/partials/board")
    async def partial(self, request: Request) -> Response:
        """Return the part of the board that changes."""
        return self._context.render(request, "board_content.html", **await self._content(request))

    @serves("/sign", Access.SENSOR_READERS)
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

    async def _content(self, request: Request) -> dict[str, Any]:
        context, states = self._context, await self._states()
        registry, sites = context.registry, []
        chosen = next(
            (s for s in registry.sites.values() if s.id == request.query_params.get("site")), None
        )
        opened = await context.read(queries.incidents, only_open=True, rooms=context.rooms)
        if len(registry.sites) > 1:
            lives = context.pipeline().sensors
            silent = [name for name, life in lives.items() if life.state != _REPORTING]
            now = context.settings.clock()
            sites = await context.read(queries.site_summaries, registry, silent, now)
            if chosen is not None:
                states = [s for s in states if s.room.site == chosen.name]
                opened = [i for i in opened if i["room"] in {s.room.id for s in states}]
            elif len(states) > _MOST_ROOMS:
                states = []
        return {
            "sites": sites,
            "chosen": chosen,
            "rooms": queries.board_by_site(states),
            "open_incidents": context.named(opened),
            "silent_rooms": sum(s.level == "silent" for s in states),
            "reachable": any(m.targets for m in context.staff),
        }

    async def _states(self) -> list[queries.RoomState]:
        settings = self._context.settings
        latest = await self._context.in_thread(settings.series.latest)
        intervals = settings.intervals()
        return await self._context.read(
            queries.rooms, self._context.registry, latest, settings.clock(), intervals
        )
