CREATE TABLE change_feed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    incident TEXT,
    event TEXT,
    what TEXT NOT NULL,
    at REAL
) STRICT;
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'change_feed', seq FROM sqlite_sequence WHERE name = 'incident_change';
CREATE TABLE change_cursor (
    reader TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER change_feed_new_incident AFTER INSERT ON incident
BEGIN INSERT INTO change_feed (incident, what, at)
    VALUES (new.id, iif(new.paged = 1, 'opened', 'changed'), new.opened_at); END;
CREATE TRIGGER change_feed_released AFTER UPDATE ON incident
WHEN new.paged = 1 AND old.paged = 0 AND new.status <> 'resolved'
BEGIN INSERT INTO change_feed (incident, what, at)
    VALUES (new.id, 'opened', coalesce(old.held_until, new.opened_at)); END;
CREATE TRIGGER change_feed_acknowledged AFTER UPDATE ON incident
WHEN new.paged = 1 AND new.status = 'acknowledged' AND old.status <> 'acknowledged'
BEGIN INSERT INTO change_feed (incident, what, at)
    VALUES (new.id, 'acknowledged', new.acknowledged_at); END;
CREATE TRIGGER change_feed_resolved AFTER UPDATE ON incident
WHEN new.paged = 1 AND new.status = 'resolved' AND old.status <> 'resolved'
BEGIN INSERT INTO change_feed (incident, what, at)
    VALUES (new.id, iif(new.withdrawn_at IS NULL, 'resolved', 'withdrawn'), new.resolved_at); END;
CREATE TRIGGER change_feed_incident AFTER UPDATE ON incident
BEGIN INSERT INTO change_feed (incident, what) VALUES (new.id, 'changed'); END;
CREATE TRIGGER change_feed_new_event AFTER INSERT ON alert_event
BEGIN INSERT INTO change_feed (incident, event, what)
    VALUES (new.incident, new.id, 'changed'); END;
CREATE TRIGGER change_feed_event AFTER UPDATE ON alert_event
BEGIN INSERT INTO change_feed (incident, event, what)
    VALUES (new.incident, new.id, 'changed'); END;
CREATE TRIGGER change_feed_feedback AFTER INSERT ON incident_feedback
BEGIN INSERT INTO change_feed (incident, what) VALUES (new.incident, 'changed'); END;
CREATE TRIGGER change_feed_notice AFTER UPDATE OF status ON outbox
BEGIN INSERT INTO change_feed (incident, what) VALUES (new.incident, 'changed'); END;
