"""Topics that nothing reads, and for each a suggested mapping to copy.

For those who look after the sensors, signed in, as `dead_letters`. What a stranger sent
is shown as text only, escaped. The page changes nothing: a person pastes the suggestion into the
configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Route

from alerts.access.roles import Right
from alerts.page.page_context import PageGroup
from storage import dead_letters

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute


_MAX_TOPIC = 1024


class UnmatchedPages(PageGroup):
    """The page of one unmatched topic."""

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [Route("/unmatched", self.one)]

    async def one(self, request: Request) -> Response:
        """Show what was sent under a topic, and the mapping that it suggests."""
        session = await self._context.signed_in(request, Right.SENSORS)
        topic = request.query_params.get("topic", "")
        found = (
            self._context.settings.suggest_mapping(topic) if 0 < len(topic) <= _MAX_TOPIC else None
        )
        if found is None:
            raise HTTPException(404, "Nothing unread was heard under this topic, or not any more.")
        return self._context.render(
            request,
            "unmatched.html",
            session,
            topic=topic,
            found=found,
            sample=dead_letters.visible(found.sample),
        )
