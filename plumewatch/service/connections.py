"""Connections that cannot be held for nothing.

uvicorn bounds how many connections there are and how long an idle one is kept after an answer, but
not how long a request may take to begin, so that a few hundred clients that send a byte now and
then would keep all others out. Here every connection has a deadline while no request is under way,
which no byte moves, and no address but this machine's own has more than its share of them. (A
reverse proxy on this machine speaks for many; it bounds its own clients.)

How long the body of a request may take is for the application to say.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)


class BoundedConnection(H11Protocol):
    """One connection of a server; the bounds are those of its class (`bounded_connections`).

    Attributes
    ----------
    head_s : float
        Time from the connection, or from the last answer, until the head of a request is there.
    per_address : int
        Connections of one address, unless it is loopback.
    addresses : Counter of str to int
        Connections now, by address.
    """

    head_s: ClassVar[float]
    per_address: ClassVar[int]
    addresses: ClassVar[Counter[str]]
    _deadline: asyncio.TimerHandle | None = None
    _address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or drop it where its address has its share."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.addresses[self._address] += 1
        beyond = self.addresses[self._address] - self.per_address
        if beyond > 0 and not _is_loopback(self._address):
            if beyond == 1:
                log.warning("more than %d connections of %s", self.per_address, self._address)
            transport.abort()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_waiting()
        self.addresses[self._address] -= 1
        if self.addresses[self._address] <= 0:
            del self.addresses[self._address]
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stop the clock once a request is under way."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Start the clock for the next request."""
        self._wait_for_head()
        super().on_response_complete()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self.head_s, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bounded_connections(head_s: float, per_address: int) -> type[BoundedConnection]:
    """Return the protocol of one server, with its own count of addresses."""
    bounds = {"head_s": head_s, "per_address": per_address, "addresses": Counter()}
    return type("BoundedConnection", (BoundedConnection,), bounds)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True  # a local socket has no address
