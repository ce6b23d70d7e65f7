CREATE TABLE adaptation (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    model TEXT NOT NULL,
    correction TEXT NOT NULL,
    backtest TEXT NOT NULL
) STRICT;
CREATE TRIGGER adaptation_no_update BEFORE UPDATE ON adaptation
BEGIN SELECT RAISE(ABORT, 'adaptations are append-only'); END;
CREATE TRIGGER adaptation_no_delete BEFORE DELETE ON adaptation
BEGIN SELECT RAISE(ABORT, 'adaptations are append-only'); END;

CREATE TABLE adaptation_change (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    "from" INTEGER REFERENCES adaptation (number),
    "to" INTEGER REFERENCES adaptation (number)
) STRICT;
CREATE TRIGGER adaptation_change_no_update BEFORE UPDATE ON adaptation_change
BEGIN SELECT RAISE(ABORT, 'changes of adaptations are append-only'); END;
CREATE TRIGGER adaptation_change_no_delete BEFORE DELETE ON adaptation_change
BEGIN SELECT RAISE(ABORT, 'changes of adaptations are append-only'); END;
