"""Damage real files (flipped bytes, torn ends): readable data stays, unreadable data is counted."""

import asyncio
import contextlib
import errno
import functools
import os
import random
import re
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest

from alerts.incidents import schema
from storage import repair
from storage.errors import StorageCorruptError, StorageError, StorageUnavailableError
from storage.journal import (
    STATE_SCRIPTS,
    DeadLetter,
    Journal,
    JournalReader,
    load_cursor,
    save_cursor,
)
from storage.reading import Reading
from storage.repair import salvage
from storage.sqlite import connect, migrate
from storage.timeseries.sqlite import SqliteSeries
from storage.timeseries.writer import SeriesWriter, WriterSettings
from tests.support.journals import gaps, tail
from tests.support.oracle import letters_of

pytestmark = pytest.mark.needs("sqlite3")
START = 1_790_000_000.0
PAGE = 4096
COUNT = 3_000


def readings(first, count):
    return [
        Reading(f"s{k % 5}", START + k, START + k, {"pm25": k / 4, "rh": 40.0}, seq=k)
        for k in range(first, first + count)
    ]


@functools.cache
def full_journal():
    """Return the bytes of a closed journal with `COUNT` readings, written only once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        with Journal(path) as journal:
            for first in range(0, COUNT, 500):
                journal.commit(readings(first, 500))
        return path.read_bytes()


def filled(path):
    return path.write_bytes(full_journal())


def damage(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def flip(path, offset, bits=0x5A):
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ bits]))


def accounted(journal):
    """Return the offsets covered by readings and gaps; each must occur exactly once."""
    entries, _ = journal.read(0, 10 * COUNT)
    held = [e.offset for e in entries]
    missing = [o for gap in gaps(journal) for o in range(gap.first, gap.last + 1)]
    assert sorted(held + missing) == list(range(1, journal.get_last_offset() + 1))
    for offset, reading in entries:
        assert reading.seq in (offset - 1, None) or reading.seq >= COUNT
    return held, missing


def leaves(path, table):
    """Return the page numbers of a table's leaves and root."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        compiled = {row[0] for row in connection.execute("PRAGMA compile_options")}
        if "ENABLE_DBSTAT_VTAB" not in compiled:
            pytest.skip("this SQLite does not tell which page holds what")
        rows = connection.execute(
            "SELECT pageno, path FROM dbstat WHERE name = ? AND pagetype IN ('leaf', 'internal')"
            " ORDER BY path",
            (table,),
        ).fetchall()
    return [page for page, where in rows if where != "/"], rows[0][0]


@pytest.mark.parametrize("chosen", [[3], [0], [-1], [7, 8], [1, 20, 33], [-2, -1]], ids=str)
def test_damaged_pages_cost_what_is_on_them(tmp_path, chosen):
    path = tmp_path / "journal.db"
    size = filled(path)
    pages, _ = leaves(path, "journal")
    assert len(pages) > 40
    for n in chosen:
        damage(path, (pages[n] - 1) * PAGE, b"\xa5" * PAGE)
    with Journal(path) as journal:
        held, missing = accounted(journal)
        assert len(held) + len(missing) == COUNT
        assert 0 < len(missing) < 100 * len(chosen)
        assert {gap.why for gap in gaps(journal)} == {"damaged"}
        assert journal.repairs == 1
        assert journal.commit(readings(COUNT, 2)) == COUNT + 2
        assert [e.reading.seq for e in journal.read(COUNT, 5)[0]] == [COUNT, COUNT + 1]
    assert path.with_name("journal.db.corrupt-1").stat().st_size == size
    with Journal(path) as journal:
        assert journal.repairs == 0


def test_a_damaged_index_page_loses_no_row(tmp_path):
    """Pages below the index page no longer belong to a table, but their columns identify it."""
    path = tmp_path / "journal.db"
    filled(path)
    damage(path, (leaves(path, "journal")[1] - 1) * PAGE, b"\xa5" * PAGE)
    with Journal(path) as journal:
        assert accounted(journal) == (list(range(1, COUNT + 1)), [])
        assert journal.repairs == 1
        assert journal.commit(readings(COUNT, 2)) == COUNT + 2


@pytest.mark.parametrize("to", [b"\xff\x48", b"\x81\x01", b"\x81\x49"], ids=bytes.hex)
def test_a_damaged_offset_lets_nobody_skip_the_readings_behind_it(tmp_path, to):
    """SQLite doesn't notice that offset 200 has become 16,328, 129 or 201."""
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.commit(readings(0, 300))
    content = path.read_bytes()
    body = msgspec.msgpack.encode(readings(199, 1)[0])
    damage(path, content.rindex(b"\x81\x48", 0, content.index(body)), to)
    with JournalReader(path) as reader, pytest.raises(StorageCorruptError, match="out of order"):
        reader.read(0, 300)
    with Journal(path) as journal:
        journal.commit(readings(300, 1))
        found, cursor, before = set(), 0, -1
        while cursor != before:
            before = cursor
            entries, cursor = journal.read(cursor, 200)  # the damaged record is the last of a batch
            found |= {entry.reading.seq for entry in entries}
        assert set(range(301)) - found <= {199, 200}
        assert journal.commit(readings(301, 1)) > cursor


