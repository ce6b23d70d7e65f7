"""HTTP servers in our event loop: uvicorn with our signals and socket, and limited connections.

uvicorn does not limit how long a request may take to begin, so a few hundred clients that send a
byte occasionally would keep everyone else out. Here, each request must arrive in full by a
deadline, which further bytes do not extend. If there are too many connections, the one whose
request has taken longest is closed. A connection is also closed if its client stops reading an
answer. Each address can have only a share of the connections. They are counted when they are
accepted; this machine and trusted proxies are exempt. A client's address is that of its connection,
or the one that a trusted proxy gives in ``X-Forwarded-For``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import math
import os
import socket
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import h11
import uvicorn
from starlette.responses import PlainTextResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from alerts.access.limits import Limits, make_address_key
from alerts.page.guard import HEADERS, SecurityHeaders
from plumewatch.service.resources import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Limits of one server: simultaneous connections, in total and per address.

    A request's headers must arrive within `head_s`, and the whole request within `body_s`. A client
    must read 48 kB of an answer within `stalled_s`. With `exempt_loopback`, this machine can have
    more than `per_address` connections.
    """

    connections: int = 200
    per_address: int = 50
    head_s: float = 15.0
    body_s: float = 60.0
    stalled_s: float = 60.0
    exempt_loopback: bool = True


DEFAULT_BOUNDS: Final = ConnectionBounds()
_OWN: Final = ("127.0.0.1", "::1")
_LOG_AGAIN_S: Final = 60.0


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reachable from this machine only.

    >>> is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in {"127.0.0.1", "localhost", "::1"}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the service."""
        yield


class Listening:
    """The page's socket and `limits`, kept for the next service; clients wait in between."""

    def __init__(self) -> None:
        self.limits = Limits()
        self._sockets: dict[tuple[str, int], socket.socket] = {}

    def take(self, host: str, port: int) -> socket.socket:
        """Return a socket that listens on an address; raises `OSError`."""
        kept = self._sockets.get((host, port))
        if kept is not None:
            return kept.dup()
        bound = _listen(host, port)
        if port:
            self.close()
            self._sockets[host, port] = bound.dup()
        return bound

    def close(self) -> None:
        """Close the kept sockets."""
        while self._sockets:
            self._sockets.popitem()[1].close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


class WebServer:
    """Serves an application on an address; the constructor binds it, or raises `ServiceError`."""

    def __init__(
        self,
        name: str,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        bounds: ConnectionBounds = DEFAULT_BOUNDS,
        trusted_proxies: Sequence[str] = (),
        listening: Listening | None = None,
    ) -> None:
        try:
            bound = listening.take(host, port) if listening else _listen(host, port)
        except OSError as error:
            raise ServiceError(
                f"{name}: cannot listen on {host}:{port}: {os.strerror(error.errno or 0)};"
                " is Plumewatch running already, or does another program use this port?"
            ) from error
        self._socket = _Listener(fileno=bound.detach())
        self._socket.shares = ConnectionShares(name, bounds, trusted_proxies)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                wrap_for_proxies(app, trusted_proxies),
                http=type("BoundedConnection", (BoundedConnection,), {"bounds": bounds}),
                proxy_headers=False,
                lifespan="on",
                log_config=None,
                log_level="warning",
                ws="none",
                access_log=False,
                server_header=False,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=2,
                limit_concurrency=bounds.connections,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )

    async def serve(self) -> None:
        """Serve until `stop` is called; if canceled, also shut down the application properly."""
        try:
            await self._server.serve(sockets=[self._socket])
        except asyncio.CancelledError:
            if self._server.started:
                await self._server.shutdown(sockets=[self._socket])
            elif lifespan := getattr(self._server, "lifespan", None):  # while it was starting
                await lifespan.shutdown()
                self._socket.close()
            raise

    def stop(self) -> None:
        """End `serve` once current requests are answered."""
        self._server.should_exit = True


