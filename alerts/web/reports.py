"""Reports for those who may have them: a form, what is being made, what lies ready."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final
from zoneinfo import ZoneInfo

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse
from starlette.routing import Route

from alerts.access.roles import Right
from alerts.web.desk import NavLink, Pages, text_of
from alerts.web.report_jobs import TooManyJobsError
from reports.names import ABOUT, FORMATS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from alerts.web.guard import Session
    from alerts.web.report_jobs import ReportJobs

__all__ = ["ReportPages"]

_MEDIA: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
    "html": "text/html; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "json": "application/json",
}
_FIELDS: Final = ("name", "kind", "start", "end", "site", "building", "intervention")
_WEEKS: Final = 4


class ReportPages(Pages):
    """The form, the list, and the files."""

    nav: ClassVar[tuple[NavLink, ...]] = (NavLink("/reports", "Reports", ("/reports/",)),)

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [
            Route("/reports", self.index),
            Route("/reports", self.ask, methods=["POST"]),
            Route("/partials/reports", self.partial),
            Route("/reports/{id}", self.file),
        ]

    async def index(self, request: Request) -> Response:
        """Show the form and the person's reports."""
        session = await self._desk.signed_in(request, Right.REPORTS)
        return self._page(request, session, {})

    async def partial(self, request: Request) -> Response:
        """Return the list alone."""
        session = await self._desk.signed_in(request, Right.REPORTS)
        jobs = self._jobs().of(session.person)
        return self._desk.render(request, "report_list.html", session, jobs=jobs)

    async def ask(self, request: Request) -> Response:
        """Begin a report."""
        session, form = await self._desk.may_act(request, Right.REPORTS)
        typed = {key: " ".join(text_of(form, key).split())[:80] for key in _FIELDS}
        if typed["name"] not in ABOUT or typed["kind"] not in FORMATS:
            raise HTTPException(400, "There is no such report.")
        try:
            days = [datetime.fromisoformat(typed[key]).date() for key in ("start", "end")]
        except ValueError:
            return self._page(request, session, typed, "Please choose both days.", 400)
        if days[0] > days[1]:
            return self._page(request, session, typed, "The first day is after the last.", 400)
        typed |= {"start": str(days[0]), "end": str(days[1])}
        title = f"{typed['name']}-{typed['start']}-{typed['end']}.{typed['kind']}"
        try:
            self._jobs().start(typed, session.person, title)
        except TooManyJobsError:
            said = "Two reports are being made already. Wait for one of them."
            return self._page(request, session, typed, said, 429)
        return RedirectResponse("/reports", 303)

    async def file(self, request: Request) -> Response:
        """Return a report that is ready, to who asked for it."""
        session = await self._desk.signed_in(request, Right.REPORTS)
        job = self._jobs().find(request.path_params["id"], session.person)
        if job is None or job.state != "ready":
            raise HTTPException(404, "There is no such report, or not any more.")
        kind = job.name.rpartition(".")[2]
        return FileResponse(job.path, media_type=_MEDIA[kind], filename=job.name)

    def _jobs(self) -> ReportJobs:
        jobs = self._desk.settings.reports
        if jobs is None:
            raise HTTPException(404, "This service makes no reports.")
        return jobs

    def _page(
        self,
        request: Request,
        session: Session,
        typed: dict[str, str],
        error: str = "",
        status: int = 200,
    ) -> Response:
        settings = self._desk.settings
        today = datetime.fromtimestamp(settings.clock(), UTC).astimezone(
            ZoneInfo(settings.engine.policy.zone)
        )
        preset: dict[str, Any] = {
            **dict.fromkeys(_FIELDS, ""),
            "name": "summary",
            "kind": "pdf",
            "start": (today - timedelta(weeks=_WEEKS)).date().isoformat(),
            "end": today.date().isoformat(),
        }
        rooms = settings.engine.registry.rooms.values()
        return self._desk.render(
            request,
            "reports.html",
            session,
            status_code=status,
            jobs=self._jobs().of(session.person),
            reports=ABOUT,
            formats=FORMATS,
            sites=sorted({room.site for room in rooms}),
            buildings=sorted({room.building for room in rooms}),
            typed=preset | typed,
            error=error,
        )
