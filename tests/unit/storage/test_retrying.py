"""Test that work on a database is retried only while the disk fails."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.errors import (
    SchemaTooNewError,
    StorageCorruptError,
    StorageUnavailableError,
    is_transient,
    translate,
)
from storage.sqlite import RunUntilStored


async def inline(work, *arguments):
    return work(*arguments)


def sqlite_error(cause):
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE t (a)")
        try:
            cause(db)
        except sqlite3.Error as error:
            return error
    raise AssertionError


def full(db):
    db.execute("PRAGMA max_page_count = 2")
    db.execute("INSERT INTO t VALUES (zeroblob(100000))")


def read_only(db):
    db.execute("PRAGMA query_only = ON")
    db.execute("INSERT INTO t VALUES (1)")


def no_column(db):
    db.execute("SELECT b FROM t")


def wrapped(error):
    try:
        raise translate(error, "state.db") from error
    except StorageUnavailableError as found:
        return found


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (sqlite_error(full), True),
        (sqlite_error(read_only), True),
        (wrapped(sqlite_error(full)), True),
        (StorageUnavailableError("the store is away"), True),
        (sqlite_error(no_column), False),
        (wrapped(sqlite_error(no_column)), False),
        (sqlite3.ProgrammingError("closed"), False),
        (StorageCorruptError("malformed"), False),
        (SchemaTooNewError("newer"), False),
        (ValueError("anything else"), False),
    ],
)
def test_only_a_disk_that_refuses_for_a_while_is_transient(error, transient):
    assert is_transient(error) is transient


async def test_it_retries_until_the_disk_has_room_and_reports_it_meanwhile():
    run = RunUntilStored(inline, Path("state.db"), retry_s=0.0)
    seen = []

    def work(value):
        seen.append(dict(run.failing))
        if len(seen) < 3:
            raise sqlite_error(full)
        return value

    assert await run("counts", work, 7) == 7
    assert seen[:2] == [{}, {"counts": "database or disk is full"}]
    assert run.failing == {}
    assert run.last_failure > 0.0


async def test_a_permanent_error_is_raised_at_once():
    run = RunUntilStored(inline, Path("state.db"), retry_s=0.0)

    def work():
        raise sqlite_error(no_column)

    with pytest.raises(StorageUnavailableError, match=r"state\.db: no such column: b"):
        await run("counts", work)
    assert run.failing == {}
