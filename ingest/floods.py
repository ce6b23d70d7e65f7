"""Senders that flood, and how much of what they send is read.

All sensors share one session, which is delivered and acknowledged in order: what one account sends
delays every other, unless it costs next to nothing. So of a sender that floods one reading a second
is stored, and the rest is left out and counted.

Readings of one sensor are of different kinds: with or without time stamp, with or without number.
Rate and share are those of each kind, so that a flood of one does not displace the others. Readings
of a kind that floods are stored, but not judged, while another kind of that sensor comes as usual.

A kind floods if within `WINDOW_S` it has more than `BURST` messages, more than a quarter of all,
and more than `PER_S` for each second that their own time stamps are of: a sensor that sends what it
stored while it was offline has few of each second. More than `MOST` are a flood whatever their
stamps say. It lasts until a whole window is below. A second is one of their own stamps, or else of
receipt.

Only live messages count: a backlog that waited in the broker is read as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from ingest.states import Bounded

if TYPE_CHECKING:
    from collections.abc import Hashable

WINDOW_S: Final = 10.0
BURST: Final = 1_000
PER_S: Final = 20
MOST: Final = 20_000
_USUAL_S: Final = 900.0
"""How long another kind counts as usual after its last reading."""


class Share(Enum):
    """What becomes of a message of a sender."""

    READ = auto()
    STORED = auto()
    LEFT_OUT = auto()


@dataclass(slots=True)
class _Kind:
    """Messages of one kind in a window, and whether it floods there and did before."""

    window: int = -1
    count: int = 0
    last: float = -math.inf
    seconds: set[int] = field(default_factory=set)
    floods: bool = False
    went_on: bool = False
    beyond: bool = False

    def begin(self, window: int) -> None:
        """Go on to a later window."""
        self.went_on = self.floods and self.count > BURST and window == self.window + 1
        self.floods, self.beyond = self.went_on, self.went_on and self.count > MOST
        self.window, self.count = window, 0
        self.seconds.clear()


class Floods:
    """Follow what is sent under each name, for at most `names` of them."""

    def __init__(self, names: int = 10_000) -> None:
        self._senders: Bounded[dict[Hashable, _Kind]] = Bounded(names)
        self._since, self._window, self._total = -math.inf, 0, 0

    def on_live(self, name: str, kind: Hashable, time: float, now: float) -> Share:
        """Take a live message at its own `time`, received `now`."""
        if not 0 <= now - self._since < WINDOW_S:
            self._window += 1 if now - self._since < 2 * WINDOW_S else 2
            self._since, self._total = now, 0
        kinds = self._senders.get(name)
        if kinds is None:
            kinds = self._senders[name] = {}
        own = kinds.get(kind)
        if own is None:
            own = kinds[kind] = _Kind()
        if own.window != self._window:
            own.begin(self._window)
        self._total += 1
        own.count += 1
        own.last = now
        count, seconds = own.count, own.seconds
        own.beyond = own.beyond or count > MOST
        second = int(now if own.beyond else time)
        is_next = second not in seconds
        seconds.add(second)
        if count > BURST and 4 * count > self._total:
            own.floods = own.floods or own.beyond or count > PER_S * len(seconds)
        if not own.floods:
            return Share.READ
        if not is_next:
            return Share.LEFT_OUT
        others = (other for other in kinds.values() if other is not own)
        usual = any(not k.floods and abs(now - k.last) < _USUAL_S for k in others)
        return Share.STORED if usual else Share.READ
