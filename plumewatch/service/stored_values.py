"""Find damaged values in the state database, and set them aside.

SQLite's integrity check doesn't notice a flipped bit inside a value. Every value is therefore
checked at startup: JSON by its type, words against a list, numbers by their range, and text for
valid UTF-8. The audit log is left alone, because it has its own hashes, and so are the tables of
`storage.journal`, which checks its values when it reads them.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from contextlib import closing
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from alerts.access.api_tokens import Scope
from alerts.duty.roster import Ring
from alerts.incidents.history import Happened
from alerts.incidents.incident import CAUSE_WORDS, Verdict
from alerts.incidents.silences import Purpose
from alerts.notify.notice import Notice, NoticeReason
from alerts.policy import Severity
from detection.commissioning import STEPS
from detection.events import EventKind, EventPhase, join_details
from language.messages import Fact, parse_facts, parse_params
from language.plain_text import escape
from storage.errors import translate_errors
from storage.journal import Snapshot, save_snapshot
from storage.sqlite import connect, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from enum import StrEnum
    from pathlib import Path

log = logging.getLogger(__name__)

_LARGEST: Final = 6e10
"""Numbers up to this size, positive or negative, are valid times in every time zone."""
_LIMITS: Final = {"incident.resolve_due": float("inf")}
_LARGEST_COUNT: Final = 2**53
"""Largest count; the sum of many such counts is still an integer in SQLite."""
_NAMED: Final = 5
_APART: Final = ("audit", "sqlite_sequence")


class _Detected(msgspec.Struct):
    kind: str
    late_s: float
    confidence: float


class _TestResult(msgspec.Struct):
    interval_s: float | None
    has_particles: bool
    level_moved: Any
    sees_puff: bool | None = None
    said: dict[str, list[_Detected]] = {}

    def __post_init__(self) -> None:
        puffs = {step.name for step in STEPS if step.is_vaping}
        if self.interval_s is not None and (self.sees_puff is None or puffs - self.said.keys()):
            raise ValueError("incomplete")


def _read_as(kind: Any) -> Callable[[str], object]:
    return msgspec.json.Decoder(kind).decode


def _read_numbers(kind: Any) -> Callable[[str], object]:
    """Return a parser that also accepts NaN."""
    return lambda text: msgspec.convert(json.loads(text), kind)


_Labels = Annotated[dict[str, str], msgspec.Meta(min_length=1)]
_PROBABILITIES: Final = (_read_numbers(dict[str, float]), "'{}'")
_EVIDENCE: Final = (_read_numbers(dict[str, tuple[float, float, float, float | None]]), "'{}'")
_DETAILS: Final = (lambda text: join_details(parse_facts(text)), "'[]'")
_NOTICE: Final = (
    "(SELECT json_object('incident', id,"
    " 'reason', substr(reason, 1, instr(reason || ':', ':') - 1),"
    " 'kind', kind, 'room', room, 'floor', '', 'building', '', 'since', onset, 'priority', 'high')"
    " FROM incident WHERE id = incident)"
)
_PARSED: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "alert_event.probabilities": _PROBABILITIES,
    "alert_event.evidence": _EVIDENCE,
    "alert_event.details": _DETAILS,
    "alert_event.decided_probabilities": _PROBABILITIES,
    "alert_event.decided_evidence": _EVIDENCE,
    "alert_event.decided_details": _DETAILS,
    "api_token.scopes": (lambda text: [Scope(scope) for scope in text.split()], "''"),
    "api_token.sites": (_read_as(list[str]), "'[]'"),
    "directory_person.provider_groups": (_read_as(list[str]), "'[]'"),
    "escalation_step.ring": (_read_as(Ring), """'{"name":"nobody","people":[]}'"""),
    "incident.suppression": (_read_as(Fact), "NULL"),
    "incident_history.detail": (parse_params, "'{}'"),
    "outbox.notice": (_read_as(Notice), _NOTICE),
    "outbox.reason": (
        lambda text: NoticeReason(text.partition(":")[0]),
        "json_extract(notice, '$.reason')",
    ),
    "provider_account.provider_groups": (_read_as(list[str]), "'[]'"),
    "sensor_test.result": (_read_as(_TestResult), ""),
    "silence.labels": (_read_as(_Labels), ""),
    "silence.purpose": (lambda text: not text or Purpose(text), ""),
    "staff_session.provider_groups": (_read_as(list[str]), ""),
}
"""Parser of each column that has one, and what replaces a damaged value (SQL)."""
_WORDS: Final[Mapping[str, type[StrEnum] | tuple[str, ...]]] = {
    "alert_event.kind": EventKind,
    "alert_event.phase": EventPhase,
    "cooldown.kind": EventKind,
    "cooldown.severity": Severity,
    "incident.kind": EventKind,
    "incident.verdict": Verdict,
    "incident_feedback.verdict": Verdict,
    "incident_history.what": Happened,
    "threshold_adjustment.reason": ("", *CAUSE_WORDS),
    "threshold_adjustment.verdict": Verdict,
}
"""Columns with words of a fixed list. The most similar word replaces a damaged one."""
_REMOVED: Final = frozenset(
    ("action_token", "cooldown", "invite", "sensor_test", "silence", "staff_session")
)
"""Tables whose rows are removed if a value is damaged; people or the service recreate them."""
_NUMBERS: Final = {
    **dict.fromkeys(("confidence", "decided_confidence"), "0.0"),
    "before": "after",
    "after": "before",
}
"""What replaces a damaged number that isn't a time (SQL)."""


