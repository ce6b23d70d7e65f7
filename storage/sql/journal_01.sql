CREATE TABLE journal (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    received REAL NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL,
    time_key INTEGER NOT NULL,
    stamp_key INTEGER
);
CREATE INDEX journal_time ON journal (time_key);
CREATE INDEX journal_stamp ON journal (stamp_key) WHERE stamp_key IS NOT NULL;
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received REAL NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    decoder TEXT NOT NULL,
    size INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX dead_letter_reason ON dead_letter (reason, received);
CREATE TABLE gap (
    why TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (why, first)
);
