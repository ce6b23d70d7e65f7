"""A disk that is full for one database of a service in the test's process."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Disk:
    """Remembers every connection to a database file, to make the file refuse and take again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened: list[tuple[str, sqlite3.Connection]] = []
        connect = sqlite3.connect

        def remembered(database: str, *arguments: object, **options: object) -> sqlite3.Connection:
            connection = connect(database, *arguments, **options)  # type: ignore[call-overload]
            self._opened.append((str(database), connection))
            return connection

        monkeypatch.setattr(sqlite3, "connect", remembered)

    def fill(self, file: str) -> None:
        """Let a database grow no further than it is."""
        self._say(file, "PRAGMA max_page_count = 1")

    def lock(self, file: str) -> None:
        """Let nothing be written into a database, even where its pages have room."""
        self._say(file, "PRAGMA query_only = ON")

    def free(self, file: str) -> None:
        """Let a database be written again."""
        self._say(file, "PRAGMA max_page_count = 1000000000", "PRAGMA query_only = OFF")

    def _say(self, file: str, *pragmas: str) -> None:
        for database, connection in self._opened:
            if f"/{file}?" in database and "mode=ro" not in database:
                for pragma in pragmas:
                    try:
                        connection.execute(pragma)
                    except sqlite3.ProgrammingError:
                        break  # it is closed
