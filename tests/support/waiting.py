"""Wait for the effects of other tasks, threads and processes.

Wait only for conditions that stay true: a growing count, a row, a line in a log. A temporary state
may end between two checks. Don't assume that the next effect has happened as well.
`TEST_PAUSE_S=0.7` makes checks rarer than on any machine, and `TEST_PAUSE_S=0` makes them more
frequent, so that tests with such mistakes fail every time.
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
    """Return the first true result of `met`, while the event loop keeps running."""
    async with asyncio.timeout(within_s):
        while not (found := met()):
            await _sleep(_PAUSE_S)
    return found


def eventually(met: Callable[[], Any], what: Callable[[], str] | str, within_s: float = 60) -> Any:
    """Return the first true result of `met`; fail with `what` if there is none in time.

    Checks become less and less frequent, because some of them read a whole journal.
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
