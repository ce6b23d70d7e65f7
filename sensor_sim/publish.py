"""Publish a stream of wire messages to a broker, timed by the simulation's clock.

One connection carries the messages of all devices, in the order of the stream. While `_WINDOW`
messages wait for an acknowledgment, the stream is not read, so memory is bounded even if the broker
is slow.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import aiomqtt

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable

    from sensor_sim.wire import WireMessage

_RETRY_S: Final = 0.25
_TRIES: Final = 8
"""Number of attempts to connect."""
_WINDOW: Final = 64
_LOGGER: Final = logging.getLogger("sensor_sim.mqtt")
_LOGGER.addHandler(logging.NullHandler())


class BrokerUnreachableError(Exception):
    """No broker answers at the address, or it refuses or loses the connection."""


async def prefetch(messages: Iterable[WireMessage], batch: int = 512) -> AsyncIterator[WireMessage]:
    """Yield messages while a worker thread computes the next batch of the simulation."""
    source = iter(messages)

    def read() -> asyncio.Task[list[WireMessage]]:
        work = asyncio.to_thread(list, islice(source, batch))
        return asyncio.create_task(work, name="publish-prefetch")

    coming = read()
    try:
        while ready := await coming:
            coming = read()
            for message in ready:
                yield message
    finally:
        coming.cancel()


@dataclass(slots=True)
class Publisher:
    """Publishes one stream; `published` counts the messages that the broker acknowledged.

    `speed` is relative to real time, and may be ``math.inf``. It doesn't change time stamps.
    """

    host: str
    port: int
    speed: float = 1.0
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    published: int = 0
    _origin: float = math.nan
    """Monotonic time at which a message of simulated time 0 is due."""

    async def run(self, messages: AsyncIterable[WireMessage]) -> None:
        """Publish all messages; raises `BrokerUnreachableError`."""
        lost = None
        try:
            async with AsyncExitStack() as stack:
                client = await self._connect(stack)
                group = await stack.enter_async_context(asyncio.TaskGroup())
                slots = asyncio.Semaphore(_WINDOW)
                async for message in messages:
                    if (wait := self._compute_wait_s(message.sent)) > 0:
                        await self.sleep(wait)
                    await slots.acquire()
                    group.create_task(self._send(client, message, slots), name="publish")
        except* aiomqtt.MqttError as errors:
            lost = errors  # an error raised here would be wrapped in a group
        if lost is not None:
            raise self._build_error(lost.exceptions[0]) from lost

    async def _connect(self, stack: AsyncExitStack) -> aiomqtt.Client:
        left = _TRIES
        while True:
            try:
                return await stack.enter_async_context(self._make_client())
            except aiomqtt.MqttError as error:
                left -= 1
                if not left:
                    raise self._build_error(error) from error
            await self.sleep(_RETRY_S)

    def _build_error(self, error: BaseException) -> BrokerUnreachableError:
        return BrokerUnreachableError(
            f"the broker at {self.host}:{self.port} is not reachable: {_describe(error)}"
        )

    def _make_client(self) -> aiomqtt.Client:
        client = aiomqtt.Client(
            self.host, self.port, timeout=10.0, logger=_LOGGER, max_inflight_messages=_WINDOW
        )
        client.pending_calls_threshold = _WINDOW + 1
        return client

    def _compute_wait_s(self, sent: float) -> float:
        if math.isinf(self.speed):
            return 0.0
        if math.isnan(self._origin):
            self._origin = self.monotonic() - sent / self.speed
        return self._origin + sent / self.speed - self.monotonic()

    async def _send(
        self, client: aiomqtt.Client, message: WireMessage, slots: asyncio.Semaphore
    ) -> None:
        try:
            await client.publish(message.topic, message.payload, message.qos, message.retain)
        finally:
            slots.release()
        self.published += 1


def _describe(error: BaseException) -> str:
    text = re.sub(r"^\[[^\]]*\]\s*", "", str(error)) or type(error).__name__
    return text[0].lower() + text[1:]
