"""Process arriving messages: queue, decide, commit, acknowledge."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from ingest.integrity import Budgets
from ingest.mqtt.link import DUP, QOS, RETAIN
from ingest.validation import Message
from storage.reading import assume_no_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from ingest.intake import Outcome
    from ingest.mqtt.link import Link
    from storage.journal import DeadLetter
    from storage.reading import Reading, StepOf

    Commit = Callable[[Sequence[Reading], Sequence[DeadLetter]], Awaitable[None]]

CANARY_TOPICS: Final = "plumewatch/canary/"
_OUTSTANDING: Final = 64


def is_canary(topic: str) -> bool:
    """Return whether `topic` carries canary messages, from any service."""
    return topic.startswith(CANARY_TOPICS)


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """Interval between canaries, allowed silence, and longest time between reconnections."""

    every_s: float = 10.0
    silent_after_s: float = 30.0
    last_wait_s: float = 960.0


class Canary:
    """Test that readings can arrive, by sending messages to ourselves.

    A connection can be up while nothing arrives: the session may have lost its subscriptions, or an
    acknowledgment may be lost and the broker's window full. So the service publishes canaries to
    a topic that it subscribes to, at QoS 1 through the same session and window as the readings, and
    measures how long they take to return.

    If nothing arrives for `CanarySettings.silent_after_s`, the service reconnects and subscribes
    again. If that does not help, it tries again after twice as long, up to
    `CanarySettings.last_wait_s`. Time spent waiting for the disk does not count, because unstored
    messages may fill the broker's window. `now` is monotonic, in seconds.

    `nonce`: identifies this process, because a persistent session may deliver canaries of an
    earlier process.
    `round_trip_s`: how long the last canary took to return.
    `silent`: whether nothing has arrived for too long; reset by the next arrival.
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
        """Restart the clock for a new connection."""
        self._under_way.clear()
        self._due = now
        self._heard = now

    def on_arrival(self, now: float) -> None:
        """Note that a message was delivered."""
        self._heard = now
        self._wait = self.settings.silent_after_s
        self.silent = False

    def on_return(self, payload: bytes, now: float) -> None:
        """Note that a canary returned; one from another process counts only as an arrival."""
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

    def take_due_payload(self, now: float) -> bytes | None:
        """Return the payload of the next canary if it is time to send it, or None."""
        if now < self._due:
            return None
        self._due = now + self.settings.every_s
        self.sent += 1
        while len(self._under_way) >= _OUTSTANDING:
            del self._under_way[next(iter(self._under_way))]
        self._under_way[self.sent] = now
        return f"{self._nonce} {self.sent}".encode()

    def on_time(self, now: float, *, waiting: bool) -> bool:
        """Return whether to reconnect because nothing is arriving.

        `waiting`: whether messages are waiting to be acknowledged.
        """
        if waiting:
            self._heard = now
        if now - self._heard < self._wait:
            return False
        self.silent = True
        self._heard = now
        self._wait = min(2 * self._wait, self.settings.last_wait_s)
        return True

    def next_deadline(self) -> float:
        """Return when to call `take_due_payload` and `on_time` again."""
        return min(self._due, self._heard + self._wait)

    def get_age_s(self, now: float) -> float | None:
        """Return the seconds since the last canary returned, or None if none did."""
        return None if self._returned_at is None else now - self._returned_at

    def is_fresh(self, now: float) -> bool:
        """Return whether a canary returned within the allowed silence."""
        age = self.get_age_s(now)
        return age is not None and age <= self.settings.silent_after_s


log = logging.getLogger(__name__)


MAX_GROUP: Final = 500


MAX_UNACKNOWLEDGED_QOS0: Final = 20_000
_LOOK_S: Final = 0.001
DROPPED: Final = "$SYS/broker/publish/messages/dropped"
STORED: Final = "$SYS/broker/store/messages/count"
"""Topics on which Mosquitto publishes its counts."""


