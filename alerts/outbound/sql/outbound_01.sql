CREATE TABLE incident_change (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    incident TEXT NOT NULL,
    what TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;
CREATE TRIGGER incident_change_told AFTER INSERT ON incident WHEN new.paged = 1
BEGIN INSERT INTO incident_change (incident, what, at)
    VALUES (new.id, 'opened', new.opened_at); END;
CREATE TRIGGER incident_change_released AFTER UPDATE ON incident
WHEN new.paged = 1 AND old.paged = 0 AND new.status <> 'resolved'
BEGIN INSERT INTO incident_change (incident, what, at)
    VALUES (new.id, 'opened', coalesce(old.held_until, new.opened_at)); END;
CREATE TRIGGER incident_change_taken AFTER UPDATE ON incident
WHEN new.paged = 1 AND new.status = 'acknowledged' AND old.status <> 'acknowledged'
BEGIN INSERT INTO incident_change (incident, what, at)
    VALUES (new.id, 'acknowledged', new.acknowledged_at); END;
CREATE TRIGGER incident_change_over AFTER UPDATE ON incident
WHEN new.paged = 1 AND new.status = 'resolved' AND old.status <> 'resolved'
BEGIN INSERT INTO incident_change (incident, what, at)
    SELECT new.id, iif(new.withdrawn_at IS NULL, 'resolved', 'withdrawn'), new.resolved_at; END;
