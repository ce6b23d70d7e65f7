ALTER TABLE alert_event ADD COLUMN decided_confidence REAL;
ALTER TABLE alert_event ADD COLUMN decided_probabilities TEXT;
ALTER TABLE alert_event ADD COLUMN decided_evidence TEXT;
ALTER TABLE alert_event ADD COLUMN decided_sentence TEXT;
