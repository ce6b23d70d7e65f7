"""Signing in and out."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Route

from alerts.web.desk import Pages, form_of, text_of
from alerts.web.guard import COOKIE, SignInLimit, same_origin

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from alerts.web.desk import Desk

__all__ = ["SignInPages"]

_LOG: Final = logging.getLogger(__name__)


class SignInPages(Pages):
    """The form, and the way out."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._limit = SignInLimit()

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [
            Route("/sign-in", self.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
        ]

    async def sign_in(self, request: Request) -> Response:
        """Ask for name and token; start a session."""
        desk, settings = self._desk, self._desk.settings
        after = _inside(request.query_params.get("next", "/"))
        names = [m.name for m in settings.engine.policy.staff]
        content: dict[str, Any] = {"after": after, "names": names, "error": ""}
        if request.method == "GET":
            return desk.render(request, "sign_in.html", await desk.session(request), **content)
        if not same_origin(request):
            raise HTTPException(403, "The form did not come from this page.")
        now = settings.clock()
        client = request.client.host if request.client else ""
        wait = self._limit.wait_s(client, now)
        if wait > 0:
            content["error"] = f"Too many failed tries. Wait {math.ceil(wait)} seconds."
            response = desk.render(request, "sign_in.html", None, status_code=429, **content)
            response.headers["Retry-After"] = str(math.ceil(wait))
            return response
        form = await form_of(request)
        content["after"] = after = _inside(text_of(form, "after"))
        name = " ".join(text_of(form, "name").split())[:60]
        if not settings.token.matches(text_of(form, "token").strip()):
            self._limit.failed(client, now)
            _LOG.warning("a sign-in with a wrong token from %s was refused", client)
            content["error"] = "This is not the staff token."
            return desk.render(request, "sign_in.html", None, status_code=403, **content)
        if not name:
            content["error"] = "Please give your name; it goes with what you do here."
            return desk.render(request, "sign_in.html", None, status_code=400, **content)
        response = RedirectResponse(after, 303)
        response.set_cookie(
            COOKIE,
            desk.sessions.start(name, now),
            max_age=int(settings.session_s),
            httponly=True,
            samesite="strict",
            secure=settings.secure_cookie,
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        await self._desk.may_act(request)
        self._desk.sessions.end(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response


def _inside(path: str) -> str:
    """Return a path on this page; the start if it leads elsewhere."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if inside and "\\" not in path else "/"
