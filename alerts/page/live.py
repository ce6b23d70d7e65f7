"""Pages that refresh themselves: one stream of server-sent events for each browser.

An event says only *that* something changed. The page then requests its parts like any other, so
its session decides what it sees. Without the stream it requests them every 30 seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from starlette.responses import Response, StreamingResponse

from alerts.access.limits import address_key
from alerts.page import queries
from alerts.page.guard import client_of
from alerts.page.page_context import Access, PageGroup, serves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from alerts.page.page_context import PageContext

_TICK_S: Final = 5.0
"""Longest time between two events: readings change all the time."""
_PACE_S: Final = 0.5
"""Shortest time between two events: an incident changes several times in its first second."""
_CHECK_EVERY: Final = 6
"""Ticks and changes after which the session is looked up again."""
_DAY_S: Final = 86_400.0
_MOST: Final = 100
_MOST_OF_ONE: Final = 20
"""Streams of one address, fewer than the connections that the server accepts from one."""


class LivePages(PageGroup):
    """The stream."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._open: Counter[str] = Counter()

    @serves("/live")
    async def live(self, request: Request) -> Response:
        """Send changes until the browser leaves or its session ends; 204 beyond the limits."""
        address = address_key(client_of(request))
        if self._open.total() >= _MOST or self._open[address] >= _MOST_OF_ONE:
            return Response(status_code=204)  # tells the browser not to try again
        return StreamingResponse(
            self._stream(request, address),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    @serves("/wall/live", Access.PUBLIC)
    async def wall(self, request: Request) -> Response:
        """Send changes to a screen with the wall view."""
        if not await self._context.may_see_wall(request):
            return Response(status_code=204)
        return await self.live(request)

    async def _stream(self, request: Request, address: str) -> AsyncIterator[str]:
        changes = self._context.settings.changes
        self._open[address] += 1
        try:
            yield "retry: 3000\n\n"
            seen, sent, shown = changes.count, 0, await self._shown()
            while not changes.closed:
                count = await changes.wait_beyond(seen, _TICK_S)
                sent += 1
                if sent % _CHECK_EVERY == 0 and not await self._may_stay(request):
                    return
                before, shown = shown, await self._shown() if count != seen else shown
                is_change = count != seen if shown is None else shown != before
                number = count if shown is None else sent
                yield f"event: {'change' if is_change else 'tick'}\ndata: {number}\n\n"
                seen = count
                await asyncio.sleep(_PACE_S)
        finally:
            self._open[address] -= 1

    async def _shown(self) -> int | None:
        """Return a number that changes with incidents of the sites that are seen; None for all."""
        context = self._context
        if context.rooms is None:
            return None
        since = context.settings.clock() - _DAY_S
        return await context.read(queries.recent_changes, context.rooms, since)

    async def _may_stay(self, request: Request) -> bool:
        if request.url.path.startswith("/wall/"):
            return await self._context.may_see_wall(request)
        return (
            self._context.settings.open_reading or await self._context.session(request) is not None
        )
