"""Channels that people set up on the page, in addition to configured channels.

A browser's address is a ``webpush://`` URL with endpoint, public key and secret in its query. For
ntfy on a phone, the page generates a topic that nobody can guess. E-mail and text messages go
through gateways: Apprise URLs from the configuration, with `{to}` in place of the address. For any
other service, an administrator enters an Apprise URL. This module also stores the language that
people choose.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from alerts.access.passwords import generate_password
from alerts.secrets import Secret, find_scheme, write_channel
from language.messages import LANGUAGES, Coded, Words, _, capitalize, mark
from storage.errors import StorageError
from storage.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from alerts.policy import AlertPolicy

SCHEME: Final = "webpush"
MAX_PER_PERSON: Final = 8
_LONGEST: Final = 1000
_MAX_GONE: Final = 1000
_AUTH_BYTES: Final = 16
_ATOM: Final = r"[\w!#$%&'*+/=?^`{|}~-]+"
_EMAIL: Final = re.compile(
    rf"(?=.{{3,200}}$){_ATOM}(\.{_ATOM})*@[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII | re.IGNORECASE
)
"""Plain ASCII addresses; Apprise silently drops some others."""
TO: Final = "{to}"
"""Placeholder for a person's address in a gateway's URL."""


class ChannelKind(Coded):
    """Kinds of channels."""

    BROWSER = "browser", mark("Browser")
    PUSH = "push", mark("Push notifications on a phone")
    EMAIL = "email", mark("E-mail")
    PHONE = "phone", mark("Text message")
    OTHER = "other", mark("Another service, such as Teams or Slack")


CHANNEL_WORDS: Final = Words(ChannelKind.list_texts())


@dataclass(frozen=True, slots=True)
class Gateways:
    """The ntfy server, and the gateway URLs (with `TO`) for e-mail and text messages, if any."""

    push: str = "https://ntfy.sh"
    email: Secret | None = None
    phone: Secret | None = None

    def build_target(self, kind: str, address: str) -> Secret | None:
        """Return a channel's address for the notifier, or None if there is no gateway."""
        if kind == ChannelKind.PUSH:
            scheme, _, host = self.push.rstrip("/").partition("://")
            return Secret(f"{'ntfys' if scheme == 'https' else 'ntfy'}://{host}/{address}")
        if kind == ChannelKind.OTHER:
            return Secret(address)
        gateway = self.email if kind == ChannelKind.EMAIL else self.phone
        return gateway and Secret(gateway.reveal().replace(TO, quote(address, safe="@+")))

    def list_kinds(self) -> list[ChannelKind]:
        """Return the kinds of channels that people can set up."""
        found = {ChannelKind.EMAIL: self.email, ChannelKind.PHONE: self.phone}
        own = (kind for kind, gateway in found.items() if gateway)
        return [ChannelKind.PUSH, *own, ChannelKind.OTHER]

    def list_missing(self) -> list[str]:
        """Return the names of the settings of missing gateways."""
        found = {"email_url_file": self.email, "phone_url_file": self.phone}
        return [name for name, gateway in found.items() if not gateway]


def make_address(kind: str, typed: str) -> str:
    """Return the address to store for a new channel; for ntfy on a phone, a new topic.

    Return an empty string if the typed text is not an address.

    >>> make_address("phone", "(555) 010-0199"), make_address("phone", "+44 20 7946 0000")
    ('+15550100199', '+442079460000')
    >>> make_address("email", "front.office@school.example"), make_address("email", "office")
    ('front.office@school.example', '')
    >>> make_address("email", "ü@school.example"), make_address("email", '"a<b"@school.example')
    ('', '')
    """
    if kind == ChannelKind.PUSH:
        return generate_password()
    if kind == ChannelKind.OTHER:
        return typed
    if kind == ChannelKind.EMAIL:
        return typed if _EMAIL.fullmatch(typed) else ""
    digits = re.sub(r"[\s().-]", "", typed)
    if re.fullmatch(r"1?[2-9][0-9]{9}", digits):
        digits = f"+1{digits[-10:]}"
    return digits if re.fullmatch(r"\+[1-9][0-9]{7,14}", digits) else ""


class Subscription(NamedTuple):
    """A browser's subscription: its endpoint, and its public key and secret in base64url."""

    endpoint: str
    p256dh: str
    auth: str

    def find_fault(self) -> str:
        """Return why the subscription is invalid; empty if it is valid."""
        if not self.endpoint or len(self.endpoint) > _LONGEST or not self.endpoint.isascii():
            return "the endpoint is not an address"
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - an extra

        try:
            key, auth = decode_base64url(self.p256dh), decode_base64url(self.auth)
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
        except ValueError:
            return "its key is not valid"
        return "" if len(auth) == _AUTH_BYTES else "its secret has the wrong length"

    def to_target(self) -> Secret:
        """Return the subscription as a channel address."""
        return Secret(f"{SCHEME}://?{urlencode(self._asdict())}")

    @classmethod
    def from_target(cls, target: Secret) -> Subscription:
        """Parse a channel address."""
        found = parse_qs(target.reveal().partition("?")[2])
        return cls(*(found.get(key, [""])[0] for key in cls._fields))


