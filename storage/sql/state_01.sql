CREATE TABLE consumer (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL
);
CREATE TABLE detector_snapshot (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    model_version TEXT NOT NULL,
    body BLOB NOT NULL
);