@pytest.mark.parametrize(
    ("damaged", "where"),
    [("journal SET offset", "offset = 300"), ("sqlite_sequence SET seq", "name = 'journal'")],
)
def test_an_offset_that_leaves_none_behind_it_is_no_full_disk(tmp_path, damaged, where):
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.commit(readings(0, 300))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {damaged} = {2**63 - 1} WHERE {where}")
    with Journal(path) as journal:
        assert journal.commit(readings(300, 1)) == 301
        found = {entry.reading.seq for entry in journal.read(0, 400)[0]}
        assert set(range(301)) - found <= {299}
        assert journal.get_last_offset() == 301


@pytest.mark.parametrize("program", [None, "#!/bin/sh\necho 'BEGIN;'\nexit 1\n"])
def test_without_the_program_sqlite3_rows_before_and_behind_the_damage_are_saved(
    tmp_path, monkeypatch, caplog, program
):
    """The program is missing, or its `.recover` fails, as it always does on Debian 12."""
    path, folder = tmp_path / "journal.db", tmp_path / "bin"
    filled(path)
    pages, _ = leaves(path, "journal")
    damage(path, (pages[9] - 1) * PAGE, b"\xa5" * PAGE)
    folder.mkdir()
    if program is not None:
        (folder / "sqlite3").write_text(program)
        (folder / "sqlite3").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    with Journal(path) as journal:
        _, missing = accounted(journal)
        assert 0 < len(missing) < 100
        assert journal.repairs == 1
    assert "apt-get install sqlite3" in caplog.text


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b"CREATE TABLE journal", 0),
        (b"CREATE TABLE journal", len(b"CREATE TABLE j")),
        (b"CREATE TABLE dead_letter", 0),
        (b"CREATE TABLE dead_letter", -1),  # the page on which the table begins
        (b"CREATE TABLE journal", -1),
        (b"TEXT", 0),
    ],
)
@pytest.mark.parametrize("bits", [0x5A, 0x04])
def test_a_damaged_list_of_tables_costs_no_reading(tmp_path, text, at, bits):
    path = tmp_path / "journal.db"
    filled(path)
    flip(path, path.read_bytes().index(text) + at, bits)
    with Journal(path) as journal:
        assert accounted(journal) == (list(range(1, COUNT + 1)), [])
        assert journal.commit(readings(COUNT, 1)) == COUNT + 1


@pytest.mark.parametrize("where", [100, 104, 111, 113, b"CREATE TABLE t7 ", b"CREATE TABLE t90 "])
def test_a_long_list_of_tables_is_damaged(tmp_path, where):
    """All rows survive, although the damaged table's root page must be guessed."""
    path, tables = tmp_path / "many.db", 100

    def prepare(database):
        for k in range(tables):
            database.execute(f"CREATE TABLE t{k} (word TEXT NOT NULL /* {'x' * 200} */) STRICT")

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        prepare(database)
        for k in range(tables):
            database.execute(f"INSERT INTO t{k} VALUES ('{k}')")  # noqa: S608 - names of ours
        database.execute("PRAGMA journal_mode=WAL")
    flip(path, where if isinstance(where, int) else path.read_bytes().index(where))
    assert salvage(path, prepare) == {f"t{k}": 1 for k in range(tables)}
    with contextlib.closing(sqlite3.connect(tmp_path / "many.db.salvaged")) as saved:
        for k in range(tables):
            found = saved.execute(f"SELECT word FROM t{k}").fetchall()  # noqa: S608 - as above
            assert found == [(str(k),)]


def test_a_letter_that_becomes_a_comma_makes_no_further_column(tmp_path):
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.commit(readings(0, 50), [DeadLetter(START, "t", "bad_json", "", "", 1, b"{")])
    flip(path, path.read_bytes().index(b"detail") + 2, 0x58)  # "t" becomes ","
    with Journal(path) as journal:
        assert [letter.payload for letter in letters_of(journal)] == [b"{"]
        assert journal.repairs == 1


