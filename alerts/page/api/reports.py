"""Reports for programs: request them, and download them when they are ready."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.exceptions import HTTPException

from alerts.access.api_tokens import Scope
from alerts.page.api.operation import PREFIX, Model, build_invalid, find_site, operation, to_moment
from alerts.page.page_group import PageGroup
from alerts.page.views.reports import (
    FIELDS,
    MEDIA,
    ReportError,
    find_own_report,
    list_own_reports,
    send_report_file,
    start_report,
)
from reports.text import ABOUT, FORMATS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.report_jobs import Job


class ReportRequest(Model):
    """The report to create, and its period: first and last day, or one of the named periods."""

    report: str = Field(description=f"One of: {', '.join(ABOUT)}.", max_length=80)
    format: str = Field(description=f"One of: {', '.join(FORMATS)}.", max_length=80)
    first: date | None = Field(None, description="First day.")
    last: date | None = Field(None, description="Last day, included.")
    week: str = Field("", description="A week, such as `2026-W37`.", max_length=80)
    month: str = Field("", description="A month, such as `2026-09`.", max_length=80)
    term: str = Field("", description="Name of a term.", max_length=80)
    school_year: str = Field("", description="A school year, such as `2026-27`.", max_length=80)
    site: str = Field("", description="Id of a site. If omitted, all sites.", max_length=200)
    building: str = Field("", description="Name of a building.", max_length=80)


class Report(Model):
    """A report. Once ready, its file can be downloaded, until an hour after `asked_at`."""

    id: str
    name: str
    state: str = Field(description="making, ready or failed.")
    error: str = Field(description="Why it failed. Empty if it didn't.")
    asked_at: datetime = Field(description="When it was requested.")
    file: str | None = Field(description="Path of the file, or null until it is ready.")


class Reports(Model):
    """Reports that the token's person requested, about schools that the token has access to."""

    items: list[Report]
    next: str | None = None


class ReportApi(PageGroup):
    """Reports for programs."""

    @operation("/reports", Scope.REPORTS, Reports)
    async def index(self, request: Request) -> Reports:
        """List the reports requested in the last hour."""
        return Reports(items=[_summarize(job) for job in list_own_reports(self._context, request)])

    @operation("/reports", Scope.REPORTS, Report, body=ReportRequest, method="POST", status=202)
    async def start(self, request: Request, body: ReportRequest) -> Report:
        """Request a report. It is created in the background."""
        given: dict[str, Any] = body.model_dump(mode="json")
        periods = [k for k in ("week", "month", "term", "school_year") if given[k]]
        if len(periods) > 1 or (periods and (body.first or body.last)):
            raise build_invalid([("body", "give either first and last, or one period")])
        typed = dict.fromkeys(FIELDS, "") | {k: v for k, v in given.items() if k in FIELDS and v}
        typed |= {"name": body.report, "kind": body.format, "span": "".join(periods)}
        typed |= {"start": given["first"] or "", "end": given["last"] or ""}
        if body.site:
            typed["site"] = find_site(self._context, body.site).id
        try:
            job = start_report(self._context, request, typed)
        except ReportError as error:
            if error.is_for_now:
                raise HTTPException(429, str(error), {"Retry-After": "30"}) from None
            raise build_invalid([("body", str(error))]) from None
        return _summarize(job)

    @operation("/reports/{id}", Scope.REPORTS, Report)
    async def get_report(self, request: Request) -> Report:
        """Get a report and its state."""
        return _summarize(find_own_report(self._context, request))

    @operation("/reports/{id}/file", Scope.REPORTS, None, kinds=(*MEDIA.values(),))
    async def download_report(self, request: Request) -> Response:
        """Download the file of a report that is ready."""
        return send_report_file(find_own_report(self._context, request))


def _summarize(job: Job) -> Report:
    ready = job.state == "ready"
    return Report(
        id=job.id,
        name=job.name,
        state=job.state,
        error=job.error,
        asked_at=to_moment(job.asked_at),
        file=f"{PREFIX}/reports/{job.id}/file" if ready else None,
    )
