-- The address by which the provider knew the person of a session; if the configuration gives the
-- person another, the session is over. NULL after a sign-in by password.
ALTER TABLE staff_session ADD COLUMN email TEXT;
