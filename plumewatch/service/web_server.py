"""HTTP servers inside our event loop: uvicorn with our signals, our socket and bounded connections.

uvicorn bounds how many connections there are and how long an idle one is kept after an answer, but
not how long a request may take to begin: a few hundred clients that send a byte now and then would
keep all others out. Here every connection has a deadline while no request is under way, which no
byte extends, and no address but this machine's own has more than its share of them. (A reverse
proxy on this machine speaks for many; it bounds its own clients.) How long the body of a request
may take is for the application to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ingest.http import HttpIngest
from plumewatch.service.supervisor import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp

    from ingest.commit import GroupCommit
    from ingest.http import OnUnstored
    from ingest.http_sources import HttpSource
    from ingest.intake import Intake
    from plumewatch.config.sections.ingest import HttpConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Limits of one server.

    Attributes
    ----------
    connections, per_address : int
        Connections at a time, of all and of one address.
    head_s : float
        Time from the connection, or from the last answer, until the head of a request is there.
    exempt_loopback : bool
        Whether addresses of this machine may have more.
    """

    connections: int = 200
    per_address: int = 50
    head_s: float = 15.0
    exempt_loopback: bool = True


DEFAULT_BOUNDS: Final = ConnectionBounds()


class PortInUseError(ServiceError):
    """The address to listen on cannot be had; the message is one sentence."""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only.

    Examples
    --------
    >>> is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in {"127.0.0.1", "localhost", "::1"}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the service."""
        yield


class WebServer:
    """Serve an application on one address.

    Parameters
    ----------
    name : str
        For messages.
    port : int
        0 takes a free one; `port` tells which.
    cert_file, key_file : Path, optional
        Certificate and key for https; http without them.

    Raises
    ------
    PortInUseError
        At once, if the address cannot be bound.
    """

    def __init__(
        self,
        name: str,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        bounds: ConnectionBounds = DEFAULT_BOUNDS,
    ) -> None:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise PortInUseError(
                f"{name}: cannot listen on {host}:{port}: {os.strerror(error.errno or 0)};"
                " is Plumewatch running already, or does another program use this port?"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_bounded(bounds),
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=2,
                limit_concurrency=bounds.connections,
                h11_max_incomplete_event_size=64 * 1024,
                ssl_certfile=cert_file,
                ssl_keyfile=key_file,
            )
        )

    async def serve(self) -> None:
        """Serve until `stop`; when cancelled, the application is shut down in order too."""
        try:
            await self._server.serve(sockets=[self._socket])
        except asyncio.CancelledError:
            if self._server.started:
                await self._server.shutdown(sockets=[self._socket])
            raise

    def stop(self) -> None:
        """End `serve` after requests under way are answered."""
        self._server.should_exit = True


class HttpServer:
    """HTTP ingest on its own address, apart from the staff page; listens only if it has sources.

    Attributes
    ----------
    answers : mapping of (str, int) to int
        Answers given, by source and status.
    """

    def __init__(
        self,
        config: HttpConfig,
        sources: Sequence[HttpSource],
        intake: Intake,
        commits: GroupCommit,
        clock: Callable[[], float],
        on_unstored: OnUnstored,
    ) -> None:
        self._config = config
        self._sources = sources
        self._ingest = HttpIngest(sources, intake, commits, clock=clock, on_unstored=on_unstored)
        self.answers: Mapping[tuple[str, int], int] = self._ingest.answers
        self._server: WebServer | None = None

    def open(self) -> None:
        """Take the address.

        Raises
        ------
        PortInUseError
            If it cannot be had.
        """
        if not self._sources:
            return
        config = self._config
        self._server = WebServer(
            "HTTP ingest",
            self._ingest.app,
            config.host,
            config.port,
            cert_file=config.cert_file,
            key_file=config.key_file,
        )
        scheme = "https" if config.cert_file else "http"
        names = ", ".join(source.name for source in self._sources)
        log.info("HTTP ingest: %s://%s:%d for %s", scheme, config.host, self._server.port, names)
        if config.cert_file is None and not is_loopback(config.host):
            log.warning(
                "HTTP ingest is open to the network without TLS: tokens can be read on the way"
            )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, which is set when the service ends."""
        if self._server is None:
            await stop.wait()
        else:
            await self._server.serve()

    def stop(self) -> None:
        """Accept no more requests; those under way are answered."""
        if self._server is not None:
            self._server.stop()


class BoundedConnection(H11Protocol):
    """One connection of a server; `bounds` and the connections by address are of its class."""

    bounds: ClassVar[ConnectionBounds]
    addresses: ClassVar[Counter[str]]
    _deadline: asyncio.TimerHandle | None = None
    _address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, or drop it if its address has its share."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.addresses[self._address] += 1
        exempt = self.bounds.exempt_loopback and _is_own(self._address)
        beyond = self.addresses[self._address] - self.bounds.per_address
        if beyond > 0 and not exempt:
            if beyond == 1:
                log.warning(
                    "more than %d connections of %s", self.bounds.per_address, self._address
                )
            transport.abort()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._stop_waiting()
        self.addresses[self._address] -= 1
        if self.addresses[self._address] <= 0:
            del self.addresses[self._address]
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stop the deadline once a request is under way."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Start the deadline of the next request."""
        self._wait_for_head()
        super().on_response_complete()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self.bounds.head_s, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _bounded(bounds: ConnectionBounds) -> type[BoundedConnection]:
    """Return the protocol of one server, with its own count of addresses."""
    members = {"bounds": bounds, "addresses": Counter()}
    return type("BoundedConnection", (BoundedConnection,), members)


def _is_own(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True  # a local socket has no address
