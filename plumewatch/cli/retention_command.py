"""``plumewatch retention``: what is kept for how long, what is old, and legal holds."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.incidents import retention
from alerts.incidents.free_text import cleaned, identifiers
from plumewatch.cli.audit_command import machine_user
from plumewatch.cli.exit_codes import DONE, REFUSED, told
from plumewatch.cli.format_time import SpanError, moment_of, said
from plumewatch.cli.progress import progress
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from plumewatch.service.data_folder import opened_state
from storage import audit, holds
from storage.audit import AuditKind
from storage.errors import StorageError
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig

_DAY_S: Final = 86_400.0
_AT_ONCE: Final = 500


class Kept(NamedTuple):
    """One class of what is stored.

    Attributes
    ----------
    days : float or None
        For how long it is kept; None for ever.
    by : str
        Who deletes it.
    old : int or None
        How many would go now; None where they go by themselves.
    held : str
        What holds keep of it.
    """

    name: str
    days: float | None
    by: str
    old: int | None
    held: str


def run_plan(config_path: Path, printer: Printer, now: float) -> int:
    """Say what is kept for how long, and what `run_apply` would delete.

    Returns
    -------
    int
        0 done, 2 bad configuration, 3 the state database cannot be read.
    """

    def show(config: PlumewatchConfig, db: sqlite3.Connection) -> int:
        def row(kept: Kept) -> tuple[Mapping[str, object], Sequence[object]]:
            days = "ever" if kept.days is None else f"{kept.days:g} days"
            old = "" if kept.old is None else f"{kept.old:,}"
            return kept._asdict(), (kept.name, days, kept.by, old, kept.held)

        printer.table(
            ("What", "Kept for", "Deleted by", "Old now", "Held"),
            map(row, _classes(config, db, now)),
        )
        return DONE

    return _with_state(config_path, show)


def run_apply(config_path: Path, printer: Printer, now: float) -> int:
    """Delete the incidents that are old and not held; each slice is in the audit log.

    Returns
    -------
    int
        As `run_plan`.
    """

    def apply(config: PlumewatchConfig, db: sqlite3.Connection) -> int:
        before = now - config.retention.incident_days * _DAY_S
        total = 0
        with progress() as bar:
            found = retention.due(db, before, holds.active(db))
            task = bar.add_task("deleting", total=len(found.old))
            for k in range(0, len(found.old), _AT_ONCE):
                chosen = found.old[k : k + _AT_ONCE]
                with transaction(db) as tx:
                    standing = retention.due(tx, before, holds.active(tx)).old
                    mine = [key for key in chosen if key in frozenset(standing)]
                    rows = retention.delete(tx, mine)
                    detail: dict[str, str | float | None] = {
                        "class": "incidents",
                        "count": len(mine),
                        "first": mine[0] if mine else "",
                        "last": mine[-1] if mine else "",
                        "opened_before": before,
                        "rows": json.dumps(rows),
                    }
                    audit.append(tx, AuditKind.RETENTION, machine_user(), detail, now)
                total += len(mine)
                bar.update(task, advance=len(chosen))
        printer.say(
            f"{total} incidents deleted, {found.held} held, {found.open} still open",
            deleted=total,
            held=found.held,
            open=found.open,
        )
        return DONE

    return _with_state(config_path, apply)


def run_hold(
    config_path: Path,
    printer: Printer,
    now: float,
    *,
    start: str,
    end: str,
    room: str,
    reason: str,
    no_name: bool = False,
) -> int:
    """Place a hold.

    Parameters
    ----------
    now : float
        Unix seconds.
    start, end : str
        See `plumewatch.cli.format_time`.
    room : str
        Id; empty for all rooms.
    reason : str
        Stays on record for ever, so it is refused where it may name a person.
    no_name : bool
        The numbers and addresses in the reason identify nobody.

    Returns
    -------
    int
        0 done, 2 bad usage or configuration, 3 the state database cannot be written.
    """

    def place(config: PlumewatchConfig, db: sqlite3.Connection) -> int:
        span = moment_of(start, config.zone()), moment_of(end, config.zone(), end=True)
        why = cleaned(reason)[:200]
        if span[0] >= span[1]:
            raise SpanError("--from is not before --to")
        if not why:
            raise SpanError("--reason: please say why; it stays on record")
        if not no_name:
            _check_names_nobody(why)
        if room and room not in config.registry().rooms:
            raise SpanError(f"--room {room!r}: no room of the configuration has this id")
        with transaction(db) as tx:
            number = holds.place(tx, room, span, why, machine_user(), now)
            detail: dict[str, str | float | None] = {
                "hold": number,
                "room": room,
                "from": span[0],
                "to": span[1],
                "reason": why,
            }
            audit.append(tx, AuditKind.HOLD, machine_user(), detail, now)
        printer.say(f"hold {number} placed", placed=number)
        if config.timeseries.url:
            sys.stderr.write(
                "readings are in an InfluxDB, which deletes by its own policy: write the files of"
                " the incidents (`plumewatch incident file`) or export the readings\n"
            )
        return DONE

    return _with_state(config_path, place)


def _check_names_nobody(reason: str) -> None:
    found = identifiers(reason)
    if found:
        raise SpanError(
            f"--reason: does this identify a person? {', '.join(found)}. Names and numbers of"
            " persons do not belong here; if it identifies nobody, add --no-name"
        )


def run_release(config_path: Path, number: int, printer: Printer, now: float) -> int:
    """Release a hold.

    Returns
    -------
    int
        0 done, 1 no such hold stands, 2 bad configuration, 3 the state database cannot be written.
    """

    def release(_config: PlumewatchConfig, db: sqlite3.Connection) -> int:
        with transaction(db) as tx:
            stood = holds.release(tx, number, machine_user(), now)
            if stood:
                audit.append(tx, AuditKind.RELEASE, machine_user(), {"hold": number}, now)
        if not stood:
            sys.stderr.write(f"no hold {number} stands\n")
            return REFUSED
        printer.say(f"hold {number} released", released=number)
        return DONE

    return _with_state(config_path, release)


def run_holds(config_path: Path, printer: Printer) -> int:
    """List the holds that stand.

    Returns
    -------
    int
        As `run_plan`.
    """

    def show(config: PlumewatchConfig, db: sqlite3.Connection) -> int:
        zone, rooms = config.zone(), config.registry().rooms

        def row(hold: holds.Hold) -> tuple[Mapping[str, object], Sequence[object]]:
            span = (said(hold.start, zone), said(hold.end, zone))
            known = rooms.get(hold.room)
            where = f"{known.name} ({known.id})" if known else hold.room or "everywhere"
            return hold._asdict(), (hold.id, where, *span, hold.reason, hold.placed_by)

        printer.table(("No.", "Room", "From", "To", "Why", "By"), map(row, holds.active(db)))
        return DONE

    return _with_state(config_path, show)


def _classes(config: PlumewatchConfig, db: sqlite3.Connection, now: float) -> list[Kept]:
    standing = holds.active(db)
    kept, days = config.timeseries, config.retention.incident_days
    incidents = retention.due(db, now - days * _DAY_S, standing)
    since = holds.earliest(db)
    from_ = "" if since is None else f"since {said(since, config.zone())}"
    if config.timeseries.url and from_:
        from_ = "not by holds"
    who = "the InfluxDB" if config.timeseries.url else "the service"
    return [
        Kept("readings", kept.raw_days, who, None, from_),
        Kept("averages of 1 minute, sensor health", kept.minute_days, who, None, from_),
        Kept("averages of 15 minutes, events", kept.quarter_hour_days, who, None, from_),
        Kept(
            "journal", config.journal.keep_days, "the service", None, "readings are in the series"
        ),
        Kept(
            "incidents, notices, answers",
            days,
            "retention apply",
            len(incidents.old),
            f"{incidents.held} of {incidents.held + len(incidents.old)}" if standing else "",
        ),
        Kept("audit log, legal holds", None, "nobody", None, ""),
    ]


@contextmanager
def _state(config: PlumewatchConfig) -> Iterator[sqlite3.Connection]:
    path = DataPaths(config.data_dir).state
    if not path.exists():
        raise StorageError(f"{path}: has `plumewatch run` been started with this configuration?")
    with opened_state(path) as db:
        yield db


@told()
def _with_state(
    config_path: Path, work: Callable[[PlumewatchConfig, sqlite3.Connection], int]
) -> int:
    config = load_shard(config_path)
    with _state(config) as db:
        return work(config, db)
