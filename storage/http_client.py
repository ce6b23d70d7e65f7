"""HTTP requests to other machines, and the rules for which machines they may reach.

Every request goes through `request`, except those of three libraries: Apprise, to which
`alerts.notify.channels.apprise_notifier` applies the same `Reach`, and the clients of InfluxDB and
Grafana, which connect only to addresses that the administrator configured.

A host name is resolved once, and the connection uses one of the addresses that `Reach` permits. So
a name that resolves differently a moment later cannot bypass the rules. TLS still verifies the
name. Redirects are not followed, and proxies from the environment are not used. One deadline covers
everything from resolving the name to the last byte, and at most `max_bytes` of an answer are read.
Link-local addresses, which include cloud metadata services, are never permitted.

::

    RequestError              transient: no answer
    +-- NoAnswerInTimeError   transient: no answer before the deadline
    +-- RefusedRequestError   permanent: the address is not allowed or not valid

Messages contain no part of an address or header, because both may be secret. Nothing is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from storage.bounded_call import BoundedCallError, BoundedThreads, parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LONGEST_WAIT_S: Final = 86_400.0
_CONNECT_S: Final = 5.0
"""Time limit for one address, so that time is left to try the host's other addresses."""
_RESOLVE_S: Final = 60.0
_RESOLVERS: Final = BoundedThreads("resolver", 32)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_METADATA: Final = ipaddress.ip_address("fd00:ec2::254")
"""A metadata service with an address that is not link-local."""

for _name in ("httpx", "httpcore"):  # they log addresses and headers
    logging.getLogger(_name).setLevel(logging.WARNING)


class RequestError(Exception):
    """There was no answer. The message says why; callers put the name of the address before it."""


class NoAnswerInTimeError(RequestError):
    """There was no answer before the deadline."""


class RefusedRequestError(RequestError):
    """The address is not allowed, or the address or headers cannot be sent."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which machines a connection may reach: public, private, or both."""

    allow_private: bool = False
    private_only: bool = False

    def permits(self, address: object) -> bool:
        """Return whether a connection to an IP address is allowed; False for a host name."""
        if not isinstance(address, str):
            return False
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address):
            inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
            if inner is None and ip in _NAT64:
                inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
            ip = inner or ip
        if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip == _METADATA:
            return False
        if ip.is_reserved and not ip.is_loopback:
            return False
        is_global = ip.is_global and not (ip.version == 6 and ip.is_site_local)
        return not self.private_only if is_global else self.allow_private


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status, the delay in ``Retry-After``, and the part of the body read."""

    status: int
    retry_after_s: float | None
    body: bytes = b""


def find_url_fault(url: str, *, allow_private: bool) -> str:
    """Return why a URL is not allowed, or an empty string.

    >>> find_url_fault("https://hooks.example/a", allow_private=False)
    ''
    >>> find_url_fault("http://hooks.example/a", allow_private=False)
    'must use https, unless alerts.allow_private_targets is true'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # like the resolver
    except ValueError:
        return "is not a valid address"
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "must be an https address"
    if parts.username is not None or any(c <= " " or c > "~" for c in url):
        return "must contain no user name and only visible ASCII characters"
    if parts.scheme == "http" and not allow_private:
        return "must use https, unless alerts.allow_private_targets is true"
    return ""


def find_reach(url: str, *, allow_private: bool) -> Reach:
    """Return the rules for a configured URL; raises `RefusedRequestError` if it is not allowed.

    Requests without TLS must not leave the private network.
    """
    if fault := find_url_fault(url, allow_private=allow_private):
        raise RefusedRequestError(fault)
    return Reach(allow_private=allow_private, private_only=urlsplit(url).scheme == "http")


