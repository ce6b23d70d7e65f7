-- Names of the sites that a token or a screen is limited to, as JSON: those that its person had when
-- it was made; NULL for all.
ALTER TABLE api_token ADD COLUMN sites TEXT;
ALTER TABLE kiosk ADD COLUMN sites TEXT;
