"""How often somebody may be wrong: by address, by account, and all together.

A try counts before it is judged, so that many at once are no way around; one that succeeds is
forgotten. Who guesses at one account, or from many addresses, can keep others from signing in
meanwhile: not where somebody has signed in before, since an address that has is held to its own
bounds alone; not from what they are signed in to already, nor from the buttons in their notices.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from dataclasses import dataclass, field
from typing import Final

_MOST_KEYS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Bound:
    """At most `tries` in `window_s`."""

    tries: int
    window_s: float


_CLIENT: Final = (_Bound(5, 60.0), _Bound(30, 3600.0))
_ACCOUNT: Final = (_Bound(10, 900.0),)
_ALL: Final = (_Bound(60, 60.0),)


def address_key(address: str) -> str:
    """Name what counts as one address: of IPv6 the network, since a host has many of those.

    Examples
    --------
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
class TryLimit:
    """Counts tries; forgets at a restart, which an attacker cannot cause."""

    _tries: dict[str, deque[float]] = field(default_factory=dict)
    _proven: dict[str, None] = field(default_factory=dict)
    """Addresses somebody has signed in from, the latest last."""

    def take(self, address: str, account: str, now: float) -> float:
        """Count a try that may be made now.

        Returns
        -------
        float
            0.0 if it may; else the seconds to wait, and nothing is counted.
        """
        keys = self._keys(address, account)
        wait = max(self._wait(key, bounds, now) for key, bounds in keys.items())
        if wait > 0:
            return wait
        for key, bounds in keys.items():
            if key not in self._tries and len(self._tries) >= _MOST_KEYS:
                del self._tries[next(k for k in self._tries if k != "all")]
            most = max(b.tries for b in bounds)
            self._tries.setdefault(key, deque(maxlen=most)).append(now)
        return 0.0

    def succeeded(self, address: str, account: str) -> None:
        """Forget the wrong tries of this account and the last one of its address."""
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
        keys: dict[str, tuple[_Bound, ...]] = {f"client {mine}": _CLIENT}
        if mine in self._proven:
            return keys
        keys["all"] = _ALL
        if account:
            keys[f"account {account.casefold()[:80]}"] = _ACCOUNT
        return keys

    def _wait(self, key: str, bounds: tuple[_Bound, ...], now: float) -> float:
        tries = self._tries.get(key, ())
        waits = [0.0]
        for bound in bounds:
            recent = [t for t in tries if t > now - bound.window_s]
            if len(recent) >= bound.tries:
                waits.append(recent[-bound.tries] + bound.window_s - now)
        return max(waits)