async def request(
    method: str,
    url: str,
    reach: Reach,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
    max_bytes: int = 0,
    device_ca: Path | None = None,
) -> Answer:
    """Send one request and return the answer; raises `RequestError`.

    `device_ca`: file with the CA certificate that must have signed the server's certificate. If
    given, the name in the server's certificate is not checked.
    """
    found: Answer | RequestError
    try:
        async with asyncio.timeout(timeout_s):
            found = await _send(method, url, reach, body, headers or {}, max_bytes, device_ca)
    except (TimeoutError, httpx.TimeoutException) as error:
        found = NoAnswerInTimeError(f"cannot be reached: {type(error).__name__}")
    except (httpx.TransportError, OSError) as error:
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            found = RefusedRequestError(_CANNOT_BE_SENT)
        else:
            found = RequestError(f"cannot be reached: {_name_reason(error)}")
    except (httpx.InvalidURL, ValueError):
        found = RefusedRequestError(_CANNOT_BE_SENT)
    if isinstance(found, Answer):
        return found
    raise found  # outside the except block: the library's error may quote secrets


_CANNOT_BE_SENT: Final = "has characters that cannot be sent"


def _name_reason(error: BaseException) -> str:
    """Return the original error in words, such as "connection refused", or else its name."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno).lower()  # its own text may contain the address
    return type(error).__name__


async def connect(host: str, port: int, reach: Reach, timeout_s: float) -> None:
    """Open a connection and close it; raises `RequestError` if that fails."""
    problem: OSError | None = None
    try:
        async with asyncio.timeout(timeout_s):
            for address in await _find_addresses(host, port, reach):
                try:
                    _, writer = await asyncio.open_connection(address, port)
                except OSError as error:
                    problem = error
                else:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
                    return
    except TimeoutError:
        raise NoAnswerInTimeError(f"no answer within {timeout_s:.0f} s") from None
    code = problem.errno if problem is not None else None
    raise RequestError(os.strerror(code) if code else "cannot be reached")


async def _send(
    method: str,
    url: str,
    reach: Reach,
    body: bytes | None,
    headers: Mapping[str, str],
    max_bytes: int,
    device_ca: Path | None,
) -> Answer:
    sent = {"User-Agent": "plumewatch", "Accept-Encoding": "identity", **headers}
    transport = _CheckedTransport(reach, device_ca)
    async with (
        httpx.AsyncClient(
            transport=transport, timeout=httpx.Timeout(None, connect=_CONNECT_S), trust_env=False
        ) as client,
        client.stream(
            method,
            url,
            content=body,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        ) as answer,
    ):
        content = b""
        if max_bytes:
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) >= max_bytes:
                    break
        wait_s = parse_retry_after(answer.headers.get("Retry-After"), time.time())
        wait_s = None if wait_s is None else min(wait_s, _LONGEST_WAIT_S)
        return Answer(answer.status_code, wait_s, content[:max_bytes])


class _CheckedTransport(httpx.AsyncHTTPTransport):
    """Connects only to permitted addresses, and verifies the certificate for the name."""

    def __init__(self, reach: Reach, device_ca: Path | None) -> None:
        super().__init__(verify=_make_tls(device_ca), trust_env=False)
        self._reach = reach

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if not url.host or not 0 < port < 65_536:
            raise httpx.UnsupportedProtocol("no host, or no such port")
        request.extensions = {**request.extensions, "sni_hostname": url.raw_host.decode()}
        problem: Exception | None = None
        for address in await _find_addresses(url.raw_host.decode(), port, self._reach):
            request.url = url.copy_with(host=address)
            try:
                return await super().handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error
        raise problem or httpx.ConnectError("no address")


async def _find_addresses(host: str, port: int, reach: Reach) -> list[str]:
    """Resolve a name; return the permitted addresses."""
    try:
        found = [str(ipaddress.ip_address(host))]
    except ValueError:
        found = await _resolve(host, port)
    if permitted := [address for address in found if reach.permits(address)]:
        return permitted
    raise RefusedRequestError("resolves to an address that is not allowed")


async def _resolve(host: str, port: int) -> list[str]:
    with contextlib.suppress(UnicodeError, socket.gaierror, BoundedCallError):
        found = await _RESOLVERS.run(
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), _RESOLVE_S
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
    raise RequestError("unknown host")


def _make_tls(device_ca: Path | None) -> ssl.SSLContext:
    if device_ca is None:
        return _public_tls()
    context = ssl.create_default_context(cafile=device_ca)
    context.check_hostname = False  # the device's certificate may contain any name
    return context


_public_tls: Final = functools.cache(ssl.create_default_context)
