-- Sessions that a provider of OpenID Connect vouched for: the person's id there, its session, and
-- those of the person's groups that have a role, as JSON; NULL after a sign-in by password.
ALTER TABLE staff_session ADD COLUMN subject TEXT;
ALTER TABLE staff_session ADD COLUMN provider_session TEXT;
ALTER TABLE staff_session ADD COLUMN provider_groups TEXT;
CREATE INDEX staff_session_subject ON staff_session (subject) WHERE subject IS NOT NULL;
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
