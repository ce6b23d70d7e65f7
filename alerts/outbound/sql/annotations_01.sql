CREATE TABLE annotation (
    incident TEXT PRIMARY KEY,
    opened_at REAL NOT NULL,
    body TEXT NOT NULL,
    refused TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
