"""MQTT in: acknowledge what is durable, in the order it came, and nothing else.

Order of operations
-------------------
The broker delivers at QoS 1 into a persistent session. Arrivals queue in `Arrivals`; the intake
loop takes a group, decides each message's one outcome (`ingest.intake.Intake`), waits until
readings and dead letters of the group are durable (`ingest.commit.GroupCommit`), and only then
sends the PUBACKs, in receive order and on the connection that delivered them. A group is never
given up: when the disk refuses, the same group is tried again, the broker's window closes and the
broker keeps what follows. Messages of a join window, and those that came after them, are
acknowledged once the window is closed and committed. A canary (`ingest.canary`) is acknowledged in
its place.

A former client id
------------------
Messages may be queued in a session under another client id that the service had before. The new
session subscribes first and queues; then the former one gives up its subscriptions and is drained
through the same intake; then the new one is taken in. So nothing is lost, also by a kill at any
point, and the order is kept. What is published between the two requests is in both: a reading
without time stamp is then stored twice. If the former session cannot be had, the new one goes on
without it, and the next connection tries again.

Bounds
------
Unacknowledged QoS 1 messages are bounded by the broker (`max_inflight_messages`). QoS 0 messages
have no window: beyond `MAX_UNACKNOWLEDGED_QOS0` waiting, the newest is dropped and counted.

This module and `ingest.broker` alone touch the client underneath aiomqtt (manual acknowledgement,
its own callback, large reads): aiomqtt 2 acknowledges before the caller has seen the message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import aiomqtt
from msgspec import structs

from ingest.broker import (
    DROPPED,
    STORED,
    Link,
    Subscriptions,
    canary_topic,
    connected,
    ignore_cut_connection,
    is_refused,
    new_client,
)
from ingest.canary import CANARY_TOPICS, Canary, CanarySettings, Cure
from ingest.errors import BrokerError, BrokerReason
from ingest.message import Message, never_set

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from paho.mqtt.client import Client as PahoClient
    from paho.mqtt.client import MQTTMessage

    from ingest.broker import BrokerSettings
    from ingest.intake import Outcome
    from storage.journal import DeadLetter
    from storage.reading import Reading

log = logging.getLogger(__name__)

_T = TypeVar("_T")

MAX_GROUP: Final = 500
MAX_UNACKNOWLEDGED_QOS0: Final = 20_000
_FIRST_RETRY_S: Final = 0.5
_LAST_RETRY_S: Final = 30.0
_CANCEL_AGAIN_S: Final = 0.1
_CONTENDED: Final = 4
_CONTENDED_S: Final = 30.0
"""So many connections lost within this time are reported: nothing tells a bad network from another
client with our client id."""
_JOIN_POLL_S: Final = 0.2
"""How often to look whether a join window is over while nothing arrives."""
_NARROW_POLL_S: Final = 0.5
"""How often to look whether other topics are wanted."""
_FILTERS: Final = 400
"""Of one request: with the longest names still within the shipped broker's `max_packet_size`."""
_DRAIN_ATTEMPTS: Final = 2
_DRAIN_POLL_S: Final = 0.05
_DRAINED_S: Final = 15.0
"""So long without a message, a former session is drained if its marker cannot be had."""
_PACKETS: Final = 65_536
"""Added to the packet ids of another session, which are not those of the main one."""


