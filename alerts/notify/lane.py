"""The few threads that calls to one provider run in.

A provider may hang, or drip a byte at a time past any time-out of a socket. So each has a lane of
its own with a few threads, and each call one deadline: a hung provider delays only itself. The
threads are daemons, so none outlives the program's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from alerts.errors import NotifyError, NotifyReason, TransientNotifyError

if TYPE_CHECKING:
    from collections.abc import Callable


class Lane:
    """The threads of one provider.

    Parameters
    ----------
    threads : int
        Calls at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._running = 0
        self._behind = threading.BoundedSemaphore(threads)

    @property
    def full(self) -> bool:
        """Whether all threads are taken."""
        return self._running >= self._threads

    async def run(
        self,
        work: Callable[[], None],
        timeout_s: float,
        *,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Run in a thread; `after` follows in it once the outcome is out, and takes no place.

        It is left out while as many others of its kind still run.

        Raises
        ------
        NotifyError
            What `work` raises; anything else it raises as ``LIBRARY``, without its words. ``BUSY``
            if the lane is full, ``TIMEOUT`` after `timeout_s` seconds.
        """
        if self.full:
            raise TransientNotifyError(NotifyReason.BUSY, "all threads of the channel are taken")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._running += 1

        def finish(error: NotifyError | None) -> None:
            self._running -= 1
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def body() -> None:
            error: NotifyError | None = None
            try:
                work()
            except NotifyError as caught:
                error = caught
            except BaseException as caught:  # noqa: BLE001 - a thread's error is told like any other
                error = TransientNotifyError(NotifyReason.LIBRARY, type(caught).__name__)
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
                loop.call_soon_threadsafe(finish, error)
            if error is None and after is not None and self._behind.acquire(blocking=False):
                try:
                    after()
                finally:
                    self._behind.release()

        threading.Thread(target=body, name="plumewatch-notify", daemon=True).start()
        try:
            async with asyncio.timeout(timeout_s):
                await done
        except TimeoutError:
            raise TransientNotifyError(
                NotifyReason.TIMEOUT, f"no answer in {timeout_s:g} s"
            ) from None
