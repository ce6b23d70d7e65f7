"""Languages of people: chosen on their page, else of their `[[staff]]` block, else the school's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from language.messages import LANGUAGES
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from alerts.policy import AlertPolicy, StaffMember


def choose(tx: sqlite3.Connection, person: str, language: str) -> None:
    """Keep a person's choice; empty takes it back."""
    tx.execute("DELETE FROM staff_language WHERE person = ?", (person,))
    if language:
        tx.execute("INSERT INTO staff_language VALUES (?, ?)", (person, language))


def find_chosen(db: sqlite3.Connection, person: str) -> str:
    """Return what a person chose; empty without a choice."""
    row = db.execute("SELECT language FROM staff_language WHERE person = ?", (person,)).fetchone()
    return row[0] if row is not None and row[0] in LANGUAGES else ""


def find_own_language(db: sqlite3.Connection, member: StaffMember | None) -> str:
    """Return the language of a person: chosen, else configured; empty for neither."""
    return "" if member is None else find_chosen(db, member.id) or member.language


def find_notice_language(
    db: sqlite3.Connection, member: StaffMember | None, policy: AlertPolicy
) -> str:
    """Return the language of all that is sent to a person."""
    return find_own_language(db, member) or policy.language


def find_notice_languages(
    database: Path, staff: Iterable[StaffMember], policy: AlertPolicy
) -> dict[str, str]:
    """Return `find_notice_language` by person; as configured while there is no database. Blocks."""
    try:
        with closing(connect(database, read_only=True)) as db:
            return {member.id: find_notice_language(db, member, policy) for member in staff}
    except (StorageError, sqlite3.Error):  # a new data folder
        return {member.id: member.language or policy.language for member in staff}
