"""Test opening, migrating and writing SQLite files."""

import contextlib
import sqlite3

import pytest

from storage.errors import SchemaTooNewError, StorageUnavailableError
from storage.sqlite import connect, migrate, transaction

FIRST = "CREATE TABLE plume (id INTEGER PRIMARY KEY);"
SECOND = """
ALTER TABLE plume ADD COLUMN room TEXT NOT NULL DEFAULT ';';
CREATE INDEX plume_room ON plume (room);
"""


@pytest.fixture
def database():
    with contextlib.closing(connect(":memory:")) as connection:
        yield connection


def version_of(connection, component="plumes"):
    row = connection.execute(
        "SELECT version FROM component_version WHERE component = ?", (component,)
    ).fetchone()
    return row["version"] if row else None


@pytest.mark.parametrize("name", ["a b.db", "50%25.db", "what?.db", "no#1.db", "Größe.db"])
def test_any_file_name(tmp_path, name):
    with contextlib.closing(connect(tmp_path / name)) as connection:
        migrate(connection, "plumes", [FIRST])
    assert (tmp_path / name).is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]
    with contextlib.closing(connect(tmp_path / name, read_only=True)) as connection:
        assert version_of(connection) == 1


def test_migrates_step_by_step(database):
    migrate(database, "plumes", [FIRST])
    database.execute("INSERT INTO plume VALUES (7)")
    migrate(database, "plumes", [FIRST, SECOND])
    migrate(database, "plumes", [FIRST, SECOND])
    assert [tuple(row) for row in database.execute("SELECT * FROM plume")] == [(7, ";")]
    assert version_of(database) == 2


def test_newer_schema_is_refused_and_left_alone(database):
    migrate(database, "plumes", [FIRST, SECOND])
    with pytest.raises(SchemaTooNewError, match="schema 2; this program knows up to 1"):
        migrate(database, "plumes", [FIRST])
    assert version_of(database) == 2


def test_failure_half_way_leaves_the_last_whole_step(database):
    broken = "CREATE TABLE half (id);\nCREATE TABLE plume (id);\n"
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(database, "plumes", [FIRST, broken])
    assert version_of(database) == 1
    tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    assert "half" not in tables
    assert not database.in_transaction
    migrate(database, "plumes", [FIRST, SECOND])
    assert version_of(database) == 2


def test_transaction_is_whole_or_nothing(database):
    migrate(database, "plumes", [FIRST])

    def interrupted():
        with transaction(database) as tx:
            tx.execute("INSERT INTO plume VALUES (1)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert database.execute("SELECT count(*) FROM plume").fetchone()[0] == 0
    with transaction(database) as tx:
        tx.execute("INSERT INTO plume VALUES (2)")
    assert database.execute("SELECT id FROM plume").fetchone()[0] == 2


def test_only_a_transaction_that_is_not_synced_leaves_the_disk_alone(tmp_path):
    def level(connection):
        return connection.execute("PRAGMA synchronous").fetchone()[0]

    normal, full = 1, 2
    with contextlib.closing(connect(tmp_path / "a.db")) as database:
        migrate(database, "plumes", [FIRST])
        with transaction(database, synced=False) as tx:
            assert level(tx) == normal
        assert level(database) == full
        with transaction(database) as tx:
            assert level(tx) == full


@pytest.mark.parametrize("read_only", [False, True])
def test_no_database(tmp_path, read_only):
    path = tmp_path / "notes.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StorageUnavailableError, match="not a database"):
        connect(path, read_only=read_only)
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_read_only_needs_the_file(tmp_path):
    with pytest.raises(
        StorageUnavailableError, match=r"a.db: unable to open .*; this account must"
    ):
        connect(tmp_path / "a.db", read_only=True)
    assert not (tmp_path / "a.db").exists()


def test_read_only_does_not_write(tmp_path):
    connect(tmp_path / "a.db").close()
    with (
        contextlib.closing(connect(tmp_path / "a.db", read_only=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("CREATE TABLE t (id)")
