"""The consumer that fills a time-series store from the journal, or from what else waits for it.

Constraints
-----------
Nothing is lost while the store is away for an hour or a week, and memory stays flat meanwhile: what
waits is the journal on the disk, of which one batch at a time is held. One reading that a store
refuses neither stops the others nor is dropped without a word.

Order of operations
-------------------
1. A batch is read behind the store's own durable cursor (`SeriesStore.position`).
2. It is written with the cursor behind it. A store that keeps both in one transaction has each
   reading once; one that cannot keeps its cursor after the write and is given readings again after
   a crash, so writing twice must change nothing there.
3. `StorageUnavailableError` (the store or the journal): the same again after a pause that doubles
   with jitter, and is never shorter than the store asks for (``Retry-After``).
4. `BatchRefusedError`: the batch is halved until each refused reading is alone
   (`bisect_rejected`). Each of these becomes a dead letter ``series_refused``, durable before the
   cursor passes it; all others are stored, in order.

Before the first batch the store is asked whether it is what the configuration says and takes what
it is given (`SeriesStore.greet`), so that a wrong token is known at the start, not at the first
reading.

A store that refuses one after the other is more likely set up wrong than fed badly: after
`refused_in_a_row` of them, a pause as in 3 comes before the next, so that a mistake that is soon
put right costs few dead letters.

What it is not
--------------
No buffer in memory and no dropping of the oldest: how far a store may fall behind is decided by the
retention of the journal alone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import msgspec

from storage.errors import BatchRefusedError, StorageError
from storage.journal import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

log = logging.getLogger(__name__)

REASON: Final = "series_refused"
"""Of readings."""
RECORD_REASON: Final = "record_refused"
"""Of records beside them."""
_LONGEST_WISH_S: Final = 900.0
"""A store that asks to be left alone for longer is tried again all the same."""


T = TypeVar("T")


class Stored(Protocol):
    """What a store is given."""

    @property
    def sensor(self) -> str:
        """Sensor that it is about; empty if none."""


S = TypeVar("S", bound=Stored)
S_contra = TypeVar("S_contra", bound=Stored, contravariant=True)


def bisect_rejected(
    store: Callable[[Sequence[T]], None], batch: Sequence[T]
) -> Iterator[tuple[T, BatchRefusedError]]:
    """Store a batch in order, and yield each item that the store refuses for good.

    A refused batch is halved until each refused item is alone. What follows an item is stored only
    when the iteration goes on. `store` must have no further effect when it is called again.

    Raises `StorageUnavailableError`: from `store`; some of the batch may be stored.
    """
    try:
        store(batch)
    except BatchRefusedError as error:
        if len(batch) < 2:
            if not batch:
                raise
            yield batch[0], error
            return
        half = len(batch) // 2
        yield from bisect_rejected(store, batch[:half])
        yield from bisect_rejected(store, batch[half:])


class InThread(Protocol):
    """Runs blocking work elsewhere."""

    async def __call__(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work(*arguments)`` returns."""


class SeriesStore(Protocol[S_contra]):
    """Where readings are written; may block, is called from one thread at a time."""

    def greet(self) -> str:
        """Ask the store whether it can be written and read; say what it is.

        Raises `StorageUnavailableError` with the sentence that says what does not fit.
        """

    def position(self) -> int:
        """Journal offset up to which readings are stored for good.

        Raises `StorageUnavailableError`.
        """

    def write(self, items: Sequence[S_contra], behind: int, /) -> None:
        """Store readings, then or together with it the position behind them.

        `items`: may be empty: the position moves on alone. Raises `StorageUnavailableError`:
        nothing may be taken for stored; the same call may succeed later. Raises
        `BatchRefusedError`: at least one of them is refused for good; the position has not moved.
        """


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """How a writer works.

    - `batch`: readings in one write.
    - `first_pause_s`, `last_pause_s`: wait after the first failure, doubled after each, up to the
      second.
    - `refused_in_a_row`: refused readings without an accepted one between after which a pause is
      made.
    - `pace_s`: shortest time between the beginnings of two batches that are not full.
    - `gather_s`: wait after a quiet moment has ended, for what is to come soon after.
    - `origin`, `reason`: where a refused reading came from and why it is one, in its dead letter.
    """

    batch: int = 2_000
    first_pause_s: float = 1.0
    last_pause_s: float = 60.0
    refused_in_a_row: int = 100
    pace_s: float = 0.0
    gather_s: float = 0.0
    origin: str = "journal"
    reason: str = REASON


@dataclass(slots=True)
class WriterState:
    """What a writer counts and shows; only ever written by it.

    - `stored`, `refused`: readings since the start.
    - `failing`: why nothing can be written at the moment; empty if it can.
    - `position`: journal offset up to which the store has everything.
    """

    stored: int = 0
    refused: int = 0
    failing: str = ""
    position: int = 0


