"""That something changed, for whoever waits in the same event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """Counts changes and wakes who waits for the next.

    Attributes
    ----------
    closed : bool
        Whether nothing will be told any more, so that nobody waits on.
    """

    count: int = 0
    closed: bool = False
    _next: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Say that something changed."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    def close(self) -> None:
        """Wake everybody for the last time."""
        self.closed = True
        self.tell()

    async def after(self, seen: int, timeout_s: float) -> int:
        """Wait until there are more than `seen`, or the time is over; how many there are."""
        if self.count == seen:
            waiting = self._next
            try:
                async with asyncio.timeout(timeout_s):
                    await waiting.wait()
            except TimeoutError:
                return self.count
        return self.count
