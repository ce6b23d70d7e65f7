    CREATE TABLE sensor (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE reading (
        sensor INTEGER NOT NULL REFERENCES sensor (id),
        time INTEGER NOT NULL,
        received REAL NOT NULL,
        pm1 REAL, pm25 REAL, pm4 REAL, pm10 REAL, n03 REAL, n05 REAL, n10 REAL, n25 REAL, n50 REAL, n100 REAL, tvoc_ppb REAL, tvoc_ugm3 REAL, voc_index REAL, voc_raw REAL, nox_index REAL, rh REAL, temp REAL, co2 REAL, co REAL, pressure REAL, light REAL, battery REAL, vape_index REAL, rssi REAL,
        events TEXT,
        faults TEXT,
        flags TEXT,
        PRIMARY KEY (sensor, time)
    ) WITHOUT ROWID;
