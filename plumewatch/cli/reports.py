"""`plumewatch report` and `incident`: what happened, as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import (
    CONFIG,
    REFUSED,
    ConfigOption,
    ForceOption,
    JsonOption,
    Site,
    check_output,
    examples,
)
from plumewatch.cli.printer import Printer, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.replay import Verdict
    from reports.incident_file import IncidentFile


app = typer.Typer()
incident_app = typer.Typer(help="One incident in full.", no_args_is_help=True)
app.add_typer(incident_app, name="incident", rich_help_panel="What happened")


@app.command(
    rich_help_panel="What happened",
    epilog=examples(
        "plumewatch report incidents --from 2026-09-07 --to 2026-12-18 --format xlsx",
        'plumewatch report summary --month 2026-11 --site "North High" --format pdf',
    ),
)
def report(
    name: Annotated[
        Literal["incidents", "summary", "response", "sensors"],
        typer.Argument(
            help="incidents: one row an incident; summary: a page to read, then the detail;"
            " response: how fast staff were notified and responded, for all and by group;"
            " sensors: one row a sensor, with uptime, completeness and false alarms.",
        ),
    ],
    *,
    config: ConfigOption = CONFIG,
    start: Annotated[str, typer.Option("--from", help="First day, or a time.")] = "",
    end: Annotated[str, typer.Option("--to", help="Last day, or a time.")] = "",
    week: Annotated[str, typer.Option(help="Instead: a week (2026-W47).")] = "",
    month: Annotated[str, typer.Option(help="Instead: a month (2026-11).")] = "",
    term: Annotated[
        str, typer.Option(help='Instead: a term of the configuration ("Fall 2026").')
    ] = "",
    school_year: Annotated[str, typer.Option(help="Instead: a school year (2026/27).")] = "",
    kind: Annotated[
        str, typer.Option("--format", help="csv, xlsx, pdf, html, parquet or json.")
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="File; named after report, time and place without it.")
    ] = None,
    site: Annotated[str, typer.Option(help="Only this site.")] = "",
    building: Annotated[str, typer.Option(help="Only this building.")] = "",
    intervention: Annotated[
        str, typer.Option(help="Summary: compare before and after this day.")
    ] = "",
    staged: Annotated[
        Path | None, typer.Option(help="Summary: CSV of staged tests, columns time and room.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write what happened in a time as a file; its figures reconcile with those of the page."""
    from plumewatch.report_request import ReportRequest, make_report
    from reports.files import ReportTooLongError
    from reports.suppress import TooFewError

    school = Site.load(config)
    asked = (start, end, kind, out, site, building, intervention, staged)
    request = ReportRequest(name, *asked, week, month, term, school_year)
    path = request.path()
    check_output(path, force=force)
    try:
        with progress("reading") as update:
            facts = make_report(
                school.config,
                request,
                time.time(),
                on_day=lambda done, of: update(completed=done, total=of),
            )
    except (ReportTooLongError, TooFewError) as error:
        raise RefusedError(str(error)) from error
    counted, missing = facts.chosen, facts.missing()
    Printer(as_json=as_json).sum_up(
        f"{path}: {len(facts.incidents)} incidents; {len(counted.incidents)} of them counted in"
        f" figures, {counted.tests} tests, {counted.off_days} on days without school and"
        f" {counted.off_record} on days that are not on record are not"
        + (f"\n{missing}" if missing else ""),
        wrote=path,
        incidents=len(facts.incidents),
        counted=len(counted.incidents),
        tests=counted.tests,
        off_days=counted.off_days,
        off_record=counted.off_record,
        missing=missing,
    )


