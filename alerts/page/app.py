"""The staff page as a Starlette application.

The page is designed for phones first. It loads nothing from other servers and has no inline
scripts. Only charts, live updates, browser notices, and links with a token need scripts. An action
needs a session, a form token and a POST from our own page, or else a token: an API token, or that
of a link in a notice. A GET changes no incidents and no settings.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from alerts.notify.outbox import ANSWER_PATH
from alerts.page.account import AccountPages
from alerts.page.api.docs import API, ApiDocs
from alerts.page.api.operation import PREFIX, build_problem
from alerts.page.guard import SecurityHeaders
from alerts.page.page_context import PageContext
from alerts.page.provider_sign_in import ProviderPages
from alerts.page.rendering import write_unreachable
from alerts.page.sign_in import SignInPages
from alerts.page.views.air import AirPages
from alerts.page.views.answer import AnswerPages, build_refusal
from alerts.page.views.board import BoardPages
from alerts.page.views.charts import RoomPages
from alerts.page.views.commission import CommissionPages
from alerts.page.views.config import ConfigPages
from alerts.page.views.duty import DutyPages
from alerts.page.views.figures import FigurePages
from alerts.page.views.incidents import IncidentPages
from alerts.page.views.people import PeoplePages
from alerts.page.views.push import PushPages
from alerts.page.views.reports import ReportPages
from alerts.page.views.sensors import SensorPages
from alerts.page.views.silences import SilencePages
from alerts.page.views.thresholds import ThresholdPages
from alerts.page.views.tokens import TokenPages
from alerts.page.views.wall import WallPages
from language.messages import _
from reports import look
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Scope

    from alerts.page.page_group import PageGroup
    from alerts.page.settings import StaffPageSettings

_LOG: Final = logging.getLogger(__name__)
_HERE: Final = Path(__file__).parent

PAGES: Final[tuple[type[PageGroup], ...]] = (
    BoardPages,
    RoomPages,
    IncidentPages,
    DutyPages,
    SilencePages,
    AirPages,
    FigurePages,
    ReportPages,
    SensorPages,
    CommissionPages,
    ThresholdPages,
    ConfigPages,
    PeoplePages,
    WallPages,
    PushPages,
    SignInPages,
    ProviderPages,
    AccountPages,
    AnswerPages,
    TokenPages,
    *API,
    ApiDocs,
)
"""All pages; the navigation links are in `alerts.page.rendering.NAV`."""


def create_app(settings: StaffPageSettings) -> Starlette:
    """Build the staff page; with ``one_click``, it must be served on loopback only."""
    context = PageContext(settings)
    errors, groups = _Errors(context), [pages(context) for pages in PAGES]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(settings.reports.open)
        for group in groups:
            await group.open()
        yield
        for group in groups:
            await group.close()
        await settings.reports.close()
        context.threads.shutdown(wait=False, cancel_futures=True)

    app = _App(
        routes=[
            *(route for group in groups for route in group.list_routes()),
            Mount("/static", _Static(directory=_HERE / "static")),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(settings.access.hosts))],
        exception_handlers={
            HTTPException: errors.on_http_error,
            StorageError: errors.on_storage_error,
            sqlite3.Error: errors.on_storage_error,
            TimeoutError: errors.on_storage_error,
            Exception: errors.on_fault,
        },
        lifespan=lifespan,
    )
    app.https = settings.access.secure_cookie
    return app


class _App(Starlette):
    """Adds security headers to every response, including those after an internal error."""

    https = False

    def build_middleware_stack(self) -> ASGIApp:
        return SecurityHeaders(super().build_middleware_stack(), https=self.https)


class _Static(StaticFiles):
    """Serves static files; the style sheet starts with the colors and sizes of `reports.look`."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path != "page.css":
            return await super().get_response(path, scope)
        text = look.build_css() + (_HERE / "static/page.css").read_text(encoding="utf-8")
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        if Headers(scope=scope).get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(text, media_type="text/css", headers={"etag": tag})


class _Errors:
    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def on_http_error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        if found := _write_json(request, error):
            return found
        status, headers, detail = error.status_code, error.headers, error.detail
        if status == HTTPStatus.SEE_OTHER:
            return Response(status_code=status, headers=headers)
        await self._context.find_session(request)  # sets the person's language
        if detail == HTTPStatus(status).phrase:
            detail = {
                404: _("This page doesn't exist."),
                405: _("This address accepts only form submissions."),
            }.get(status, detail)
        response = await self._context.render(request, "error.html", status, detail=detail)
        response.headers.update(headers or {})
        return response

    async def on_fault(self, request: Request, _error: Exception) -> Response:
        detail = _("Something went wrong. See the service's log for details.")
        found = _write_json(request, HTTPException(500, detail))
        return found or await self._context.render(request, "error.html", 500, detail=detail)

    async def on_storage_error(self, request: Request, error: Exception) -> Response:
        _LOG.warning("page %s: %s", request.url.path, error or type(error).__name__)
        phone = self._context.settings.help_phone
        detail = write_unreachable(_("The database cannot be read right now."), phone)
        if _is_answer(request):
            detail = _("Your response could not be stored. Try again in a moment.")
        found = _write_json(request, HTTPException(503, detail, {"Retry-After": "5"}))
        return found or await self._context.render(request, "error.html", 503, detail=detail)


def _write_json(request: Request, error: HTTPException) -> Response | None:
    """Return an error as JSON for a program or a script; None if the request is a person's."""
    if request.url.path.startswith(f"{PREFIX}/"):
        return build_problem(error)
    return build_refusal(error) if _is_answer(request) else None


def _is_answer(request: Request) -> bool:
    return request.method == "POST" and request.url.path.startswith(ANSWER_PATH)
