"""Manage people who are not configured but get a role from their groups at the sign-in provider.

Such a person is added at their first sign-in, and their id is their e-mail address. Only their
name, groups, last sign-in and account id are stored. The current configuration maps groups to
roles, so people disappear when their group is removed from the configuration. The provider doesn't
report who has left, so people who haven't signed in for a long time are removed until they sign in
again.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from alerts.access import api_tokens, sessions
from alerts.access.passwords import remove_person
from alerts.access.sign_in_rules import fold_address
from alerts.duty.roster import Receiver
from alerts.policy import StaffMember
from storage import audit
from storage.audit import AuditKind
from storage.sqlite import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from alerts.access.sign_in_rules import Rights, SignInRules
    from alerts.duty.roster import Roster
    from alerts.policy import AlertPolicy


class DirectoryPerson(NamedTuple):
    """A person in the directory; `id` is their address, and `seen_at` is their last sign-in."""

    id: str
    name: str
    groups: tuple[str, ...]
    seen_at: float
    gone_at: float | None = None
    """When the person was removed because their last sign-in was too long ago; None otherwise."""


class ProviderAccount(NamedTuple):
    """An account at the provider; `subject` is unique for an issuer and client."""

    issuer: str
    client: str
    subject: str


def is_from_directory(person: str) -> bool:
    """Return whether a person comes from the directory; only their ids contain an @."""
    return "@" in person


def save_person(tx: sqlite3.Connection, person: DirectoryPerson) -> None:
    """Add a person, or update their name and groups."""
    tx.execute(
        "INSERT OR REPLACE INTO directory_person VALUES (?, ?, ?, ?, ?)",
        (person.id, person.name, json.dumps(person.groups), person.seen_at, person.gone_at),
    )


def remove(tx: sqlite3.Connection, person: str) -> bool:
    """Remove a person; return whether there was one."""
    return tx.execute("DELETE FROM directory_person WHERE id = ?", (person,)).rowcount > 0


def list_people(db: sqlite3.Connection) -> list[DirectoryPerson]:
    """Return all people, by name."""
    rows = db.execute("SELECT * FROM directory_person ORDER BY name, id")
    return [DirectoryPerson(*row)._replace(groups=tuple(json.loads(row[2]))) for row in rows]


def find_last_sign_in(db: sqlite3.Connection, person: str) -> float | None:
    """Return when a person of the directory last signed in; None for others."""
    row = db.execute("SELECT seen_at FROM directory_person WHERE id = ?", (person,)).fetchone()
    return None if row is None else float(row["seen_at"])


def find_account(db: sqlite3.Connection, person: str, email: str) -> ProviderAccount | None:
    """Return the account that a person signed in with under this address, or None."""
    query = "SELECT issuer, client, subject FROM provider_account WHERE person = ? AND email = ?"
    row = db.execute(query, (person, email)).fetchone()
    return None if row is None else ProviderAccount(*row)


def bind_account(tx: sqlite3.Connection, person: str, email: str, account: ProviderAccount) -> None:
    """Bind a person's address to this account, so that no other account can sign in with it."""
    tx.execute(
        "INSERT OR REPLACE INTO provider_account VALUES (?, ?, ?, ?, ?, NULL)",
        (person, email, *account),
    )


def save_groups(tx: sqlite3.Connection, person: str, groups: Sequence[str]) -> None:
    """Store the groups at a person's latest sign-in."""
    update = "UPDATE provider_account SET provider_groups = ? WHERE person = ?"
    tx.execute(update, (json.dumps(groups), person))


def find_groups(db: sqlite3.Connection, person: str) -> tuple[str, ...] | None:
    """Return the groups at a person's latest sign-in; None if none are known."""
    query = "SELECT provider_groups FROM provider_account WHERE person = ?"
    row = db.execute(query, (person,)).fetchone()
    return None if row is None or row[0] is None else tuple(json.loads(row[0]))


def end_earlier(tx: sqlite3.Connection, account: ProviderAccount, person: str, now: float) -> bool:
    """End an account's access as anyone but this person; return whether it had such access.

    People of the directory are removed. Configured people stay bound to the account, so an
    administrator must release their address before another account can sign in with it.
    """
    query = "SELECT person FROM provider_account WHERE issuer = ? AND client = ? AND subject = ?"
    earlier = {one for (one,) in tx.execute(query, account)} - {person}
    had_tokens = {token.person for token in api_tokens.list_tokens(tx)} & earlier
    why = "the account signs in as someone else"
    for one in sorted(earlier):
        api_tokens.limit(tx, one, "", frozenset())
        if remove(tx, one):
            remove_person(tx, one, why, now)
        elif sessions.end_all(tx, one, now) or one in had_tokens:
            detail = {"what": "signed out", "person": one, "why": why}
            audit.append(tx, AuditKind.SETTINGS, "service", detail, now)
    return bool(earlier)


class Directory:
    """The people of the directory, who get their rights from `rules`."""

    def __init__(self, database: Path, rules: SignInRules) -> None:
        self._database = database
        self._rules = rules

    def add_to(self, policy: AlertPolicy) -> AlertPolicy:
        """Return a policy that lists the people of the directory after the configured staff."""
        with closing(connect(self._database, read_only=True)) as db:
            found = [one for one in list_people(db) if one.gone_at is None]
        rights = {one: self._rules.find_joining_rights(one.groups) for one in found}
        return add_people(policy, {one: own for one, own in rights.items() if own is not None})

    def remove_absent(self, tx: sqlite3.Connection, now: float) -> list[str]:
        """Remove people without a recent sign-in, and later their names; return their ids."""
        before = now - self._rules.absent_s
        tx.execute("DELETE FROM directory_person WHERE gone_at <= ?", (before,))
        gone = tx.execute(
            "UPDATE directory_person SET gone_at = ? WHERE gone_at IS NULL AND seen_at <= ?"
            " RETURNING id",
            (now, before),
        ).fetchall()
        for (person,) in gone:
            remove_person(tx, person, "no sign-in for too long", now)
        return [person for (person,) in gone]


def add_people(policy: AlertPolicy, joined: Mapping[DirectoryPerson, Rights]) -> AlertPolicy:
    """Add people to a policy, so that they are notified and can sign in."""
    known = {fold_address(member.email) for member in policy.staff}
    new = {one: own for one, own in joined.items() if one.id not in known}
    if not new:
        return policy
    members = tuple(
        StaffMember(one.id, one.name, own.role, email=one.id) for one, own in new.items()
    )
    roster = policy.roster
    if roster is not None:
        sites = {one.id: own.sites for one, own in new.items()}
        roster = replace(
            roster,
            receivers=_extend_receivers(roster, members),
            everyone=(*roster.everyone, *(m.id for m in members if m.role != "helpdesk")),
            sites={**roster.sites, **sites},
        )
    return replace(policy, staff=(*policy.staff, *members), roster=roster)


def _extend_receivers(roster: Roster, new: Iterable[StaffMember]) -> dict[str, Receiver]:
    """Add people to the built-in receivers of their roles; configured receivers don't change."""
    found, rostered = dict(roster.receivers), {shift.receiver for shift in roster.shifts}
    for member in new:
        before = found.get(member.role, Receiver(member.role, is_role=True))
        if before.is_role:
            everyone = (*before.catch_all, member.id)
            people = () if member.role in rostered else everyone
            found[member.role] = replace(before, people=people, catch_all=everyone)
    return found
