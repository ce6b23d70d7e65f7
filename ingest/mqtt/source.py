"""The service's session at the broker: connect, subscribe, reconnect.

A persistent session keeps all subscriptions that were ever made in it, and a client cannot list
them. So the service writes its subscriptions to a small file before it makes them, and later
removes the ones it no longer wants. If the file is lost, messages on those topics keep arriving,
but nothing else goes wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import secrets
import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import aiomqtt
import msgspec

from detection.events import Detail
from ingest.errors import BrokerError, BrokerReason
from ingest.mqtt.connection import ignore_cut_connection, is_refused, make_client, open_connection
from ingest.mqtt.intake_loop import (
    CANARY_TOPICS,
    DROPPED,
    STORED,
    Arrivals,
    Canary,
    CanarySettings,
    IntakeLoop,
    SourceState,
)
from ingest.mqtt.link import Link
from storage.files import write_private
from storage.reading import assume_no_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ingest.mqtt.connection import BrokerSettings
    from ingest.mqtt.intake_loop import Commit, DecidesOutcome
    from storage.reading import StepOf

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_FIRST_RETRY_S: Final = 0.5
_LAST_RETRY_S: Final = 30.0
_CONTENDED: Final = 4
_CONTENDED_S: Final = 30.0
"""Losing `_CONTENDED` connections within this time is reported: either the network is bad, or
another client uses our id."""
_FILTERS: Final = 400
"""Maximum number of filters in one request, few enough for the `max_packet_size` of our broker
configuration."""


class _Remembered(msgspec.Struct, frozen=True):
    """Content of the file; `session` is ``client_id@host:port``."""

    session: str
    filters: tuple[str, ...]


class Subscriptions:
    """The topic filters of one session, kept in a file.

    `path`: the file; its folder must exist when `remember` is called. Without it, nothing is kept.
    """

    def __init__(self, path: Path | None, settings: BrokerSettings) -> None:
        self._path = path
        self._session = f"{settings.client_id}@{settings.host}:{settings.port}"

    def get_filters(self) -> tuple[str, ...]:
        """Return the filters that the session may be subscribed to."""
        found = self._read()
        return found.filters if found.session == self._session else ()

    def remember(self, filters: Iterable[str]) -> None:
        """Replace the filters in the file."""
        wanted = _Remembered(self._session, tuple(sorted(set(filters))))
        if self._path is None or wanted == self._read():
            return
        try:
            write_private(self._path, msgspec.json.encode(wanted))
        except OSError as error:
            log.warning("cannot remember the subscriptions: %s: %s", self._path, error.strerror)

    def _read(self) -> _Remembered:
        if self._path is not None:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                return msgspec.json.decode(self._path.read_bytes(), type=_Remembered)
        return _Remembered("", ())


def make_canary_topic(client_id: str) -> str:
    """Return the topic for the canaries of a service; it does not reveal the client id."""
    return CANARY_TOPICS + hashlib.sha256(client_id.encode()).hexdigest()[:16]


def _split(items: list[_T]) -> Iterator[list[_T]]:
    for at in range(0, len(items), _FILTERS):
        yield items[at : at + _FILTERS]


class MqttSource:
    """The service's end of the broker connection.

    `commit`: ``await commit(readings, dead_letters)`` returns once they and everything committed
    before them are durable (`GroupCommit.commit`).
    `canary`: without it, the service sends no canaries, does not notice silence, and does not read
    the broker's counts.
    `subscriptions`: file with the subscriptions of the session; without it, messages on topics that
    are no longer wanted keep arriving.
    `step_of`: returns by how many seconds the clock was set since the last call.
    `on_fault`: called with each fault of the session.
    `attempted`: set once the first attempt to connect has succeeded or failed.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Sequence[str],
        intake: DecidesOutcome,
        commit: Commit,
        clock: Callable[[], float],
        canary: CanarySettings | None = None,
        subscriptions: Path | None = None,
        step_of: StepOf = assume_no_step,
        on_fault: Callable[[Detail], None] = lambda _what: None,
    ) -> None:
        self.state = SourceState()
        self.attempted = asyncio.Event()
        self.canary = None if canary is None else Canary(canary, secrets.token_hex(8))
        self._settings = settings
        self._topics = tuple(topics)
        self._intake = intake
        self._commit = commit
        self._clock = clock
        self._subscriptions = subscriptions
        self._step_of = step_of
        self._on_fault = on_fault
        self._lost_at: float | None = None
        self._losses: deque[float] = deque(maxlen=_CONTENDED)
        self._jitter = random.Random()  # noqa: S311 - spreads reconnects, hides nothing

    def use_client_id(self, client_id: str) -> None:
        """Set the client id of the session; call this before `run`."""
        self._settings = replace(self._settings, client_id=client_id)

    async def run(self) -> None:
        """Connect and receive messages until cancelled; reconnect after growing pauses.

        Raises `BrokerError` only if the broker refuses the user or password before the first
        connection, because a retry would not help.
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

    def _make_connection(self) -> tuple[aiomqtt.Client, Link, IntakeLoop]:
        client = make_client(self._settings, self._settings.client_id, clean=False)
        find_sender = self._intake.find_sender
        arrivals = Arrivals(self._clock, self.state, self.canary, self._step_of, find_sender)
        client._client.manual_ack_set(on=True)  # noqa: SLF001 - aiomqtt has no manual mode
        link = Link(client._client, arrivals.on_publish)  # noqa: SLF001 - the client underneath
        loop = IntakeLoop(link, arrivals, self._intake, self._commit, self._clock, self.state)
        return client, link, loop

    async def _session(self) -> None:
        client, link, loop = self._make_connection()
        known = Subscriptions(self._subscriptions, self._settings)
        async with open_connection(client, self._settings):
            if not link.session_present:
                self._intake.on_new_session()
                before = await asyncio.to_thread(known.get_filters)
                if before or self.state.connections:
                    self._report_lost_session()
            await self._subscribe(client, known)
            if self.canary is not None:
                self.canary.on_connected(time.monotonic())
            self.state.connected = True
            self.state.connections += 1
            self.attempted.set()
            log.info("connected to %s:%d", self._settings.host, self._settings.port)
            gone = client._disconnected  # noqa: SLF001 - aiomqtt has no public equivalent
            await loop.run(gone, self._send_canaries(client, loop))

    def _report_lost_session(self) -> None:
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
        self._on_fault(Detail.SESSION_LOST)

    def _on_connection_lost(self) -> None:
        """Note a lost connection; report it if the connection is lost repeatedly."""
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
            self._on_fault(Detail.SESSION_CONTENDED)

    async def _subscribe(self, client: aiomqtt.Client, known: Subscriptions) -> None:
        filters = [(topic, 1) for topic in self._topics]
        if self.canary is not None:
            filters.append((make_canary_topic(self._settings.client_id), 1))
        granted = await _replace_subscriptions(client, filters, known)
        refused = tuple(
            topic for (topic, _), code in zip(filters, granted, strict=False) if is_refused(code)
        )
        if refused and refused != self.state.refused_topics:
            log.warning("the broker refuses the subscription to %s", ", ".join(refused))
        self.state.refused_topics = refused
        if self.canary is not None:
            await client.subscribe([(DROPPED, 0), (STORED, 0)])

    async def _send_canaries(self, client: aiomqtt.Client, loop: IntakeLoop) -> None:
        """Send canaries; raise `BrokerError` if nothing arrives, so that `run` reconnects."""
        canary = self.canary
        if canary is None:
            await asyncio.Event().wait()
            return
        topic = make_canary_topic(self._settings.client_id)
        while True:
            now = time.monotonic()
            payload = canary.take_due_payload(now)
            if payload is not None:
                with contextlib.suppress(aiomqtt.MqttError):  # silence is noticed below
                    await client.publish(topic, payload, qos=1, timeout=canary.settings.every_s)
            known = canary.silent
            if canary.on_time(time.monotonic(), waiting=loop.is_behind):
                if not known:
                    log.warning(
                        "connected, but nothing is arriving: reconnecting and subscribing again"
                    )
                where = f"broker {self._settings.host}:{self._settings.port}"
                raise BrokerError(BrokerReason.UNREACHABLE, f"{where} delivers no messages")
            await asyncio.sleep(max(canary.next_deadline() - time.monotonic(), 0.01))


async def _replace_subscriptions(
    client: aiomqtt.Client, filters: list[tuple[str, int]], known: Subscriptions
) -> Sequence[object]:
    """Subscribe, and unsubscribe from other topics; return the broker's answers to the filters."""
    wanted = [topic for topic, _ in filters]
    before = await asyncio.to_thread(known.get_filters)
    await asyncio.to_thread(known.remember, [*before, *wanted])
    granted: list[object] = []
    for some in _split(filters):
        granted += await client.subscribe(some) or ()
    for stale in _split([topic for topic in before if topic not in wanted]):
        await client.unsubscribe(stale)
    await asyncio.to_thread(known.remember, wanted)
    return granted
