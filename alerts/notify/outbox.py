"""Read and write the outbox, in the caller's transaction.

A notice that asks for a response gets a personal link when it is sent. Only the sent notice
contains the token; rows store the plain link.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.access.action_tokens import Action, issue
from alerts.notify.notice import Notice, NoticeReason
from alerts.secrets import find_channel, make_target_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

    from alerts.errors import NotifyError
    from alerts.secrets import Secret
    from language.messages import Parameter

_REASON: Final = "substr(reason, 1, instr(reason || ':', ':') - 1)"
"""SQL expression for a row's reason without its occasion."""
_CANCELLED: Final = json.dumps(
    [r.value for r in NoticeReason if r.asks] + [NoticeReason.TAKEN.value]
)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A notice for one person on one channel, and its lease, if any."""

    id: int
    incident: str
    person: str
    target: str
    channel: str
    notice: Notice
    occasion: str
    expires_at: float
    attempt: int
    lease_owner: str

    @property
    def recipient(self) -> dict[str, Parameter]:
        """The person and the channel, as stored in histories."""
        return {"person": self.person, "channel": self.channel}


def add_notice(
    tx: sqlite3.Connection,
    notice: Notice,
    *,
    person: str,
    address: Secret,
    now: float,
    expires_at: float,
    occasion: str = "",
    wait_s: float = 0.0,
    fallback_at: float | None = None,
) -> bool:
    """Add a notice, unless it exists for this person and address; return whether it was added.

    It is due after `wait_s`. Notices for the same incident and reason differ by `occasion`.
    """
    cursor = tx.execute(
        "INSERT INTO outbox (incident, person, target, channel, reason, priority, notice,"
        " created_at, due_at, expires_at, fallback_at, status)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,'due')"
        " ON CONFLICT (incident, person, target, reason) DO NOTHING",
        (
            notice.incident,
            person,
            make_target_id(address),
            find_channel(address),
            _write_reason(notice, occasion),
            notice.priority.value,
            msgspec.json.encode(notice).decode(),
            now,
            now + wait_s,
            expires_at,
            fallback_at,
        ),
    )
    return cursor.rowcount == 1


def _write_reason(notice: Notice, occasion: str) -> str:
    return f"{notice.reason.value}:{occasion}" if occasion else notice.reason.value


def was_sent_to_shared_address(
    tx: sqlite3.Connection, notice: Notice, occasion: str, person: str, address: Secret
) -> bool | None:
    """Return whether the same notice was sent to this address for somebody else.

    Return False if it is pending, and None if there is none.
    """
    found: int | None = tx.execute(
        "SELECT max(status = 'sent') FROM outbox WHERE incident = ? AND reason = ? AND target = ?"
        " AND person <> ? AND status IN ('due', 'leased', 'sent')",
        (notice.incident, _write_reason(notice, occasion), make_target_id(address), person),
    ).fetchone()[0]
    return None if found is None else bool(found)


def take_fallbacks(tx: sqlite3.Connection, now: float, refused: int | None) -> list[OutboxRow]:
    """Return the notices to try on the next channel: those due, and notice `refused`, each once."""
    rows = tx.execute(
        "UPDATE outbox SET fallback_at = NULL WHERE fallback_at <= ?1 OR id = ?2"
        " AND fallback_at IS NOT NULL RETURNING *",
        (now, refused),
    ).fetchall()
    return [_read_row(row) for row in sorted(rows, key=lambda row: int(row["id"]))]


def _read_row(row: sqlite3.Row) -> OutboxRow:
    names = ("id", "incident", "person", "target", "channel", "expires_at", "lease_owner")
    return OutboxRow(
        **{name: row[name] for name in names},
        notice=msgspec.json.decode(row["notice"], type=Notice),
        occasion=row["reason"].partition(":")[2],
        attempt=row["attempts"],
    )


def cancel_earlier_rounds(tx: sqlite3.Connection, alert: Notice, person: str, now: float) -> None:
    """Cancel a person's undelivered notices from earlier rounds of the alert just added."""
    tx.execute(
        "UPDATE outbox SET status = 'cancelled', finished_at = ?, fallback_at = NULL"  # noqa: S608 - a constant
        f" WHERE incident = ? AND person = ? AND {_REASON} = ?"
        " AND status = 'due' AND id < last_insert_rowid()",
        (now, alert.incident, person, alert.reason.value),
    )


def has_notices(tx: sqlite3.Connection, incident: str, *, on_their_way: bool = False) -> bool:
    """Return whether an incident has notices; `on_their_way` counts only sent or pending ones."""
    found = tx.execute(
        "SELECT 1 FROM outbox WHERE incident = ?"
        " AND (NOT ? OR status IN ('due', 'leased', 'sent'))",
        (incident, on_their_way),
    )
    return found.fetchone() is not None


