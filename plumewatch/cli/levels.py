"""``plumewatch levels``: what each sensor alerts from, what it costs, and moves taken back."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from alerts.consumer import threshold_adjustments
from alerts.errors import ThresholdAdjustmentError
from alerts.page.views.thresholds import probability
from plumewatch.cli.audit_command import machine_user
from plumewatch.cli.exit_codes import DONE, UNREACHABLE, USAGE, told
from plumewatch.cli.status import moment, with_data
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from storage.errors import StorageError
from storage.sqlite import connect, transaction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from detection.alert_thresholds import ThresholdReport
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig


def run_levels(config_path: Path, printer: Printer) -> int:
    """Print the level of every registered sensor with budget, expected rate and cost.

    Returns
    -------
    int
        0 done, 2 bad configuration, 3 there is no data folder of a service to read.
    """

    def show(config: PlumewatchConfig, state: sqlite3.Connection) -> int:
        found = threshold_adjustments.load_thresholds(state)
        registry = config.registry()

        def row(sensor: str) -> tuple[Mapping[str, object], Sequence[object]]:
            report, room = found.get(sensor), registry.room_of(sensor)
            fields = None if report is None else asdict(report)
            cells = (sensor, room.name if room else "", *_cells(report))
            return {"sensor": sensor, "level": fields}, cells

        printer.table(
            (
                "Sensor",
                "Room",
                "Alerts from",
                "False alarms a week",
                "Tolerable",
                "Vaping missed",
                "Against lowest",
                "By feedback",
                "Watched",
            ),
            map(row, registry.sensors),
        )
        return DONE

    return with_data(config_path, lambda paths: paths.state, show)


def run_moves(config_path: Path, printer: Printer, *, sensor: str, limit: int) -> int:
    """Print the moves that feedback made, newest first.

    Returns
    -------
    int
        As `run_levels`.
    """

    def show(config: PlumewatchConfig, state: sqlite3.Connection) -> int:
        moves = threshold_adjustments.latest(state, sensor=sensor, limit=limit)

        def row(
            move: threshold_adjustments.ThresholdAdjustment,
        ) -> tuple[Mapping[str, object], Sequence[object]]:
            why = f"takes back {move.undoes}: {move.reason}" if move.undoes else move.reason
            cells = (
                move.seq,
                moment(move.at, config),
                move.who,
                move.sensor,
                f"{move.before:+.3g}",
                f"{move.after:+.3g}",
                why + (" (taken back)" if move.undone else ""),
                move.incident,
            )
            return asdict(move), cells

        printer.table(
            ("No.", "When", "Who", "Sensor", "From", "To", "Why", "Incident"), map(row, moves)
        )
        return DONE

    return with_data(config_path, lambda paths: paths.state, show)


@told(refused=(ThresholdAdjustmentError,))
def run_undo(
    config_path: Path, seq: int, printer: Printer, *, reason: str, who: str, now: float
) -> int:
    """Take a move back; a running service applies it with its next readings.

    Parameters
    ----------
    seq : int
        Number of the move.
    reason : str
        Kept on record.
    who : str
        Empty for the user of this machine who asks.
    now : float
        Unix seconds.

    Returns
    -------
    int
        0 done, 1 there is no such move or it was taken back before, 2 no reason or a bad
        configuration, 3 there is no data folder of a service.
    """
    config = load_shard(config_path)
    path = DataPaths(config.data_dir).state
    if not path.exists():
        sys.stderr.write(f"{path}: has `plumewatch run` been started with this configuration?\n")
        return UNREACHABLE
    why = " ".join(reason.split())[:200]
    if not why:
        sys.stderr.write("--reason: please say why; it stays on record\n")
        return USAGE
    name = " ".join(who.split())[:60] or machine_user()
    try:
        with closing(connect(path)) as connection, transaction(connection) as tx:
            move = threshold_adjustments.undo(tx, seq, name, now, why)
    except (StorageError, sqlite3.Error) as error:
        sys.stderr.write(f"{path}: {error}\n")
        return UNREACHABLE
    printer.say(
        f"move {move.seq} takes move {seq} back: {move.sensor} {move.before:+.3g}"
        f" to {move.after:+.3g}",
        **asdict(move),
    )
    return DONE


def _cells(report: ThresholdReport | None) -> tuple[str, ...]:
    if report is None:
        return ("nothing judged yet", "", "", "", "", "", "")
    over = "" if report.within_budget else " (over)"
    return (
        f"{probability(report.level):.2f}",
        "learning" if report.expected is None else f"{report.expected:.1f}{over}",
        f"{report.budget:g}",
        _lost(report.lost),
        _lost(report.lost_lowest),
        f"{report.feedback:+.3g}" if report.feedback else "not moved",
        f"{report.weeks:.1f} weeks",
    )


def _lost(share: float | None) -> str:
    if share is None:
        return "not known"
    return f"{100 * share:.0f} %" if share >= 0.0 else f"{-100 * share:.0f} % more found"
