"""Make a requested report: write the file, and an entry in the audit log."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from language.messages import use_language
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_school
from plumewatch.errors import UsageError
from plumewatch.parse_time import parse_time
from plumewatch.service.data_folder import change_state, open_series, open_state
from reports.facts import gather
from reports.files import ReportTooLongError, write_report
from reports.read import read_recorded_from
from reports.school import KINDS, PeriodError, Place, PlaceError
from reports.text import FORMATS, make_file_name
from storage.audit import AuditKind, append, find_machine_user
from storage.errors import StorageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from plumewatch.config.model import PlumewatchConfig
    from reports.facts import Facts
    from reports.school import Period, School

_MAX_DAYS: Final = 3660


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A report requested by `start` and `end`, or by `week`, `month`, `term` or `school_year`."""

    name: str
    start: str = ""
    end: str = ""
    kind: str = "csv"
    out: Path | None = None
    site: str = ""
    building: str = ""
    week: str = ""
    month: str = ""
    term: str = ""
    school_year: str = ""
    language: str = ""
    """Language of PDF and XLSX; empty for the school's."""

    def choose_path(self) -> Path:
        """Return `out`, or a file named after the request."""
        asked = (getattr(self, kind) for kind in KINDS)
        when = (*asked, *dict.fromkeys((self.start, self.end)))
        return self.out or Path(
            make_file_name(self.name, self.kind, *when, self.site, self.building)
        )


def make_report(
    config: PlumewatchConfig, request: ReportRequest, now: float, *, who: str = ""
) -> Facts:
    """Write a report; record in the audit log that `who`, or this machine's account, made it.

    Raises `UsageError`, `ReportTooLongError`, `StorageError` or `OSError`.
    """
    path = request.choose_path()
    suffix = path.suffix.lower().removeprefix(".")
    if suffix in FORMATS and suffix != request.kind:
        raise UsageError(f"{path}: ends in .{suffix}, but --format is {request.kind}")
    facts = gather_facts(config, request, now)
    detail: dict[str, str | float | None] = {
        "report": request.name,
        "format": request.kind,
        "place": facts.place,
        "period": facts.period.title if facts.period else "",
        "from": facts.start,
        "to": facts.end,
        "incidents": len(facts.incidents),
    }
    with change_state(DataPaths(config.data_dir).state) as tx:
        append(tx, AuditKind.EXPORT, who or find_machine_user(), detail, now)
    with use_language(request.language or config.language):
        write_report(request.name, facts, path, request.kind)
    return facts


def gather_facts(config: PlumewatchConfig, request: ReportRequest, now: float) -> Facts:
    """Return the facts of a report; raises like `make_report`."""
    start, end, period = find_window(config, request)
    if start >= now:
        asked = period.title if period else f"--from {request.start}"
        raise UsageError(f"{asked}: this period hasn't begun yet")
    state = DataPaths(config.data_dir).state
    if not state.exists():
        raise StorageError(f"{state}: `plumewatch run` was never started here")
    school = build_school(config, request.site)
    earlier = _find_earlier(config, school, period, now) if request.name == "summary" else {}
    spans = [(start, end), *(span for _period, span in earlier.values())]
    place = Place(request.site, request.building)
    with_sensors = request.name in ("summary", "sensors")
    with ExitStack() as stack:
        db = stack.enter_context(open_state(state))
        series = stack.enter_context(open_series(config)) if with_sensors else None
        try:
            facts, *others = (
                gather(school, db, place, *span, now, series=series) for span in spans
            )
        except PlaceError as error:
            raise UsageError(str(error)) from error
    named = zip(earlier.items(), others, strict=True)
    compared = {key: replace(one, period=found) for (key, (found, _span)), one in named}
    before, year_before = map(compared.get, ("before", "year_before"))
    return replace(facts, period=period, before=before, year_before=year_before)


def find_window(
    config: PlumewatchConfig, request: ReportRequest
) -> tuple[float, float, Period | None]:
    """Return the requested window in Unix seconds, and its period if named; raises `UsageError`."""
    school = build_school(config, request.site)
    zone = school.zone
    named = {kind: text for kind in KINDS if (text := getattr(request, kind))}
    if len(named) + bool(request.start or request.end) != 1:
        raise UsageError(f"ask for exactly one of {_WAYS}")
    for kind, text in named.items():
        try:
            period = school.times.parse_period(kind, text)
        except PeriodError as error:
            raise UsageError(f"{_name_flag(kind)}: {error}") from error
        return (*_find_times(zone, period), period)
    if not request.start or not request.end:
        raise UsageError("give --from and --to together")
    start, end = parse_time(request.start, zone), parse_time(request.end, zone, end=True)
    if end <= start:
        raise UsageError(
            f"--from {request.start} is after --to {request.end}: give the earlier one as --from"
        )
    if end - start > _MAX_DAYS * 86_400:
        raise UsageError("--from and --to are more than ten years apart: choose a shorter time")
    return start, end, None


def _name_flag(kind: str) -> str:
    return f"--{kind.replace('_', '-')}"


_WAYS: Final = ", ".join(("--from with --to", *map(_name_flag, KINDS)))


def _find_times(zone: ZoneInfo, period: Period) -> tuple[float, float]:
    return parse_time(str(period.first), zone), parse_time(str(period.last), zone, end=True)


def _find_earlier(
    config: PlumewatchConfig, school: School, period: Period | None, now: float
) -> dict[str, tuple[Period, tuple[float, float]]]:
    """Return the earlier periods to compare a named one with, and the recorded part of each."""
    if period is None:
        return {}
    times = school.times
    asked = {"before": times.find_previous(period), "year_before": times.find_year_earlier(period)}
    with open_state(DataPaths(config.data_dir).state) as db:
        since = read_recorded_from(db)
    found = {}
    for key, earlier in asked.items():
        if earlier is not None:
            start, end = _find_times(school.zone, earlier)
            if max(start, since) < min(end, now):
                found[key] = (earlier, (max(start, since), end))
    return found


def make_for_page(
    config: PlumewatchConfig, fields: dict[str, str], path: str, person: str, now: float
) -> str:
    """Make a report for the page, from fields of a `ReportRequest`; return why it failed."""
    request = replace(msgspec.convert(fields, ReportRequest), out=Path(path))
    try:
        make_report(config, request, now, who=person)
    except (UsageError, ReportTooLongError) as error:
        return str(error)
    except (StorageError, sqlite3.Error, OSError):
        return "The stored incidents or readings can't be read at the moment."
    return ""