class OwnChannel(NamedTuple):
    """A person's channel; `target` is None if its gateway is not configured."""

    id: int
    kind: str
    label: str
    made_at: float
    target: Secret | None

    def write_name(self) -> str:
        """Name the channel for people to read."""
        if self.kind == ChannelKind.OTHER:
            return capitalize(self.label)
        words = CHANNEL_WORDS[self.kind]
        return f"{words} ({self.label})" if self.label else words


class OwnChannels:
    """The channels of all people; `gone` collects browser endpoints that no longer exist."""

    def __init__(self, database: Path, gateways: Gateways | None = None) -> None:
        self.gone: deque[str] = deque(maxlen=_MAX_GONE)
        self._database = database
        self._gateways = gateways or Gateways()

    def add_to(self, policy: AlertPolicy) -> AlertPolicy:
        """Add each person's own channels after the configured ones, and their language."""
        with closing(connect(self._database, read_only=True)) as db:
            found, chosen = load_channels(db, self._gateways), load_languages(db)
        staff = tuple(
            replace(
                m,
                targets=(*m.targets, *(c.target for c in found.get(m.id, ()) if c.target)),
                language=chosen.get(m.id, m.language),
            )
            for m in policy.staff
        )
        roster = policy.roster
        if roster is not None:
            reachable = frozenset(member.id for member in staff if member.targets)
            roster = replace(roster, reachable=reachable)
        return replace(policy, staff=staff, roster=roster)

    def has(self, endpoint: str) -> bool:
        """Return whether a browser still gets notices; True if the database cannot be read."""
        try:
            with closing(connect(self._database, read_only=True)) as db:
                found = db.execute("SELECT 1 FROM own_channel WHERE address = ?", (endpoint,))
                return found.fetchone() is not None
        except (StorageError, sqlite3.Error):
            return True

    def remove_gone(self, tx: sqlite3.Connection) -> None:
        """Remove browsers with endpoints that no longer exist."""
        while self.gone:
            remove_browser(tx, self.gone.popleft())


def add_browser(
    tx: sqlite3.Connection, person: str, subscription: Subscription, label: str, now: float
) -> bool:
    """Add a browser, or move it from its earlier owner; return False if the keys differ."""
    query = "SELECT p256dh, auth FROM own_channel WHERE address = ? AND kind = 'browser'"
    known = tx.execute(query, (subscription.endpoint,)).fetchone()
    if known is not None and tuple(known) != (subscription.p256dh, subscription.auth):
        return False
    remove_browser(tx, subscription.endpoint)
    add(tx, person, ChannelKind.BROWSER, subscription, label, now)
    return True


def add(
    tx: sqlite3.Connection,
    person: str,
    kind: ChannelKind,
    address: tuple[str, str, str],
    label: str,
    now: float,
) -> None:
    """Add a channel, and remove the person's oldest channels beyond `MAX_PER_PERSON`."""
    tx.execute(
        "INSERT OR REPLACE INTO own_channel (person, kind, address, p256dh, auth, label, made_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (person, kind.value, *address, label[:80], now),
    )
    tx.execute(
        "DELETE FROM own_channel WHERE id IN (SELECT id FROM own_channel"
        " WHERE person = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
        (person, MAX_PER_PERSON),
    )


def remove(tx: sqlite3.Connection, person: str, channel: int) -> bool:
    """Remove a channel of a person; return whether there was one."""
    found = tx.execute("DELETE FROM own_channel WHERE id = ? AND person = ?", (channel, person))
    return found.rowcount > 0


def remove_browser(tx: sqlite3.Connection, endpoint: str) -> None:
    """Remove the browser with this endpoint."""
    tx.execute("DELETE FROM own_channel WHERE address = ? AND kind = 'browser'", (endpoint,))


def load_channels(db: sqlite3.Connection, gateways: Gateways) -> dict[str, list[OwnChannel]]:
    """Return the channels that people set up, by person, oldest first."""
    found: dict[str, list[OwnChannel]] = {}
    columns = "person, id, kind, label, made_at, address, p256dh, auth"
    for person, number, kind, label, made_at, address, *keys in db.execute(
        f"SELECT {columns} FROM own_channel ORDER BY id"  # noqa: S608 - constants only
    ):
        is_browser = kind == ChannelKind.BROWSER
        target = Subscription(address, *keys).to_target() if is_browser else None
        target = target or gateways.build_target(kind, address)
        found.setdefault(person, []).append(OwnChannel(number, kind, label, made_at, target))
    return found


def name_target(target: Secret, own: Sequence[OwnChannel]) -> str:
    """Name a person's address for people to read; it is configured unless it is in `own`."""
    name = next((channel.write_name() for channel in own if channel.target == target), "")
    scheme = capitalize(write_channel(find_scheme(target)))
    return name or _("%(channel)s, from the configuration", channel=scheme)


def choose_language(tx: sqlite3.Connection, person: str, language: str) -> None:
    """Store the language that a person chose; an empty string removes the choice."""
    tx.execute("DELETE FROM staff_language WHERE person = ?", (person,))
    if language:
        tx.execute("INSERT INTO staff_language VALUES (?, ?)", (person, language))


def load_languages(db: sqlite3.Connection) -> dict[str, str]:
    """Return the languages that people chose on the page, by person."""
    found = dict(db.execute("SELECT person, language FROM staff_language").fetchall())
    return {person: code for person, code in found.items() if code in LANGUAGES}


def decode_base64url(text: str) -> bytes:
    """Decode base64url with or without padding; raises `ValueError`."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def encode_base64url(raw: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
