"""Who may do what on the page: sessions, form tokens, sign-in limits, headers.

The staff token is sent once, in a form; what the browser keeps is a random session id, of which
only a hash is held here. Sessions live in memory: a restart signs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping
    from typing import Any

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from alerts.policy import StaffMember

__all__ = [
    "COOKIE",
    "SecurityHeaders",
    "Session",
    "Sessions",
    "SignInLimit",
    "looks_after_sensors",
    "same_origin",
]

COOKIE: Final = "plumewatch_session"
_SENSOR_ROLES: Final = frozenset({"facilities", "admin"})
_MAX_SESSIONS: Final = 1000
_MAX_CLIENTS: Final = 10_000

_HEADERS: Final = (
    (
        b"content-security-policy",
        b"; ".join(
            (
                b"default-src 'none'",
                b"script-src 'self'",
                b"style-src 'self'",
                b"img-src 'self' data:",
                b"connect-src 'self'",
                b"form-action 'self'",
                b"frame-ancestors 'none'",
                b"base-uri 'none'",
            )
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser."""

    name: str
    expires: float
    form_token: str

    def allows(self, form_token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token.encode(), form_token.encode())


@dataclass(slots=True)
class Sessions:
    """All signed-in browsers, by hash of their id; bounded, the oldest leave first."""

    lifetime_s: float
    _by_hash: dict[bytes, Session] = field(default_factory=dict)

    def start(self, name: str, now: float) -> str:
        """Sign a person in; the id for their cookie."""
        self._by_hash = {k: s for k, s in self._by_hash.items() if s.expires > now}
        while len(self._by_hash) >= _MAX_SESSIONS:
            del self._by_hash[next(iter(self._by_hash))]
        identity = secrets.token_urlsafe(32)
        form_token = secrets.token_urlsafe(32)
        self._by_hash[_hash(identity)] = Session(name, now + self.lifetime_s, form_token)
        return identity

    def find(self, identity: str, now: float) -> Session | None:
        """Session behind a cookie; None if unknown or over."""
        session = self._by_hash.get(_hash(identity))
        return session if session is not None and session.expires > now else None

    def end(self, identity: str) -> None:
        """Sign a browser out."""
        self._by_hash.pop(_hash(identity), None)


def _hash(identity: str) -> bytes:
    return hashlib.sha256(identity.encode()).digest()


@dataclass(slots=True)
class SignInLimit:
    """Failed sign-ins: a few a minute from one address, some more from all together."""

    per_client: int = 5
    overall: int = 30
    window_s: float = 60.0
    _clients: dict[str, deque[float]] = field(default_factory=dict)
    _all: deque[float] = field(default_factory=deque)

    def wait_s(self, client: str, now: float) -> float:
        """Seconds until this client may try again; 0 if it may now."""
        return max(
            self._wait(self._clients.get(client, deque()), self.per_client, now),
            self._wait(self._all, self.overall, now),
        )

    def failed(self, client: str, now: float) -> None:
        """Count a failure."""
        if client not in self._clients and len(self._clients) >= _MAX_CLIENTS:
            del self._clients[next(iter(self._clients))]
        self._clients.setdefault(client, deque(maxlen=self.per_client)).append(now)
        self._all.append(now)
        while len(self._all) > self.overall:
            self._all.popleft()

    def _wait(self, failures: deque[float], limit: int, now: float) -> float:
        recent = [t for t in failures if t > now - self.window_s]
        return max(recent[-limit] + self.window_s - now, 0.0) if len(recent) >= limit else 0.0


def looks_after_sensors(session: Session, staff: Iterable[StaffMember]) -> bool:
    """Whether a person may see what unknown devices sent.

    Facilities staff and administrators may, and where neither is listed, or the person is not,
    everybody who is signed in: names at sign-in are what people say of themselves behind one staff
    token, so the role is a matter of order, not of secrecy.
    """
    members = tuple(staff)
    roles = {m.role for m in members if session.name in (m.name, m.id)}
    wanted = any(m.role in _SENSOR_ROLES for m in members)
    return not (wanted and roles and roles.isdisjoint(_SENSOR_ROLES))


def same_origin(request: Request) -> bool:
    """Whether a POST comes from our own page, by what the browser itself says."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


class SecurityHeaders:
    """Adds the headers that keep the page to itself; nothing but static files is cached."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _extend(message, cacheable=scope["path"].startswith("/static/"))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _extend(message: MutableMapping[str, Any], *, cacheable: bool) -> None:
    cache = b"max-age=3600" if cacheable else b"no-store"
    message["headers"] = [*message.get("headers", ()), *_HEADERS, (b"cache-control", cache)]
