"""A bound on the whole of an HTTP request, for answers that come byte by byte.

The time-outs of `urllib3` are for one read of the socket: a server, or what sits before it, that
sends a byte now and then holds its caller for ever. Inside `within`, the socket that the calling
thread waits for is shut down when the time is over, and the read ends as on a broken connection.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import PoolManager
    from urllib3.response import HTTPResponse


class _Request:
    """The socket that one request waits for, and whether its time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.over = False

    def uses(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._socket = connection.sock
        if self.over:
            self.end()

    def end(self) -> None:
        with self._lock:
            self.over = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


class _Current(threading.local):
    request: _Request | None = None


_current = _Current()


class _Connection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3's own
        if _current.request is not None:
            _current.request.uses(self)
        return super().getresponse()


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3's own
        if _current.request is not None:
            _current.request.uses(self)
        return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def heed(manager: PoolManager) -> None:
    """Have a pool manager's new connections heed `within`."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound the requests that this thread makes inside, up to the last byte of their answers.

    Parameters
    ----------
    seconds : float
        For all of them together, from the sending of the first on.

    Raises
    ------
    TimeoutError
        When the time was over before the end of the block, even if something like an answer came:
        one that was cut off in its head looks whole.
    """
    request = _Request()
    timer = threading.Timer(seconds, request.end)
    timer.daemon = True
    timer.start()
    _current.request = request
    try:
        yield
    finally:
        _current.request = None
        timer.cancel()
        if request.over:
            raise TimeoutError(f"no whole answer in {seconds:g} s")
