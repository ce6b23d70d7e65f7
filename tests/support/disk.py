"""Simulate a full disk for one database of a service in the test's process."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Disk:
    """Tracks connections to a database file, so that writes can be made to fail and succeed
    again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened: list[tuple[str, sqlite3.Connection]] = []
        connect = sqlite3.connect

        def remembered(database: str, *arguments: object, **options: object) -> sqlite3.Connection:
            connection = connect(database, *arguments, **options)  # type: ignore[call-overload]
            self._opened.append((str(database), connection))
            return connection

        monkeypatch.setattr(sqlite3, "connect", remembered)

    def fill(self, file: str) -> None:
        """Prevent a database from growing."""
        self._say(file, "PRAGMA max_page_count = 1")

    def lock(self, file: str) -> None:
        """Prevent all writes to a database, even to free space in its pages."""
        self._say(file, "PRAGMA query_only = ON")

    def free(self, file: str) -> None:
        """Allow writes to a database again."""
        self._say(file, "PRAGMA max_page_count = 1000000000", "PRAGMA query_only = OFF")

    def _say(self, file: str, *pragmas: str) -> None:
        for database, connection in self._opened:
            if f"/{file}?" in database and "mode=ro" not in database:
                for pragma in pragmas:
                    try:
                        connection.execute(pragma)
                    except sqlite3.ProgrammingError:
                        break  # the connection is closed
