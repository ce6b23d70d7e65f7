CREATE TABLE series_due (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    measurement TEXT NOT NULL,
    key TEXT,
    body BLOB
) STRICT;
CREATE UNIQUE INDEX series_due_key ON series_due (measurement, key) WHERE key IS NOT NULL;
