"""A message of our own that takes the way of every reading, to see whether that way is open.

A connection can be up and silent: a session that lost its subscriptions, a window that waits for a
lost acknowledgment. So the service publishes a canary to a topic that it is subscribed to, at QoS
1 through the same session and window as the readings, and takes the time until it comes back. If
nothing arrives for `CanarySettings.silent_after_s`, the service connects and subscribes again; if
that did not help, again after twice as long, up to `CanarySettings.last_wait_s`. While something
waits for the disk, the broker's window may be closed by us, and the clock does not move.

`Canary` never sleeps, logs or reads a clock; `now` is monotonic, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CANARY_TOPICS: Final = "plumewatch/canary/"
_OUTSTANDING: Final = 64


def is_canary(topic: str) -> bool:
    """Whether a topic is that of canaries, ours or another service's."""
    return topic.startswith(CANARY_TOPICS)


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """How often, how long silence may last, and the longest time between reconnections."""

    every_s: float = 10.0
    silent_after_s: float = 30.0
    last_wait_s: float = 960.0


class Canary:
    """Follow canaries over the connections of one service.

    `nonce`: marks this process, since a persistent session may deliver canaries of an earlier one.
    `round_trip_s`: of the canary that came back last.
    `silent`: whether nothing arrives although it should; stays until something does.
    """

    def __init__(self, settings: CanarySettings, nonce: str) -> None:
        self.settings = settings
        self.sent = 0
        self.returned = 0
        self.round_trip_s: float | None = None
        self.silent = False
        self._nonce = nonce
        self._under_way: dict[int, float] = {}
        self._returned_at: float | None = None
        self._due = 0.0
        self._heard = 0.0
        self._wait = settings.silent_after_s

    def on_connected(self, now: float) -> None:
        """Begin to wait on a new connection."""
        self._under_way.clear()
        self._due = now
        self._heard = now

    def on_arrival(self, now: float) -> None:
        """Note that something was delivered, whatever it is."""
        self._heard = now
        self._wait = self.settings.silent_after_s
        self.silent = False

    def on_return(self, payload: bytes, now: float) -> None:
        """Note a canary that came back; one of another time counts as an arrival only."""
        self.on_arrival(now)
        nonce, _, number = payload.decode("ascii", "replace").partition(" ")
        if nonce != self._nonce or not number.isdecimal() or len(number) > 18:
            return
        sent = self._under_way.pop(int(number), None)
        if sent is None:
            return
        self.returned += 1
        self.round_trip_s = now - sent
        self._returned_at = now

    def due(self, now: float) -> bytes | None:
        """Return the payload of a canary to publish now; None if none is due."""
        if now < self._due:
            return None
        self._due = now + self.settings.every_s
        self.sent += 1
        while len(self._under_way) >= _OUTSTANDING:
            del self._under_way[next(iter(self._under_way))]
        self._under_way[self.sent] = now
        return f"{self._nonce} {self.sent}".encode()

    def on_time(self, now: float, *, waiting: bool) -> bool:
        """Return whether silence calls for another connection."""
        if waiting:
            self._heard = now
        if now - self._heard < self._wait:
            return False
        self.silent = True
        self._heard = now
        self._wait = min(2 * self._wait, self.settings.last_wait_s)
        return True

    def next_deadline(self) -> float:
        """When `due` or `on_time` has something to do next."""
        return min(self._due, self._heard + self._wait)

    def age_s(self, now: float) -> float | None:
        """Seconds since a canary came back; None if none did yet."""
        return None if self._returned_at is None else now - self._returned_at

    def fresh(self, now: float) -> bool:
        """Whether a canary came back within the time that silence may last."""
        age = self.age_s(now)
        return age is not None and age <= self.settings.silent_after_s