def test_single_flipped_bytes_anywhere(tmp_path):
    rng = random.Random(random.randrange(10**6))  # reproducible with the seed that pytest prints
    whole = tmp_path / "whole.db"
    size = filled(whole)
    page = whole.read_bytes()[:PAGE]
    names = [m.start() for m in re.finditer(b"sqlite_sequence|journal|gap", page)]
    for n, where in enumerate([*names, *(rng.randrange(size) for _ in range(12))]):
        path = tmp_path / f"{n}.db"
        path.write_bytes(whole.read_bytes())
        flip(path, where)
        with Journal(path) as journal:
            try:
                entries, position = journal.read(0, 10 * COUNT)
            except StorageError as error:
                raise AssertionError(f"byte {where}") from error
            assert len(entries) >= COUNT - 150, where
            assert position >= COUNT - 150, where
            journal.commit(readings(COUNT, 1))
            assert tail(journal, 1)[0].seq == COUNT, where


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_flipped_bytes(tmp_path, seed):
    """Values can have any type and records any length, but the journal must keep working."""
    rng = random.Random(seed)
    path = tmp_path / "journal.db"
    content = bytearray(full_journal())
    for _ in range(5_000):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    with Journal(path) as journal:
        journal.read(0, 10 * COUNT)
        journal.commit(readings(COUNT, 1))
        assert tail(journal, 1)[0].seq == COUNT


