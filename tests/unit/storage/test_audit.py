"""Test that the audit log can be extended and verified, but not changed."""

import hashlib
import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import audit
from storage.audit import AuditKind, append, read_entries, verify
from storage.sqlite import connect, migrate, transaction

NOW = 1_788_789_900.25


@pytest.fixture
def db():
    opened = connect(":memory:")
    migrate(opened, audit.COMPONENT, audit.SCRIPTS)
    yield opened
    opened.close()


def fill(db, n=5):
    with transaction(db) as tx:
        for k in range(n):
            append(tx, AuditKind.EXPORT, f"an{k}", {"file": f"report-{k}.pdf", "rows": k}, NOW + k)


def unlocked(db, statement, *arguments):
    """Change the file with its triggers removed."""
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    db.execute(statement, arguments)
    for _, sql in triggers:
        db.execute(sql)


def test_the_hash_is_the_documented_one(db):
    fill(db, 1)
    (entry,) = read_entries(db)
    text = f'["",1,{NOW},"export","an0",' + json.dumps(entry.detail) + "]"
    assert entry.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"])
def test_the_database_refuses_changes(db, statement):
    fill(db)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)


@pytest.mark.parametrize(
    ("column", "value"),
    [("at", 1.0), ("kind", "sign_in"), ("actor", "me"), ("detail", "{}"), ("hash", "0" * 64)],
)
def test_a_changed_entry_is_found(db, column, value):
    fill(db)
    unlocked(db, f"UPDATE audit SET {column} = ? WHERE seq = 3", value)  # noqa: S608 - ours
    assert "entry 3" in verify(db).fault


@pytest.mark.parametrize("seq", [1, 3])
def test_a_removed_entry_is_found(db, seq):
    fill(db)
    unlocked(db, "DELETE FROM audit WHERE seq = ?", seq)
    assert verify(db).fault == f"entry {seq} is missing"


def test_truncated_entries_are_found_by_a_hash_stored_outside(db):
    fill(db)
    head = verify(db).head
    assert verify(db, known=head).fault == ""
    unlocked(db, "DELETE FROM audit WHERE seq = 5")
    assert verify(db).fault == ""
    assert "no longer in the log" in verify(db, known=head).fault


def test_a_log_that_can_be_changed_is_found(db):
    fill(db)
    db.execute("DROP TRIGGER audit_no_delete")
    assert "triggers" in verify(db).fault


def test_a_detail_too_long_or_no_number_is_refused(db):
    with transaction(db) as tx:
        with pytest.raises(ValueError, match="4000 allowed"):
            append(tx, AuditKind.EXPORT, "an", {"x": "y" * 5000}, NOW)
        with pytest.raises(ValueError, match="not JSON compliant"):
            append(tx, AuditKind.EXPORT, "an", {"x": float("nan")}, NOW)
    assert verify(db).entries == 0


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.text(), st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=3)
        ),
        max_size=5,
    )
)
def test_any_text_keeps_the_chain(found):
    with connect(":memory:") as db:
        migrate(db, audit.COMPONENT, audit.SCRIPTS)
        with transaction(db) as tx:
            for actor, detail in found:
                entry = append(tx, AuditKind.SIGN_IN, actor, detail, NOW)
                assert json.loads(entry.detail) == detail
                assert entry.actor.isprintable()
        assert verify(db)[::2] == (len(found), "")
    db.close()