@dataclass(slots=True)
class SourceState:
    """What the intake loop counts and shows; only ever written by it.

    `connected`: connected, with the topics subscribed to.
    `refused_topics`: topic filters that the broker lets us not subscribe to.
    `subscribed_anew`, `reconnected`: cures of silence.
    `sessions_lost`: how often the broker no longer had our session.
    `broker_dropped`: messages that the broker has dropped for any of its clients since the service
    started, as far as it tells.
    `broker_stored`: messages that the broker holds, retained ones too; None if it does not tell.
    """

    connected: bool = False
    refused_topics: tuple[str, ...] = ()
    connections: int = 0
    received: int = 0
    acknowledged: int = 0
    dropped_qos0: int = 0
    subscribed_anew: int = 0
    reconnected: int = 0
    sessions_lost: int = 0
    broker_dropped: int = 0
    broker_stored: int | None = None
    last_error: str = ""
    _broker_total: int | None = None

    def on_broker_count(self, topic: str, payload: bytes) -> None:
        """Take what the broker publishes of itself."""
        if not payload.isdigit() or len(payload) > 18:
            return
        count = int(payload)
        if topic == STORED:
            self.broker_stored = count
        elif topic == DROPPED:
            before, self._broker_total = self._broker_total, count
            if before is None or count == before:
                return
            new = count - before if count > before else count  # it started from zero
            if self.broker_dropped == 0:
                log.warning("the broker drops messages: %d more", new)
            self.broker_dropped += new


@dataclass(frozen=True, slots=True)
class _Arrival:
    message: Message
    packet_id: int
    qos: int
    canary: bool = False


class Arrivals:
    """Messages of one connection between the network callback and the intake loop."""

    def __init__(
        self,
        clock: Callable[[], float],
        state: SourceState,
        canary: Canary | None = None,
        step_of: Callable[[float], float] = never_set,
    ) -> None:
        self._waiting: deque[_Arrival] = deque()
        self._clock = clock
        self._step_of = step_of
        self._state = state
        self._canary = canary
        self._unacknowledged_qos0 = 0
        self._live = False
        self._arrived = asyncio.Event()

    def on_message(self, _client: PahoClient, _userdata: object, raw: MQTTMessage) -> None:
        """Take one message from the network; never blocks, never raises."""
        try:
            topic = raw.topic
        except UnicodeDecodeError:
            topic = raw._topic.decode("utf-8", "surrogateescape")  # noqa: SLF001 - .topic raises
        if topic.startswith("$SYS/"):
            self._state.on_broker_count(topic, bytes(raw.payload))
            return
        canary = topic.startswith(CANARY_TOPICS)
        self._hear(bytes(raw.payload), canary=canary)
        self._state.received += not canary
        if raw.qos == 0:
            if self._unacknowledged_qos0 >= MAX_UNACKNOWLEDGED_QOS0:
                if self._state.dropped_qos0 == 0:
                    log.warning("dropping QoS 0 messages: more arrive than can be stored")
                self._state.dropped_qos0 += 1
                return
            self._unacknowledged_qos0 += 1
        received = self._clock()
        message = Message(
            topic=topic,
            payload=bytes(raw.payload),
            received=received,
            retained=raw.retain,
            duplicate=raw.dup,
            packet=raw.mid if raw.qos else 0,
            live=self._live,
            clock_step=self._step_of(received),
        )
        self._waiting.append(_Arrival(message, raw.mid, raw.qos, canary))
        self._arrived.set()

    def _hear(self, payload: bytes, *, canary: bool) -> None:
        if self._canary is None:
            return
        if self._canary.silent:
            log.warning("messages arrive again")
        if canary:
            before = self._canary.returned
            self._canary.on_return(payload, time.monotonic())
            self._live = self._live or self._canary.returned > before  # the broker keeps the order
        else:
            self._canary.on_arrival(time.monotonic())

    def __len__(self) -> int:
        """Return how many messages wait for the intake loop."""
        return len(self._waiting)

    async def group(self) -> list[_Arrival]:
        """Wait for at least one message; return up to `MAX_GROUP`, oldest first."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
        self._unacknowledged_qos0 -= sum(a.qos == 0 for a in taken)
        return taken


def _all_of_them(topics: tuple[str, ...]) -> tuple[str, ...]:
    return topics


def _pieces(items: list[_T]) -> Iterator[list[_T]]:
    for at in range(0, len(items), _FILTERS):
        yield items[at : at + _FILTERS]


class Decides(Protocol):
    """What decides each message's outcome: `ingest.intake.Intake`, or one for other messages."""

    def on_message(self, message: Message) -> Outcome:
        """Return what becomes of a message; never raises."""

    def on_new_session(self) -> None:
        """Forget packet ids: the broker has begun a session, and numbers anew."""

    def on_session_fault(self, what: str, now: float) -> None:
        """Report ``session_lost`` or ``session_contended``."""

    def on_time(self, now: float) -> Sequence[Reading]:
        """Return readings that no longer wait at `now`."""

    def waiting_since(self) -> float | None:
        """Receive time from which on messages wait; None if none does."""


