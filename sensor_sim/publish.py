"""Publish a stream of wire messages to a broker, on the clock of the simulation.

* One connection carries all devices; the stream already contains what the broker would publish for
  a device that vanished (its will).
* Messages leave in the order of the stream. At most `window` of them wait for an acknowledgment;
  then the stream is not read further, so memory is bounded however slow the broker is.
* A message with QoS 1 counts as published when its PUBACK arrives, and only then enters the ledger;
  one with QoS 0 when it was handed to the socket. Messages of attackers (no sensor) are in no
  ledger.
* After the connection broke, all unacknowledged messages are sent again, in order: at least once,
  like a real device. `patience_s` limits the retries.
* `speed` stretches the time between messages, not the times inside them: a format without a time
  gets the receiver's clock, so its plumes are true at speed 1 only. `live_offset` moves simulated
  times to the wall clock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import ssl
import time
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

import aiomqtt

from sensor_sim.errors import BrokerAddressError, BrokerRefusedError, BrokerUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from sensor_sim.trace import DeviceTrace
    from sensor_sim.wire import WireMessage

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_REFUSALS: Final = frozenset({4, 5, 134, 135, 138})
_RETRY_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_YIELD_EVERY: Final = 64
_LOGGER: Final = logging.getLogger("sensor_sim.mqtt")
_LOGGER.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Address and login of the broker; a repr never shows the password."""

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> BrokerAddress:
        """Read ``[mqtt[s]://][user[:password]@]host[:port]``, or raise `BrokerAddressError`.

        >>> BrokerAddress.parse("localhost")
        BrokerAddress(host='localhost', port=1883, username=None, tls=False)
        >>> BrokerAddress.parse("mqtts://sim:secret@broker.school:9883")
        BrokerAddress(host='broker.school', port=9883, username='sim', tls=True)
        """
        allowed = "[mqtt[s]://][user[:password]@]host[:port]"
        whole = text if "://" in text else f"mqtt://{text}"
        shown = re.sub(r"(//|^)([^@/:]*):[^@]*@", r"\1\2:***@", text)
        try:
            parts = urlsplit(whole)
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise BrokerAddressError(f"broker address {shown!r}: expected {allowed}") from exc
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or port == 0:
            raise BrokerAddressError(f"broker address {shown!r}: expected {allowed}")
        return cls(
            host=host,
            port=port or _PORTS[parts.scheme],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=parts.scheme == "mqtts",
        )

    def __str__(self) -> str:
        """Return ``host:port``."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """Settings of a publisher; `speed` may be ``math.inf``; without `patience_s` it gives up."""

    speed: float = 1.0
    window: int = 64
    timeout_s: float = 10.0
    patience_s: float = 0.0
    client_id: str | None = None


@dataclass(slots=True)
class PublishReport:
    """Counts of a run."""

    messages: int = 0
    acknowledged: int = 0
    repeated: int = 0
    reconnects: int = 0
    simulated_s: float = 0.0
    wall_s: float = 0.0


class Ledger:
    """The (sensor, seq) of each PUBACK in order: the oracle of fault tests.

    Each entry is a line ``sensor,seq`` that has left the process when `acknowledged` returns, so
    that it survives a kill of the publisher.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def acknowledged(self, message: WireMessage) -> None:
        """Add an entry."""
        self._file.write(f"{message.sensor},{message.seq}\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def live_offset(start: float, duration_s: float, speed: float, now: float) -> float:
    """Return the seconds to add to simulated times for the wall clock, none in the future.

    At speed 1 or less the first reading is now. A faster run cannot keep its shape and avoid the
    future, so it ends now: the last reading leaves at its own time, the first ones are up to
    ``duration_s * (1 - 1 / speed)`` late.

    >>> live_offset(1000.0, 600.0, 1.0, now=5000.0)
    4000.0
    >>> live_offset(1000.0, 600.0, 60.0, now=5000.0)
    3410.0
    """
    late = duration_s * (1 - 1 / speed) if speed > 1 else 0.0
    return now - start - late


def shift_trace(trace: DeviceTrace, offset_s: float) -> DeviceTrace:
    """Move all times of a trace."""
    return replace(
        trace,
        time=trace.time + offset_s,
        sent=trace.sent + offset_s,
        events=tuple((at + offset_s, event) for at, event in trace.events),
    )


class Prefetched:
    """Reads messages in a worker thread, one batch ahead, while a simulation computes."""

    def __init__(self, messages: Iterable[WireMessage], batch: int = 512) -> None:
        self._messages = iter(messages)
        self._batch = batch
        self._ready: deque[WireMessage] = deque()
        self._coming: asyncio.Task[list[WireMessage]] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WireMessage:
        if not self._ready:
            if self._coming is None:
                self._coming = self._read()
            batch = await asyncio.shield(self._coming)
            if not batch:
                raise StopAsyncIteration
            self._coming = self._read()
            self._ready.extend(batch)
        return self._ready.popleft()

    def _read(self) -> asyncio.Task[list[WireMessage]]:
        work = asyncio.to_thread(list, islice(self._messages, self._batch))
        return asyncio.create_task(work, name="publish-prefetch")


class Publisher:
    """Publishes one stream."""

    def __init__(
        self,
        address: BrokerAddress,
        settings: PublishSettings | None = None,
        *,
        ledger: Ledger | None = None,
        on_progress: Callable[[PublishReport, float], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._address = address
        self._settings = PublishSettings() if settings is None else settings
        self._ledger = ledger
        self._on_progress = on_progress
        self._monotonic = monotonic
        self._sleep = sleep
        self.report = PublishReport()
        self._waiting: dict[int, WireMessage] = {}
        self._next = 0
        self._first_sent = math.nan
        self._origin = math.nan

    async def run(self, messages: AsyncIterable[WireMessage]) -> PublishReport:
        """Publish all messages; raises `BrokerUnreachableError` or `BrokerRefusedError`."""
        stream = aiter(messages)
        began = self._monotonic()
        failing_since: float | None = None
        attempt = 0
        while True:
            done_before = self.report.messages
            try:
                async with self._client() as client:
                    await self._drain(client, stream)
                break
            except* aiomqtt.MqttError as group:
                error = _first(group)
            refused = getattr(error, "rc", None)
            code = getattr(refused, "value", refused)
            if isinstance(error, aiomqtt.exceptions.MqttConnectError) and code in _REFUSALS:
                raise BrokerRefusedError(
                    f"the broker at {self._address} refuses the user name or password"
                ) from error
            now = self._monotonic()
            if failing_since is None or self.report.messages > done_before:
                failing_since, attempt = now, 0
            if now - failing_since >= self._settings.patience_s:
                raise BrokerUnreachableError(
                    f"the broker at {self._address} is not reachable: {_sentence(error)}"
                ) from error
            self.report.reconnects += 1
            await self._sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1
        self.report.wall_s = self._monotonic() - began
        return self.report

    def _client(self) -> aiomqtt.Client:
        settings, address = self._settings, self._address
        client = aiomqtt.Client(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            identifier=settings.client_id,
            timeout=settings.timeout_s,
            logger=_LOGGER,
            max_inflight_messages=settings.window,
            tls_context=ssl.create_default_context() if address.tls else None,
        )
        client.pending_calls_threshold = settings.window + 1
        return client

    async def _drain(self, client: aiomqtt.Client, stream: AsyncIterator[WireMessage]) -> None:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_until_disconnected(client), name="publish-watch")
            slots = asyncio.Semaphore(self._settings.window)
            sends: set[asyncio.Task[None]] = set()
            async for number, message in self._due(stream):
                if message.qos == 0:
                    await client.publish(message.topic, message.payload, 0, message.retain)
                    self._done(number)
                    continue
                await slots.acquire()
                task = group.create_task(
                    self._send(client, number, message, slots), name=f"publish-{number}"
                )
                sends.add(task)
                task.add_done_callback(sends.discard)
            while sends:
                await asyncio.wait(sends)
            watch.cancel()

    async def _due(
        self, stream: AsyncIterator[WireMessage]
    ) -> AsyncIterator[tuple[int, WireMessage]]:
        again = deque(self._waiting.items())
        self.report.repeated += len(again)
        while again:
            yield again.popleft()
        since_yield = 0
        async for message in stream:
            number = self._next
            self._next += 1
            self._waiting[number] = message
            wait = self._wait_s(message.sent)
            since_yield += 1
            if wait > 0:
                await self._sleep(wait)
                since_yield = 0
            elif since_yield >= _YIELD_EVERY:
                await asyncio.sleep(0)
                since_yield = 0
            yield number, message

    def _wait_s(self, sent: float) -> float:
        if math.isnan(self._first_sent):
            self._first_sent, self._origin = sent, self._monotonic()
        if math.isinf(self._settings.speed):
            return 0.0
        due = self._origin + (sent - self._first_sent) / self._settings.speed
        return due - self._monotonic()

    async def _send(
        self,
        client: aiomqtt.Client,
        number: int,
        message: WireMessage,
        slots: asyncio.Semaphore,
    ) -> None:
        try:
            await client.publish(message.topic, message.payload, message.qos, message.retain)
        finally:
            slots.release()
        self.report.acknowledged += 1
        if self._ledger is not None and message.sensor:
            self._ledger.acknowledged(message)
        self._done(number)

    def _done(self, number: int) -> None:
        message = self._waiting.pop(number)
        self.report.messages += 1
        self.report.simulated_s = max(self.report.simulated_s, message.sent - self._first_sent)
        if self._on_progress is not None:
            self._on_progress(self.report, message.sent)


async def _until_disconnected(client: aiomqtt.Client) -> None:
    async for _ in client.messages:
        pass


def _first(group: BaseExceptionGroup[aiomqtt.MqttError]) -> aiomqtt.MqttError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, aiomqtt.MqttError)  # noqa: S101 - narrows for the type checker
    return error


def _sentence(error: aiomqtt.MqttError) -> str:
    text = re.sub(r"^\[[^\]]*\]\s*", "", str(error)) or type(error).__name__
    return text[0].lower() + text[1:]
