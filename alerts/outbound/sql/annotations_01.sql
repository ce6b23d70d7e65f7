CREATE TABLE annotation (
    incident TEXT PRIMARY KEY,
    opened_at REAL NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
