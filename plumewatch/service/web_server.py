"""uvicorn inside our own event loop: our signals, our socket, our words when a port is taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

from plumewatch.service.connections import bounded_connections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp


_CONNECTIONS: Final = 200
_PER_ADDRESS: Final = 50
_HEAD_S: Final = 15.0


class PortInUseError(Exception):
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
        app: ASGIApp,
        host: str,
        port: int,
        *,
        cert_file: Path | None = None,
        key_file: Path | None = None,
    ) -> None:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise PortInUseError(
                f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)};"
                " is Plumewatch running already, or does another program use this port?"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                app,
                http=bounded_connections(_HEAD_S, _PER_ADDRESS),
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=2,
                limit_concurrency=_CONNECTIONS,
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