@app.command(rich_help_panel="What happened", epilog=examples("plumewatch weekly --print"))
def weekly(
    *,
    config: ConfigOption = CONFIG,
    only_print: Annotated[bool, typer.Option("--print", help="Print it; send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the summary of last week to the address of [reports], as the service does on Mondays."""
    from plumewatch.weekly_summary import send_weekly, weekly_notice
    from reports.suppress import TooFewError

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    try:
        if only_print:
            notice = weekly_notice(site.config, time.time())
            printer.say(f"{notice.headline}\n\n{notice.evidence}", text=notice.evidence)
        else:
            done = send_weekly(site.config, time.time())
            printer.say(done, done=done)
    except TooFewError as error:
        raise RefusedError(str(error)) from error


@incident_app.command(
    "file", epilog=examples("plumewatch incident file 20260921-001 --out incident.zip")
)
def incident_file(
    incident: Annotated[str, typer.Argument(help="Id of the incident.")],
    *,
    out: Annotated[
        Path | None, typer.Option(help="FILE.pdf, or FILE.zip with readings and checksums.")
    ] = None,
    config: ConfigOption = CONFIG,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write timeline, evidence, readings, and who was notified and did what."""
    from alerts.incidents import repository
    from alerts.notify.pictures import IncidentPictures
    from alerts.page.rendering import said
    from detection.quantities import COLUMNS
    from language.messages import speaking
    from plumewatch.config.settings import school_of
    from reports.documents import pdf
    from reports.incident_file import bundle, parts, view
    from storage.audit import AuditKind
    from storage.files import atomic_write

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    path = out or Path(f"incident-{incident}.zip")
    found = _gather(site, incident)
    check_output(path, force=force, suffixes=(".pdf", ".zip"))
    with site.series() as series:
        readings = series.between(*found.span, found.sensors)
        pictures = IncidentPictures(
            site.paths.state, site.config.registry(), series, site.config.timezone
        )
        with speaking(site.config.language):
            picture = pictures.svg(incident) or ""
    calendar = school_of(site.config, found.incident["site"]).calendar(*found.span)
    with progress("drawing"), speaking(site.config.language):
        content = view(found, calendar, picture, len(readings), repository.sentence_of_row, said)
        document = pdf("incident", content)
    file_format = path.suffix.lower().removeprefix(".")
    detail = {"incident": incident, "format": file_format}
    site.record(AuditKind.EXPORT, detail, time.time())
    with atomic_write(path) as partial:
        if file_format == "pdf":
            partial.write_bytes(document)
        else:
            bundle(partial, parts(found, document, picture, readings, COLUMNS))
    printer.sum_up(
        f"{path}: {len(readings)} readings, {len(found.notices)} notices",
        wrote=path,
        readings=len(readings),
        notices=len(found.notices),
    )


@incident_app.command("rerun", epilog=examples("plumewatch incident rerun 20260921-001"))
def incident_rerun(
    incident: Annotated[str, typer.Argument(help="Id of the incident.")],
    *,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> int | None:
    """Run the detector again on the readings of an incident; whether the verdict is the same."""
    from detection.events import EventKind
    from plumewatch.replay import rerun
    from storage.audit import AuditKind

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    found = _gather(site, incident)
    if found.incident["kind"] == EventKind.OFFLINE.value:
        raise RefusedError("an outage is detected when it happens, not from readings")
    with (
        site.series() as series,
        site.read(site.paths.state) as state,
        progress("detecting again") as update,
    ):
        verdicts = rerun(
            site.config,
            state,
            series,
            found,
            lambda done, of: update(completed=done, total=of),
        )
    same = bool(verdicts) and all(verdict.is_same for verdict in verdicts)
    site.record(AuditKind.RERUN, {"incident": incident, "same": str(same)}, time.time())
    if not verdicts:
        sensors = ", ".join(found.sensors)
        raise RefusedError(f"readings of {sensors} are not stored any more")
    columns = ("Sensor", "", "Kind", "Onset", "Alerted", "Confidence", "Phase", "Detector")
    rows = [row for verdict in verdicts for row in _verdict_rows(verdict)]
    printer.table(columns, [(fields, _verdict_cells(fields, site)) for fields in rows])
    printer.say("same verdict" if same else "another verdict", same=same)
    return None if same else REFUSED


def _gather(site: Site, incident: str) -> IncidentFile:
    from reports.incident_file import gather

    with site.state() as db:
        found = gather(db, site.config.registry(), site.config.roles(), incident)
    if found is None:
        raise RefusedError(f"there is no incident {incident[:80]!r}")
    return found


def _verdict_rows(verdict: Verdict) -> Iterator[dict[str, Any]]:
    stored, again = verdict.stored, verdict.again
    names = ("kind", "onset", "alerted", "confidence", "phase")
    fields = {name: stored[name] for name in names}
    yield {"sensor": stored["sensor"], "judged": "stored", **fields} | {
        "detector": stored["model_version"]
    }
    found: dict[str, Any] = {"sensor": stored["sensor"], "judged": "again", "kind": None}
    if again is not None:
        found |= {name: getattr(again, name) for name in names}
        found |= {"kind": again.kind.value, "phase": again.phase.value}
        found["detector"] = again.model_version
    yield found


def _verdict_cells(fields: dict[str, Any], site: Site) -> tuple[object, ...]:
    first = fields["sensor"] if fields["judged"] == "stored" else ""
    if fields["kind"] is None:
        return first, "again", "nothing"
    times = (site.format_time(fields[name]) for name in ("onset", "alerted"))
    confidence = f"{fields['confidence']:.3f}"
    return (
        *(first, fields["judged"], fields["kind"], *times),
        *(confidence, fields["phase"], fields["detector"]),
    )
