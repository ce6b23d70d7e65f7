"""`plumewatch retention` and `audit`: delete old records, place legal holds, read the log."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import (
    CONFIG,
    DONE,
    REFUSED,
    ConfigOption,
    JsonOption,
    Site,
    list_examples,
)
from plumewatch.cli.printer import echo, print_json, print_table, show_progress
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


app = typer.Typer()
retention_app = typer.Typer(help="How long records are kept; legal holds.", no_args_is_help=True)
app.add_typer(retention_app, name="retention", rich_help_panel="Reports")

_DAY_S = 86_400.0


@retention_app.command("plan", epilog=list_examples("plumewatch retention plan --json"))
def retention_plan(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Print how long records are kept, what is due for deletion, and what holds keep."""
    site = Site.load(config)
    rows = []
    with site.open_state() as db:
        for name, days, by, old, held in _list_record_classes(site, db, time.time()):
            fields = {"name": name, "days": days, "by": by, "old": old, "held": held}
            kept_for = "forever" if days is None else f"{days:g} days"
            due = "" if old is None else f"{old:,}"
            rows.append((fields, (name, kept_for, by, due, held)))
        active = list(_list_holds(site, db))
    columns = ("What", "Kept for", "Deleted by", "Due now", "On hold")
    print_table(columns, rows, as_json=as_json)
    if active:
        print_table(("Hold", "Room", "From", "To", "Why", "By"), active, as_json=as_json)


def _list_holds(
    site: Site, db: sqlite3.Connection
) -> Iterator[tuple[dict[str, object], tuple[object, ...]]]:
    """Yield the fields and cells of each active hold."""
    from storage import holds

    rooms = site.config.registry().rooms
    for hold in holds.active(db):
        known = rooms.get(hold.room)
        where = f"{known.name} ({known.id})" if known else hold.room or "everywhere"
        span = (site.format_time(hold.start), site.format_time(hold.end))
        yield hold._asdict(), (hold.id, where, *span, hold.reason, hold.placed_by)


def _list_record_classes(
    site: Site, db: sqlite3.Connection, now: float
) -> Iterator[tuple[str, float | None, str, int | None, str]]:
    """Yield name, days (None: forever), who deletes, how many are due, and what holds keep."""
    from alerts.incidents import retention
    from storage import holds

    kept, days = site.config.timeseries, site.config.retention.incident_days
    active = holds.active(db)
    incidents = retention.find_due(db, now - days * _DAY_S, active)
    since = holds.earliest(db)
    readings_held = "" if since is None else f"since {site.format_time(since)}"
    if kept.url and readings_held:
        readings_held = "not by holds"
    by = "the InfluxDB" if kept.url else "the service"
    yield "readings", kept.raw_days, by, None, readings_held
    yield "averages of 1 minute, sensor health", kept.minute_days, by, None, readings_held
    yield "averages of 15 minutes, events", kept.quarter_hour_days, by, None, readings_held
    journal_days = site.config.journal.keep_days
    yield "journal", journal_days, "the service", None, "readings are in the series"
    held = f"{incidents.held} of {incidents.held + len(incidents.old)}" if active else ""
    yield "incidents, notices, answers", days, "retention apply", len(incidents.old), held
    yield "audit log, legal holds", None, "nobody", None, ""


@retention_app.command("apply", epilog=list_examples("plumewatch retention apply"))
def retention_apply(*, config: ConfigOption = CONFIG) -> None:
    """Delete incidents that are due and not on hold; the audit log records it."""
    from alerts.incidents import retention
    from storage import holds
    from storage.audit import find_machine_user

    site = Site.load(config)
    now = time.time()
    before = now - site.config.retention.incident_days * _DAY_S
    total = 0
    with site.open_state() as db:
        due = retention.find_due(db, before, holds.active(db))
        with show_progress("deleting", len(due.old)) as update:
            for deleted in retention.delete_due(db, before, find_machine_user(), now):
                total += deleted
                update(completed=total)
    echo(f"{total} incidents deleted, {due.held} on hold, {due.open} still open")


