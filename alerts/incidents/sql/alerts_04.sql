ALTER TABLE outbox ADD COLUMN fallback_at REAL;
CREATE INDEX outbox_fallback ON outbox (fallback_at) WHERE fallback_at IS NOT NULL;
DROP INDEX incident_unanswered;
CREATE INDEX outbox_person ON outbox (person, created_at);

CREATE TABLE held_notice (
    person TEXT NOT NULL,
    incident TEXT NOT NULL REFERENCES incident (id),
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
