"""An incident as a CAP message, on request of who is signed in or holds the token for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from alerts.outbound.cap import cap_message
from alerts.page import queries as reading
from alerts.page.page_context import PageGroup

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute


class CapPages(PageGroup):
    """The messages."""

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [Route("/incidents/{id}/cap.xml", self.one)]

    async def one(self, request: Request) -> Response:
        """Return the newest message of an incident that staff were told of."""
        settings = self._context.settings
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if settings.cap_token is None or not settings.cap_token.matches(token.strip()):
                raise HTTPException(
                    401, "This token does not open it.", {"WWW-Authenticate": "Bearer"}
                )
        else:
            await self._context.signed_in(request)
        found = await self._context.threads.run(
            reading.incident, settings.database, request.path_params["id"]
        )
        if found is None or not found["paged"]:
            raise HTTPException(404, "There is no such incident.")
        url = settings.engine.policy.page_url
        message = cap_message(
            found,
            self._context.registry.rooms.get(found["room"]),
            sender=settings.cap_sender,
            school=settings.school,
            zone=self._context.times.zone,
            link=f"{url}/incidents/{found['id']}" if url else "",
        )
        return Response(message, media_type="application/cap+xml")