@retention_app.command(
    "hold",
    epilog=list_examples(
        "plumewatch retention hold --from 2026-09-07 --to 2026-09-11 --reason request-17"
    ),
)
def retention_hold(
    *,
    start: Annotated[str, typer.Option("--from", help="First day, or a time.")],
    end: Annotated[str, typer.Option("--to", help="Last day, or a time.")],
    reason: Annotated[str, typer.Option(help="The reason, which is recorded.")],
    room: Annotated[str, typer.Option(help="Id of the room; all rooms if left out.")] = "",
    config: ConfigOption = CONFIG,
    no_name: Annotated[
        bool, typer.Option("--no-name", help="The reason identifies nobody.")
    ] = False,
) -> None:
    """Keep the records of a time range until the hold is released."""
    from alerts.incidents.free_text import clean_text
    from storage import audit, holds

    site = Site.load(config)
    now = time.time()
    span = site.parse_time(start), site.parse_time(end, end=True)
    why = clean_text(reason)[:200]
    if span[0] >= span[1]:
        raise UsageError("--from is not before --to")
    if not why:
        raise UsageError("--reason: please say why; the reason is recorded")
    if not no_name:
        _refuse_identifiers(why)
    if room and room not in site.config.registry().rooms:
        raise UsageError(f"--room {room!r}: not a room in the configuration has this id")
    who = audit.find_machine_user()
    with site.transaction() as tx:
        number = holds.place(tx, room, span, why, who, now)
        place: dict[str, str | float | None] = {"hold": number, "room": room, "reason": why}
        detail = {**place, "from": span[0], "to": span[1]}
        audit.append(tx, audit.AuditKind.HOLD, who, detail, now)
    echo(f"hold {number} placed")
    if site.config.timeseries.url:
        sys.stderr.write(
            "readings are in an InfluxDB, which deletes them by its own policy: export those of the"
            " incidents (`plumewatch export readings`)\n"
        )


def _refuse_identifiers(reason: str) -> None:
    from alerts.incidents.free_text import find_identifiers

    found = find_identifiers(reason)
    if found:
        raise UsageError(
            f"--reason: does this identify a person? {', '.join(found)}. Leave out names and"
            " numbers of people; if it identifies nobody, add --no-name"
        )


@retention_app.command("release", epilog=list_examples("plumewatch retention release 1"))
def retention_release(
    number: Annotated[int, typer.Argument(help="Number of the hold.")],
    *,
    config: ConfigOption = CONFIG,
) -> None:
    """Release a hold; hold and release stay on record."""
    from storage import audit, holds

    site = Site.load(config)
    now, who = time.time(), audit.find_machine_user()
    with site.transaction() as tx:
        if not holds.release(tx, number, who, now):
            raise RefusedError(f"there is no active hold {number}")
        audit.append(tx, audit.AuditKind.RELEASE, who, {"hold": number}, now)
    echo(f"hold {number} released")


@app.command(
    rich_help_panel="Reports",
    epilog=list_examples("plumewatch audit", "plumewatch audit --limit 5 --json"),
)
def audit(
    *,
    config: ConfigOption = CONFIG,
    limit: Annotated[int, typer.Option(help="Largest number of entries.", min=1)] = 50,
    known: Annotated[
        str | None,
        typer.Option("--head", help="The last hash of an earlier run, which must still be there."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Print who signed in, exported, changed and deleted, and verify that no entry was altered.

    Without --head, entries cut off at the end go unnoticed: keep the last hash elsewhere.
    """
    from storage import audit as log

    if known is not None and not known.strip():
        raise UsageError("--head is empty; give the hash that was printed before")
    site = Site.load(config)
    with site.read(site.paths.state) as db, show_progress("computing the chain"):
        found = log.verify(db, known or "")
        rows = [
            (
                {**entry._asdict(), "detail": json.loads(entry.detail)},
                (entry.seq, site.format_time(entry.at), entry.actor, entry.kind, entry.detail),
            )
            for entry in log.read_entries(db, limit)
        ]
    print_table(("No.", "When", "Who", "What", "Detail"), rows, as_json=as_json)
    if as_json:
        print_json({"whole": not found.fault, **found._asdict()})
    elif found.fault:
        echo(f"audit log: {found.fault}")
    else:
        cut = "" if known else "; only --head shows whether entries were cut off at the end"
        head = found.head or "none"
        echo(f"audit log intact: {found.entries} entries; last hash {head}{cut}")
    return REFUSED if found.fault else DONE
