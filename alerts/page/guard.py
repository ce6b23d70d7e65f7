"""Check requests (session, form, origin) and add security headers to responses."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from alerts.access.roles import may
from language.messages import _

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from alerts.access.roles import Right
    from alerts.policy import StaffMember

_T = TypeVar("_T")
_FORM_S: Final = 10.0
"""Maximum time for a form to arrive, in seconds."""
_MAX_FORM, _MAX_FIELDS, _MAX_BODY = 60_000, 800, 10_000
"""Maximum bytes and fields of a form, and maximum bytes of a program's request."""
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    b" connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none';"
    b" base-uri 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
"""Security headers of every response."""
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each malformed form

_OF_PROXIES: Final = (
    *("cf-", "forwarded", "true-client-ip", "via", "x-client-ip", "x-envoy", "x-forwarded"),
    *("x-original", "x-real-ip"),
)
"""Prefixes of headers that proxies add."""
_HTTPS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person; every form of the session contains `form_token`."""

    person: str
    name: str
    role: str
    form_token: str
    sites: frozenset[str] | None = None
    """Names of the sites that the token or the groups allow; None means all."""

    def may(self, right: Right) -> bool:
        """Return whether the role has a right."""
        return may(self.role, right)

    def allows(self, form_token: str) -> bool:
        """Return whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token.encode(), form_token.encode())


@dataclass(slots=True)
class PendingSignIn:
    """A person who entered their password and still has to enter a code."""

    member: StaffMember
    after: str
    expires_at: float
    secret: str
    """Secret of the authenticator app to set up; empty if the person already has one."""
    given: str | None
    """Hash of the person's password; if it changes or is removed, the sign-in ends."""


def name_cookie(*, secure: bool, what: str = "session") -> str:
    """Return a cookie's name; over HTTPS, with a prefix that keeps other hosts from setting it."""
    if secure:
        return "__Host-plumewatch" + ("" if what == "session" else f"-{what}")
    return f"plumewatch_{what}"


def find_client(request: Request) -> str:
    """Return the client's address; empty if it is unknown."""
    return request.client.host if request.client else ""


def is_proxied(request: Request) -> bool:
    """Return whether a request came through a proxy.

    A proxy that adds no headers, such as nginx by default, uses HTTP/1.0. Browsers never do.
    """
    has_header = any(name.startswith(_OF_PROXIES) for name in request.headers)
    return has_header or request.scope.get("http_version") == "1.0"


def is_local(request: Request) -> bool:
    """Return whether a request comes from this machine directly, without a proxy."""
    return find_client(request) in {"127.0.0.1", "::1"} and not is_proxied(request)


def require_same_origin(request: Request) -> None:
    """Raise 403 unless a POST comes from our own page, according to browser headers."""
    site, host = request.headers.get("sec-fetch-site", "none"), request.headers.get("host")
    origin = request.headers.get("origin")
    is_ours = origin is None or origin.partition("://")[2] == host
    if site not in {"same-origin", "none"} or not is_ours:
        raise HTTPException(403, _("This form was not sent from this page."))


def get_session(request: Request) -> Session | None:
    """Return the session stored in a request, or None."""
    found: Session | None = getattr(request.state, "session", None)
    return found


def send_to_sign_in(request: Request) -> NoReturn:
    """Redirect a browser to sign-in, and back to the page afterward."""
    path = request.url.path
    inner = path.endswith(("/series", "/evidence.svg"))
    if request.method == "POST" or inner:
        path = path.rpartition("/")[0] if path.startswith("/incidents/") else "/"
    elif request.url.query:
        path = f"{path}?{request.url.query}"
    where = f"/sign-in?next={quote(path)}"
    if "hx-request" in request.headers:
        raise HTTPException(401, _("Please sign in again."), {"HX-Redirect": where})
    raise HTTPException(303, headers={"Location": where})


def require_found(found: _T | None, words: str) -> _T:
    """Return what was found; raise 404 with a sentence if it is None."""
    if found is None:
        raise HTTPException(404, words)
    return found


def refuse_for_now(wait_s: float, detail: str) -> HTTPException:
    """Build a 429 error that gives the time to wait."""
    return HTTPException(429, detail, {"Retry-After": str(math.ceil(wait_s))})


async def read_form(request: Request) -> FormData:
    """Read a form; raise 413 if it is too large, 408 if too slow, 400 if cut off or not text."""
    read = partial(request.form, max_files=0, max_fields=_MAX_FIELDS, max_part_size=5000)
    try:
        form = await _receive(request, read, _MAX_FORM)
        "".join(f"{name}{text}" for name, text in form.multi_items()).encode()
    except (UnicodeError, LookupError):  # a multipart form can name any encoding
        raise HTTPException(400, _("The form contains invalid characters.")) from None
    return form


async def read_body(request: Request) -> bytes:
    """Read an optional body, as `read_form` reads a form."""
    if request.headers.get("content-length", "0") == "0":
        return b""
    return await _receive(request, request.body, _MAX_BODY)


async def _receive(request: Request, read: Callable[[], Awaitable[_T]], most: int) -> _T:
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > most:
        raise HTTPException(413, _("The form is too large."))
    try:
        async with asyncio.timeout(_FORM_S):
            return await read()
    except TimeoutError:
        raise HTTPException(408, _("The form did not arrive in time.")) from None
    except ClientDisconnect:
        raise HTTPException(400, _("The form arrived incomplete.")) from None


def get_text(form: Mapping[str, Any], name: str) -> str:
    """Return the text of a form field; empty if there is none."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


class SecurityHeaders:
    """Adds missing security headers; with `https`, also makes browsers stay on HTTPS."""

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self._app = app
        self._headers = (*HEADERS, _HTTPS_ONLY) if https else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add headers to its response."""
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
