"""Health for machines, beside the staff page: ``/healthz``, ``/readyz``, ``/metrics``.

Who may see what
----------------
``/healthz`` says that the process answers, to everybody. ``/readyz`` says of each part whether it
works; why not may hold addresses and paths, and is for those who may see the numbers. ``/metrics``
is for them alone. These are: who sends the token of ``[metrics]`` as a bearer token; and, where the
staff page listens on loopback, who asks for it by a loopback name without a proxy in between.
Behind a proxy on this machine everybody comes from loopback, so there the token is needed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from plumewatch.service.meters import CONTENT_TYPE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from alerts.notify.secrets import Secret
    from plumewatch.service.health import Health
    from plumewatch.service.meters import Meters

_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_OF_PROXIES: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class HealthPages:
    """Answer for health, and pass everything else on.

    Parameters
    ----------
    token : Secret or None
        Bearer token of whoever scrapes.
    on_loopback : bool
        Whether the page is reached from this machine only.
    """

    def __init__(
        self,
        app: ASGIApp,
        health: Health,
        meters: Meters,
        token: Secret | None,
        *,
        on_loopback: bool,
    ) -> None:
        self._app = app
        self._health = health
        self._meters = meters
        self._token = token
        self._on_loopback = on_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] not in _PATHS:
            await self._app(scope, receive, send)
            return
        response = await self._answer(Request(scope))
        response.headers["cache-control"] = "no-store"
        response.headers["x-content-type-options"] = "nosniff"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return Response(status_code=405, headers={"allow": "GET, HEAD"})
        path = request.url.path
        if path == "/healthz":
            return JSONResponse({"status": "ok"})
        trusted = self._trusted(request)
        if path == "/readyz":
            return self._readiness(detailed=trusted)
        if not trusted:
            return Response(status_code=401, headers={"www-authenticate": "Bearer"})
        await asyncio.to_thread(self._meters.refresh)
        return PlainTextResponse(self._meters.exposition(), media_type=CONTENT_TYPE)

    def _readiness(self, *, detailed: bool) -> Response:
        parts = self._health.parts()
        ready = all(part.ok for part in parts)
        content = {
            "status": "ready" if ready else "not ready",
            "parts": {
                p.name: {"ok": p.ok, **({"says": p.says} if detailed else {})} for p in parts
            },
        }
        return JSONResponse(content, 200 if ready else 503)

    def _trusted(self, request: Request) -> bool:
        kind, _, sent = request.headers.get("authorization", "").partition(" ")
        if self._token is not None and kind.lower() == "bearer" and self._token.matches(sent):
            return True
        try:
            name = urlsplit(f"//{request.headers.get('host', '')}").hostname
        except ValueError:
            return False
        through_proxy = any(header in request.headers for header in _OF_PROXIES)
        return self._on_loopback and name in _LOCAL_NAMES and not through_proxy
