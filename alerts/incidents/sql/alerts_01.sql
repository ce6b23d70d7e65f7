CREATE TABLE incident (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    room TEXT NOT NULL,
    sensor TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'notified', 'acknowledged', 'resolved')),
    onset REAL NOT NULL,
    opened_at REAL NOT NULL,
    confidence REAL NOT NULL,
    paged INTEGER NOT NULL,
    held_until REAL,
    suppressed_by TEXT NOT NULL,
    notified_at REAL,
    acknowledged_at REAL,
    acknowledged_by TEXT NOT NULL,
    resolved_at REAL,
    withdrawn_at REAL,
    verdict TEXT,
    resolve_due REAL NOT NULL,
    next_deadline REAL
) STRICT;
CREATE UNIQUE INDEX incident_never_two_open ON incident (kind, room) WHERE status <> 'resolved';
CREATE INDEX incident_deadline ON incident (next_deadline) WHERE next_deadline IS NOT NULL;
CREATE INDEX incident_recent ON incident (opened_at);
CREATE INDEX incident_room ON incident (room, opened_at);

CREATE TABLE alert_event (
    id TEXT PRIMARY KEY,
    sensor TEXT NOT NULL,
    room TEXT,
    incident TEXT REFERENCES incident (id),
    kind TEXT NOT NULL,
    phase TEXT NOT NULL,
    onset REAL NOT NULL,
    alerted REAL NOT NULL,
    peak_time REAL NOT NULL,
    "end" REAL,
    confidence REAL NOT NULL,
    probabilities TEXT NOT NULL,
    evidence TEXT NOT NULL,
    sentence TEXT NOT NULL,
    model_version TEXT NOT NULL,
    masked INTEGER NOT NULL,
    thc_likely INTEGER NOT NULL,
    detail TEXT NOT NULL,
    late INTEGER NOT NULL,
    first_heard REAL NOT NULL,
    last_heard REAL NOT NULL
) STRICT;
CREATE INDEX alert_event_room ON alert_event (room, onset);
CREATE INDEX alert_event_sensor ON alert_event (sensor, onset);
CREATE INDEX alert_event_incident ON alert_event (incident) WHERE incident IS NOT NULL;

CREATE TABLE incident_history (
    incident TEXT NOT NULL REFERENCES incident (id),
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (incident, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER incident_history_no_update BEFORE UPDATE ON incident_history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER incident_history_no_delete BEFORE DELETE ON incident_history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

CREATE TABLE incident_feedback (
    incident TEXT NOT NULL REFERENCES incident (id),
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    verdict TEXT NOT NULL,
    cause TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (incident, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE cooldown (
    kind TEXT NOT NULL,
    room TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (kind, room)
) STRICT, WITHOUT ROWID;

CREATE TABLE incident_number (
    day TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    incident TEXT NOT NULL REFERENCES incident (id),
    person TEXT NOT NULL,
    target TEXT NOT NULL,
    channel TEXT NOT NULL,
    reason TEXT NOT NULL,
    priority TEXT NOT NULL,
    notice TEXT NOT NULL,
    created_at REAL NOT NULL,
    due_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('due', 'leased', 'sent', 'failed', 'cancelled')),
    lease_owner TEXT NOT NULL DEFAULT '',
    lease_until REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    finished_at REAL,
    UNIQUE (incident, person, target, reason)
) STRICT;
CREATE INDEX outbox_pending ON outbox (status, due_at) WHERE status IN ('due', 'leased');

CREATE TABLE outbox_attempt (
    outbox INTEGER NOT NULL REFERENCES outbox (id),
    attempt INTEGER NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL,
    outcome TEXT NOT NULL CHECK (outcome IN ('started', 'sent', 'retry', 'failed', 'lost')),
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    retry_after_s REAL,
    PRIMARY KEY (outbox, attempt)
) STRICT, WITHOUT ROWID;
