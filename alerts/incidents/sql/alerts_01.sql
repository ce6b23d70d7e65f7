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
    suppressed_by TEXT NOT NULL,  -- code of the reason why it is muted, or empty
    suppression TEXT,  -- that code with its parameters (JSON)
    notified_at REAL,
    acknowledged_at REAL,
    acknowledged_by TEXT NOT NULL,
    resolved_at REAL,
    verdict TEXT,
    resolve_due REAL NOT NULL,
    next_deadline REAL,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    repeats INTEGER NOT NULL DEFAULT 0,
    arrived_at REAL,
    resolved_by TEXT NOT NULL DEFAULT '',
    action TEXT NOT NULL DEFAULT '' CHECK (action IN ('', 'none', 'referral', 'nurse', 'facilities')),
    case_number TEXT NOT NULL DEFAULT ''
        CHECK (length(case_number) <= 32 AND case_number NOT GLOB '*[^A-Za-z0-9./_-]*'),
    answered_at REAL,
    again_of TEXT NOT NULL DEFAULT '',
    cleared_at REAL,
    missed_at REAL
) STRICT;
CREATE UNIQUE INDEX incident_never_two_open ON incident (kind, room) WHERE status <> 'resolved';
CREATE INDEX incident_deadline ON incident (next_deadline) WHERE next_deadline IS NOT NULL;
CREATE INDEX incident_recent ON incident (opened_at);
CREATE INDEX incident_room ON incident (room, opened_at);
CREATE INDEX incident_missed ON incident (opened_at) WHERE missed_at IS NOT NULL AND verdict IS NULL;
CREATE INDEX incident_held ON incident (held_until) WHERE held_until IS NOT NULL;

CREATE TABLE alert_event (
    id TEXT PRIMARY KEY,
    sensor TEXT NOT NULL,
    room TEXT,
    incident TEXT REFERENCES incident (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    phase TEXT NOT NULL,
    onset REAL NOT NULL,
    alerted REAL NOT NULL,
    peak_time REAL NOT NULL,
    "end" REAL,
    confidence REAL NOT NULL,
    probabilities TEXT NOT NULL,
    evidence TEXT NOT NULL,
    details TEXT NOT NULL,  -- list of facts (JSON)
    model_version TEXT NOT NULL,
    masked INTEGER NOT NULL,
    thc_likely INTEGER NOT NULL,
    first_heard REAL NOT NULL,
    last_heard REAL NOT NULL,
    decided_confidence REAL NOT NULL,
    decided_probabilities TEXT NOT NULL,
    decided_evidence TEXT NOT NULL,
    decided_details TEXT NOT NULL
) STRICT;
CREATE INDEX alert_event_room ON alert_event (room, onset);
CREATE INDEX alert_event_sensor ON alert_event (sensor, onset);
CREATE INDEX alert_event_incident ON alert_event (incident) WHERE incident IS NOT NULL;
CREATE INDEX alert_event_running ON alert_event (kind) WHERE phase IN ('alerted', 'updated');

CREATE TABLE incident_history (
    incident TEXT NOT NULL REFERENCES incident (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (incident, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_history_at ON incident_history (at);
CREATE TRIGGER incident_history_no_update BEFORE UPDATE ON incident_history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER incident_history_no_delete BEFORE DELETE ON incident_history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

CREATE TABLE incident_feedback (
    incident TEXT NOT NULL REFERENCES incident (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    verdict TEXT NOT NULL,
    cause TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (incident, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER incident_feedback_no_update BEFORE UPDATE ON incident_feedback
BEGIN SELECT RAISE(ABORT, 'feedback is append-only'); END;
CREATE TRIGGER incident_feedback_no_delete BEFORE DELETE ON incident_feedback
BEGIN SELECT RAISE(ABORT, 'feedback is append-only'); END;

CREATE TABLE cooldown (
    kind TEXT NOT NULL,
    room TEXT NOT NULL,
    until REAL NOT NULL,
    severity TEXT NOT NULL,
    PRIMARY KEY (kind, room)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    incident TEXT NOT NULL REFERENCES incident (id) ON DELETE CASCADE,
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
    last_detail TEXT NOT NULL DEFAULT '',
    finished_at REAL,
    fallback_at REAL,
    UNIQUE (incident, person, target, reason)
) STRICT;
CREATE INDEX outbox_pending ON outbox (status, due_at) WHERE status IN ('due', 'leased');
CREATE INDEX outbox_fallback ON outbox (fallback_at) WHERE fallback_at IS NOT NULL;
CREATE INDEX outbox_person ON outbox (person, created_at);

CREATE TABLE held_notice (
    person TEXT NOT NULL,
    incident TEXT NOT NULL REFERENCES incident (id) ON DELETE CASCADE,
    round INTEGER NOT NULL,
    cause TEXT NOT NULL CHECK (cause IN ('quiet', 'budget', 'storm')),
    held_at REAL NOT NULL,
    due_at REAL NOT NULL,
    done_at REAL,
    sent_with TEXT NOT NULL DEFAULT '',
    sent_as TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (person, incident, round)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_notice_due ON held_notice (due_at) WHERE done_at IS NULL;
CREATE INDEX held_notice_incident ON held_notice (incident);

CREATE TABLE escalation_step (
    incident TEXT NOT NULL REFERENCES incident (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    round INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('tell', 'end', 'remind', 'reopen')),
    due_at REAL NOT NULL,
    ring TEXT NOT NULL,
    done_at REAL,
    PRIMARY KEY (incident, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX escalation_step_due ON escalation_step (due_at) WHERE done_at IS NULL;

CREATE TABLE silence (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    labels TEXT NOT NULL,
    owner TEXT NOT NULL CHECK (owner <> ''),
    reason TEXT NOT NULL,
    created_at REAL NOT NULL,
    starts_at REAL NOT NULL,
    ends_at REAL NOT NULL CHECK (ends_at >= starts_at),
    ended_by TEXT NOT NULL DEFAULT '',
    purpose TEXT NOT NULL DEFAULT '' CHECK (purpose <> '' OR reason <> '')
) STRICT;
CREATE INDEX silence_end ON silence (ends_at);

CREATE TABLE threshold_adjustment (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    sensor TEXT NOT NULL,
    incident TEXT NOT NULL,  -- may have been deleted since; empty after a room test without detections
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    before REAL NOT NULL,
    after REAL NOT NULL,
    undoes INTEGER UNIQUE REFERENCES threshold_adjustment (seq),
    position INTEGER
) STRICT;
CREATE INDEX threshold_adjustment_sensor ON threshold_adjustment (sensor, seq);
CREATE INDEX threshold_adjustment_incident ON threshold_adjustment (incident, seq);
CREATE INDEX threshold_adjustment_pending ON threshold_adjustment (seq) WHERE position IS NULL;
CREATE TRIGGER threshold_adjustment_no_update BEFORE UPDATE ON threshold_adjustment
WHEN old.position IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'adjustments are append-only'); END;
CREATE TRIGGER threshold_adjustment_no_change BEFORE UPDATE
OF seq, at, who, sensor, incident, verdict, reason, before, after, undoes ON threshold_adjustment
BEGIN SELECT RAISE(ABORT, 'adjustments are append-only'); END;
CREATE TRIGGER threshold_adjustment_no_delete BEFORE DELETE ON threshold_adjustment
BEGIN SELECT RAISE(ABORT, 'adjustments are append-only'); END;

CREATE TABLE staff_language (
    person TEXT PRIMARY KEY,
    language TEXT NOT NULL
) STRICT, WITHOUT ROWID;
