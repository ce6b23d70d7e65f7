"""Hide secrets, such as tokens and notice addresses, and provide safe names to show instead.

A `Secret` prints as a mask and cannot be pickled. Search for `reveal` to find every use.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from alerts.channels import OWN_SERVERS, SERVICES
from alerts.errors import SecretError
from language.messages import Words, mark

if TYPE_CHECKING:
    from pathlib import Path

_MASK: Final = "Secret('****')"
_MAX_FILE_BYTES: Final = 65_536

_WORDS: Final = Words(
    {
        **{scheme: row.words or row.name for scheme, row in SERVICES.items()},
        "page": mark("staff page"),
        "link": mark("link"),
        "webpush": mark("push"),
    }
)


class Secret:
    """A hidden string.

    >>> token = Secret("swordfish")
    >>> token
    Secret('****')
    >>> f"{token} {token:>20}"
    "Secret('****') Secret('****')"
    >>> token.reveal()
    'swordfish'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise SecretError("a secret must not be empty")
        self._value = value

    def reveal(self) -> str:
        """Return the value."""
        return self._value

    def compute_fingerprint(self) -> str:
        """Return 12 hex digits that identify the secret without revealing it."""
        digest = hashlib.blake2b(self._value.encode(), digest_size=6, person=b"plumewatch")
        return digest.hexdigest()

    def matches(self, candidate: str) -> bool:
        """Compare with a candidate, in constant time."""
        return hmac.compare_digest(self._value.encode(), candidate.encode())

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.matches(other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


_MAIL_SERVER: Final = re.compile(r"smtp[\s+]*=[^&;]*")


def load_secret(what: str, path: Path) -> Secret:
    """Read a secret from a file; errors name `what`, never the value."""
    try:
        with path.open("rb") as handle:
            text = handle.read(_MAX_FILE_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not text"
        raise SecretError(f"{what}: cannot read {path}: {why}") from error
    if not text:
        raise SecretError(f"{what}: {path} is empty")
    if (lines := len(text.splitlines())) > 1:
        raise SecretError(f"{what}: {path} has {lines} lines; it must have one")
    return Secret(text)


def hash_token(token: str) -> bytes:
    """Return the hash that is stored instead of a random token."""
    return hashlib.sha256(token.encode()).digest()


def find_scheme(target: Secret) -> str:
    """Return the scheme of an address in lower case."""
    return target.reveal().partition("://")[0].lower()


def make_target_id(target: Secret) -> str:
    """Return a safe name for an address in rows and logs: its scheme and fingerprint.

    >>> make_target_id(Secret("ntfys://ntfy.example/restrooms"))
    'ntfys-7acde264aa74'
    """
    scheme = find_scheme(target)
    valid = "://" in target.reveal() and scheme.isalnum() and len(scheme) <= 16
    return f"{scheme if valid else 'invalid'}-{target.compute_fingerprint()}"


def find_channel(target: Secret) -> str:
    """Return the provider of an address: a cloud service, or a server's fingerprint.

    An address that reaches another server must not have the same channel, because its notices
    could delay those of everyone else.
    """
    name, _, address = target.reveal().partition("://")
    name, query = name.lower(), address.partition("?")[2]
    server = re.split("[/?]", address)[0].rpartition("@")[2].lower()
    if name == "webpush":
        server = urlsplit(dict(parse_qsl(query)).get("endpoint", "")).netloc
    elif name in OWN_SERVERS:  # a mail address can name another server to connect to
        server += "".join(_MAIL_SERVER.findall(unquote(query).lower()))
    else:
        return make_target_id(target).partition("-")[0]
    return f"{name}-{Secret(server or name).compute_fingerprint()[:6]}"


def write_channel(channel: str) -> str:
    """Write a channel for people to read, without the fingerprint of its server.

    >>> write_channel("ntfy-729d05"), write_channel("mailtos-1a2b3c"), write_channel("link")
    ('push', 'e-mail', 'link')
    """
    scheme = channel.partition("-")[0]
    return _WORDS.get(scheme, channel)