def find_people_notified(tx: sqlite3.Connection, incident: str) -> list[tuple[str, str]]:
    """Return each person who was paged, individually or in a digest, with the target used."""
    rows = tx.execute(
        f"SELECT person, target, max(id) FROM (SELECT * FROM outbox WHERE incident = ?1"  # noqa: S608 - a constant
        f" AND {_REASON} = ?2 AND status = 'sent' UNION SELECT o.* FROM held_notice h"
        " JOIN outbox o ON o.incident = h.sent_with AND o.person = h.person"
        " AND o.reason = h.sent_as AND o.status = 'sent' WHERE h.incident = ?1)"
        " GROUP BY person ORDER BY min(id)",
        (incident, NoticeReason.OPENED.value),
    ).fetchall()
    return [(r["person"], r["target"]) for r in rows]


def find_last_pages(tx: sqlite3.Connection, incident: str) -> dict[str, float]:
    """Return when each person was last paged, or when that page was deferred."""
    rows = tx.execute(
        "SELECT person, max(at) FROM (SELECT person, created_at AS at FROM outbox"  # noqa: S608 - a constant
        f" WHERE incident = ?1 AND {_REASON} = ?2 UNION ALL SELECT person, held_at"
        " FROM held_notice WHERE incident = ?1) GROUP BY person",
        (incident, NoticeReason.OPENED.value),
    )
    return dict(rows.fetchall())


def cancel_unsent(tx: sqlite3.Connection, incident: str, now: float) -> int:
    """Cancel notices that ask for a response or name the responder, unless they are being sent."""
    tx.execute("UPDATE outbox SET fallback_at = NULL WHERE incident = ?", (incident,))
    return tx.execute(
        "UPDATE outbox SET status = 'cancelled', finished_at = ?"  # noqa: S608 - a constant
        f" WHERE incident = ? AND {_REASON} IN (SELECT value FROM json_each(?))"
        " AND (status = 'due' OR (status = 'leased' AND lease_until <= ?))",
        (now, incident, _CANCELLED, now),
    ).rowcount


def lease(
    tx: sqlite3.Connection,
    now: float,
    *,
    owner: str,
    lease_s: float,
    limit: int,
    free: Callable[[str], int],
    sending: Collection[int] = (),
) -> list[OutboxRow]:
    """Lease due notices for one attempt each; notices with an expired lease are due again.

    Notices with higher priority come first, then notices to the people with the fewest attempts in
    the last hour. `free` returns how many more notices a channel can take now. Rows that the owner
    is still `sending` are skipped.
    """
    due = tx.execute(
        "SELECT *, row_number() OVER (PARTITION BY person, priority ORDER BY due_at, id)"
        " + (SELECT coalesce(sum(attempts), 0) FROM (SELECT attempts FROM outbox s WHERE"
        " s.person = outbox.person AND s.created_at > ?1 - 3600 AND attempts LIMIT 100)) AS turn"
        " FROM outbox WHERE status IN ('due', 'leased') AND due_at <= ?1"
        " AND (status = 'due' OR lease_until <= ?1) AND id NOT IN (SELECT value FROM json_each(?2))"
        " ORDER BY CASE priority WHEN 'urgent' THEN 0 WHEN 'high' THEN 1 WHEN 'normal' THEN 2"
        " ELSE 3 END, turn, due_at, id",
        (now, json.dumps(list(sending))),
    )
    taken, chosen = Counter[str](), list[int]()
    for row in due:
        if len(chosen) < limit and taken[row["channel"]] < free(row["channel"]):
            taken[row["channel"]] += 1
            chosen.append(row["id"])
    leased = tx.execute(
        "UPDATE outbox SET status = 'leased', lease_owner = ?, lease_until = ?,"
        " attempts = attempts + 1 WHERE id IN (SELECT value FROM json_each(?)) RETURNING *",
        (owner, now + lease_s, json.dumps(chosen)),
    )
    found = {row["id"]: _read_row(row) for row in leased.fetchall()}
    return [found[row] for row in chosen]


def release_leases(tx: sqlite3.Connection, owner: str, now: float) -> int:
    """Expire the leases of earlier processes; return how many."""
    return tx.execute(
        "UPDATE outbox SET lease_until = ? WHERE status = 'leased' AND lease_owner <> ?"
        " AND lease_until > ?",
        (now, owner, now),
    ).rowcount


def mark_sent(tx: sqlite3.Connection, row: OutboxRow, now: float) -> bool:
    """Mark a notice as sent; return False if it was already finished.

    This cancels the same notice on the person's other channels, and to the same address for
    somebody else. For an alert, it also cancels the person's due notices from other rounds.
    """
    reason = _REASON if row.notice.reason is NoticeReason.OPENED else "reason"
    own = f"person = ?2 AND {reason} = (SELECT {reason} FROM outbox WHERE id = ?3)"  # noqa: S608 - a constant
    same = "(reason, target) = (SELECT reason, target FROM outbox WHERE id = ?3)"
    given = (row.incident, row.person, row.id)
    tx.execute(
        f"UPDATE outbox SET fallback_at = NULL WHERE incident = ?1 AND {own}",  # noqa: S608 - a constant
        given,
    )
    tx.execute(
        "UPDATE outbox SET status = 'cancelled', finished_at = ?4, fallback_at = NULL"  # noqa: S608 - a constant
        f" WHERE incident = ?1 AND status = 'due' AND id <> ?3 AND ({own} OR {same})",
        (*given, now),
    )
    changed = tx.execute(
        "UPDATE outbox SET status = 'sent', finished_at = ?, lease_until = NULL,"
        " last_error = '', last_detail = '' WHERE id = ? AND status IN ('leased', 'due')",
        (now, row.id),
    ).rowcount
    return changed == 1


