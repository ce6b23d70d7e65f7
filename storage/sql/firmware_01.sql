CREATE TABLE sensor_firmware (
    sensor TEXT PRIMARY KEY,
    version TEXT NOT NULL CHECK (version <> ''),
    since REAL NOT NULL
) STRICT, WITHOUT ROWID;
