"""``plumewatch audit``: sign-ins, exports and deletions on record, and the proof of it."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING

from detection.model import Model
from plumewatch import __version__
from plumewatch.cli.exit_codes import DONE, REFUSED, USAGE
from plumewatch.cli.progress import busy
from plumewatch.cli.status import moment, with_data
from plumewatch.config.paths import DataPaths
from plumewatch.service.data_folder import opened_state
from storage import audit
from storage.audit import AuditKind
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig


def machine_user() -> str:
    """Name the account of this machine that asks."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"user {os.getuid()}"
    return f"{name} on the command line"


def note_start(state: sqlite3.Connection, config: PlumewatchConfig, now: float) -> None:
    """Put on record what the service runs with; the configuration by its hash, without secrets."""
    detail = {
        "version": __version__,
        "model": Model.shipped().version,
        "config_sha256": hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
    }
    with transaction(state) as tx:
        audit.append(tx, AuditKind.START, "service", detail, now)


def on_record(
    config: PlumewatchConfig,
    kind: AuditKind,
    detail: Mapping[str, str | float | None],
    now: float,
    who: str = "",
) -> None:
    """Put something into the audit log of a data folder, which a service may be using.

    Parameters
    ----------
    now : float
        Unix seconds.
    who : str
        Empty for the account of this machine that asks.

    Raises
    ------
    StorageError, sqlite3.Error
    """
    with opened_state(DataPaths(config.data_dir).state) as state, transaction(state) as tx:
        audit.append(tx, kind, who or machine_user(), detail, now)


def run_verify(config_path: Path, printer: Printer, *, known: str | None = None) -> int:
    """Compute the chain of the audit log anew.

    Parameters
    ----------
    known : str, optional
        A hash that was printed before.

    Returns
    -------
    int
        0 whole, 1 not, 2 bad configuration, 3 there is no data folder of a service to read.
    """

    def show(_config: PlumewatchConfig, state: sqlite3.Connection) -> int:
        with busy("computing the chain"):
            found = audit.verify(state, known or "")
        if found.fault:
            printer.say(f"audit log: {found.fault}", whole=False, fault=found.fault)
            return REFUSED
        limit = "" if known else "; whether newer ones were cut off shows only with --head"
        printer.say(
            f"audit log whole: {found.entries} entries; last hash {found.head or 'none'}{limit}",
            whole=True,
            entries=found.entries,
            head=found.head,
        )
        return DONE

    if known is not None and not known.strip():
        sys.stderr.write("--head is empty; give the hash that an earlier verify printed\n")
        return USAGE
    return with_data(config_path, lambda paths: paths.state, show)


def run_list(config_path: Path, printer: Printer, *, limit: int) -> int:
    """Print the newest entries, newest first.

    Returns
    -------
    int
        As `run_verify`, never 1.
    """

    def show(config: PlumewatchConfig, state: sqlite3.Connection) -> int:
        printer.table(
            ("No.", "When", "Who", "What", "Detail"),
            (
                (
                    {**entry._asdict(), "detail": json.loads(entry.detail)},
                    (entry.seq, moment(entry.at, config), entry.actor, entry.kind, entry.detail),
                )
                for entry in audit.entries(state, limit)
            ),
        )
        return DONE

    return with_data(config_path, lambda paths: paths.state, show)