@dataclass(frozen=True, slots=True)
class OtherSession:
    """Keeps the packet ids of another session apart from those of the main one.

    `number`: of the session, from 1 on.
    `live`: take its messages as published now, though they may have waited.
    """

    intake: Decides
    number: int = 1
    live: bool = False

    def on_message(self, message: Message) -> Outcome:
        """Return what becomes of a message; never raises."""
        packet = message.packet and message.packet + self.number * _PACKETS
        live = message.live or self.live
        return self.intake.on_message(structs.replace(message, packet=packet, live=live))

    def on_new_session(self) -> None:
        """Go on: the packet ids of the main session are still known."""

    def on_session_fault(self, what: str, now: float) -> None:
        """Report ``session_lost`` or ``session_contended``."""
        self.intake.on_session_fault(what, now)

    def on_time(self, now: float) -> Sequence[Reading]:
        """Return readings that no longer wait at `now`."""
        return self.intake.on_time(now)

    def waiting_since(self) -> float | None:
        """Receive time from which on messages wait; None if none does."""
        return self.intake.waiting_since()


class MqttSource:
    """The service's end of the broker connection.

    `topics`: topic filters to subscribe to at QoS 1.
    `intake`: decides the outcome of each message.
    `commit`: ``await commit(readings, dead_letters)`` returns once both, and all that was committed
    before, are durable (`GroupCommit.commit`).
    `clock`: unix seconds, for the receive time.
    `canary`: without it no canary is sent, silence is not noticed, and the broker's own counts are
    not read.
    `subscriptions`: the file that remembers what the session is subscribed to; without it, messages
    of topics that are not wanted any more go on to arrive.
    `step_of`: by how many seconds the clock was set since the message before, by its time now.
    `narrowed`: returns what to subscribe to now, of `topics`.
    `most_per_s`: read so many messages a second at most; the others wait in the broker.
    `subscribed`: topic filters that the session has.
    `attempted`: set once it is connected, or could not be.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Sequence[str],
        intake: Decides,
        commit: Callable[[Sequence[Reading], Sequence[DeadLetter]], Awaitable[None]],
        clock: Callable[[], float],
        canary: CanarySettings | None = None,
        subscriptions: Path | None = None,
        step_of: Callable[[float], float] = never_set,
        narrowed: Callable[[tuple[str, ...]], tuple[str, ...]] = _all_of_them,
        most_per_s: float = math.inf,
    ) -> None:
        self.state = SourceState()
        self.attempted = asyncio.Event()
        self.canary = None if canary is None else Canary(canary, secrets.token_hex(8))
        self._unacknowledged: deque[_Arrival] = deque()
        self._settings = settings
        self._topics = tuple(topics)
        self._intake = intake
        self._commit = commit
        self._clock = clock
        self._subscriptions = (
            None if subscriptions is None else Subscriptions(subscriptions, settings)
        )
        self._step_of = step_of
        self._narrowed = narrowed
        self._most_per_s = most_per_s
        self.subscribed: tuple[str, ...] = ()
        self._lost_at: float | None = None
        self._losses: deque[float] = deque(maxlen=_CONTENDED)
        self._jitter = random.Random()  # noqa: S311 - spreads reconnects, hides nothing

    def use_client_id(self, client_id: str) -> None:
        """Set the client id of the session, before `run`."""
        self._settings = replace(self._settings, client_id=client_id)
        if self._subscriptions is not None:
            self._subscriptions = self._subscriptions.of(self._settings)

    async def run(self) -> None:
        """Connect, receive, reconnect with growing pauses; until cancelled.

        Raises `BrokerError`: only where trying again cannot help: the broker refuses user or
        password.
        """
        asyncio.get_running_loop().set_exception_handler(ignore_cut_connection)
        pause = _FIRST_RETRY_S
        while True:
            before = self.state.connections
            try:
                await self._session()
            except BrokerError as error:
                if error.reason is BrokerReason.REFUSED and self.state.connections == 0:
                    raise
                self.state.last_error = str(error)
                if self.state.connections > before:
                    pause = _FIRST_RETRY_S
                    self._on_connection_lost()
                log.warning("%s; trying again within %.1f s", error, pause)
            finally:
                self.state.connected = False
                self.attempted.set()
            await asyncio.sleep(pause * self._jitter.uniform(0.5, 1.0))
            pause = min(pause * 2, _LAST_RETRY_S)

    def _connection(self) -> tuple[aiomqtt.Client, Link, Arrivals]:
        client = new_client(self._settings, self._settings.client_id, clean=False)
        arrivals = Arrivals(self._clock, self.state, self.canary, self._step_of)
        self._unacknowledged.clear()
        client._client.manual_ack_set(on=True)  # noqa: SLF001 - aiomqtt has no manual mode
        link = Link(client._client)  # noqa: SLF001 - the client underneath
        client._client.on_message = arrivals.on_message  # noqa: SLF001 - aiomqtt hides `dup`
        return client, link, arrivals

    async def _session(self) -> None:
        client, link, arrivals = self._connection()
        async with connected(client, self._settings):
            if not link.session_present:
                self._intake.on_new_session()
                self._on_new_session()
            await self._subscribe(client)
            if self.canary is not None:
                self.canary.on_connected(time.monotonic())
            self.state.connected = True
            self.state.connections += 1
            self.attempted.set()
            log.info("connected to %s:%d", self._settings.host, self._settings.port)
            await self._drain_former_sessions()
            await self._take_in(client, link, arrivals, self._send_canaries(client, arrivals))

    async def _drain_former_sessions(self) -> None:
        """Take in what is queued under client ids that the service had before."""
        known = self._subscriptions
        for client_id, filters in known.former().items() if known is not None else ():
            former = MqttSource(
                replace(self._settings, client_id=client_id),
                filters,
                OtherSession(self._intake),
                self._commit,
                self._clock,
                CanarySettings(),
                step_of=self._step_of,
            )
            for attempt in range(_DRAIN_ATTEMPTS):
                try:
                    await former._drain()
                    if known is not None:
                        known.forget_former(client_id)
                    break
                except BrokerError as error:
                    what = "queued messages of client id %r wait until the next connection: %s"
                    if attempt:
                        log.warning(what, client_id, error)
                finally:
                    self.state.received += former.state.received
                    self.state.acknowledged += former.state.acknowledged
                    former.state = SourceState()

    async def _drain(self) -> None:
        """Give up the subscriptions of the session, take in what it holds, and end it."""
        client, link, arrivals = self._connection()
        async with connected(client, self._settings):
            if not link.session_present:
                self._report_lost_session()
                return
            if self._topics:
                await client.unsubscribe(list(self._topics))
            marker = self._send_marker(client, arrivals)
            await self._take_in(client, link, arrivals, marker, ends=True)
        count = self.state.acknowledged
        log.info("took %d queued messages of client id %r", count, self._settings.client_id)
        if self.canary is not None and self.canary.returned:
            ended = new_client(self._settings, self._settings.client_id, clean=True)
            async with connected(ended, self._settings):
                pass  # a clean session ends the one that was kept

    async def _send_marker(self, client: aiomqtt.Client, arrivals: Arrivals) -> None:
        """Return when the broker has delivered all that is queued: a canary is the last of it."""
        canary = self.canary
        assert canary is not None  # noqa: S101
        topic = CANARY_TOPICS + secrets.token_hex(8)
        with contextlib.suppress(aiomqtt.MqttError):  # not permitted: silence says so
            await client.subscribe(topic, qos=1)
            await client.publish(topic, canary.due(time.monotonic()), qos=1)
        received, since = -1, time.monotonic()
        while not canary.returned and time.monotonic() - since < _DRAINED_S:
            if received != self.state.received or self._unacknowledged or len(arrivals):
                received, since = self.state.received, time.monotonic()
            await asyncio.sleep(_DRAIN_POLL_S)

    def _on_new_session(self) -> None:
        """Report a session that should have been there."""
        known = self._subscriptions
        if self.state.connections == 0 and (known is None or not known.current()):
            return
        self._report_lost_session()

    def _report_lost_session(self) -> None:
        now = self._clock()
        since = "the service last ran"
        if self._lost_at is not None:
            since = datetime.fromtimestamp(self._lost_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        log.error(
            "the broker no longer has the session of client id %r, with all that was queued since"
            " %s: was it restarted without persistence, or does another client use this id?",
            self._settings.client_id,
            since,
        )
        self.state.sessions_lost += 1
        self._intake.on_session_fault("session_lost", now)

    def _on_connection_lost(self) -> None:
        """Report a connection that is lost over and over though it can be made each time."""
        now = self._lost_at = self._clock()
        self._losses.append(now)
        if len(self._losses) == _CONTENDED and 0 <= now - self._losses[0] < _CONTENDED_S:
            log.error(
                "%d connections to the broker were lost within %.0f s: is the network at fault, or"
                " does another client use client id %r?",
                _CONTENDED,
                _CONTENDED_S,
                self._settings.client_id,
            )
            self._losses.clear()
            self._intake.on_session_fault("session_contended", now)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        wanted = self._narrowed(self._topics)
        filters = [(topic, 1) for topic in wanted]
        if self.canary is not None:
            filters.append((canary_topic(self._settings.client_id), 1))
        granted = await self._replace_subscriptions(client, filters)
        refused = tuple(
            topic for (topic, _), code in zip(filters, granted, strict=False) if is_refused(code)
        )
        if refused and refused != self.state.refused_topics:
            log.warning("the broker refuses the subscription to %s", ", ".join(refused))
        self.state.refused_topics = refused
        self.subscribed = wanted
        if self.canary is not None:
            await client.subscribe([(DROPPED, 0), (STORED, 0)])

    async def _replace_subscriptions(
        self, client: aiomqtt.Client, filters: list[tuple[str, int]]
    ) -> Sequence[object]:
        """Subscribe, and give up what the session is subscribed to from before."""
        wanted = [topic for topic, _ in filters]
        known = self._subscriptions
        before = known.current() if known is not None else ()
        if known is not None:
            known.remember([*before, *wanted])
        granted: list[object] = []
        for some in _pieces(filters):
            granted += await client.subscribe(some) or ()
        for stale in _pieces([topic for topic in before if topic not in wanted]):
            await client.unsubscribe(stale)
        if known is not None:
            known.remember(wanted)
        return granted

    async def _take_in(
        self,
        client: aiomqtt.Client,
        link: Link,
        arrivals: Arrivals,
        canaries: Coroutine[None, None, None],
        *,
        ends: bool = False,
    ) -> None:
        """Take in messages until the connection is gone; or `ends` with `canaries`, if drained."""
        gone = client._disconnected  # noqa: SLF001 - the one place that says so
        unacknowledged = self._unacknowledged
        waiting = asyncio.ensure_future(arrivals.group())
        canary = asyncio.ensure_future(canaries)
        try:
            while not gone.done():
                pending: list[asyncio.Future[Any]] = [waiting, gone]
                if not canary.done():
                    pending.append(canary)
                await asyncio.wait(
                    pending,
                    timeout=None if self._intake.waiting_since() is None else _JOIN_POLL_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if canary.done():
                    canary.result()
                group: list[_Arrival] = []
                if waiting.done():
                    group = waiting.result()
                    waiting = asyncio.ensure_future(arrivals.group())
                unacknowledged.extend(group)
                outcomes = [self._intake.on_message(a.message) for a in group if not a.canary]
                await self._settle(outcomes, self._intake.on_time(self._clock()))
                if group and self._most_per_s < math.inf:
                    await asyncio.sleep(len(group) / self._most_per_s)
                if not gone.done():
                    self._acknowledge(link, unacknowledged)
                if ends and canary.done() and not (waiting.done() or unacknowledged or arrivals):
                    return
        finally:
            await _end(waiting, canary)
        error = gone.exception()
        if error is not None:
            raise error

    async def _send_canaries(self, client: aiomqtt.Client, arrivals: Arrivals) -> None:
        """Send canaries and cure silence, until there is nothing for it but a new connection."""
        canary = self.canary
        if canary is None:
            await asyncio.Event().wait()
            return
        topic = canary_topic(self._settings.client_id)
        while True:
            now = time.monotonic()
            payload = canary.due(now)
            if payload is not None:
                with contextlib.suppress(aiomqtt.MqttError):  # then it does not come back
                    await client.publish(topic, payload, qos=1, timeout=canary.settings.every_s)
            known = canary.silent
            waits = bool(self._unacknowledged) or len(arrivals) > 0
            cure = canary.on_time(time.monotonic(), waiting=waits)
            if cure is not None and not known:
                log.warning("connected, and nothing arrives: subscribing again, then reconnecting")
            if cure is Cure.SUBSCRIBE:
                self.state.subscribed_anew += 1
                await self._subscribe(client)
            elif cure is Cure.RECONNECT:
                self.state.reconnected += 1
                where = f"broker {self._settings.host}:{self._settings.port}"
                raise BrokerError(BrokerReason.UNREACHABLE, f"{where} delivers nothing")
            if self._narrowed(self._topics) != self.subscribed:
                await self._subscribe(client)
            pause = canary.next_deadline() - time.monotonic()
            await asyncio.sleep(min(max(pause, 0.01), _NARROW_POLL_S))

    def _acknowledge(self, link: Link, unacknowledged: deque[_Arrival]) -> None:
        """Acknowledge, oldest first, up to the first message that waits in a join window."""
        held = self._intake.waiting_since()
        done: list[_Arrival] = []
        while unacknowledged:
            if held is not None and unacknowledged[0].message.received >= held:
                break
            done.append(unacknowledged.popleft())
        link.acknowledge(arrival.packet_id for arrival in done if arrival.qos)
        self.state.acknowledged += sum(not arrival.canary for arrival in done)

    async def _settle(self, outcomes: Sequence[Outcome], joined: Sequence[Reading]) -> None:
        if not outcomes and not joined:
            return
        readings = [reading for outcome in outcomes for reading in outcome.readings]
        readings.extend(joined)
        letters = [o.dead_letter for o in outcomes if o.dead_letter is not None]
        await self._commit(readings, letters)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks until they have ended.

    `asyncio.wait_for` before Python 3.12 loses a cancellation that comes with its result; a canary
    that goes on would publish on a dead connection what the next one waits for.
    """
    for task in tasks:
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_CANCEL_AGAIN_S)
        if not task.cancelled():
            task.exception()  # read, or asyncio reports it unread


async def live_messages(
    settings: BrokerSettings,
    topics: Sequence[str],
    on_message: Callable[[Message], None],
    clock: Callable[[], float],
) -> None:
    """Show messages as they come, beside the session that stores them, until cancelled.

    At QoS 0 and without a session of its own: nothing is acknowledged, nothing is promised, and no
    window closes.

    Raises `BrokerError`: when the connection cannot be made or ends.
    """
    client = new_client(settings, f"{settings.client_id}-tap", clean=True)
    Link(client._client)  # noqa: SLF001 - it keeps itself in place
    async with connected(client, settings):
        await client.subscribe([(topic, 0) for topic in topics])
        async for raw in client.messages:
            payload = raw.payload if isinstance(raw.payload, bytes) else b""
            on_message(Message(str(raw.topic), payload, clock(), retained=bool(raw.retain)))
