"""The board of all rooms, and the door sign."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from alerts.page import queries
from alerts.page.page_group import Access, PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.views.figures import WEEK_BEFORE, gather_facts
from alerts.page.visibility import MAX_ROOMS
from language.messages import LANGUAGES, get_language, gettext, mark, use_language, write_date
from reports.schools import compare_schools

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.page_context import PageContext
    from reports.facts import Facts
    from reports.schools import SchoolFigures

_TITLE: Final = mark("There is an air sensor in this room")
_SIGN: Final = (
    mark("It measures fine particles, gases, humidity and temperature."),
    mark("If it detects vaping or smoke, staff are notified and come to check."),
    mark("It has no microphone and no camera, and it stores no student names."),
    mark("Vaping and smoking are not allowed at school."),
    mark("Questions? Please ask at the school office."),
)
_COMPARED_S: Final = 60.0
"""How long the facts for comparing schools are reused, in seconds."""


class BoardPages(PageGroup):
    """The current state of all rooms, and the door sign."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._facts: dict[frozenset[str] | None, tuple[float, Facts]] = {}

    @serves("/")
    async def _board(self, request: Request) -> Response:
        return await self._context.render(
            request, "board.html", **await self._load_content(request)
        )

    @serves("/sign", Access.SENSOR_READERS)
    async def _sign(self, request: Request) -> Response:
        signs = []
        for code in sorted(LANGUAGES, key=lambda code: code != get_language()):
            with use_language(code):
                lines = [*map(gettext, _SIGN)]
                signs.append({"code": code, "title": gettext(_TITLE), "lines": lines})
        return await self._context.render(request, "sign.html", signs=signs)

    async def _load_content(self, request: Request) -> dict[str, Any]:
        context, compared = self._context, []
        chosen = context.find_school(request.query_params.get("site"))
        opened = await context.read(queries.find_open_incidents, rooms=context.room_ids)
        known = context.registry.rooms
        open_at = Counter(known[i["room"]].site for i in opened if i["room"] in known)
        if len(context.registry.sites) + len(context.registry.closed) > 1:
            compared = await self._compare_schools()
        if chosen is not None:
            context.show_only(chosen)
            opened = [i for i in opened if i["room"] in context.registry.rooms]
        rooms = list(context.registry.rooms.values())
        if compared and chosen is None and len(rooms) > MAX_ROOMS:
            rooms = []
        missed = await context.read(queries.find_missed_incidents, rooms=context.room_ids)
        states = await context.load_room_states(rooms)
        lives, sensors = context.read_pipeline().sensors, context.registry.sensors
        return {
            "compared": compared,
            "when": gettext(WEEK_BEFORE),
            "open_at": open_at,
            "chosen": chosen,
            "closed": [
                (site.name, write_date(site.closed, "date"))
                for site in context.registry.closed.values()
                if site.closed and not context.registry.rooms
            ],
            "rooms": queries.group_rooms(states),
            "open_incidents": context.add_place_names(opened),
            "missed_incidents": context.add_place_names(missed),
            "silent_rooms": sum(s.is_stale for s in states),
            "delivered_at": await context.read(queries.find_last_delivery, rooms=context.room_ids),
            "lives": [life.state == "alive" for name, life in lives.items() if name in sensors],
            "now": context.settings.clock(),
            "errors": [context.warn_unreachable()],
        }

    async def _compare_schools(self) -> list[SchoolFigures]:
        """Return the visible schools' figures of the last seven days."""
        context, settings = self._context, self._context.settings
        now, loop_now = settings.clock(), asyncio.get_running_loop().time()
        read_at, facts = self._facts.get(context.sites, (-math.inf, None))
        if facts is None or loop_now - read_at >= _COMPARED_S:
            only = None if context.sites is None else context.registry
            places = settings.database, settings.series, settings.school
            week = now - SPANS["week"], now, only
            facts = await context.run_in_thread(gather_facts, *places, *week, days_of_sensors=1)
            self._facts[context.sites] = loop_now, facts
        return compare_schools(facts, context.list_down_sensors())
