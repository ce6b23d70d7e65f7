CREATE TABLE sensor_test (
    sensor TEXT NOT NULL,
    at REAL NOT NULL,
    room TEXT NOT NULL,
    is_right INTEGER NOT NULL,
    who TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (sensor, at)
) STRICT;
