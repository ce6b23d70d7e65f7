"""Test that work on a database is retried only while the disk fails."""

import sqlite3
from contextlib import closing

import pytest

from storage.errors import (
    SchemaTooNewError,
    StorageCorruptError,
    StorageUnavailableError,
    is_transient,
    translate,
)


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
