"""Languages that people chose on their page; without a choice, that of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from language.messages import LANGUAGES

if TYPE_CHECKING:
    import sqlite3

    from alerts.policy import StaffMember


def choose(tx: sqlite3.Connection, person: str, language: str) -> None:
    """Keep a person's choice; empty takes it back."""
    tx.execute("DELETE FROM staff_language WHERE person = ?", (person,))
    if language:
        tx.execute("INSERT INTO staff_language VALUES (?, ?)", (person, language))


def chosen(db: sqlite3.Connection, person: str) -> str:
    """Return what a person chose; empty without a choice."""
    row = db.execute("SELECT language FROM staff_language WHERE person = ?", (person,)).fetchone()
    return row[0] if row is not None and row[0] in LANGUAGES else ""


def language_of(db: sqlite3.Connection, member: StaffMember) -> str:
    """Return the language of a person: chosen, else configured; empty for neither."""
    return chosen(db, member.id) or member.language