@dataclass(slots=True)
class SourceState:
    """State and counts of the broker session.

    `connected`: whether we are connected and subscribed.
    `refused_topics`: topic filters the broker refused.
    `connections`: number of connections made.
    `sessions_lost`: how many times the broker no longer had our session.
    `broker_dropped`: messages that the broker reports as dropped for any client since we started.
    `broker_stored`: messages that the broker stores, including retained ones; None if unknown.
    """

    connected: bool = False
    refused_topics: tuple[str, ...] = ()
    connections: int = 0
    received: int = 0
    acknowledged: int = 0
    dropped_qos0: int = 0
    sessions_lost: int = 0
    broker_dropped: int = 0
    broker_stored: int | None = None
    last_error: str = ""
    _broker_total: int | None = None

    def on_broker_count(self, topic: str, payload: bytes) -> None:
        """Update a count that the broker publishes."""
        if not payload.isdigit() or len(payload) > 18:
            return
        count = int(payload)
        if topic == STORED:
            self.broker_stored = count
        elif topic == DROPPED:
            before, self._broker_total = self._broker_total, count
            if before is None or count == before:
                return
            new = count - before if count > before else count  # the broker restarted
            if self.broker_dropped == 0:
                log.warning("the broker dropped %d more messages", new)
            self.broker_dropped += new


