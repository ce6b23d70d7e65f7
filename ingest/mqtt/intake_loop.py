"""From arrived messages to acknowledged ones: decide, commit, acknowledge."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from ingest.mqtt.canary import is_canary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from ingest.intake import Outcome
    from ingest.message import Message
    from ingest.mqtt.arrivals import Arrivals, SourceState
    from ingest.mqtt.link import Link
    from storage.journal import DeadLetter
    from storage.reading import Reading

    Commit = Callable[[Sequence[Reading], Sequence[DeadLetter]], Awaitable[None]]

_CANCEL_AGAIN_S: Final = 0.1


_JOIN_POLL_S: Final = 0.2
"""How often to look whether a join window is over while nothing arrives."""


class DecidesOutcome(Protocol):
    """What decides each message's outcome: `ingest.intake.Intake`, or one for other messages."""

    def on_message(self, message: Message) -> Outcome:
        """Return what becomes of a message; never raises."""

    def on_new_session(self) -> None:
        """Forget packet ids: the broker has begun a session, and numbers anew."""

    def on_time(self, now: float) -> Sequence[Reading]:
        """Return readings that no longer wait at `now`."""

    def waiting_since(self) -> float | None:
        """Receive time from which on messages wait; None if none does."""


class IntakeLoop:
    """Decide, commit and acknowledge what arrives on one connection.

    `intake`: decides the outcome of each message.
    `commit`: ``await commit(readings, dead_letters)`` returns once both, and all that was committed
    before, are durable (`GroupCommit.commit`).
    `state`: counts what is acknowledged.
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
        """Whether messages that arrived are not acknowledged yet."""
        return bool(self._unacknowledged) or len(self._arrivals) > 0

    async def run(self, gone: asyncio.Future[Any], canaries: Coroutine[None, None, None]) -> None:
        """Process messages until the connection is `gone`."""
        waiting = asyncio.ensure_future(self._arrivals.group())
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
                group: list[Message] = []
                if waiting.done():
                    group = waiting.result()
                    waiting = asyncio.ensure_future(self._arrivals.group())
                self._unacknowledged.extend(group)
                outcomes = [self._intake.on_message(m) for m in group if not is_canary(m.topic)]
                self._arrivals.decided(group)
                await self._store(outcomes, self._intake.on_time(self._clock()))
                if not gone.done():
                    self._acknowledge()
        finally:
            await _end(waiting, canary)
            self._arrivals.abandon()
        error = gone.exception()
        if error is not None:
            raise error

    def _acknowledge(self) -> None:
        """Acknowledge, oldest first, up to the first message that waits in a join window."""
        held = self._intake.waiting_since()
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
