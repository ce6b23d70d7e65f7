"""Rate limits of the staff page, such as limits on failed attempts by address and account.

An attempt is counted before it is checked, so parallel attempts cannot bypass the limit. If it
succeeds, it is subtracted again. An attacker who guesses passwords can delay other people's
sign-ins, except from addresses with an earlier successful sign-in.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from storage.rate_limit import Bound, RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_PROVEN: Final = 10_000
_DAY_S: Final = 86_400.0
_CLIENT: Final = (Bound(5, 60.0), Bound(30, 3600.0))
_ANSWERS: Final = (Bound(10, 60.0), Bound(30, 12 * 3600.0))
_WRITES: Final = (Bound(20, 60.0), Bound(400, 12 * 3600.0))
_VIEWS: Final = Bound(60, 60.0)


def make_address_key(address: str) -> str:
    """Return the key of an address; for IPv6, its /64 network, because hosts use many addresses.

    >>> [make_address_key(a) for a in ("2001:db8:1:2:3::4", "10.0.0.7", "testclient")]
    ['2001:db8:1:2::/64', '10.0.0.7', 'testclient']
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


@dataclass(slots=True)
class AttemptLimit:
    """Limits attempts to sign in, or to use a token."""

    _clients: RateLimit = field(default_factory=partial(RateLimit, *_CLIENT))
    _accounts: RateLimit = field(default_factory=partial(RateLimit, Bound(10, 900.0)))
    _slowed: RateLimit = field(default_factory=partial(RateLimit, Bound(2, 60.0)))
    """Attempts by address on an account whose limit is reached. The account is not locked, because
    then anyone could lock others out."""
    _all: RateLimit = field(default_factory=partial(RateLimit, Bound(60, 60.0)))
    _proven: dict[str, None] = field(default_factory=dict)
    """Addresses with a successful sign-in, the most recent last."""

    def take(self, address: str, accounts: Iterable[str], now: float) -> float:
        """Count an attempt on accounts and return 0.0, or return how many seconds to wait."""
        mine = make_address_key(address)
        limits = [(self._clients, mine)]
        if mine not in self._proven:
            limits.append((self._all, ""))
            for key in map(_make_account_key, accounts):
                is_slowed = self._accounts.get_wait_s(key, now) > 0
                limits.append(
                    (self._slowed, f"{mine} {key}") if is_slowed else (self._accounts, key)
                )
        wait_s = max(limit.get_wait_s(key, now) for limit, key in limits)
        if not wait_s:
            for limit, key in limits:
                limit.count(key, now)
        return wait_s

    def record_success(self, address: str, account: str) -> None:
        """Forget the account's attempts, and the latest attempt from this address."""
        mine = make_address_key(address)
        self._clients.refund(mine)
        if mine not in self._proven:
            self._all.refund("")
            self._accounts.reset(_make_account_key(account))
        self._proven.pop(mine, None)
        self._proven[mine] = None
        if len(self._proven) > _MAX_PROVEN:
            del self._proven[next(iter(self._proven))]


def _make_account_key(account: str) -> str:
    return account.casefold()[:80]


@dataclass(slots=True)
class Limits:
    """The limits of a staff page; changing its configuration does not reset them."""

    sign_in: AttemptLimit = field(default_factory=AttemptLimit)
    answers: AttemptLimit = field(default_factory=AttemptLimit)
    link_views: RateLimit = field(default_factory=partial(RateLimit, _VIEWS))
    link_answers: RateLimit = field(default_factory=partial(RateLimit, *_ANSWERS))
    """Requests with one link: `link_views` to read its incident, `link_answers` to change it."""
    provider: RateLimit = field(default_factory=partial(RateLimit, _VIEWS))
    """Provider sign-ins, by address; a whole school may share one address."""
    refusals: RateLimit = field(default_factory=partial(RateLimit, _VIEWS))
    """Audit log entries about refused provider sign-ins; anyone can cause them."""
    codes: RateLimit = field(default_factory=partial(RateLimit, *_ANSWERS))
    """Second-factor codes by person; anyone who gets this far knows the password."""
    locked: RateLimit = field(default_factory=partial(RateLimit, Bound(1, 900.0)))
    """Audit log entries about attempts refused after too many failures, by person."""
    api: AttemptLimit = field(default_factory=AttemptLimit)
    token_reads: RateLimit = field(default_factory=partial(RateLimit, Bound(1200, 60.0)))
    """Enough for several viewers of dashboards that run thirty queries every ten seconds."""
    tests: RateLimit = field(default_factory=partial(RateLimit, Bound(3, 60.0)))
    """Requests for test notices, by sender."""
    test_notices: RateLimit = field(default_factory=partial(RateLimit, Bound(24, _DAY_S)))
    """Test notices, by recipient; each channel counts."""
    all_test_notices: RateLimit = field(default_factory=partial(RateLimit, Bound(120, _DAY_S)))
    """Test notices to everyone together: half of what ntfy.sh delivers a day."""
    changes: RateLimit = field(default_factory=partial(RateLimit, *_ANSWERS))
    """Changes of settings, by person; changes of the configuration file restart the service."""
    writes: RateLimit = field(default_factory=partial(RateLimit, *_WRITES))
    """Forms, by person and part of the page, and changes with a token; most store something."""
