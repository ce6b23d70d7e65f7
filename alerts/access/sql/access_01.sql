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
