"""Languages that people chose on their page, in place of that of their `[[staff]]` block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from language.messages import LANGUAGES

if TYPE_CHECKING:
    import sqlite3


def choose(tx: sqlite3.Connection, person: str, language: str) -> None:
    """Store the language that a person chose; an empty one removes their choice."""
    tx.execute("DELETE FROM staff_language WHERE person = ?", (person,))
    if language:
        tx.execute("INSERT INTO staff_language VALUES (?, ?)", (person, language))


def load_chosen(db: sqlite3.Connection) -> dict[str, str]:
    """Return the chosen languages by person."""
    found = dict(db.execute("SELECT person, language FROM staff_language").fetchall())
    return {person: code for person, code in found.items() if code in LANGUAGES}
