ALTER TABLE incident ADD COLUMN severity TEXT NOT NULL DEFAULT 'warning'
    CHECK (severity IN ('info', 'warning', 'critical'));
ALTER TABLE incident ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cooldown ADD COLUMN severity TEXT NOT NULL DEFAULT 'warning';
CREATE INDEX incident_unanswered ON incident (status) WHERE status IN ('open', 'notified');
CREATE INDEX incident_held ON incident (held_until) WHERE held_until IS NOT NULL;

CREATE TABLE escalation_step (
    incident TEXT NOT NULL REFERENCES incident (id),
    seq INTEGER NOT NULL,
    round INTEGER NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('tell', 'end', 'remind', 'reopen')),
    due_at REAL NOT NULL,
    ring TEXT NOT NULL,
    done_at REAL,
    outcome TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (incident, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX escalation_step_due ON escalation_step (due_at) WHERE done_at IS NULL;

CREATE TABLE silence (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    matchers TEXT NOT NULL,
    owner TEXT NOT NULL CHECK (owner <> ''),
    reason TEXT NOT NULL CHECK (reason <> ''),
    created_at REAL NOT NULL,
    starts_at REAL NOT NULL,
    ends_at REAL NOT NULL CHECK (ends_at >= starts_at),
    ended_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX silence_end ON silence (ends_at);
