"""Topics that nothing reads, and for each a suggested mapping to copy.

For those who look after the sensors, signed in, as `alerts.web.dead_letters`. What a stranger sent
is shown as text only, escaped. The page changes nothing: a person pastes the suggestion into the
configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from alerts.web.guard import looks_after_sensors
from storage import dead_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.web.guard import Session
    from alerts.web.settings import StaffPageSettings

__all__ = ["UnmatchedPages"]

_MAX_TOPIC = 1024


class UnmatchedPages:
    """The page of one unmatched topic.

    Parameters
    ----------
    settings : StaffPageSettings
    signed_in : callable
        Returns the session of a request, or sends it to the sign-in.
    render : callable
        As `_Page._render`.
    """

    def __init__(
        self,
        settings: StaffPageSettings,
        signed_in: Callable[[Request], Session],
        render: Callable[..., Response],
    ) -> None:
        self._settings = settings
        self._signed_in = signed_in
        self._render = render

    async def one(self, request: Request) -> Response:
        """Show what was sent under a topic, and the mapping that it suggests."""
        session = self._signed_in(request)
        if not looks_after_sensors(session, self._settings.engine.policy.staff):
            raise HTTPException(403, "This page is for facilities staff and administrators.")
        topic = request.query_params.get("topic", "")
        found = self._settings.suggest_mapping(topic) if 0 < len(topic) <= _MAX_TOPIC else None
        if found is None:
            raise HTTPException(404, "Nothing unread was heard under this topic, or not any more.")
        return self._render(
            request,
            "unmatched.html",
            session,
            topic=topic,
            found=found,
            sample=dead_letters.visible(found.sample),
        )
