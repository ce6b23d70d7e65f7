"""``plumewatch report``: from the configuration to a file, and a line in the audit log."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.decoders import DECODERS
from plumewatch.audit_command import on_record
from plumewatch.bars import progress
from plumewatch.config import load
from plumewatch.endings import DONE, USAGE, told
from plumewatch.output_file import check_output
from plumewatch.paths import DataPaths
from plumewatch.report_facts import Place, gathered
from plumewatch.spans import SpanError, moment_of
from reports.files import REPORTS, ReportTooLongError, write_report
from reports.names import FORMATS
from reports.rows import StagedTest
from storage.audit import AuditKind
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plumewatch.config import PlumewatchConfig
    from plumewatch.printer import Printer
    from reports.facts import Facts

__all__ = ["ReportOptions", "make_report", "run_report"]

_MOST_DAYS: Final = 3660


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What was asked for, as it was written.

    Attributes
    ----------
    name : str
        ``"incidents"``, ``"summary"``, ``"response"`` or ``"sensors"``.
    start, end : str
        See `plumewatch.spans`.
    kind : str
        Format.
    out : Path or None
    site, building, intervention : str
        Empty for none.
    force : bool
        Write over a file that is there.
    staged : Path or None
        CSV of staged tests, for the summary.
    """

    name: str
    start: str
    end: str
    kind: str = "csv"
    out: Path | None = None
    site: str = ""
    building: str = ""
    intervention: str = ""
    force: bool = False
    staged: Path | None = None


@told(refused=(ReportTooLongError,))
def run_report(config_path: Path, options: ReportOptions, printer: Printer, now: float) -> int:
    """Write a report.

    Parameters
    ----------
    config_path : Path
    options : ReportOptions
    printer : Printer
    now : float
        Unix seconds.

    Returns
    -------
    int
        0 done, 1 too much for the format, 2 bad usage or configuration, 3 state or series cannot
        be read.
    """
    path = options.out or Path(f"{options.name}.{options.kind}")
    try:
        config = load(config_path, decoders=frozenset(DECODERS))
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
    config : PlumewatchConfig
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
    StorageError, sqlite3.Error
        If state or series cannot be read.
    OSError
        If the file cannot be written.
    """
    path = options.out or Path(f"{options.name}.{options.kind}")
    start, end = window(config, options.start, options.end)
    _check(options, path)
    day = _intervention(config, options, start, end)
    staged = () if options.staged is None else tuple(staged_tests(config, options.staged))
    state = DataPaths(config.data_dir).state
    if not state.exists():
        raise StorageError(f"{state}: `plumewatch run` was never started here")
    facts = gathered(
        config,
        Place(options.site, options.building),
        start,
        end,
        now,
        with_sensors=REPORTS[options.name].with_sensors,
        on_day=on_day,
    )
    facts = replace(facts, staged=tuple(t for t in staged if start <= t.at < end))
    detail: dict[str, str | float | None] = {
        "report": options.name,
        "format": options.kind,
        "place": facts.place,
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


def window(config: PlumewatchConfig, start: str, end: str) -> tuple[float, float]:
    """Return the window that was written, Unix seconds.

    Raises
    ------
    SpanError
        If it is none, ends before it begins, or is longer than ten years.
    """
    found = moment_of(start, config.zone()), moment_of(end, config.zone(), end=True)
    if not 0 < found[1] - found[0] <= _MOST_DAYS * 86_400:
        raise SpanError(f"--from {start} --to {end}: --from before --to, at most ten years")
    return found


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
        raise SpanError(f"--intervention {day}: not between --from and --to, so nothing to compare")
    return day
