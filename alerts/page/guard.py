"""Session, same-origin check and security headers."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from alerts.access.roles import may

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from alerts.access.roles import Right

_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    b" connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none';"
    b" base-uri 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
_HTTPS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person; `form_token` is in every form of the session."""

    person: str
    name: str
    role: str
    form_token: str
    sites: frozenset[str] | None = None
    """Names of the sites that its token is limited to; None for all."""

    def may(self, right: Right) -> bool:
        """Whether the role has a right."""
        return may(self.role, right)

    def allows(self, form_token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token.encode(), form_token.encode())


def cookie_name(*, secure: bool) -> str:
    """Return the name of the cookie; over https one that no other host can set."""
    return "__Host-plumewatch" if secure else "plumewatch_session"


def client_of(request: Request) -> str:
    """Return the address of the client; empty if it is unknown."""
    return request.client.host if request.client else ""


def same_origin(request: Request) -> bool:
    """Whether a POST comes from our own page, by the headers that browsers set."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


class SecurityHeaders:
    """Adds security headers that a response has not set itself.

    Only static files may be cached, unless a response says so. With `https`, browsers stay there.
    """

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self._app = app
        self._headers = (*_HEADERS, _HTTPS_ONLY) if https else _HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                cache = b"max-age=3600" if scope["path"].startswith("/static/") else b"no-store"
                cached = (b"cache-control", cache)
                given = message.get("headers", ())
                names = {name.lower() for name, _ in given}
                added = [h for h in (*self._headers, cached) if h[0] not in names]
                message["headers"] = [*given, *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)
