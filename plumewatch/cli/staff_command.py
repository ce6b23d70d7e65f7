"""``plumewatch staff``: who may sign in, their passwords, and signing them out."""

from __future__ import annotations

import getpass
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, TextIO, TypeVar

from alerts.access import sessions
from alerts.access.passwords import (
    LONGEST,
    Hasher,
    fault_of,
    generated,
    set_password,
    with_password,
)
from plumewatch.cli.audit_command import machine_user
from plumewatch.cli.exit_codes import DONE, REFUSED, UNREACHABLE, USAGE
from plumewatch.cli.status import moment
from plumewatch.config.faults import ConfigError
from plumewatch.config.paths import DataPaths
from plumewatch.config.sharding import load_shard
from plumewatch.service.data_folder import opened_state
from storage import audit
from storage.audit import AuditKind
from storage.errors import StorageError
from storage.sqlite import connect, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.staff import StaffConfig

T = TypeVar("T")


def run_password(
    config_path: Path,
    person: str,
    now: float,
    *,
    source: TextIO,
    printer: Printer,
    generate: bool,
    ask: Callable[[str], str] = getpass.getpass,
) -> int:
    """Set the password of a member of staff and sign them out everywhere.

    Parameters
    ----------
    person : str
        Their id in the configuration.
    now : float
        Unix seconds.
    source : text file
        Where the password is read from, one line, unless it is a terminal, where it is asked for.
    generate : bool
        Make one and print it instead.
    ask : callable
        Asks a person without showing what they type.

    Returns
    -------
    int
        0 done, 1 the password cannot be taken, 2 bad configuration or nobody has this id, 3 the
        state database cannot be written.
    """
    config = _config(config_path)
    member = None if config is None else _member(config, person)
    if config is None or member is None:
        return USAGE
    if generate:
        password = generated()
    elif source.isatty():
        password = ask(f"New password of {member.name}: ")
        if password != ask("The same again: "):
            sys.stderr.write("the two are not the same\n")
            return REFUSED
    else:
        password = source.readline(8 * LONGEST).rstrip("\r\n")
    fault = fault_of(password, (member.id, member.name, config.site))
    if fault:
        sys.stderr.write(f"{fault}\n")
        return REFUSED
    kept = Hasher().hash(password)

    def set_it(tx: sqlite3.Connection) -> int:
        audit.append(tx, AuditKind.PASSWORD, machine_user(), {"person": member.id}, now)
        return set_password(tx, member.id, kept, now)

    ended = _write(config, set_it)
    if ended is None:
        return UNREACHABLE
    over = f"; {ended} of their sessions ended" if ended else ""
    made = f"\n{password}" if generate else ""
    printer.say(
        f"password of {member.id} set{over}{made}",
        person=member.id,
        sessions_ended=ended,
        **({"password": password} if generate else {}),
    )
    return DONE


def run_sign_out(config_path: Path, person: str, now: float, printer: Printer) -> int:
    """Sign a member of staff out everywhere; one who left the configuration too.

    Returns
    -------
    int
        As `run_password`.
    """
    config = _config(config_path)
    if config is None:
        return USAGE

    def end_all(tx: sqlite3.Connection) -> int:
        audit.append(tx, AuditKind.SIGN_OUT, machine_user(), {"person": person[:80]}, now)
        return sessions.end_all(tx, person)

    ended = _write(config, end_all)
    if ended is None:
        return UNREACHABLE
    printer.say(f"{ended} sessions ended", person=person, sessions_ended=ended)
    return DONE


def run_list(config_path: Path, now: float, printer: Printer) -> int:
    """Print staff with their roles, whether they have a password, and their sessions.

    Returns
    -------
    int
        As `run_password`.
    """
    config = _config(config_path)
    if config is None:
        return USAGE
    found = _write(config, lambda tx: (with_password(tx), sessions.counts(tx, now)))
    if found is None:
        return UNREACHABLE
    passwords, counts = found

    def row(m: StaffConfig) -> tuple[Mapping[str, object], Sequence[object]]:
        at, open_ = passwords.get(m.id), counts.get(m.id, 0)
        who = {"id": m.id, "name": m.name, "role": m.role}
        since = "none" if at is None else moment(at, config)
        return {**who, "password_set": at, "sessions": open_}, (*who.values(), since, open_)

    printer.table(("Id", "Name", "Role", "Password set", "Sessions"), map(row, config.staff))
    return DONE


def without_password(config: PlumewatchConfig) -> list[str]:
    """Ids of staff who cannot sign in yet."""
    path = DataPaths(config.data_dir).state
    have: dict[str, float] = {}
    if path.exists():
        try:
            with closing(connect(path, read_only=True)) as state:
                have = with_password(state)
        except (StorageError, sqlite3.Error):
            have = {}  # written by a version without passwords
    return [m.id for m in config.staff if m.id not in have]


def _config(path: Path) -> PlumewatchConfig | None:
    try:
        return load_shard(path)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return None


def _member(config: PlumewatchConfig, person: str) -> StaffConfig | None:
    found = next((m for m in config.staff if m.id == person), None)
    if found is None:
        known = ", ".join(m.id for m in config.staff) or "nobody; add a [[staff]] block"
        sys.stderr.write(f"{person!r}: no member of staff has this id; there is: {known}\n")
    return found


def _write(config: PlumewatchConfig, work: Callable[[sqlite3.Connection], T]) -> T | None:
    """Do something to the state database, which a service may be using; None if that fails."""
    path = DataPaths(config.data_dir).state
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened_state(path) as state, transaction(state) as tx:
            return work(tx)
    except (OSError, StorageError, sqlite3.Error) as error:
        sys.stderr.write(f"{path}: {error}\n")
        return None
