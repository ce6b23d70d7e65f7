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

CREATE TABLE reading_1m (
    sensor INTEGER NOT NULL REFERENCES sensor (id),
    time INTEGER NOT NULL,
    n INTEGER NOT NULL,
    pm1 REAL, pm1_min REAL, pm1_max REAL, pm25 REAL, pm25_min REAL, pm25_max REAL, pm4 REAL, pm4_min REAL, pm4_max REAL, pm10 REAL, pm10_min REAL, pm10_max REAL, n03 REAL, n03_min REAL, n03_max REAL, n05 REAL, n05_min REAL, n05_max REAL, n10 REAL, n10_min REAL, n10_max REAL, n25 REAL, n25_min REAL, n25_max REAL, n50 REAL, n50_min REAL, n50_max REAL, n100 REAL, n100_min REAL, n100_max REAL, tvoc_ppb REAL, tvoc_ppb_min REAL, tvoc_ppb_max REAL, tvoc_ugm3 REAL, tvoc_ugm3_min REAL, tvoc_ugm3_max REAL, voc_index REAL, voc_index_min REAL, voc_index_max REAL, voc_raw REAL, voc_raw_min REAL, voc_raw_max REAL, nox_index REAL, nox_index_min REAL, nox_index_max REAL, rh REAL, rh_min REAL, rh_max REAL, temp REAL, temp_min REAL, temp_max REAL, co2 REAL, co2_min REAL, co2_max REAL, co REAL, co_min REAL, co_max REAL, pressure REAL, pressure_min REAL, pressure_max REAL, light REAL, light_min REAL, light_max REAL, battery REAL, battery_min REAL, battery_max REAL, vape_index REAL, vape_index_min REAL, vape_index_max REAL, rssi REAL, rssi_min REAL, rssi_max REAL,
    PRIMARY KEY (sensor, time)
) WITHOUT ROWID;

CREATE TABLE reading_15m (
    sensor INTEGER NOT NULL REFERENCES sensor (id),
    time INTEGER NOT NULL,
    n INTEGER NOT NULL,
    pm1 REAL, pm1_min REAL, pm1_max REAL, pm25 REAL, pm25_min REAL, pm25_max REAL, pm4 REAL, pm4_min REAL, pm4_max REAL, pm10 REAL, pm10_min REAL, pm10_max REAL, n03 REAL, n03_min REAL, n03_max REAL, n05 REAL, n05_min REAL, n05_max REAL, n10 REAL, n10_min REAL, n10_max REAL, n25 REAL, n25_min REAL, n25_max REAL, n50 REAL, n50_min REAL, n50_max REAL, n100 REAL, n100_min REAL, n100_max REAL, tvoc_ppb REAL, tvoc_ppb_min REAL, tvoc_ppb_max REAL, tvoc_ugm3 REAL, tvoc_ugm3_min REAL, tvoc_ugm3_max REAL, voc_index REAL, voc_index_min REAL, voc_index_max REAL, voc_raw REAL, voc_raw_min REAL, voc_raw_max REAL, nox_index REAL, nox_index_min REAL, nox_index_max REAL, rh REAL, rh_min REAL, rh_max REAL, temp REAL, temp_min REAL, temp_max REAL, co2 REAL, co2_min REAL, co2_max REAL, co REAL, co_min REAL, co_max REAL, pressure REAL, pressure_min REAL, pressure_max REAL, light REAL, light_min REAL, light_max REAL, battery REAL, battery_min REAL, battery_max REAL, vape_index REAL, vape_index_min REAL, vape_index_max REAL, rssi REAL, rssi_min REAL, rssi_max REAL,
    PRIMARY KEY (sensor, time)
) WITHOUT ROWID;

CREATE TABLE stale (
    sensor INTEGER NOT NULL REFERENCES sensor (id),
    quarter INTEGER NOT NULL,
    PRIMARY KEY (sensor, quarter)
) WITHOUT ROWID;

CREATE TABLE sensor_health (
    sensor TEXT NOT NULL,
    time INTEGER NOT NULL,
    period_s REAL, online REAL, online_s REAL, expected REAL, received REAL, missing REAL, duplicates REAL, late REAL, clock_faults REAL, faulty REAL, last_seen REAL, faults REAL, tamper REAL, condition_since REAL, urgency REAL, changed REAL, state TEXT, fault TEXT, condition TEXT, condition_before TEXT, room_name TEXT, room_choice TEXT,
    PRIMARY KEY (sensor, time)
) WITHOUT ROWID;
CREATE INDEX sensor_health_time ON sensor_health (time);
