    CREATE TABLE detection (
        sensor TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (sensor, time)
    ) WITHOUT ROWID;
    CREATE INDEX detection_time ON detection (time);
    CREATE TABLE event (id TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX event_time ON event (time);
    CREATE TABLE incident (id TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX incident_time ON incident (time);
    CREATE TABLE sensor_health (
        sensor TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (sensor, time)
    ) WITHOUT ROWID;
    CREATE INDEX sensor_health_time ON sensor_health (time);
    CREATE TABLE pipeline (time INTEGER PRIMARY KEY) WITHOUT ROWID;
