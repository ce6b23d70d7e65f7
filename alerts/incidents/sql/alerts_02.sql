CREATE TABLE level_move (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    sensor TEXT NOT NULL,
    incident TEXT NOT NULL REFERENCES incident (id),
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    event_time REAL NOT NULL,
    settled INTEGER,
    "from" REAL NOT NULL,
    "to" REAL NOT NULL,
    undoes INTEGER UNIQUE REFERENCES level_move (seq)
) STRICT;
CREATE INDEX level_move_sensor ON level_move (sensor, seq);
CREATE INDEX level_move_incident ON level_move (incident, seq);
CREATE TRIGGER level_move_no_update BEFORE UPDATE ON level_move
BEGIN SELECT RAISE(ABORT, 'moves are append-only'); END;
CREATE TRIGGER level_move_no_delete BEFORE DELETE ON level_move
BEGIN SELECT RAISE(ABORT, 'moves are append-only'); END;

CREATE TABLE level_move_place (
    seq INTEGER PRIMARY KEY REFERENCES level_move (seq),
    position INTEGER NOT NULL
) STRICT;
CREATE TRIGGER level_move_place_no_update BEFORE UPDATE ON level_move_place
BEGIN SELECT RAISE(ABORT, 'moves are append-only'); END;
CREATE TRIGGER level_move_place_no_delete BEFORE DELETE ON level_move_place
BEGIN SELECT RAISE(ABORT, 'moves are append-only'); END;

CREATE VIEW level_moves AS
SELECT m.seq, m.at, m.who, m.sensor, m.incident, m.verdict, m.reason, m.event_time, m.settled,
    m."from" AS before, m."to" AS after, m.undoes, p.position,
    EXISTS (SELECT 1 FROM level_move u WHERE u.undoes = m.seq) AS undone
FROM level_move m LEFT JOIN level_move_place p ON p.seq = m.seq;

CREATE TABLE sensor_level (
    sensor TEXT PRIMARY KEY,
    level REAL NOT NULL,
    model_level REAL NOT NULL,
    budget REAL NOT NULL,
    expected REAL,
    lost REAL,
    lost_lowest REAL,
    feedback REAL NOT NULL,
    weeks REAL NOT NULL,
    clusters REAL NOT NULL
) STRICT, WITHOUT ROWID;
