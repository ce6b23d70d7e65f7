CREATE TABLE action_token (
    hash BLOB PRIMARY KEY,
    incident TEXT NOT NULL,
    person TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('acknowledge', 'feedback')),
    issued_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    used_at REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX action_token_expires ON action_token (expires_at);