class Damage(NamedTuple):
    """A damaged value; `key` finds its row."""

    table: str
    column: str
    key: Mapping[str, Any]
    value: Any
    instead: tuple[tuple[str, str], ...]
    """Replacements, best first: SQL and its parameter ``:new``."""

    def __str__(self) -> str:
        row = ", ".join(
            f"{name} {value.hex()[:8] if isinstance(value, bytes) else escape(str(value))[:80]}"
            for name, value in self.key.items()
        )
        return f"{self.table}.{self.column} of {row}"


def describe_damage(path: Path) -> str:
    """Name the damaged values of a state database; empty if there are none or no file."""
    if not path.exists():
        return ""
    with closing(connect(path, read_only=True)) as db, translate_errors(path):
        found = [str(one) for one in find_damage(db)]
    more = f"; {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(found[:_NAMED]) + more


def find_damage(db: sqlite3.Connection) -> Iterator[Damage]:
    """Yield the damaged values of the state database."""
    db.text_factory, before = _decode, db.text_factory
    try:
        for (table,) in db.execute("SELECT name FROM pragma_table_list WHERE strict").fetchall():
            if table not in _APART:
                yield from _find_in(db, table)
    finally:
        db.text_factory = before


def _decode(text: bytes) -> str | bytes:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _find_in(db: sqlite3.Connection, table: str) -> Iterator[Damage]:
    columns = db.execute("SELECT * FROM pragma_table_info(?)", (table,)).fetchall()
    keys = [column["name"] for column in columns if column["pk"]]
    checks = [
        (at, _build_check(f"{table}.{column['name']}", column["type"]))
        for at, column in enumerate(columns)
        if column["type"] in ("INTEGER", "REAL", "TEXT")
    ]
    for row in db.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a name of our schema
        for at, is_sound in checks:
            value = row[at]
            if value is not None and not is_sound(value):
                instead = () if table in _REMOVED else tuple(_replace(table, columns[at], value))
                key = {name: row[name] for name in keys}
                yield Damage(table, columns[at]["name"], key, value, instead)


def _build_check(name: str, kind: str) -> Callable[[Any], bool]:
    if kind == "INTEGER":
        return lambda value: 0 <= value <= _LARGEST_COUNT
    if kind == "REAL":
        largest = _LIMITS.get(name, _LARGEST)
        return lambda value: abs(value) <= largest
    if name in _WORDS:
        return frozenset(_WORDS[name]).__contains__
    if name not in _PARSED:
        return lambda value: type(value) is str
    parse, _ = _PARSED[name]

    def is_sound(value: Any) -> bool:
        try:
            return type(value) is str and parse(value) is not None
        except Exception:  # noqa: BLE001 - damaged text can raise anything
            return False

    return is_sound


def _replace(table: str, column: sqlite3.Row, value: Any) -> Iterator[tuple[str, str]]:
    name = f"{table}.{column['name']}"
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if name in _WORDS:
        words = [str(word) for word in _WORDS[name]]
        yield from ((":new", word) for word in get_close_matches(text, words, len(words), 0.0))
    elif name in _PARSED:
        yield _PARSED[name][1], ""
    elif column["type"] == "TEXT":
        yield ":new", text
    elif column["type"] == "INTEGER" and column["notnull"] and not column["pk"]:
        yield "0", ""
    elif column["type"] == "REAL" and column["notnull"]:
        yield _NUMBERS.get(column["name"], "CAST(unixepoch() AS REAL)"), ""
    if not column["notnull"]:
        yield "NULL", ""


def set_damage_aside(db: sqlite3.Connection) -> set[str]:
    """Replace damaged values, or remove their rows, and keep the values; return their columns."""
    found = list(find_damage(db))
    if not found:
        return set()
    with transaction(db) as tx:
        triggers = tx.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:  # some tables are append-only
            tx.execute(f'DROP TRIGGER "{name}"')
        for one in found:
            _set_aside(tx, one)
        for _, statement in triggers:
            tx.execute(statement)
    counts = Counter(f"{one.table}.{one.column}" for one in found)
    for one in reversed(found):
        if n := counts.get(f"{one.table}.{one.column}"):
            del counts[f"{one.table}.{one.column}"]
            log.error("%d damaged values are set aside, such as %s", n, one)
    return {f"{one.table}.{one.column}" for one in found}


def _set_aside(tx: sqlite3.Connection, one: Damage) -> None:
    body = one.value if isinstance(one.value, bytes) else str(one.value).encode()
    save_snapshot(tx, f"{one} damaged", Snapshot(0, "", body))
    where = " AND ".join(f'CAST("{name}" AS BLOB) = CAST(:{name} AS BLOB)' for name in one.key)
    for expression, new in one.instead:
        statement = f'UPDATE "{one.table}" SET "{one.column}" = {expression} WHERE {where}'  # noqa: S608 - names of our schema
        try:
            tx.execute(statement, {**one.key, "new": new})
        except sqlite3.IntegrityError:
            continue
        return
    tx.execute(f'DELETE FROM "{one.table}" WHERE {where}', one.key)  # noqa: S608 - as above