def mark_failed(
    tx: sqlite3.Connection,
    row: OutboxRow,
    now: float,
    error: NotifyError,
    *,
    due_at: float | None = None,
) -> None:
    """Mark an attempt as failed; retry the notice at `due_at`, or never if None."""
    tx.execute(
        "UPDATE outbox SET status = iif(?1 IS NULL, 'failed', 'due'),"
        " due_at = coalesce(?1, due_at), finished_at = iif(?1 IS NULL, ?2, finished_at),"
        " lease_until = NULL, last_error = ?3, last_detail = ?4 WHERE id = ?5"
        " AND status = 'leased' AND lease_owner = ?6 AND attempts = ?7",
        (due_at, now, error.reason, error.detail[:300], row.id, row.lease_owner, row.attempt),
    )


def retry_refused(tx: sqlite3.Connection, incident: str, now: float) -> None:
    """Schedule one more attempt of the latest failed alert to each person and address."""
    tx.execute(
        "UPDATE outbox SET status = 'due', due_at = ?1, finished_at = NULL WHERE id IN (SELECT"  # noqa: S608 - a constant
        f" max(id) FROM outbox WHERE incident = ?2 AND status = 'failed' AND {_REASON} = ?3"
        " GROUP BY person, target)",
        (now, incident, NoticeReason.OPENED.value),
    )


def find_next_deadline(
    tx: sqlite3.Connection, busy_channels: Collection[str] = (), sending: Collection[int] = ()
) -> float | None:
    """Return when the next notice or fallback is due, or the next lease expires, or None."""
    due = tx.execute(
        "SELECT min(at) FROM (SELECT min(fallback_at) AS at FROM outbox WHERE fallback_at IS NOT"
        " NULL UNION ALL SELECT min(CASE status WHEN 'due' THEN due_at ELSE lease_until END)"
        " FROM outbox WHERE status IN ('due', 'leased')"
        " AND channel NOT IN (SELECT value FROM json_each(?))"
        " AND id NOT IN (SELECT value FROM json_each(?)))",
        (json.dumps(sorted(busy_channels)), json.dumps(list(sending))),
    )
    at: float | None = due.fetchone()[0]
    return at


def measure_backlog(tx: sqlite3.Connection) -> tuple[int, float | None]:
    """Count the notices that are waiting or being sent, and return when the oldest was created."""
    count, oldest = tx.execute(
        "SELECT count(*), min(created_at) FROM outbox WHERE status IN ('due', 'leased')"
    ).fetchone()
    return count, oldest


def count_by_status(tx: sqlite3.Connection, since: float) -> dict[str, int]:
    """Count notices by status: all that wait, and others created since `since`.

    Of the others, only notices of incidents that opened since then or are unresolved count.
    """
    rows = tx.execute(
        "WITH recent (id) AS (SELECT id FROM incident WHERE opened_at >= ?1"
        " UNION SELECT id FROM incident WHERE status <> 'resolved')"
        " SELECT status, count(*) FROM outbox WHERE status IN ('due', 'leased') GROUP BY status"
        " UNION ALL SELECT o.status, count(*) FROM recent i CROSS JOIN outbox o"
        " ON o.incident = i.id WHERE o.created_at >= ?1 AND o.status NOT IN ('due', 'leased')"
        " GROUP BY o.status",
        (since,),
    )
    return dict(rows.fetchall())


ANSWER_PATH: Final = "/answer"
_INCIDENTS: Final = "/incidents/"


def add_answer_link(tx: sqlite3.Connection, row: OutboxRow, now: float) -> OutboxRow:
    """Add the recipient's personal link to a notice that asks for a response."""
    notice = row.notice
    base, found, rest = notice.link.partition(_INCIDENTS)
    if not found or not notice.reason.asks:
        return row
    token = issue(tx, row.incident, row.person, Action.ACKNOWLEDGE, now)
    _incident, query, asked = rest.partition("?")
    link = f"{base}{ANSWER_PATH}{query}{asked}#{token}"
    return replace(row, notice=msgspec.structs.replace(notice, link=link))


def parse_answer_link(link: str) -> tuple[str, str]:
    """Split a personal link into address and token; both are empty for other links.

    >>> parse_answer_link("https://plumewatch.example/answer?lang=es#c2VjcmV0")
    ('https://plumewatch.example/answer', 'c2VjcmV0')
    >>> parse_answer_link("https://plumewatch.example/incidents/1")
    ('', '')
    """
    page, _, token = link.partition("#")
    address = page.partition("?")[0]
    return (address, token) if token and address.endswith(ANSWER_PATH) else ("", "")
