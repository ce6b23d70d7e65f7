CREATE TABLE legal_hold (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL,
    start REAL NOT NULL,
    "end" REAL NOT NULL CHECK ("end" > start),
    reason TEXT NOT NULL CHECK (reason <> ''),
    placed_by TEXT NOT NULL,
    placed_at REAL NOT NULL,
    released_by TEXT NOT NULL DEFAULT '',
    released_at REAL
) STRICT;
CREATE TRIGGER legal_hold_no_delete BEFORE DELETE ON legal_hold
BEGIN SELECT RAISE(ABORT, 'holds stay on record'); END;
