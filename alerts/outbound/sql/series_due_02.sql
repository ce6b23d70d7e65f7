DROP TRIGGER series_due_new_incident;
DROP TRIGGER series_due_incident;
DROP TRIGGER series_due_new_event;
DROP TRIGGER series_due_event;
DROP TRIGGER series_due_feedback;
DROP TRIGGER series_due_notice;
INSERT INTO change_cursor SELECT 'series records', coalesce(max(seq), 0) FROM change_feed;
