"""Rate limits: of failed attempts by address, by account and in total; of answers by link.

An attempt counts before it is checked, so that parallel ones are no way around; a success is
removed. Guessing can keep others from signing in, except from addresses that did so before. If the
clock is set back, what was counted at a later time counts no more.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MOST_KEYS: Final = 10_000


class _Bound(NamedTuple):
    """At most `tries` in `window_s` seconds."""

    tries: int
    window_s: float


_CLIENT: Final[tuple[_Bound, ...]] = (_Bound(5, 60.0), _Bound(30, 3600.0))
_ACCOUNT: Final = (_Bound(10, 900.0),)
_ALL: Final = (_Bound(60, 60.0),)
_LOCKED: Final = (_Bound(1, 900.0),)
_LINK_LOOKS: Final = (_Bound(60, 60.0),)
_LINK_ANSWERS: Final = (_Bound(10, 60.0), _Bound(30, 12 * 3600.0))
_TESTS: Final = (_Bound(3, 60.0),)
_API_READS: Final = (_Bound(1200, 60.0),)
"""A dashboard of thirty queries every ten seconds, and its viewers."""
_API_WRITES: Final = (_Bound(60, 60.0),)


def address_key(address: str) -> str:
    """Return the key of an address: for IPv6 its /64 network, since a host has many addresses.

    >>> address_key("2001:db8:1:2:3::4"), address_key("10.0.0.7"), address_key("testclient")
    ('2001:db8:1:2::/64', '10.0.0.7', 'testclient')
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


@dataclass(slots=True)
class LinkLimit:
    """Counts the requests with one link, in memory: looking, and answers that may change things."""

    looks: tuple[_Bound, ...] = _LINK_LOOKS
    answers: tuple[_Bound, ...] = _LINK_ANSWERS
    _times: dict[str, deque[float]] = field(default_factory=dict)

    def take(self, token: str, now: float, *, answers: bool) -> float:
        """Count a request and return 0.0, or return the seconds to wait."""
        bounds = self.answers if answers else self.looks
        return _count(self._times, {f"{answers} {token}": bounds}, now)

    def wait(self, token: str, now: float, *, answers: bool) -> float:
        """Return the seconds to wait until the next request, which is not counted."""
        bounds = self.answers if answers else self.looks
        return _wait(self._times.get(f"{answers} {token}", ()), bounds, now)


@dataclass(slots=True)
class TryLimit:
    """Counts attempts, in memory; see `Limits`."""

    _tries: dict[str, deque[float]] = field(default_factory=dict)
    _proven: dict[str, None] = field(default_factory=dict)
    """Addresses with a successful sign-in, the latest last."""

    def take(self, address: str, account: str, now: float) -> float:
        """Count an attempt and return 0.0, or return the seconds to wait."""
        return _count(self._tries, self._keys(address, account), now)

    def succeeded(self, address: str, account: str) -> None:
        """Remove the attempts of this account and the last one of its address."""
        for key in self._keys(address, account):
            if key.startswith("account "):
                self._tries.pop(key, None)
            elif tries := self._tries.get(key):
                tries.pop()
        mine = address_key(address)
        self._proven.pop(mine, None)
        self._proven[mine] = None
        if len(self._proven) > _MOST_KEYS:
            del self._proven[next(iter(self._proven))]

    def _keys(self, address: str, account: str) -> dict[str, tuple[_Bound, ...]]:
        mine = address_key(address)
        keys = {f"client {mine}": _CLIENT}
        if mine not in self._proven:
            keys["all"] = _ALL
            if account:
                keys[f"account {account.casefold()[:80]}"] = _ACCOUNT
        return keys


def _count(
    times: dict[str, deque[float]], keys: Mapping[str, tuple[_Bound, ...]], now: float
) -> float:
    wait = max(_wait(times.get(key, ()), bounds, now) for key, bounds in keys.items())
    if wait > 0:
        return wait
    for key, bounds in keys.items():
        if key not in times and len(times) >= _MOST_KEYS:
            del times[next(k for k in times if k != "all")]
        times.setdefault(key, deque(maxlen=max(b.tries for b in bounds))).append(now)
    return 0.0


def _wait(times: Iterable[float], bounds: tuple[_Bound, ...], now: float) -> float:
    waits = [0.0]
    for bound in bounds:
        recent = [t for t in times if now - bound.window_s < t <= now]
        if len(recent) >= bound.tries:
            waits.append(recent[-bound.tries] + bound.window_s - now)
    return max(waits)


@dataclass(slots=True)
class Limits:
    """The limits of a staff page; a change of its configuration does not reset them."""

    sign_in: TryLimit = field(default_factory=TryLimit)
    answers: TryLimit = field(default_factory=TryLimit)
    links: LinkLimit = field(default_factory=LinkLimit)
    provider: LinkLimit = field(default_factory=LinkLimit)
    """Of sign-ins at the provider from one address, which a whole school may share.

    Of `all`: refusals that the audit log records, since anybody can make up codes.
    """
    logouts: LinkLimit = field(default_factory=lambda: LinkLimit(answers=_CLIENT))
    """Of reports of the provider that are not valid, by address; others are not counted."""
    codes: LinkLimit = field(default_factory=LinkLimit)
    """Of codes after a password, by person: whoever gives one knows the password."""
    locked: LinkLimit = field(default_factory=lambda: LinkLimit(answers=_LOCKED))
    """Of entries in the audit log about attempts that were not looked at, by person."""
    api: TryLimit = field(default_factory=TryLimit)
    tokens: LinkLimit = field(default_factory=lambda: LinkLimit(_API_READS, _API_WRITES))
    tests: LinkLimit = field(default_factory=lambda: LinkLimit(answers=_TESTS))
    """Of test notices, by who sends them."""
    changes: LinkLimit = field(default_factory=LinkLimit)
    """Of people who change their own settings: each change is a restart."""
