"""The page of sensors: registered, strangers, and what was refused or not delivered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar, Final

from starlette.routing import Route

from alerts.page import queries as reading
from alerts.page.page_context import NavLink, PageGroup

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute


_STRANGERS: Final = 20


class SensorPages(PageGroup):
    """All sensors."""

    nav: ClassVar[tuple[NavLink, ...]] = (
        NavLink(
            "/sensors", "Sensors", ("/sensor-health", "/levels", "/dead-letters", "/unmatched")
        ),
    )

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [Route("/sensors", self.index)]

    async def index(self, request: Request) -> Response:
        """Sensors, strangers among them, and what was refused or not delivered."""
        context = self._context
        session = await context.may_read(request)
        latest = await context.threads.run(context.settings.series.latest)
        now = context.settings.clock()
        delivery = await context.threads.run(reading.status, context.settings.database, now)
        return context.render(
            request,
            "sensors.html",
            session,
            pipeline=context.settings.pipeline(),
            most=sys.maxsize if "all" in request.query_params else _STRANGERS,
            delivery=delivery,
            sensors=[
                (s, context.registry.rooms.get(s.room), latest.get(s.id))
                for s in context.registry.sensors.values()
            ],
        )
