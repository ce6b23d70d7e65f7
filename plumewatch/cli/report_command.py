"""``plumewatch report``: from the configuration to a file, and a line in the audit log."""

from __future__ import annotations

import csv
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plumewatch.cli.audit_command import on_record
from plumewatch.cli.exit_codes import DONE, USAGE, told
from plumewatch.cli.format_time import SpanError, moment_of
from plumewatch.cli.output_file import check_output
from plumewatch.cli.progress import progress
from plumewatch.config.paths import DataPaths
from plumewatch.config.report_settings import school_of, shifts_at
from plumewatch.config.sharding import load_shard
from plumewatch.service.data_folder import opened_series, opened_state
from reports.facts import gather
from reports.files import REPORTS, ReportTooLongError, write_report
from reports.names import FORMATS, file_name
from reports.periods import KINDS, PeriodError
from reports.read import recorded_from
from reports.rows import StagedTest
from reports.school import Place, PlaceError, days_of
from reports.suppress import TooFewError
from storage.audit import AuditKind
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from reports.facts import Facts
    from reports.periods import Period

_MOST_DAYS: Final = 3660


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What was asked for, as it was written.

    Attributes
    ----------
    name : str
        ``"incidents"``, ``"summary"``, ``"response"`` or ``"sensors"``.
    start, end : str
        See `plumewatch.cli.format_time`; empty if a period is asked for by its name.
    kind : str
        Format.
    site, building, intervention : str
        Empty for none.
    force : bool
        Write over a file that is there.
    staged : Path or None
        CSV of staged tests, for the summary.
    week, month, term, school_year : str
        See `reports.periods`; empty but for one of them at most.
    """

    name: str
    start: str = ""
    end: str = ""
    kind: str = "csv"
    out: Path | None = None
    site: str = ""
    building: str = ""
    intervention: str = ""
    force: bool = False
    staged: Path | None = None
    week: str = ""
    month: str = ""
    term: str = ""
    school_year: str = ""

    def path(self) -> Path:
        """File that is written: `out`, or one named after what was asked for."""
        asked = (getattr(self, kind) for kind in KINDS)
        when = (*asked, *dict.fromkeys((self.start, self.end)))
        return self.out or Path(file_name(self.name, self.kind, *when, self.site, self.building))


@told(refused=(ReportTooLongError, TooFewError))
def run_report(config_path: Path, options: ReportOptions, printer: Printer, now: float) -> int:
    """Write a report.

    Parameters
    ----------
    now : float
        Unix seconds.

    Returns
    -------
    int
        0 done, 1 too much for the format, 2 bad usage or configuration, 3 state or series cannot
        be read.
    """
    path = options.path()
    try:
        config = load_shard(config_path)
        with progress() as bar:
            task = bar.add_task("reading", total=None)
            facts = make_report(
                config,
                replace(options, out=path),
                now,
                on_day=lambda done, of: bar.update(task, completed=done, total=of),
            )
    except OSError as error:
        sys.stderr.write(f"{path}: {error.strerror or error}\n")
        return USAGE
    counted = facts.chosen
    printer.sum_up(
        f"{path}: {len(facts.incidents)} incidents; {len(counted.incidents)} of them counted in"
        f" figures, {counted.tests} tests and {counted.off_days} on days without school are not"
        + (f"\n{missing}" if (missing := facts.missing()) else ""),
        wrote=path,
        incidents=len(facts.incidents),
        counted=len(counted.incidents),
        tests=counted.tests,
        off_days=counted.off_days,
        missing=facts.missing(),
    )
    return DONE


def make_report(
    config: PlumewatchConfig,
    options: ReportOptions,
    now: float,
    *,
    who: str = "",
    on_day: Callable[[int, int], None] = lambda _done, _of: None,
) -> Facts:
    """Write a report, and put it on record; blocks.

    Parameters
    ----------
    options : ReportOptions
        With `out`.
    now : float
        Unix seconds.
    who : str
        For the audit log; empty for the account of this machine.
    on_day : callable
        Progress: days read, of how many.

    Raises
    ------
    SpanError
        If what was asked for is not possible.
    ReportTooLongError
        If it does not fit the format.
    TooFewError
        If it would give a count away that is too small to be shown.
    StorageError, sqlite3.Error
        If state or series cannot be read.
    OSError
        If the file cannot be written.
    """
    path = options.path()
    start, end, period = window(config, options)
    _check(options, path)
    day = _intervention(config, options, start, end)
    staged = () if options.staged is None else tuple(staged_tests(config, options.staged))
    state = DataPaths(config.data_dir).state
    if not state.exists():
        raise StorageError(f"{state}: `plumewatch run` was never started here")
    earlier = _before(config, period, now) if options.name == "summary" else None
    spans = [(start, end), *([] if earlier is None else [_on_record(config, earlier)])]
    place, report = Place(options.site, options.building), REPORTS[options.name]
    with ExitStack() as stack:
        db = stack.enter_context(opened_state(state))
        series = stack.enter_context(opened_series(config)) if report.with_sensors else None
        shifts = shifts_at(config, place) if report.with_duty else ()
        try:
            facts, *before = (
                gather(
                    school_of(config),
                    db,
                    place,
                    *span,
                    now,
                    series=series,
                    shifts=shifts,
                    on_day=on_its_day,
                )
                for span, on_its_day in zip(spans, _in_turn(on_day, config, spans), strict=True)
            )
        except PlaceError as error:
            raise SpanError(str(error)) from error
    facts = replace(
        facts,
        staged=tuple(t for t in staged if start <= t.at < end),
        period=period,
        before=replace(before[0], period=earlier) if before else None,
    )
    detail: dict[str, str | float | None] = {
        "report": options.name,
        "format": options.kind,
        "place": facts.place,
        "period": period.title if period else "",
        "from": facts.start,
        "to": facts.end,
        "incidents": len(facts.incidents),
    }
    on_record(config, AuditKind.EXPORT, detail, now, who)
    write_report(options.name, facts, path, options.kind, intervention=day)
    return facts


def _check(options: ReportOptions, path: Path) -> None:
    if options.name not in REPORTS:
        raise SpanError(f"no report {options.name!r}; there is {', '.join(REPORTS)}")
    if options.kind not in FORMATS:
        raise SpanError(f"--format {options.kind}: {', '.join(FORMATS)}")
    if options.name != "summary" and (options.intervention or options.staged):
        raise SpanError("--intervention and --staged are for the summary alone")
    kind = path.suffix.lower().removeprefix(".")
    if kind in FORMATS and kind != options.kind:
        raise SpanError(f"{path}: ends in .{kind}, and --format is {options.kind}")
    check_output(path, force=options.force)


def window(config: PlumewatchConfig, options: ReportOptions) -> tuple[float, float, Period | None]:
    """Return the window that was asked for, Unix seconds, and the period if it has a name.

    Raises
    ------
    SpanError
        If it is none, ends before it begins, or is longer than ten years; if it was asked for in
        no way, or in several.
    """
    zone = config.zone()
    named = {kind: text for kind in KINDS if (text := getattr(options, kind))}
    days = {"--from": options.start, "--to": options.end}
    given = [flag for flag, text in days.items() if text]
    ways = [" with ".join(given)] * bool(given) + [_flag(kind) for kind in named]
    if len(ways) != 1:
        said = " and ".join(ways) or "no time"
        raise SpanError(f"{said} given: ask for exactly one of {_WAYS}")
    for kind, text in named.items():
        try:
            period = school_of(config).times.period(kind, text)
        except PeriodError as error:
            raise SpanError(f"{_flag(kind)}: {error}") from error
        return (*_moments(config, period), period)
    if len(given) != len(days):
        raise SpanError(f"{given[0]} is given alone: --from goes with --to")
    start, end = moment_of(options.start, zone), moment_of(options.end, zone, end=True)
    if not 0 < end - start <= _MOST_DAYS * 86_400:
        raise SpanError(
            f"--from {options.start} --to {options.end}: --from before --to, at most ten years"
        )
    return start, end, None


def _flag(kind: str) -> str:
    return f"--{kind.replace('_', '-')}"


_WAYS: Final = ", ".join(("--from with --to", *map(_flag, KINDS)))


def _moments(config: PlumewatchConfig, period: Period) -> tuple[float, float]:
    zone = config.zone()
    return moment_of(str(period.first), zone), moment_of(str(period.last), zone, end=True)


def _before(config: PlumewatchConfig, period: Period | None, now: float) -> Period | None:
    """Return the period before a named one; None if there is none, or nothing of it on record."""
    earlier = None if period is None else school_of(config).times.before(period)
    if earlier is None:
        return None
    since, end = _on_record(config, earlier)
    return earlier if since < min(end, now) else None


def _on_record(config: PlumewatchConfig, period: Period) -> tuple[float, float]:
    """Return the part of a period since the record begins, Unix seconds."""
    start, end = _moments(config, period)
    with opened_state(DataPaths(config.data_dir).state) as db:
        return max(start, recorded_from(db)), end


def _in_turn(
    on_day: Callable[[int, int], None],
    config: PlumewatchConfig,
    spans: Sequence[tuple[float, float]],
) -> Iterator[Callable[[int, int], None]]:
    """Yield, for each of several spans, what makes progress over all of its own."""
    days = [len(days_of(*span, config.zone())) for span in spans]
    for done in accumulate(days[:-1], initial=0):
        yield lambda more, _of, done=done: on_day(done + more, sum(days))  # type: ignore[misc]


def staged_tests(config: PlumewatchConfig, path: Path) -> Iterator[StagedTest]:
    """Read staged tests: a CSV with the columns ``time`` and ``room``, the id of the room.

    Raises
    ------
    SpanError
        If it cannot be read; it says which line and why.
    """
    rooms = config.registry().rooms
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpanError(f"--staged {path}: {error}") from error
    for number, row in enumerate(rows, start=2):
        room = row.get("room") or ""
        if room not in rooms:
            raise SpanError(
                f"--staged {path}, line {number}: no room {room[:64]!r}; columns: time, room"
            )
        try:
            yield StagedTest(moment_of(row.get("time") or "", config.zone()), room)
        except SpanError as error:
            raise SpanError(f"--staged {path}, line {number}: {error}") from error


def _intervention(
    config: PlumewatchConfig, options: ReportOptions, start: float, end: float
) -> date | None:
    if not options.intervention:
        return None
    try:
        day = date.fromisoformat(options.intervention)
        at = moment_of(options.intervention, config.zone())
    except ValueError:
        raise SpanError(
            f"--intervention {options.intervention[:40]!r}: a date, such as 2026-10-05"
        ) from None
    if not start < at < end:
        raise SpanError(f"--intervention {day}: not inside the window, so nothing to compare")
    return day
