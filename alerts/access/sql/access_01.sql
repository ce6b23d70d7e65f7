CREATE TABLE staff_password (
    person TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    set_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- After a sign-in through OpenID Connect, `provider_groups` has the person's groups that map to a role
-- (JSON), and `email` the address that the provider sent. If the configuration later gives the person
-- another address, the session ends. Both are NULL after a sign-in by password.
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

-- Second factors: the secret of the authenticator app, when its first code confirmed it, and the time
-- step of the last code used, so that no code works twice.
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

-- API tokens of other programs. A token acts as `person`, within `scopes`. `sites` limits it to the
-- sites that the person had when it was made (JSON); NULL means all sites.
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

-- Channels that people set up on the staff page: a browser with its push keys, an ntfy topic, an e-mail
-- address, a phone number, or the Apprise URL of another service.
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

-- One-time links for setting a password. Only the newest link of each person works; its hash is stored.
CREATE TABLE invite (
    person TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- People who signed in through the provider and are not in the configuration: their address,
-- their groups that map to a role (JSON), their last sign-in, and when they were removed because it was
-- too long ago (NULL otherwise).
CREATE TABLE directory_person (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    provider_groups TEXT NOT NULL,
    seen_at REAL NOT NULL,
    gone_at REAL
) STRICT, WITHOUT ROWID;

-- The account at the provider that a person last signed in with, its address, and its groups that have
-- a role. Providers may reassign an address, but never the subject of an issuer and client.
CREATE TABLE provider_account (
    person TEXT PRIMARY KEY,
    email TEXT NOT NULL,
    issuer TEXT NOT NULL,
    client TEXT NOT NULL,
    subject TEXT NOT NULL,
    provider_groups TEXT
) STRICT, WITHOUT ROWID;

-- Who had each id when the service last started, and since when nobody has had it (NULL while somebody
-- does). It keeps a new person with an old id from inheriting passwords, sessions or channels.
CREATE TABLE staff_seen (
    person TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    gone_since REAL
) STRICT, WITHOUT ROWID;
