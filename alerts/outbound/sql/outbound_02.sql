DROP TRIGGER incident_change_told;
DROP TRIGGER incident_change_released;
DROP TRIGGER incident_change_taken;
DROP TRIGGER incident_change_over;
INSERT INTO change_cursor SELECT 'webhooks', coalesce(max(seq), 0) FROM change_feed;
INSERT INTO change_feed (incident, what, at)
    SELECT incident, what, at FROM incident_change ORDER BY seq;
DROP TABLE incident_change;
