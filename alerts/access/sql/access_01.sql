CREATE TABLE staff_password (
    person TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    set_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- A session that a provider of OpenID Connect vouched for has those of the person's groups that have a
-- role, as JSON, and the address by which the provider knew the person: if the configuration gives the
-- person another, the session is over. NULL after a sign-in by password.
CREATE TABLE staff_session (
    hash BLOB PRIMARY KEY,
    person TEXT NOT NULL,
    started_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    provider_groups TEXT,
    email TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX staff_session_person ON staff_session (person, started_at);
CREATE INDEX staff_session_expires ON staff_session (expires_at);

-- Second factors: the secret of an authenticator app, since when it counts (NULL before its first
-- code), and the last time step of which a code was used.
CREATE TABLE staff_totp (
    person TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    confirmed_at REAL,
    used_step INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE staff_recovery (
    hash BLOB PRIMARY KEY,
    person TEXT NOT NULL
) STRICT, WITHOUT ROWID;

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

-- `sites` of a screen or a token are the names of the sites that it is limited to, as JSON: those
-- that its person had when it was made; NULL for all.

-- Tokens of programs for the HTTP API: the hash, whom it acts as, what it may do, until when.
CREATE TABLE api_token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    person TEXT NOT NULL,
    scopes TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    used_at REAL,
    sites TEXT
) STRICT;

-- Channels that people set up on the page: a browser with its keys, as the push service has it; a topic
-- of ntfy; an e-mail address; a phone number; the Apprise URL of another service.
CREATE TABLE own_channel (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('browser', 'push', 'email', 'phone', 'other')),
    address TEXT NOT NULL,
    p256dh TEXT NOT NULL,
    auth TEXT NOT NULL,
    label TEXT NOT NULL,
    made_at REAL NOT NULL,
    UNIQUE (person, address)
) STRICT;

-- Links with which a person sets a password, once: the hash of the newest one.
CREATE TABLE invite (
    person TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- People whom the configuration does not name: by their address at the provider, with those of their
-- groups that have a role, as JSON, and their last sign-in.
CREATE TABLE directory_person (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    provider_groups TEXT NOT NULL,
    seen_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Who had an id when the service last started, and since when nobody has it (NULL if somebody has): a
-- later person of the same id gets nothing of theirs.
CREATE TABLE staff_seen (
    person TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    gone_since REAL
) STRICT, WITHOUT ROWID;
