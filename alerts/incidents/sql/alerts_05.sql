CREATE TRIGGER incident_feedback_no_update BEFORE UPDATE ON incident_feedback
BEGIN SELECT RAISE(ABORT, 'feedback is append-only'); END;
CREATE TRIGGER incident_feedback_no_delete BEFORE DELETE ON incident_feedback
BEGIN SELECT RAISE(ABORT, 'feedback is append-only'); END;
