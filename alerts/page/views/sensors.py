"""Pages of sensors: registered and unregistered ones, rejected messages, and unmatched topics.

An unmatched topic is one that no decoder reads. Its page suggests a mapping to copy into the
configuration, and changes nothing. What an unregistered device sent is untrusted text: shown
escaped, only to people who look after the sensors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar, Final

from starlette.exceptions import HTTPException

from alerts.access.roles import Right
from alerts.notify import outbox
from alerts.page.page_context import NavLink, PageGroup, serves
from storage import dead_letters

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_SHOWN: Final = 20
_MAX_TOPIC: Final = 1024


class SensorPages(PageGroup):
    """All sensors, and one unmatched topic."""

    nav: ClassVar[tuple[NavLink, ...]] = (
        NavLink(
            "/sensors", "Sensors", ("/sensor-health", "/levels", "/dead-letters", "/unmatched")
        ),
    )

    @serves("/sensors")
    async def index(self, request: Request) -> Response:
        """Show registered and unregistered sensors, and counts of messages and notices."""
        context = self._context
        latest = await context.in_thread(context.settings.series.latest)
        return context.render(
            request,
            "sensors.html",
            pipeline=context.settings.pipeline(),
            most=sys.maxsize if "all" in request.query_params else _SHOWN,
            notices=await context.read(outbox.backlog),
            sensors=[
                (s, context.registry.rooms.get(s.room), latest.get(s.id))
                for s in context.registry.sensors.values()
            ],
        )

    @serves("/unmatched", Right.SENSORS)
    async def unmatched(self, request: Request) -> Response:
        """Show the last message of an unmatched topic, and the mapping that it suggests."""
        topic = request.query_params.get("topic", "")
        found = None
        if 0 < len(topic) <= _MAX_TOPIC:
            found = self._context.settings.suggest_mapping(topic)
        if found is None:
            raise HTTPException(404, "No unmatched message was received on this topic recently.")
        return self._context.render(
            request,
            "unmatched.html",
            topic=topic,
            found=found,
            sample=dead_letters.visible(found.sample),
        )
