"""Tables of access; for `storage.sqlite.migrate` as component ``"access"``."""

from __future__ import annotations

from typing import Final

COMPONENT: Final = "access"

_V1: Final = """
CREATE TABLE staff_password (
    person TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    set_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE staff_session (
    hash BLOB PRIMARY KEY,
    person TEXT NOT NULL,
    started_at REAL NOT NULL,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX staff_session_person ON staff_session (person, started_at);
CREATE INDEX staff_session_expires ON staff_session (expires_at);
"""

_V2: Final = """
CREATE TABLE action_token (
    hash BLOB PRIMARY KEY,
    incident TEXT NOT NULL,
    person TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('acknowledge', 'feedback')),
    issued_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    used_at REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX action_token_expires ON action_token (expires_at);
"""

SCRIPTS: Final[tuple[str, ...]] = (_V1, _V2)
"""Script k leads from schema k to k + 1. Published scripts never change."""
