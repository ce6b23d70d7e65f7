-- Which occurrence of a recurring silence this is; empty for silences that people added.
ALTER TABLE silence ADD COLUMN occurrence TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX silence_occurrence ON silence (occurrence) WHERE occurrence <> '';
