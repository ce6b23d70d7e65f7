"""Incidents: the list, one with its evidence, and what people do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from alerts.access.roles import Right, may
from alerts.errors import FeedbackError, UnknownStaffError
from alerts.incidents.incident import ActionClass, Verdict
from alerts.notify.pictures import IncidentPictures
from alerts.page import queries as reading
from alerts.page.page_context import NavLink, PageGroup, text_of
from alerts.page.views import charts

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from alerts.incidents.incident import Incident
    from alerts.page.guard import Session
    from alerts.page.page_context import PageContext

_BEFORE_S: Final = 300.0
_AFTER_S: Final = 600.0
_CHANNEL: Final = "staff page"


class IncidentPages(PageGroup):
    """Open and recent incidents."""

    nav: ClassVar[tuple[NavLink, ...]] = (NavLink("/incidents", "Incidents", ("/incidents/",)),)

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        settings = context.settings
        self._pictures = IncidentPictures(
            settings.database, context.registry, settings.series, settings.engine.policy.zone
        )

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [
            Route("/incidents", self.index),
            Route("/partials/incidents", self.partial),
            Route("/incidents/{id}", self.one),
            Route("/incidents/{id}/series", self.series),
            Route("/incidents/{id}/evidence.svg", self.evidence_svg),
            Route("/incidents/{id}/evidence.png", self.evidence_png),
            Route("/incidents/{id}/acknowledge", self.acknowledge, methods=["POST"]),
            Route("/incidents/{id}/arrive", self.arrive, methods=["POST"]),
            Route("/incidents/{id}/hand-over", self.hand_over, methods=["POST"]),
            Route("/incidents/{id}/resolve", self.resolve, methods=["POST"]),
            Route("/incidents/{id}/feedback", self.feedback, methods=["POST"]),
            Route("/incidents/{id}/followed", self.followed, methods=["POST"]),
        ]

    # what people see

    async def index(self, request: Request) -> Response:
        """Open and recent incidents."""
        session = await self._context.may_read(request)
        recent = await self._recent()
        return self._context.render(request, "incidents.html", session, incidents=recent)

    async def partial(self, request: Request) -> Response:
        """Return the list of incidents alone."""
        session = await self._context.may_read(request)
        recent = await self._recent()
        return self._context.render(request, "incident_list.html", session, incidents=recent)

    async def one(self, request: Request) -> Response:
        """Show one incident: what, where, why, who, and the buttons."""
        session = await self._context.may_read(request)
        return await self._page(request, session)

    async def _page(
        self,
        request: Request,
        session: Session | None,
        error: str = "",
        status: int = 200,
        *,
        note: str = "",
        askable: bool = False,
    ) -> Response:
        found = await self._incident(request)
        others = [
            m
            for m in self._context.settings.engine.policy.staff
            if m.targets and m.id != found["acknowledged_by"] and may(m.role, Right.ANSWER)
        ]
        return self._context.render(
            request,
            "incident.html",
            session,
            status_code=status,
            incident=self._context.named([found])[0],
            error=error,
            note=note,
            askable=askable,
            others=others,
        )

    async def series(self, request: Request) -> Response:
        """Return the air around an incident as JSON."""
        await self._context.may_read(request)
        found = await self._incident(request)
        last = max((e["end"] or e["last_heard"] for e in found["events"]), default=found["onset"])
        start = found["onset"] - _BEFORE_S
        end = min(max(last, found["onset"]) + _AFTER_S, start + 6 * 3600.0)
        end = min(end, max(self._context.settings.clock(), last))
        extra = [e["sensor"] for e in found["events"]]
        return await charts.series(self._context, found["room"], start, end, extra)

    async def evidence_svg(self, request: Request) -> Response:
        """Return the evidence picture of an incident, for the page and for print."""
        return await self._picture(request, self._pictures.svg, "image/svg+xml")

    async def evidence_png(self, request: Request) -> Response:
        """Return the evidence picture of an incident as pixels, to send on."""
        return await self._picture(request, self._pictures.png, "image/png")

    async def _picture(
        self, request: Request, make: Callable[[str], str | bytes | None], media_type: str
    ) -> Response:
        await self._context.may_read(request)
        picture = await self._context.threads.run(make, request.path_params["id"])
        if picture is None:
            raise HTTPException(404, "There is no such incident.")
        return Response(picture, media_type=media_type)

    # what people do

    async def acknowledge(self, request: Request) -> Response:
        """Take an incident."""
        return await self._word(request, self._context.settings.engine.acknowledge)

    async def arrive(self, request: Request) -> Response:
        """Say that one is there."""
        return await self._word(request, self._context.settings.engine.arrive)

    async def resolve(self, request: Request) -> Response:
        """Say that it is over."""
        return await self._word(request, self._context.settings.engine.resolve)

    async def _word(self, request: Request, hear: Callable[..., Incident]) -> Response:
        """Let the engine hear who says something that needs no more words."""
        session, _ = await self._context.may_act(request, Right.ANSWER)
        incident_id, now = request.path_params["id"], self._context.settings.clock()
        await self._context.write(
            lambda tx: hear(tx, incident_id, session.person, now, channel=_CHANNEL)
        )
        return _back_to(incident_id)

    async def feedback(self, request: Request) -> Response:
        """Say what it was."""
        session, form = await self._context.may_act(request, Right.ANSWER)
        incident_id = request.path_params["id"]
        now = self._context.settings.clock()
        try:
            verdict = Verdict(text_of(form, "verdict"))
        except ValueError:
            raise HTTPException(400, "There is no such answer.") from None
        cause = text_of(form, "cause") if verdict is Verdict.FALSE_ALARM else ""
        note, fault, askable = self._context.free_text(form, "note")
        if fault:
            return await self._page(request, session, fault, 400, note=note, askable=askable)
        try:
            await self._context.write(
                lambda tx: self._context.settings.engine.feedback(
                    tx, incident_id, session.person, verdict, now, cause=cause, note=note
                )
            )
        except FeedbackError as error:
            return await self._page(request, session, f"{error}.", 400, note=note)
        return _back_to(incident_id)

    async def followed(self, request: Request) -> Response:
        """Say what followed, and the number of the case in a system of the school."""
        session, form = await self._context.may_act(request, Right.ANSWER)
        incident_id, now = request.path_params["id"], self._context.settings.clock()
        said = text_of(form, "action")
        if said not in {"", *ActionClass}:
            raise HTTPException(400, "There is no such answer.")
        action = ActionClass(said) if said else None
        number = text_of(form, "case_number").strip()
        try:
            await self._context.write(
                lambda tx: self._context.settings.engine.followed(
                    tx, incident_id, session.person, action, now, case_number=number
                )
            )
        except FeedbackError as error:
            said = f"{error}."
            return await self._page(request, session, said[0].upper() + said[1:], 400)
        return _back_to(incident_id)

    async def hand_over(self, request: Request) -> Response:
        """Let somebody else have it."""
        session, form = await self._context.may_act(request, Right.ANSWER)
        incident_id, now = request.path_params["id"], self._context.settings.clock()
        to = text_of(form, "to")
        try:
            await self._context.write(
                lambda tx: self._context.settings.engine.hand_over(
                    tx, incident_id, session.person, to, now, channel=_CHANNEL
                )
            )
        except UnknownStaffError:
            error = "Choose somebody who can be reached and may answer."
            return await self._page(request, session, error, 400)
        return _back_to(incident_id)

    # rows

    async def _incident(self, request: Request) -> dict[str, Any]:
        found = await self._context.threads.run(
            reading.incident, self._context.settings.database, request.path_params["id"]
        )
        if found is None:
            raise HTTPException(404, "There is no such incident.")
        return found

    async def _recent(self) -> list[dict[str, Any]]:
        read = self._context.threads.run
        return self._context.named(
            await read(lambda: reading.incidents(self._context.settings.database))
        )


def _back_to(incident_id: str) -> Response:
    return RedirectResponse(f"/incidents/{quote(incident_id, safe='')}", 303)
