CREATE TABLE sensor_firmware (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sensor TEXT NOT NULL,
    version TEXT NOT NULL CHECK (version <> ''),
    since REAL NOT NULL
) STRICT;
CREATE INDEX sensor_firmware_sensor ON sensor_firmware (sensor, id);
