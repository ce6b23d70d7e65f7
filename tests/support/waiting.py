"""Waiting for what other tasks, threads and processes do.

What is waited for must stay once it is there: a count that grows, a row, a line of a log. A state
that ends by itself may end between two looks. And only what is waited for has happened: what comes
right behind it may not have. `TEST_PAUSE_S=0.7` makes looks as rare, and `TEST_PAUSE_S=0` as
frequent, as no machine does by chance, so that tests which err in this fail each time.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE_S = float(os.environ.get("TEST_PAUSE_S", "0.01"))
_LONGEST_PAUSE_S = max(_PAUSE_S, 0.08)
_sleep = asyncio.sleep  # some tests replace it


async def until(met: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Return the first true result of `met` while the event loop goes on."""
    async with asyncio.timeout(within_s):
        while not (found := met()):
            await _sleep(_PAUSE_S)
    return found


def eventually(met: Callable[[], Any], what: Callable[[], str] | str, within_s: float = 60) -> Any:
    """Return the first true result of `met`; fail with `what` if none comes in time.

    It asks ever more seldom, since to ask often reads a whole journal.
    """
    deadline = time.monotonic() + within_s
    pause = _PAUSE_S
    while not (found := met()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {within_s:.0f} s: {what() if callable(what) else what}"
            )
        time.sleep(pause)
        pause = min(1.25 * pause, _LONGEST_PAUSE_S)
    return found
