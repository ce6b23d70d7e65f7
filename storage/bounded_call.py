"""Run blocking network calls with a deadline, in a limited number of threads.

The timeouts of HTTP libraries apply to each read of a socket, so a server that sends a byte now and
then can block a call for hours. Here, each call runs in its own thread, and the caller always stops
waiting at the deadline. A call that misses its deadline still counts against the limit of its peer
until it ends, so a peer that hangs delays only its own calls. The threads are daemons, so they
never keep the process from exiting.
"""

from __future__ import annotations

import asyncio
import email.utils
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class BoundedCallError(Exception):
    """The call did not start, did not end before the deadline, or was abandoned."""


class BusyError(BoundedCallError):
    """All threads are in use."""


class DeadlineExceededError(BoundedCallError):
    """The call did not end before its deadline."""


class BoundedThreads:
    """A limited number of threads for calls to one peer. Thread-safe."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._running: set[Future[Any]] = set()
        self._is_abandoned = False
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether all threads are in use."""
        return len(self._running) >= self._threads

    def abandon(self) -> None:
        """Stop waiting for calls; all current and new calls raise `BoundedCallError`."""
        with self._lock:
            self._is_abandoned = True
            for future in self._running:
                future.set_exception(BoundedCallError("the service is stopping"))
            self._running.clear()

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Start a call without waiting for it.

        Raises `BusyError`, or `BoundedCallError` after `abandon`.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._is_abandoned:
                raise BoundedCallError("the service is stopping")
            if self.is_full:
                raise BusyError(f"all {self._threads} threads are in use")
            self._running.add(future)

        def execute() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - the caller gets it from the future
                if self._release(future):
                    future.set_exception(error)
            else:
                if self._release(future):
                    future.set_result(result)

        try:
            threading.Thread(target=execute, name=f"plumewatch-{self._name}", daemon=True).start()
        except RuntimeError:  # the system cannot start another thread
            self._release(future)
            raise
        return future

    def call(self, work: Callable[[], T], deadline_s: float) -> T:
        """Return the result of ``work()``; raises `BusyError` or `DeadlineExceededError`."""
        future = self.start(work)
        try:
            return future.result(deadline_s)
        except TimeoutError:
            if future.done():
                raise
            raise _make_deadline_error(deadline_s) from None

    async def run(self, work: Callable[[], T], deadline_s: float) -> T:
        """Await the result of ``work()``; raises `BusyError` or `DeadlineExceededError`."""
        future = asyncio.wrap_future(self.start(work))
        try:
            async with asyncio.timeout(deadline_s) as deadline:
                return await future
        except TimeoutError:
            if not deadline.expired():
                raise
            raise _make_deadline_error(deadline_s) from None

    def _release(self, future: Future[Any]) -> bool:
        """Stop counting a call; return whether somebody may still be waiting for it."""
        with self._lock:
            is_waited_for = future in self._running
            self._running.discard(future)
            return is_waited_for


def _make_deadline_error(deadline_s: float) -> DeadlineExceededError:
    return DeadlineExceededError(f"no complete answer in {deadline_s:g} s")


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Parse a Retry-After header (seconds or a date); return seconds from `now`, or None.

    >>> parse_retry_after("30", 0.0), parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10.0)
    (30.0, 50.0)
    >>> parse_retry_after("soon", 0.0) is None
    True
    """
    text = (text or "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (OverflowError, ValueError):
        return None
