"""The wall view for a large screen in the front office.

It shows rooms and their states, but no people. A screen opens it with a link whose fragment is an
API token with the wall scope. The page's script sends the token to the server, which stores it in a
cookie for this view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from alerts.page import queries
from alerts.page.guard import find_client, get_text, read_form, require_same_origin
from alerts.page.page_context import WALL_COOKIE
from alerts.page.page_group import Access, PageGroup, serves
from language.messages import _

if TYPE_CHECKING:
    from starlette.requests import Request

_YEAR_S: Final = 365 * 86_400


class WallPages(PageGroup):
    """The wall view, and the link that opens it."""

    @serves("/wall", Access.PUBLIC)
    async def _show(self, request: Request) -> Response:
        context = self._context
        if not await context.may_see_wall(request):
            return await context.render(request, "wall_closed.html", 403)
        if "site" in request.query_params:
            context.choose_school(request)
        states = await context.load_room_states()
        found = await context.read(queries.find_missed_incidents, rooms=context.room_ids)
        return await context.render(
            request,
            "wall.html",
            states=sorted(
                states, key=lambda s: (not s.needs_person, queries.LEVELS.index(s.level))
            ),
            missed=len(found),
            needing=sum(s.needs_person for s in states),
            faulty=sum(s.is_faulty for s in states),
            silenced_rooms=sum(s.level == "silenced" for s in states),
            now=context.settings.clock(),
        )

    @serves("/wall/open", Access.PUBLIC, methods=("POST",))
    async def _open(self, request: Request) -> Response:
        require_same_origin(request)
        token = get_text(await read_form(request), "token").strip()
        if not await self._context.find_screen(token):
            settings = self._context.settings
            wait = settings.access.limits.api.take(find_client(request), (), settings.clock())
            raise HTTPException(429 if wait > 0 else 403, _("This link no longer works."))
        response = Response(status_code=204)
        response.set_cookie(
            WALL_COOKIE,
            token,
            max_age=_YEAR_S,
            path="/wall",
            httponly=True,
            samesite="strict",
            secure=self._context.access.secure_cookie,
        )
        return response
