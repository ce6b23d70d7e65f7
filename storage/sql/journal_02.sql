CREATE TABLE gap (
    why TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (why, first)
);
INSERT INTO gap SELECT iif(before = 0, 'retention', 'corrupt'), before + 1, offset - 1, 0
    FROM (
        SELECT offset, lag(offset, 1, 0) OVER (ORDER BY offset) AS before FROM (
            SELECT offset FROM journal
            UNION ALL SELECT seq + 1 FROM sqlite_sequence WHERE name = 'journal'
        )
    )
    WHERE offset > before + 1;
