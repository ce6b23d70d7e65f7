"""The wall view for a screen in the front office, and its floor plan.

It shows rooms and their states, on tiles or on a floor plan, and no people. A screen opens it with
an API token that may show it, in the fragment of its link; the script exchanges it for a cookie of
this view.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access.roles import Right
from alerts.page import queries
from alerts.page.floor_plan import MAX_BYTES, FloorPlan, PictureError
from alerts.page.guard import FormSize, client_of, form_of, same_origin, text_of
from alerts.page.page_context import WALL_COOKIE
from alerts.page.page_group import Access, PageGroup, serves
from language.messages import _
from storage.audit import AuditKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from alerts.page.page_context import PageContext
    from storage.registry import Room

_YEAR_S: Final = 365 * 86_400


class WallPages(PageGroup):
    """The view, its parts, and its floor plan."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._folder = context.settings.files.wall

    # the view

    @serves("/wall", Access.PUBLIC)
    async def _show(self, request: Request) -> Response:
        if not await self._context.may_see_wall(request):
            return self._context.render(request, "wall_closed.html", 403)
        content = await self._content(self._rooms(request))
        return self._context.render(request, "wall.html", **content)

    @serves("/wall/plan", Access.PUBLIC)
    async def _plan_picture(self, request: Request) -> Response:
        if not await self._context.may_see_wall(request):
            raise HTTPException(
                403, _("This screen is not set up. An administrator makes its link.")
            )
        found = await self._context.in_thread(self._floor_plan().picture)
        if found is None:
            raise HTTPException(404, _("There is no floor plan."))
        return Response(found, media_type="image/png")

    @serves("/wall/open", Access.PUBLIC, methods=("POST",))
    async def _open(self, request: Request) -> Response:
        if not same_origin(request):
            raise HTTPException(403, _("This form was not sent from this page."))
        token = text_of(await form_of(request), "token").strip()
        if not await self._context.screen(token):
            settings = self._context.settings
            wait = settings.access.limits.api.take(client_of(request), "", settings.clock())
            raise HTTPException(429 if wait > 0 else 403, _("This link is not valid any more."))
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

    def _rooms(self, request: Request) -> tuple[Room, ...]:
        """Return the rooms of the school that is asked for, of all others."""
        if "site" in request.query_params:
            self._context.choose_school(request)
        return tuple(self._context.registry.rooms.values())

    async def _content(self, rooms: Sequence[Room]) -> dict[str, Any]:
        context, settings = self._context, self._context.settings
        latest = await context.in_thread(settings.series.latest)
        intervals = dict(settings.pipeline.intervals())
        states = await context.read(
            queries.rooms,
            context.permitted,
            latest,
            settings.clock(),
            intervals,
            rooms,
        )
        plan = self._plan
        places = {} if plan is None else await context.in_thread(plan.places)
        has_plan = plan is not None and await context.in_thread(plan.has_picture)
        return {
            "states": sorted(
                states, key=lambda s: (not s.needs_person, queries.LEVELS.index(s.level))
            ),
            "needing": sum(s.needs_person for s in states),
            "faulty": sum(s.is_faulty for s in states),
            "silenced": sum(s.level == "silenced" for s in states),
            "places": places if has_plan else {},
            "has_plan": has_plan,
            "now": settings.clock(),
        }

    # the floor plan

    @serves("/wall/plan", Right.SETTINGS, methods=("POST",), size=FormSize.UPLOAD)
    async def _upload(self, request: Request) -> Response:
        async with AsyncExitStack() as stack:  # the file of an upload is ours to close
            stack.push_async_callback(request.state.form.close)
            return await self._keep_plan(request)

    async def _keep_plan(self, request: Request) -> Response:
        given, plan = request.state.form.get("plan"), self._floor_plan()
        if text_of(request.state.form, "remove"):
            what = "floor plan removed"
            await self._context.in_thread(plan.remove_picture)
        elif isinstance(given, UploadFile) and given.size:
            what = "floor plan uploaded"
            raw = await given.read(MAX_BYTES + 1)
            try:
                await self._context.in_thread(plan.save_picture, raw)
            except PictureError as error:
                return await self._setup(request, str(error), 400)
        else:
            return await self._setup(request, _("Choose a picture."), 400)
        context = self._context
        await context.write(lambda tx: context.record(tx, request, AuditKind.WALL, what))
        return RedirectResponse("/wall/setup", 303)

    @serves("/wall/places", Right.SETTINGS, methods=("POST",), size=FormSize.LARGE)
    async def _place(self, request: Request) -> Response:
        form, plan, context = request.state.form, self._floor_plan(), self._context
        given = {room: _place(text_of(form, f"at.{room}")) for room in context.registry.rooms}
        places = {room: at for room, at in given.items() if at is not None}
        await context.in_thread(plan.save_places, places)
        what = f"{len(places)} rooms placed"
        await context.write(lambda tx: context.record(tx, request, AuditKind.WALL, what))
        return RedirectResponse("/wall/setup", 303)

    @property
    def _plan(self) -> FloorPlan | None:
        """The floor plan of the sites that the request may see, if any, or of all together."""
        if self._folder is None or self._context.sites is None:
            return None if self._folder is None else FloorPlan(self._folder)
        own = sorted(site.id for site in self._context.registry.sites.values())
        return FloorPlan(self._folder / "+".join(own)) if own else None

    def _floor_plan(self) -> FloorPlan:
        plan = self._plan
        if plan is None:
            raise HTTPException(404, _("There is no floor plan."))
        return plan

    @serves("/wall/setup", Right.SETTINGS)
    async def _setup(self, request: Request, error: str = "", status: int = 200) -> Response:
        content = await self._content(tuple(self._context.registry.rooms.values()))
        return self._context.render(
            request,
            "wall_setup.html",
            status,
            **content,
            rooms=list(self._context.registry.rooms.values()),
            errors=[error],
        )


def _place(text: str) -> tuple[float, float] | None:
    try:
        x, y = (float(part) for part in text.split())
    except ValueError:
        return None
    return (round(x, 4), round(y, 4)) if 0 <= x <= 1 and 0 <= y <= 1 else None
