"""`plumewatch retention` and `audit`: delete old incidents, read the audit log."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from language.plain_text import pluralize
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

app = typer.Typer()
_DAY_S = 86_400.0


@app.command(
    rich_help_panel="Reports",
    epilog=list_examples("plumewatch retention", "plumewatch retention --apply"),
)
def retention(
    *,
    config: ConfigOption = CONFIG,
    apply: Annotated[bool, typer.Option("--apply", help="Delete them.")] = False,
) -> None:
    """Count the incidents that are older than `retention.incident_days`, or delete them.

    The audit log records the deletion. If someone has asked for a record, make a backup first.
    """
    from alerts.incidents.retention import delete_due, find_due
    from storage.audit import find_machine_user

    site = Site.load(config)
    now = time.time()
    before = now - site.config.retention.incident_days * _DAY_S
    with site.open_state() as db:
        due = find_due(db, before)
        if apply:
            with show_progress("deleting", len(due.old)) as update:
                for deleted in delete_due(db, before, find_machine_user(), now):
                    update(advance=deleted)
    what = "deleted" if apply else "are due"
    echo(f"{pluralize(len(due.old), 'incident')} {what}, {due.open} old ones are still open")


@app.command(
    rich_help_panel="Reports",
    epilog=list_examples("plumewatch audit", "plumewatch audit --limit 5 --json"),
)
def audit(
    *,
    config: ConfigOption = CONFIG,
    limit: Annotated[int, typer.Option(help="Maximum number of entries.", min=1)] = 50,
    known: Annotated[
        str | None,
        typer.Option(
            "--head", help="Last hash of an earlier run, which must still be in the chain."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Print the audit log of sign-ins, exports and changes, and verify that it was not altered.

    Without --head, entries cut off at the end go unnoticed: keep the last hash in another place.
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
        echo(f"audit log intact: {found.entries} entries; last hash {found.head or 'none'}{cut}")
    return REFUSED if found.fault else DONE
