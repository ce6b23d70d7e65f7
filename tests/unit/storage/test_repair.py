"""Test what is recovered from a damaged file without a working `sqlite3` program."""

import contextlib
import sqlite3

import pytest

from storage.journal import Journal
from storage.reading import Reading
from storage.repair import find_recovery_program

COUNT = 2_000


@pytest.mark.parametrize("program", [None, "#!/bin/sh\necho 'BEGIN;'\nexit 1\n"])
def test_rows_before_and_behind_the_damage_are_recovered(tmp_path, monkeypatch, program):
    """The `sqlite3` program is missing, or its `.recover` fails, as it always does on Debian 12."""
    folder = tmp_path / "bin"
    folder.mkdir()
    if program is not None:
        (folder / "sqlite3").write_text(program)
        (folder / "sqlite3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}")
    assert find_recovery_program() is None
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.commit([Reading("s1", float(k), float(k), {"pm25": 4.0}) for k in range(COUNT)])
    with contextlib.closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'journal'").fetchone()
    content = bytearray(path.read_bytes())
    middle = root + (len(content) // 4096 - root) // 2
    content[(middle - 1) * 4096 : middle * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    with Journal(path) as journal:
        held = [entry.offset for entry in journal.read(0, COUNT)[0]]
        assert journal.repairs == 1
    assert COUNT * 0.9 < len(held) < COUNT
    assert {1, COUNT} <= set(held)
