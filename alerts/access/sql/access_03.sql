-- Screens that show the wall view without a sign-in: the hash of their token, and who made it.
CREATE TABLE kiosk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at REAL NOT NULL
) STRICT;