class Arrivals:
    """Queue of one connection's messages, between the network callback and the intake loop."""

    def __init__(
        self,
        clock: Callable[[], float],
        state: SourceState,
        canary: Canary | None = None,
        step_of: StepOf = assume_no_step,
        find_sender: Callable[[str], str | None] = lambda _topic: None,
    ) -> None:
        self._waiting: deque[Message] = deque()
        self._clock = clock
        self._step_of, self._find_sender = step_of, find_sender
        self._state = state
        self._canary = canary
        self._unacknowledged_qos0 = 0
        self._live = False
        self._budgets = Budgets()
        self._left_out = 0
        self._looked = -math.inf
        self._step = 0.0
        self._arrived = asyncio.Event()

    def on_publish(self, name: bytes, payload: bytes, flags: int, packet_id: int) -> None:
        """Queue one message from the network; never blocks, never raises.

        Once every `_LOOK_S`, check whether the clock was set; the next message records the step.
        """
        topic = name.decode("utf-8", "surrogateescape")
        if topic.startswith("$SYS/"):
            self._state.on_broker_count(topic, payload)
            return
        received = self._clock()
        if not 0 <= received - self._looked < _LOOK_S:
            self._looked = received
            self._step += self._step_of(received)
            self._note_arrival()
        canary = is_canary(topic)
        if canary:
            self._on_canary(payload)
        else:
            self._state.received += 1
        read = not self._live or canary or bool(flags & RETAIN)
        if not read:
            sender = self._find_sender(topic) or "/".join(topic.split("/", 2)[:2])
            read = self._budgets.permits(sender, payload, received)
        if not flags & QOS:
            unread = not read and self._left_out == int(received)  # let one per second through
            if unread or self._unacknowledged_qos0 >= MAX_UNACKNOWLEDGED_QOS0:
                if self._state.dropped_qos0 == 0:
                    log.warning(
                        "dropping QoS 0 messages: they arrive faster than they can be stored"
                    )
                self._state.dropped_qos0 += 1
                return
            self._unacknowledged_qos0 += 1
            self._left_out = self._left_out if read else int(received)
        step = 0.0
        if not canary:
            step, self._step = self._step, 0.0
        message = Message(
            topic,
            payload if read else b"",
            received,
            retained=bool(flags & RETAIN),
            duplicate=bool(flags & DUP),
            packet=packet_id,
            live=self._live,
            left_out=not read,
            clock_step=step,
        )
        self._waiting.append(message)
        self._arrived.set()

    def _note_arrival(self) -> None:
        if self._canary is not None:
            if self._canary.silent:
                log.warning("messages are arriving again")
            self._canary.on_arrival(time.monotonic())

    def _on_canary(self, payload: bytes) -> None:
        if self._canary is not None:
            before = self._canary.returned
            self._canary.on_return(payload, time.monotonic())
            self._live = self._live or self._canary.returned > before  # later messages are live

    def __len__(self) -> int:
        """Return how many messages wait for the intake loop."""
        return len(self._waiting)

    def abandon(self) -> None:
        """Count waiting QoS 0 messages as dropped, because nobody will resend them."""
        self._state.dropped_qos0 += self._unacknowledged_qos0
        self._unacknowledged_qos0 = 0

    async def take_group(self) -> list[Message]:
        """Wait for at least one message; return up to `MAX_GROUP`, oldest first."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]

    def mark_decided(self, group: Sequence[Message]) -> None:
        """Note that a group has outcomes, so its QoS 0 messages no longer count as waiting."""
        if self._unacknowledged_qos0:
            self._unacknowledged_qos0 -= sum(not message.packet for message in group)


_CANCEL_AGAIN_S: Final = 0.1


_JOIN_POLL_S: Final = 0.2
"""How often to check for ended join windows while nothing arrives."""


class DecidesOutcome(Protocol):
    """Decides the outcome of each message, like `ingest.intake.Intake`."""

    def on_message(self, message: Message) -> Outcome:
        """Decide the outcome of a message; never raises."""

    def find_sender(self, topic: str) -> str | None:
        """Return the sensor that a topic names; None if it names none, or several."""

    def on_new_session(self) -> None:
        """Forget packet ids, because the broker has started a new session."""

    def on_time(self, now: float) -> Sequence[Reading]:
        """Return the readings that have waited long enough by `now`."""

    def get_waiting_since(self) -> float | None:
        """Return the receive time of the oldest waiting message, or None."""


class IntakeLoop:
    """Decide, commit and acknowledge messages of one connection.

    `commit`: ``await commit(readings, dead_letters)`` returns once they and everything committed
    before them are durable (`GroupCommit.commit`).
    """

    def __init__(
        self,
        link: Link,
        arrivals: Arrivals,
        intake: DecidesOutcome,
        commit: Commit,
        clock: Callable[[], float],
        state: SourceState,
    ) -> None:
        self._link = link
        self._arrivals = arrivals
        self._intake = intake
        self._commit = commit
        self._clock = clock
        self._state = state
        self._unacknowledged: deque[Message] = deque()

    @property
    def is_behind(self) -> bool:
        """Whether messages are waiting to be acknowledged."""
        return bool(self._unacknowledged) or len(self._arrivals) > 0

    async def run(self, gone: asyncio.Future[Any], canaries: Coroutine[None, None, None]) -> None:
        """Process messages until the connection is `gone`."""
        waiting = asyncio.ensure_future(self._arrivals.take_group())
        canary = asyncio.ensure_future(canaries)
        try:
            while not gone.done():
                pending: list[asyncio.Future[Any]] = [waiting, gone]
                if not canary.done():
                    pending.append(canary)
                await asyncio.wait(
                    pending,
                    timeout=None if self._intake.get_waiting_since() is None else _JOIN_POLL_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if canary.done():
                    canary.result()
                group: list[Message] = []
                if waiting.done():
                    group = waiting.result()
                    waiting = asyncio.ensure_future(self._arrivals.take_group())
                self._unacknowledged.extend(group)
                outcomes = [self._intake.on_message(m) for m in group if not is_canary(m.topic)]
                self._arrivals.mark_decided(group)
                await self._store(outcomes, self._intake.on_time(self._clock()))
                if not gone.done():
                    self._acknowledge()
        finally:
            await _cancel(waiting, canary)
            self._arrivals.abandon()
        error = gone.exception()
        if error is not None:
            raise error

    def _acknowledge(self) -> None:
        """Acknowledge all messages before the first one that is in a join window."""
        held = self._intake.get_waiting_since()
        done: list[Message] = []
        while self._unacknowledged:
            if held is not None and self._unacknowledged[0].received >= held:
                break
            done.append(self._unacknowledged.popleft())
        self._link.acknowledge(message.packet for message in done if message.packet)
        self._state.acknowledged += sum(not is_canary(message.topic) for message in done)

    async def _store(self, outcomes: Sequence[Outcome], joined: Sequence[Reading]) -> None:
        if not outcomes and not joined:
            return
        readings = [reading for outcome in outcomes for reading in outcome.readings]
        readings.extend(joined)
        letters = [o.dead_letter for o in outcomes if o.dead_letter is not None]
        await self._commit(readings, letters)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks repeatedly until they have ended.

    Before Python 3.12, `asyncio.wait_for` loses a cancellation that coincides with its result. The
    canary task would then keep publishing on a dead connection.
    """
    for task in tasks:
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_CANCEL_AGAIN_S)
        if not task.cancelled():
            task.exception()  # asyncio logs an exception that nobody reads