@pytest.mark.parametrize("value", ["'abc'", "x'00ff'", "1.5"])
def test_values_of_other_types_are_no_rows(tmp_path, value):
    path = tmp_path / "journal.db"
    filled(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE sqlite_sequence SET seq = {value}")  # noqa: S608 - of ours
        db.execute(f"INSERT INTO gap VALUES ('lost', {value}, {value}, 1.0)")  # noqa: S608 - of ours
        db.execute(f"UPDATE journal SET crc = {value} WHERE offset = 7")  # noqa: S608 - of ours
        db.commit()
    flip(path, path.read_bytes().index(b"CREATE TABLE"))
    with Journal(path) as journal:
        assert journal.repairs == 1
        accounted(journal)
        journal.commit(readings(COUNT, 1))
        assert tail(journal, 1)[0].seq == COUNT


@pytest.mark.parametrize("cut", [1, 100, PAGE, 10 * PAGE, 3 * PAGE + 17])
def test_a_truncated_file(tmp_path, cut):
    path = tmp_path / "journal.db"
    size = filled(path)
    with path.open("r+b") as file:
        file.truncate(size - cut)
    with Journal(path) as journal:
        held, missing = accounted(journal)
        assert len(held) + len(missing) == COUNT
        assert len(missing) < 100 * (cut // PAGE + 1)
        journal.commit(readings(COUNT, 1))
        assert tail(journal, 1)[0].seq == COUNT


@pytest.mark.parametrize("where", [0, 16, 18, 19, 20, 21, 47, 59])
def test_a_flipped_byte_in_the_header(tmp_path, where):
    path = tmp_path / "journal.db"
    filled(path)
    flip(path, where)
    with Journal(path) as journal:
        assert len(journal.read(0, 10 * COUNT)[0]) == COUNT


def torn_log(path):
    """Commit two groups to the write-ahead log, and truncate it in the middle of the second."""
    crashed = Journal(path)
    crashed.open()
    crashed.commit(readings(0, 100))
    wal = path.with_name("journal.db-wal")
    first = wal.stat().st_size
    crashed.commit(readings(100, 100))
    whole = path.read_bytes(), wal.read_bytes()
    crashed.close()
    path.write_bytes(whole[0])
    wal.write_bytes(whole[1][: (first + len(whole[1])) // 2])


def test_a_torn_log_is_a_gap_for_who_had_read_further(tmp_path):
    path = tmp_path / "journal.db"
    torn_log(path)
    with Journal(path) as journal:
        assert len(journal.read(0, 1000)[0]) == journal.get_last_offset() == 100
        journal.skip_to(200)  # a consumer had read all entries
        journal.skip_to(200)
        assert [(g.first, g.last, g.why) for g in gaps(journal)] == [(101, 200, "lost")]
        assert journal.commit(readings(200, 1)) == 201


@pytest.mark.parametrize("step", ["salvaging", "salvaged", "moved"])
def test_a_crash_in_a_repair(tmp_path, monkeypatch, step):
    path = tmp_path / "journal.db"
    filled(path)
    damage(path, (leaves(path, "journal")[0][9] - 1) * PAGE, b"\0" * PAGE)

    class CrashError(BaseException):
        pass

    def crash(*_):
        raise CrashError

    real_rename = type(path).rename
    renames = []

    def rename(self, target):
        renames.append(self.name)
        if step == "moved" and self.name.endswith(".salvaged"):
            raise CrashError
        return real_rename(self, target)

    journal = Journal(path)
    journal.open()
    with monkeypatch.context() as patch:
        if step == "salvaging":
            patch.setattr("os.fsync", crash)
        elif step == "salvaged":
            patch.setattr("storage.sqlite.swap", crash)
        patch.setattr(type(path), "rename", rename)
        with pytest.raises(CrashError):
            journal.read(0, 10 * COUNT)
    journal.close()
    with Journal(path) as again:
        held, missing = accounted(again)
        assert len(held) > COUNT - 100
        assert missing
    assert not list(tmp_path.glob("*.salvag*"))


def test_a_repair_that_finds_no_room_is_tried_again(tmp_path, monkeypatch):
    path = tmp_path / "journal.db"
    filled(path)
    damage(path, (leaves(path, "journal")[0][9] - 1) * PAGE, b"\0" * PAGE)
    with Journal(path) as journal:
        with monkeypatch.context() as patch:

            def full(_):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr("os.fsync", full)
            for _ in range(2):
                with pytest.raises(StorageUnavailableError, match="No space left"):
                    journal.read(0, 10 * COUNT)
        assert journal.repairs == 0
        held, _ = accounted(journal)
        assert journal.repairs == 1
        assert len(held) > COUNT - 100


@pytest.mark.parametrize("found_by", ["the write", "a reader before the write", "a start"])
@pytest.mark.parametrize("which", [slice(9, 30, 20), slice(-1, None), slice(None)], ids=str)
async def test_the_series_is_filled_again_from_the_journal(tmp_path, found_by, which):
    """A repair resets the cursor; the batch that found the damage must not advance it again."""
    path, batch = tmp_path / "series.db", 400
    with Journal(tmp_path / "journal.db") as journal, SqliteSeries(path) as series:
        journal.commit(readings(0, COUNT))
        series.write(readings(0, COUNT), COUNT)
        journal.commit(readings(COUNT, batch))
    for page in leaves(path, "reading")[0][which]:
        damage(path, (page - 1) * PAGE, b"\xff" * PAGE)
    with Journal(tmp_path / "journal.db") as journal, SqliteSeries(path) as series:
        if found_by == "a start":
            series.query(lambda db: db.execute("SELECT sum(rh) FROM reading").fetchone())

        def read(after, limit):
            if found_by == "a reader before the write":
                series.query(lambda db: db.execute("SELECT sum(rh) FROM reading").fetchone())
            return journal.read(after, limit)

        async def write_dead_letters(letters):
            raise AssertionError(letters)

        async def sleep(_):
            await asyncio.sleep(0)

        settings = WriterSettings(batch=batch)
        writer = SeriesWriter(
            *("series", series, read, write_dead_letters, asyncio.to_thread, lambda: START),
            settings=settings,
            sleep=sleep,
        )
        task = asyncio.create_task(writer.run())
        async with asyncio.timeout(60):
            while writer.state.cursor < COUNT + batch or not series.repairs:
                if (
                    writer.state.cursor == COUNT + batch
                ):  # the write did not find the damage, but a reader does
                    await asyncio.to_thread(series.read_between, 0, 4e9)
                    writer.wake.set()
                await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert series.repairs == 1
        found = {reading.time for reading in series.read_between(0, 4e9)}
        assert found == {START + k for k in range(COUNT + batch)}


def test_incidents_are_saved_from_a_damaged_state(tmp_path):
    path = tmp_path / "state.db"
    with contextlib.closing(connect(path)) as connection:
        migrate(connection, "state", STATE_SCRIPTS)
        migrate(connection, "alerts", schema.SCRIPTS)
        connection.execute("BEGIN")
        for n in range(500):
            connection.execute(
                "INSERT INTO incident (id, kind, room, sensor, status, onset, opened_at,"
                " confidence, paged, suppressed_by, acknowledged_by, resolved_at, resolve_due,"
                " severity) VALUES"
                " (?, 'vape', 'r', 's', 'resolved', 1, 1, 0.9, 1, '', '', 2, 3, 'warning')",
                (f"20261101-{n:03d}",),
            )
            connection.execute(
                "INSERT INTO incident_history (incident, seq, at, who, what, detail)"
                " VALUES (?, 0, 1, 'plumewatch', 'opened', '{}')",
                (f"20261101-{n:03d}",),
            )
        save_cursor(connection, "detector", 77)
        connection.execute("COMMIT")
    damage(path, (leaves(path, "incident")[0][3] - 1) * PAGE, b"\0" * PAGE)

    def prepare(new):
        migrate(new, "state", STATE_SCRIPTS)
        migrate(new, "alerts", schema.SCRIPTS)

    saved = repair.salvage(path, prepare)
    repair.swap(path)
    assert 430 < saved["incident"] < 500
    assert saved["incident_history"] == 500
    with contextlib.closing(connect(path)) as connection:
        assert load_cursor(connection, "detector") == 77
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
