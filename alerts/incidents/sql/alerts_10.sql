ALTER TABLE incident ADD COLUMN answered_at REAL;
ALTER TABLE incident ADD COLUMN again_of TEXT NOT NULL DEFAULT '';
UPDATE incident SET answered_at = (SELECT min(at) FROM incident_feedback f WHERE f.incident = id)
WHERE status <> 'resolved' AND verdict IS NOT NULL;