class ConnectionShares:
    """Counts connections by address, or by IPv6 network; the server's `name` is for the log."""

    def __init__(self, name: str, bounds: ConnectionBounds, proxies: Sequence[str]) -> None:
        self._name = name
        self._bounds = bounds
        self._proxies = tuple(ipaddress.ip_network(proxy) for proxy in proxies)
        self._open: Counter[str] = Counter()
        self._logged_at = -math.inf

    def take(self, address: str) -> bool:
        """Count a connection; return False if its address already has its share."""
        key, now = make_address_key(address), time.monotonic()
        if self._open[key] >= self._bounds.per_address and not self._is_exempt(address):
            if now - self._logged_at > _LOG_AGAIN_S:
                self._logged_at = now
                most = self._bounds.per_address
                log.warning("%s: more than %d connections from %s", self._name, most, key)
            return False
        self._open[key] += 1
        return True

    def release(self, address: str) -> None:
        """Count a connection as closed."""
        key = make_address_key(address)
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]

    def _is_exempt(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:  # a local socket has no address
            return self._bounds.exempt_loopback
        is_own = self._bounds.exempt_loopback and ip.is_loopback
        return is_own or any(ip in network for network in self._proxies)


class _Listener(socket.socket):
    """A listening socket that closes connections beyond an address's share at once."""

    shares: ConnectionShares

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; raises ConnectionAbortedError if it is closed at once."""
        accepted, address = super().accept()
        host = str(address[0]) if address else ""
        if not self.shares.take(host):
            accepted.close()
            raise ConnectionAbortedError
        connection = _Connection(fileno=accepted.detach())
        connection.on_close = partial(self.shares.release, host)
        return connection, address


class _Connection(socket.socket):
    """An accepted socket that calls `on_close` when it is closed, but only once."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Close the socket."""
        super().close()
        closed, self.on_close = self.on_close, None
        if closed is not None:
            closed()


class BoundedConnection(H11Protocol):
    """One connection; each server has its own subclass with `bounds`."""

    bounds: ClassVar[ConnectionBounds]
    deadline: asyncio.TimerHandle | None = None
    _began: float = 0.0
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request; if there are too many connections, end one."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) >= self.bounds.connections:
            self._end_longest_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadlines."""
        self.stop_waiting()
        self._stop_stalling()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client time to read the data already written."""
        super().pause_writing()
        self._stop_stalling()
        self._stalled = self.loop.call_later(self.bounds.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Let the client continue."""
        self._stop_stalling()
        super().resume_writing()

    def handle_events(self) -> None:
        """Move the deadline to `body_s` when the headers arrive; remove it after the body."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.stop_waiting()
            if self.cycle.more_body:
                until = self._began + self.bounds.body_s
                self.deadline = self.loop.call_at(until, self.transport.abort)

    def on_response_complete(self) -> None:
        """Start the deadline of the next request."""
        self._wait_for_head()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse invalid HTTP with our security headers, and end the current request."""
        own = ((b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"))
        answer = h11.Response(status_code=400, headers=[*HEADERS, *own], reason=b"Bad Request")
        for event in (answer, h11.Data(data=msg.encode()), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _wait_for_head(self) -> None:
        self.stop_waiting()
        self._began = self.loop.time()
        self.deadline = self.loop.call_at(self._began + self.bounds.head_s, self._end)

    def _end(self) -> None:
        """End the connection; give a client that has not read everything `stalled_s` to do so."""
        if self.transport.get_write_buffer_size() and self._stalled is None:
            self._stalled = self.loop.call_later(self.bounds.stalled_s, self.transport.abort)
        self.timeout_keep_alive_handler()

    def _end_longest_waiting(self) -> None:
        """End the connection that has waited longest for its request, to make room for this one."""
        waiting = {
            one: one._began  # noqa: SLF001 - another of this class
            for one in cast("set[BoundedConnection]", self.connections)
            if one is not self and one.deadline is not None
        }
        if waiting:
            longest = min(waiting, key=waiting.__getitem__)
            self.connections.discard(longest)
            longest.stop_waiting()
            longest.transport.abort()

    def _stop_stalling(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def stop_waiting(self) -> None:
        """Stop the deadline of the next request."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


def wrap_for_proxies(app: ASGIApp, trusted: Sequence[str]) -> ASGIApp:
    """Read client addresses from headers of trusted proxies and of proxies on this machine.

    Every response gets security headers, also while the service is starting.

    If a proxy might disagree with us on where a request ends, the request is refused and its
    connection closed: it may hide a second request that the proxy did not see (RFC 9112, section
    6.1).
    """

    async def refuse_two_lengths(scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope.get("headers", ())}
        is_chunked = b"transfer-encoding" in names
        if is_chunked and (b"content-length" in names or scope["http_version"] == "1.0"):
            refused = PlainTextResponse("two lengths", 400, {"connection": "close"})
            await refused(scope, receive, send)
        else:
            await app(scope, receive, send)

    guarded = SecurityHeaders(refuse_two_lengths)
    wrapped: Any = ProxyHeadersMiddleware(cast("Any", guarded), [*_OWN, *trusted])
    return cast("ASGIApp", wrapped)
