"""Names that flood, and the session of their own that they get.

A session is delivered and acknowledged in order, and its queue is bounded: in that of all, one
account would delay every sensor, and then displace their readings. So if, apart from a backlog of
the broker, more than `BURST` messages within `BURST_S` are of one name, and more than a quarter of
all, it gets a session of its own for `FLOODING_S`, which is read slowly
(`plumewatch.service.ingestion`).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from ingest.decoders.native import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BURST: Final = 1_000
BURST_S: Final = 10.0
FLOODING_S: Final = 300.0
_HANDED_BACK_S: Final = 30.0
"""How long the session of floods keeps a topic after the other one has it again."""


class Floods:
    """Follow the rate of each name; `names` are those of registered sensors."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = names
        self._since, self._counts, self._total = -math.inf, Counter[str](), 0
        self._floods: dict[str, tuple[float, bool]] = {}

    def on_live(self, name: str, now: float, *, queued: bool) -> bool:
        """Take a live message; True if its name floods. `queued` ones wait in the broker."""
        if not 0 <= now - self._since < BURST_S:
            self._since, self._counts, self._total = now, Counter(), 0
        self._counts[name] += 1
        self._total += 1
        count = self._counts[name]
        if count <= BURST or 4 * count < self._total:
            return False
        self._floods[name] = now, queued
        return True

    def flooding(self, now: float) -> dict[str, bool]:
        """Return the names that flooded within `FLOODING_S`, and whether by queued messages."""
        self._floods = {n: f for n, f in self._floods.items() if abs(now - f[0]) < 2 * FLOODING_S}
        return {n: queued for n, (at, queued) in self._floods.items() if abs(now - at) < FLOODING_S}

    def filters_without(
        self, filters: Iterable[str], now: float, taken_over: Iterable[str]
    ) -> tuple[str, ...]:
        """Return filters without native topics that flood at `now`, or are `taken_over`."""
        known = frozenset(taken_over)
        flooding = self.flooding(now)
        found: list[str] = []
        for wanted in filters:
            rest = _after_name(wanted)
            left_out = {
                name
                for name, queued in flooding.items()
                if not queued or f"{PREFIX}{name}/{rest}" in known
            }
            if not rest or not left_out:
                found.append(wanted)
                continue
            found += [f"{PREFIX}{name}/{rest}" for name in self._names if name not in left_out]
        return tuple(found)

    def filters_of(self, filters: Iterable[str], now: float) -> tuple[str, ...]:
        """Return the topics of sensors that flood, which wait in a session of their own."""
        flooding = self.flooding(now - _HANDED_BACK_S)
        names = [name for name, queued in flooding.items() if queued]
        rests = [rest for wanted in filters if (rest := _after_name(wanted))]
        return tuple(f"{PREFIX}{name}/{rest}" for name in names for rest in rests)


def _after_name(wanted: str) -> str:
    _, found, rest = wanted.partition(f"{PREFIX}+/")
    return rest if found else ""
