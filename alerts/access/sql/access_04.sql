-- Browsers that get notices as web push: where the push service takes them, and the browser's keys.
CREATE TABLE push_subscription (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person TEXT NOT NULL,
    endpoint TEXT NOT NULL UNIQUE,
    p256dh TEXT NOT NULL,
    auth TEXT NOT NULL,
    label TEXT NOT NULL,
    made_at REAL NOT NULL
) STRICT;
CREATE INDEX push_subscription_person ON push_subscription (person);
