"""One HTTP request to an address from the configuration, with checks of where it leads.

The address is https, or plain http to a private address where that is allowed; it holds no user
name; redirects are not followed. Errors contain no part of the address: an address is a secret.

The peer is checked at the moment of the connection: an audit hook on ``socket.connect`` checks
those of threads inside `guarded`, so a name that resolves to a private address, or that changes
after an earlier check, reaches no internal machine. Link-local addresses are always refused. The
caller limits the time of the whole exchange (`storage.bounded_call`).
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import ipaddress
import logging
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from storage.bounded_call import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LONGEST_WAIT_S: Final = 86_400.0


class RequestError(Exception):
    """There was no answer; the message says why, as the end of a sentence."""


class ForbiddenRequestError(RequestError):
    """The address is not allowed."""


class _ForbiddenAddressError(OSError): ...


class _Guard(threading.local):
    """What the current thread may connect to; active only in threads that send."""

    active = False
    allow_private = False
    private_only = False
    refused = False
    retry_after_s: float | None = None


_GUARD: Final = _Guard()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server, the seconds in its ``Retry-After``, and its body if that was read."""

    status: int
    retry_after_s: float | None
    body: bytes = b""


@contextlib.contextmanager
def guarded(*, allow_private: bool, private_only: bool) -> Iterator[_Guard]:
    """Check all connections of this thread inside; the guard says whether one was refused."""
    _install_guard()
    _GUARD.allow_private = allow_private
    _GUARD.private_only = private_only
    _GUARD.refused = False
    _GUARD.retry_after_s = None
    _GUARD.active = True
    try:
        yield _GUARD
    finally:
        _GUARD.active = False


def keep_retry_after(text: str | None) -> None:
    """Keep the wait of an answer, for the sender of this thread."""
    if _GUARD.active:
        _GUARD.retry_after_s = _seconds(text)


@functools.cache
def _install_guard() -> None:
    for name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection"):
        logging.getLogger(name).addFilter(lambda _record: not _GUARD.active)
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not _GUARD.active:
        return
    address = arguments[1]
    host = address[0] if isinstance(address, tuple) else None
    if not may_connect(host):
        _GUARD.refused = True
        raise _ForbiddenAddressError("address refused")


def may_connect(host: object) -> bool:
    """Whether the calling thread, which is inside `guarded`, may connect to an address."""
    if not isinstance(host, str):
        return False
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False  # a name at this point would be resolved out of our sight
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        ip = inner or ip
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_reserved and not ip.is_loopback:
        return False
    if not ip.is_global:
        return _GUARD.allow_private
    return not _GUARD.private_only


def fault_of_url(url: str, *, allow_private: bool) -> str:
    """Return why an address is not allowed; empty if it is.

    >>> fault_of_url("https://hooks.example/a", allow_private=False)
    ''
    >>> fault_of_url("http://hooks.example/a", allow_private=False)
    'without TLS is for private addresses, with alerts.allow_private_targets'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as the resolver does
    except ValueError:
        return "is not a valid address"
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "must be an https address"
    if parts.username is not None or any(c <= " " or c > "~" for c in url):
        return "must contain no user name and only visible ASCII characters"
    if parts.scheme == "http" and not allow_private:
        return "without TLS is for private addresses, with alerts.allow_private_targets"
    return ""


def request(
    method: str,
    url: str,
    *,
    allow_private: bool,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
    most_bytes: int = 0,
) -> Answer:
    """Send one request and return the answer; blocks up to `timeout_s` for each step.

    Raises ForbiddenRequestError if the address, or the one that it leads to, is not allowed, and
    RequestError without an answer, or with a body of more than `most_bytes`, of which 0 reads none.
    """
    fault = fault_of_url(url, allow_private=allow_private)
    if fault:
        raise ForbiddenRequestError(fault)
    parts = urlsplit(url)
    plain = parts.scheme == "http"
    host = parts.hostname or ""
    connection = (
        http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        if plain
        else http.client.HTTPSConnection(
            host, parts.port, timeout=timeout_s, context=ssl.create_default_context()
        )
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    all_headers = {"User-Agent": "plumewatch", **(headers or {})}
    with (
        guarded(allow_private=allow_private, private_only=plain) as guard,
        contextlib.closing(connection),
    ):
        try:
            connection.request(method, target, body=body, headers=all_headers)
            answer = connection.getresponse()
            content = answer.read(most_bytes + 1) if most_bytes else b""
        except (OSError, http.client.HTTPException) as error:
            if guard.refused:
                raise ForbiddenRequestError("leads to an address that is not allowed") from None
            raise RequestError(f"cannot be reached: {type(error).__name__}") from None
        if len(content) > most_bytes:
            raise RequestError(f"answers with more than {most_bytes} bytes")
        return Answer(answer.status, _seconds(answer.getheader("Retry-After")), content)


def post_notice(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_private: bool,
    timeout_s: float,
    permanent: Mapping[int, NotifyReason],
) -> None:
    """Send a notice as one POST.

    Raises `PermanentNotifyError` for a forbidden address and for what `permanent` lists, by status
    or by its first digit, and `TransientNotifyError` for everything else but 2xx.
    """
    try:
        answer = request(
            "POST",
            url,
            body=body,
            headers=headers,
            allow_private=allow_private,
            timeout_s=min(timeout_s, 10.0),
        )
    except ForbiddenRequestError as error:
        raise PermanentNotifyError(NotifyReason.FORBIDDEN_ADDRESS, str(error)) from None
    except RequestError as error:
        raise TransientNotifyError(NotifyReason.CONNECTION, str(error)) from None
    status, detail = answer.status, f"HTTP {answer.status}"
    if 200 <= status < 300:
        return
    reason = permanent.get(status) or permanent.get(status // 100)
    if reason is not None and status != HTTPStatus.TOO_MANY_REQUESTS:
        raise PermanentNotifyError(reason, detail)
    limited = status == HTTPStatus.TOO_MANY_REQUESTS
    reason = NotifyReason.RATE_LIMITED if limited else NotifyReason.SERVER_ERROR
    raise TransientNotifyError(reason, detail, retry_after_s=answer.retry_after_s)


def _seconds(text: str | None) -> float | None:
    wait = retry_after_s(text, time.time())
    return None if wait is None else min(wait, _LONGEST_WAIT_S)