class SeriesWriter(Generic[S]):
    """Fill one store.

    - `name`: of the store, for people.
    - `read`: `Journal.read`, or one like it.
    - `bury`: ``await bury(dead_letters)`` returns once they are durable.
    - `in_thread`: ``await in_thread(function, *arguments)`` where `store` and `read` may block.
    - `clock`: Unix seconds.
    - `sleep`: `asyncio.sleep`.
    """

    def __init__(
        self,
        name: str,
        store: SeriesStore[S],
        read: Callable[[int, int], tuple[Sequence[tuple[int, S]], int]],
        bury: Callable[[Sequence[DeadLetter]], Awaitable[None]],
        in_thread: InThread,
        clock: Callable[[], float],
        *,
        settings: WriterSettings | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.state = WriterState()
        self.wake = asyncio.Event()
        self._name = name
        self._store = store
        self._read = read
        self._bury = bury
        self._in_thread = in_thread
        self._clock = clock
        self._settings = settings or WriterSettings()
        self._sleep = sleep
        self._jitter = random.Random()  # noqa: S311 - spreads retries, hides nothing
        self._pause_s = 0.0
        self._in_a_row = 0

    async def run(self) -> None:
        """Write until cancelled; set `wake` when the journal has grown."""
        await self._greet()
        while True:
            self.wake.clear()
            began = time.monotonic()
            try:
                advanced = await self._advance()
            except StorageError as error:
                await self._wait(error)
                continue
            self._recovered()
            if not advanced:
                await self.wake.wait()
                if self._settings.gather_s:
                    await self._sleep(self._settings.gather_s)
            elif advanced < self._settings.batch:
                rest = began + self._settings.pace_s - time.monotonic()
                if rest > 0:
                    await self._sleep(rest)

    async def _greet(self) -> None:
        """Return once the store answers as it should."""
        while True:
            try:
                self.state.position = await self._in_thread(self._store.position)
                said = await self._in_thread(self._store.greet)
            except StorageError as error:
                await self._wait(error)
                continue
            self._recovered()
            log.info("%s: %s", self._name, said)
            return

    async def _advance(self) -> int:
        """Read and write one batch; how many places of the journal it was."""
        position = await self._in_thread(self._store.position)
        self.state.position = position
        entries, behind = await self._in_thread(self._read, position, self._settings.batch)
        if behind > position:
            await self._write(entries, behind)
        return behind - position

    async def _write(self, entries: Sequence[tuple[int, S]], cursor: int) -> None:
        """Write entries in order; each one refused for good becomes a dead letter."""

        def store(part: Sequence[tuple[int, S]]) -> None:
            end = cursor if not part or part[-1] is entries[-1] else part[-1][0]
            self._store.write([item for _, item in part], end)
            self.state.stored += len(part)
            self.state.position = end
            self._in_a_row = 0 if part else self._in_a_row
            self._recovered()

        rejected = bisect_rejected(store, entries)
        while found := await self._in_thread(next, rejected, None):
            entry, error = found
            await self._refused(entry, error)
            end = cursor if entry is entries[-1] else entry[0]
            await self._in_thread(self._store.write, [], end)
            self.state.position = end

    async def _refused(self, entry: tuple[int, S], error: BatchRefusedError) -> None:
        if self._in_a_row and self._in_a_row % self._settings.refused_in_a_row == 0:
            await self._wait(error)
        offset, item = entry
        body = msgspec.json.encode(item)
        letter = DeadLetter(
            self._clock(),
            f"{self._settings.origin}/{offset}/{item.sensor}"[:256],
            self._settings.reason,
            f"{self._name}: {error}"[:300],
            self._name,
            len(body),
            body[:4096],
        )
        await self._bury([letter])
        if self.state.refused == 0:
            log.warning("%s refuses a reading, now a dead letter: %s", self._name, error)
        self.state.refused += 1
        self._in_a_row += 1

    async def _wait(self, error: StorageError) -> None:
        if not self.state.failing:
            log.error("cannot store into %s, trying on: %s", self._name, error)
        self.state.failing = str(error) or type(error).__name__
        first, last = self._settings.first_pause_s, self._settings.last_pause_s
        self._pause_s = min(max(first, self._pause_s * 2), last)
        wish = min(getattr(error, "retry_after_s", None) or 0.0, _LONGEST_WISH_S)
        await self._sleep(max(wish, self._pause_s * self._jitter.uniform(0.5, 1.0)))

    def _recovered(self) -> None:
        if self.state.failing:
            log.warning("storing into %s again", self._name)
        self.state.failing = ""
        self._pause_s = 0.0
