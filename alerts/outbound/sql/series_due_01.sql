CREATE TABLE series_due (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    measurement TEXT NOT NULL,
    key TEXT,
    body BLOB
) STRICT;
CREATE UNIQUE INDEX series_due_key ON series_due (measurement, key) WHERE key IS NOT NULL;
-- Each incident or event is in the queue at most once. A change moves it to the end. The rows are deleted
-- first, because the outer statement's conflict clause overrides one in a trigger.
CREATE TRIGGER series_due_new_incident AFTER INSERT ON incident BEGIN
    DELETE FROM series_due WHERE measurement = 'incident' AND key = new.id;
    INSERT INTO series_due (measurement, key) VALUES ('incident', new.id); END;
CREATE TRIGGER series_due_incident AFTER UPDATE ON incident BEGIN
    DELETE FROM series_due WHERE measurement = 'incident' AND key = new.id;
    INSERT INTO series_due (measurement, key) VALUES ('incident', new.id); END;
CREATE TRIGGER series_due_new_event AFTER INSERT ON alert_event BEGIN
    DELETE FROM series_due WHERE measurement = 'event' AND key = new.id;
    INSERT INTO series_due (measurement, key) VALUES ('event', new.id); END;
CREATE TRIGGER series_due_event AFTER UPDATE ON alert_event BEGIN
    DELETE FROM series_due WHERE measurement = 'event' AND key = new.id;
    INSERT INTO series_due (measurement, key) VALUES ('event', new.id); END;
CREATE TRIGGER series_due_feedback AFTER INSERT ON incident_feedback BEGIN
    DELETE FROM series_due WHERE measurement = 'incident' AND key = new.incident;
    INSERT INTO series_due (measurement, key) VALUES ('incident', new.incident); END;
CREATE TRIGGER series_due_notice AFTER UPDATE OF status ON outbox BEGIN
    DELETE FROM series_due WHERE measurement = 'incident' AND key = new.incident;
    INSERT INTO series_due (measurement, key) VALUES ('incident', new.incident); END;
