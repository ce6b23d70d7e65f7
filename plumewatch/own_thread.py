"""Blocking work on the network, in a thread that nothing waits for when the process ends."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_own_thread(name: str, work: Callable[[], T]) -> T:
    """Return what ``work()`` returns, or raise what it raises.

    Who is cancelled meanwhile waits no longer; the work goes on until its own time-outs end it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", result))

    def body() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except Exception as caught:  # noqa: BLE001 - raised again where it is awaited
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, name=f"plumewatch-{name}", daemon=True).start()
    return await done
