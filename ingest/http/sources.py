"""Which senders can post over HTTP, for which sensors, and how often.

A source is one sender with one token. It sends one format, and only for its own sensors: those in
its list or, if it has no list, those registered with its decoder. A source without a list can also
send for unregistered sensors, because these never cause alerts.

Verkada signs its webhook (``Verkada-Signature: <Unix seconds>|<hex>``, HMAC-SHA256 of the raw body,
``|`` and the same seconds; apidocs.verkada.com/reference/securing-webhooks). A signature is valid
for `SIGNATURE_WINDOW_S`. A message with the same signature as an earlier one is a redelivery.

After several wrong tokens, an address must wait. An address that recently sent a correct token does
not have to wait, so that an attacker behind the same router cannot silence a sensor.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ingest.decoding import Bounded
from ingest.validation import fold_id
from storage.rate_limit import Bound, RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIGNED_DECODERS: Final = frozenset({"verkada"})
SIGNATURE_WINDOW_S: Final = 300.0
_SIGNATURE: Final = re.compile(r"(\d{1,12})\|([0-9a-fA-F]{64})")
_MAX_ADDRESSES: Final = 10_000


class HiddenText(Protocol):
    """A secret that is never displayed."""

    def matches(self, candidate: str) -> bool:
        """Return whether a candidate is the secret, in constant time."""

    def reveal(self) -> str:
        """Return the secret."""


@dataclass(frozen=True, slots=True)
class HttpSource:
    """One sender.

    `name`: also the user name for HTTP Basic authentication.
    `token`: None for a source that signs its messages, and for a polled sensor.
    `signature`: shared secret for these signatures.
    `accepts_unregistered`: whether it can send for unregistered sensors.
    `rate_per_s`: messages per second on average; a burst can be twice as many.
    `topic`: topic filter of the format; the sensor in the request's path replaces its wildcards.
    """

    name: str
    decoder: str
    sensors: frozenset[str] = frozenset()
    token: HiddenText | None = field(default=None, repr=False)
    signature: HiddenText | None = field(default=None, repr=False)
    accepts_unregistered: bool = False
    rate_per_s: float = 50.0
    topic: str = "+"

    def build_topic(self, sensor: str) -> str:
        """Return the topic for the sensor in a request's path; empty if there is no sensor.

        >>> HttpSource("diy", "native", topic="plumewatch/v1/+/reading").build_topic("b2")
        'plumewatch/v1/b2/reading'
        """
        levels = (sensor if level in ("+", "#") else level for level in self.topic.split("/"))
        return "/".join(levels) if sensor else ""

    def permits(self, named: str, known: str | None, addressed: str = "") -> bool:
        """Return whether the source is allowed to send a reading.

        `named`: sensor in the message. `known`: id of the registered sensor, or None.
        `addressed`: sensor in the request's path.
        """
        same = fold_id(addressed) in (fold_id(named), fold_id(known or named))
        if addressed and not same and not _is_part(named, (addressed,)):
            return False
        if known is not None:
            return known in self.sensors
        return self.accepts_unregistered or _is_part(named, self.sensors)


def _is_part(named: str, wholes: Iterable[str]) -> bool:
    """Return whether a name is ``<whole>:<part>``, as for a station's additional sensor."""
    return any(named.lower().startswith(f"{whole.lower()}:") for whole in wholes)


def find_by_token(sources: Sequence[HttpSource], authorization: str) -> HttpSource | None:
    """Return the source with the token in an ``Authorization`` header (Bearer or Basic), or None.

    Tokens are compared in constant time.
    """
    scheme, _, rest = authorization.partition(" ")
    name, token = None, rest.strip()
    if scheme.lower() == "basic":
        try:
            name, _, token = base64.b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return None
    elif scheme.lower() != "bearer":
        return None
    found = None
    for source in sources:
        fits = source.token is not None and source.token.matches(token)
        if fits and name in (None, source.name):
            found = source
    return found


class Signature(NamedTuple):
    """The time (as text and in Unix seconds) and digest in a ``Verkada-Signature`` header."""

    stamp: str
    time: float
    digest: str

    @classmethod
    def parse(cls, header: str, now: float) -> Signature | None:
        """Parse the value of a header; None if it is malformed or expired."""
        match = _SIGNATURE.fullmatch(header.strip())
        if match is None or abs(now - float(match[1])) > SIGNATURE_WINDOW_S:
            return None
        return cls(match[1], float(match[1]), match[2].lower())


def find_by_signature(
    sources: Iterable[HttpSource], signature: Signature, body: bytes
) -> HttpSource | None:
    """Return the source with the secret that signed the body, or None."""
    found = None
    for source in sources:
        if source.signature is None:
            continue
        message = body + b"|" + signature.stamp.encode()
        digest = hmac.digest(source.signature.reveal().encode(), message, hashlib.sha256).hex()
        if hmac.compare_digest(digest, signature.digest):
            found = source
    return found


def make_limit(source: HttpSource) -> RateLimit:
    """Return the rate limit of a source; a burst can be twice as many as allowed per second."""
    tries = max(round(2 * source.rate_per_s), 2)
    return RateLimit(Bound(tries, tries / source.rate_per_s))


@dataclass(slots=True)
class Guesses:
    """Limit wrong tokens by address.

    After `allowed` wrong tokens within `window_s`, an address must wait, unless a correct token
    came from it within `trusted_s`.
    """

    allowed: int = 10
    window_s: float = 60.0
    trusted_s: float = 3600.0
    _wrong: RateLimit = field(init=False)
    _right: Bounded[float] = field(default_factory=lambda: Bounded(_MAX_ADDRESSES))

    def __post_init__(self) -> None:
        bound = Bound(self.allowed, self.window_s)
        self._wrong = RateLimit(bound, max_keys=_MAX_ADDRESSES)

    def get_wait_s(self, address: str, now: float) -> float:
        """Return the seconds until this address may try again, or 0."""
        if self._right.get(address, now - self.trusted_s) > now - self.trusted_s:
            return 0.0
        return self._wrong.get_wait_s(address, now)

    def count_wrong(self, address: str, now: float) -> None:
        """Count a wrong token."""
        self._wrong.count(address, now)

    def record_success(self, address: str, now: float) -> None:
        """Record a correct token."""
        self._right[address] = now
