"""Pages that refresh themselves: one stream of server-sent events for each browser.

An event says only *that* something changed in the schools that are seen. The page then requests its
parts like any other, so its session decides what it sees; without the stream every 30 seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from starlette.responses import Response, StreamingResponse

from alerts.access.limits import address_key
from alerts.page import queries
from alerts.page.guard import client_of, session_of
from alerts.page.page_group import Access, PageGroup, serves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request

    from alerts.page.page_context import PageContext

_TICK_S: Final = 5.0
"""Longest time between two events: readings change all the time."""
_PACE_S: Final = 0.5
"""Shortest time between two events: an incident changes several times in its first second."""
_SPREAD_S: Final = 0.02
"""Time for each open page over which an event is spread: 50 at once would delay readings."""
_CHECK_EVERY: Final = 6
"""Ticks and changes after which the session is looked up again."""
_DAY_S: Final = 86_400.0
_MOST: Final = 100
_MOST_OF_ONE: Final = 20
"""Streams of one address or person, fewer than the connections that the server accepts from one."""


class LivePages(PageGroup):
    """The stream."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._open: Counter[tuple[str, str]] = Counter()

    @serves("/live")
    async def _live(self, request: Request) -> Response:
        session = session_of(request)
        keys = [("address", address_key(client_of(request)))]
        keys += [("person", session.person)] if session else []
        if self._total() >= _MOST or any(self._open[key] >= _MOST_OF_ONE for key in keys):
            return Response(status_code=204)  # tells the browser not to try again
        return StreamingResponse(
            self._stream(request, keys),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    @serves("/wall/live", Access.PUBLIC)
    async def _wall(self, request: Request) -> Response:
        if not await self._context.may_see_wall(request):
            return Response(status_code=204)
        return await self._live(request)

    def _total(self) -> int:
        """Return the number of streams, each of which counts for an address, and for a person."""
        return sum(count for (kind, _), count in self._open.items() if kind == "address")

    async def _stream(
        self, request: Request, keys: Sequence[tuple[str, str]]
    ) -> AsyncIterator[str]:
        changes = self._context.settings.changes
        self._open.update(keys)
        try:
            yield "retry: 3000\n\n"
            now = asyncio.get_running_loop().time
            seen, sent, shown, due = changes.count, 0, await self._shown(), now() + _TICK_S
            while not changes.closed:
                count = await changes.wait_beyond(seen, max(0.0, due - now()))
                before, shown = shown, await self._shown() if count != seen else shown
                is_change = count != seen if shown is None else shown != before
                seen = count
                if is_change or now() >= due:
                    sent, due = sent + 1, now() + _TICK_S
                    if sent % _CHECK_EVERY == 0 and not await self._may_stay(request):
                        return
                    await asyncio.sleep(random.random() * _SPREAD_S * self._total())  # noqa: S311
                    number = count if shown is None else sent
                    yield f"event: {'change' if is_change else 'tick'}\ndata: {number}\n\n"
                await asyncio.sleep(_PACE_S)
        finally:
            self._open.subtract(keys)
            for key in keys:
                if not self._open[key]:
                    del self._open[key]

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
        return self._context.access.open_reading or await self._context.session(request) is not None
