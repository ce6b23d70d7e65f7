"""Reports: the form, reports in progress, and finished files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse, Response

from alerts.access.roles import Right
from alerts.page.guard import get_text, require_found
from alerts.page.page_context import to_sentence
from alerts.page.page_group import PageGroup, serves
from alerts.page.report_jobs import TooManyJobsError
from language.messages import Words, _, get_language, mark, write_date
from reports.read import read_recorded_from
from reports.school import KINDS, PeriodError
from reports.text import ABOUT, FORMATS, make_file_name
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from starlette.requests import Request

    from alerts.page.page_context import PageContext
    from alerts.page.report_jobs import Job
    from reports.school import Period, SchoolTimes

MEDIA: Final = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
    "parquet": "application/vnd.apache.parquet",
}
_FORMAT_WORDS: Final = Words(
    {
        "pdf": mark("PDF, to read or print"),
        "xlsx": mark("Excel workbook (XLSX)"),
        "csv": mark("Table for any spreadsheet (CSV)"),
        "parquet": mark("Table for data tools (Parquet)"),
    }
)
_DAYS: Final = "days"
FIELDS: Final = (*("name", "kind", "span", "start", "end", *KINDS), *("site", "building"))
_LONGEST: Final = timedelta(days=3659)
_WEEKS: Final = 4
_MAX_PERIODS: Final = 53
"""Maximum weeks, months or school years to choose from."""


class ReportError(ValueError):
    """A report cannot be created; with `is_for_now`, trying again later can succeed."""

    def __init__(self, message: str, *, is_for_now: bool = False) -> None:
        super().__init__(message)
        self.is_for_now = is_for_now


def start_report(context: PageContext, request: Request, typed: Mapping[str, str]) -> Job:
    """Start a report with the values of `FIELDS`; raise `ReportError` if it is refused."""
    if typed["name"] not in _list_reports(request) or typed["kind"] not in FORMATS:
        raise ReportError(_("This report doesn't exist."))
    schools = context.permitted.list_sites(with_closed=True)
    if context.sites is not None:
        only = schools[0].id if len(schools) == 1 else ""
        typed = {**typed, "site": typed["site"] or only}
    about = context.find_school(typed["site"])
    if about is None and (typed["site"] or context.sites is not None):
        raise ReportError(_("Choose a school from the list."))
    try:
        asked = _read_window(context, typed)
    except ValueError as error:
        raise ReportError(str(error)) from error
    place = typed["site"], typed["building"]
    title = make_file_name(typed["name"], typed["kind"], *asked.values(), *place)
    fields = {key: typed[key] for key in ("name", "kind", "site", "building")}
    fields |= asked | {"language": get_language()}
    try:
        sites = frozenset({about.name}) if about else None
        person = request.state.session.person
        return context.settings.reports.start(fields, person, title, sites)
    except TooManyJobsError:
        fault = _("A report is already in progress. Wait for it to finish.")
        raise ReportError(fault, is_for_now=True) from None


def list_own_reports(context: PageContext, request: Request) -> list[Job]:
    """Return the signed-in person's reports that they could create now."""
    jobs = context.settings.reports.list_jobs(request.state.session.person, context.sites)
    return [job for job in jobs if job.report in _list_reports(request)]


def find_own_report(context: PageContext, request: Request) -> Job:
    """Return the report in a path; raise 404 if it is not in `list_own_reports`."""
    key = request.path_params["id"]
    found = next((job for job in list_own_reports(context, request) if job.id == key), None)
    return require_found(found, _("This report doesn't exist. It may have expired."))


def send_report_file(job: Job) -> Response:
    """Return the file of a report; raise 404 unless it is ready."""
    if job.state != "ready":
        raise HTTPException(404, _("This report is not ready."))
    return FileResponse(job.path, media_type=MEDIA[job.name.rpartition(".")[2]], filename=job.name)


def _list_periods(kind: str, name: str, times: SchoolTimes, since: date) -> list[Period]:
    """Return a period and earlier ones that end on `since` or later, newest first."""
    found = [times.parse_period(kind, name)]
    while len(found) < _MAX_PERIODS:
        earlier = times.find_previous(found[-1])
        if earlier is None or earlier.last < since:
            break
        found.append(earlier)
    return found


def _read_window(context: PageContext, typed: Mapping[str, str]) -> dict[str, str]:
    kind = typed["span"] or _DAYS
    if kind in KINDS:
        try:
            period = context.settings.school.times.parse_period(kind, typed[kind])
        except PeriodError as error:
            raise ValueError(to_sentence(error)) from error
        return {kind: period.name}
    try:
        days = [datetime.fromisoformat(typed[key]).date() for key in ("start", "end")]
    except ValueError:
        raise ValueError(_("Choose both days.")) from None
    if days[0] > days[1]:
        raise ValueError(_("The first day is after the last."))
    if days[1] - days[0] > _LONGEST:
        raise ValueError(_("The period is longer than ten years."))
    return {"start": str(days[0]), "end": str(days[1])}


def _list_reports(request: Request) -> dict[str, str]:
    """Return the reports that a person can create, with their descriptions."""
    every = request.state.session.may(Right.REPORTS)
    return {name: about for name, about in ABOUT.items() if every or name == "summary"}


class ReportPages(PageGroup):
    """The report form, the list of reports, and their files."""

    @serves("/reports", Right.SUMMARY, methods=("POST",))
    async def _ask(self, request: Request) -> Response:
        form = request.state.form
        typed = {key: " ".join(get_text(form, key).split())[:80] for key in FIELDS}
        try:
            start_report(self._context, request, typed)
        except ReportError as error:
            status = 429 if error.is_for_now else 400
            return await self._page(request, str(error), status, **typed)
        return RedirectResponse("/reports", 303)

    @serves("/reports/{id}", Right.SUMMARY)
    async def _file(self, request: Request) -> Response:
        return send_report_file(find_own_report(self._context, request))

    @serves("/reports", Right.SUMMARY)
    async def _page(
        self, request: Request, error: str = "", status: int = 200, **typed: str
    ) -> Response:
        settings = self._context.settings
        now, times = settings.clock(), settings.school.times
        recorded_from = min(await self._context.read(read_recorded_from), now)
        today, since = (self._context.times.to_local(at).date() for at in (now, recorded_from))
        weeks, months, years = (
            _list_periods(kind, name, times, since)
            for kind, name in (
                ("week", f"{today:%G-W%V}"),
                ("month", f"{today:%Y-%m}"),
                ("school_year", times.find_school_year(today)),
            )
        )
        preset: dict[str, Any] = {
            **dict.fromkeys(FIELDS, ""),
            "name": "summary",
            "kind": "pdf",
            "span": "week",
            "week": weeks[:2][-1].name,
            "month": months[:2][-1].name,
            "term": times.find_term(today),
            "school_year": years[0].name,
            "start": (today - timedelta(weeks=_WEEKS)).isoformat(),
            "end": today.isoformat(),
        }
        rooms = self._context.registry.rooms.values()
        return await self._context.render(
            request,
            "reports.html",
            status,
            jobs=list_own_reports(self._context, request),
            reports=_list_reports(request),
            formats=_FORMAT_WORDS,
            today=today,
            weeks=weeks,
            date_text=write_date,
            months=months,
            terms=[term.name for term in times.terms if term.first <= today and term.last >= since],
            school_years=[year.name for year in years],
            sites=self._context.permitted.list_sites(with_closed=True),
            all_sites=self._context.sites is None,
            buildings=sorted({room.building for room in rooms} - {""}, key=make_sort_key),
            typed=preset | typed,
            errors=[error],
        )
