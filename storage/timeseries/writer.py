"""The consumer that copies the journal to a time-series store.

While the store is unavailable, even for a week, nothing is lost and memory use stays constant:
readings wait in the journal on the disk, and only a few batches are in memory. A reading that the
store refuses becomes a dead letter and does not stop the others.

Order of operations:

1. Before the first batch, the store checks its connection, so that a wrong token is noticed early.
2. The writer reads a batch from the journal, starting after the cursor in the store.
3. It writes the batch and the new cursor. Some stores do this in one transaction. Others move the
   cursor after the write, so after a crash in between they get the batch again. Writing a reading
   twice must therefore change nothing.
4. After a `StorageUnavailableError`, it pauses and retries. The pause doubles each time, with
   jitter, and is at least ``Retry-After``. A permanent error (a missing column, a newer schema,
   damage that cannot be repaired) ends the writer.
5. After a `BatchRefusedError`, it halves the batch until each refused reading is alone
   (`bisect_rejected`). Each becomes a dead letter ``series_refused``, which is durable before the
   cursor passes the reading. After `refused_in_a_row` refused readings, it pauses as in 4, because
   the store is probably set up wrong.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import msgspec

from storage.errors import BatchRefusedError, StorageError, is_transient
from storage.journal import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from storage.sqlite import InThread

log = logging.getLogger(__name__)

REASON: Final = "series_refused"
"""The reason in the dead letter of a reading."""
RECORD_REASON: Final = "record_refused"
"""The reason in the dead letter of a record."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 60.0
_MAX_REQUESTED_PAUSE_S: Final = 900.0
"""Longest pause that a store can ask for."""


T = TypeVar("T")


class Storable(Protocol):
    """An item to store."""

    @property
    def sensor(self) -> str:
        """Id of the item's sensor, or empty."""


S = TypeVar("S", bound=Storable)
S_contra = TypeVar("S_contra", bound=Storable, contravariant=True)


def bisect_rejected(
    store: Callable[[Sequence[T]], None], batch: Sequence[T]
) -> Iterator[tuple[T, BatchRefusedError]]:
    """Store a batch in order, and yield each item that the store will never accept.

    A refused batch is halved until each refused item is alone. The items after a refused one are
    stored when the iteration continues. Storing an item again must change nothing.
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


class SeriesStore(Protocol[S_contra]):
    """Destination of readings; its methods may block, and are called from one thread at a time."""

    def check_connection(self) -> str:
        """Check the store and return its description; raises `StorageUnavailableError`."""

    def get_cursor(self) -> int:
        """Return the journal offset up to which readings are durably stored."""

    def write(self, items: Sequence[S_contra], cursor: int, /) -> None:
        """Store items and move the cursor past them, like `Series.write`."""


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """How a writer works.

    - `refused_in_a_row`: pause after this many consecutive refused readings.
    - `pace_s`: shortest time between the starts of two batches that are not full.
    - `gather_s`: how long to wait for more readings after an idle time.
    - `origin`, `reason`: written into dead letters.
    """

    batch: int = 2_000
    refused_in_a_row: int = 100
    pace_s: float = 0.0
    gather_s: float = 0.0
    origin: str = "journal"
    reason: str = REASON


@dataclass(slots=True)
class WriterState:
    """Counts of a writer, the current error if any, and the cursor of its store."""

    stored: int = 0
    refused: int = 0
    failing: str = ""
    cursor: int = 0


class SeriesWriter(Generic[S]):
    """Copies items from `Journal.read` or a similar function to a store.

    ``await write_dead_letters(letters)`` returns once the letters are durable. `store` and `read`
    may block, so they are called through `in_thread`.
    """

    def __init__(
        self,
        name: str,
        store: SeriesStore[S],
        read: Callable[[int, int], tuple[Sequence[tuple[int, S]], int]],
        write_dead_letters: Callable[[Sequence[DeadLetter]], Awaitable[None]],
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
        self._write_dead_letters = write_dead_letters
        self._in_thread = in_thread
        self._clock = clock
        self._settings = settings or WriterSettings()
        self._sleep = sleep
        self._jitter = random.Random()  # noqa: S311 - spreads retries, hides nothing
        self._pause_s = 0.0
        self._in_a_row = 0

    async def run(self) -> None:
        """Write until canceled. Set the event `wake` whenever the journal has grown."""
        await self._check_connection()
        while True:
            self.wake.clear()
            began = time.monotonic()
            try:
                advanced = await self._advance()
            except StorageError as error:
                await self._wait(error)
                continue
            self._on_success()
            if not advanced:
                await self.wake.wait()
                if self._settings.gather_s:
                    await self._sleep(self._settings.gather_s)
            elif advanced < self._settings.batch:
                rest = began + self._settings.pace_s - time.monotonic()
                if rest > 0:
                    await self._sleep(rest)

    async def _check_connection(self) -> None:
        while True:
            try:
                self.state.cursor = await self._in_thread(self._store.get_cursor)
                description = await self._in_thread(self._store.check_connection)
            except StorageError as error:
                await self._wait(error)
                continue
            self._on_success()
            log.info("%s: %s", self._name, description)
            return

    async def _advance(self) -> int:
        """Read and write the next batch; return how far the cursor moved."""
        before = await self._in_thread(self._store.get_cursor)
        self.state.cursor = before
        entries, cursor = await self._in_thread(self._read, before, self._settings.batch)
        if cursor > before:
            await self._write(entries, cursor)
        return cursor - before

    async def _write(self, entries: Sequence[tuple[int, S]], cursor: int) -> None:
        def store(part: Sequence[tuple[int, S]]) -> None:
            end = cursor if not part or part[-1] is entries[-1] else part[-1][0]
            self._store.write([item for _, item in part], end)
            self._on_stored(len(part), end)

        rejected = bisect_rejected(store, entries)
        while found := await self._in_thread(next, rejected, None):
            entry, error = found
            await self._write_dead_letter(entry, error)
            end = cursor if entry is entries[-1] else entry[0]
            await self._in_thread(self._store.write, [], end)
            self.state.cursor = end

    def _on_stored(self, stored: int, cursor: int) -> None:
        self.state.stored += stored
        self.state.cursor = cursor
        self._in_a_row = 0 if stored else self._in_a_row
        self._on_success()

    async def _write_dead_letter(self, entry: tuple[int, S], error: BatchRefusedError) -> None:
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
        await self._write_dead_letters([letter])
        if self.state.refused == 0:
            log.warning("%s refused a reading, which is now a dead letter: %s", self._name, error)
        self.state.refused += 1
        self._in_a_row += 1

    async def _wait(self, error: StorageError) -> None:
        """Pause after a transient error or refused readings; raise a permanent error."""
        if not (is_transient(error) or isinstance(error, BatchRefusedError)):
            raise error
        if not self.state.failing:
            log.error("cannot write to %s, retrying: %s", self._name, error)
        self.state.failing = str(error) or type(error).__name__
        self._pause_s = min(max(_FIRST_PAUSE_S, self._pause_s * 2), _LAST_PAUSE_S)
        requested_s = min(getattr(error, "retry_after_s", None) or 0.0, _MAX_REQUESTED_PAUSE_S)
        await self._sleep(max(requested_s, self._pause_s * self._jitter.uniform(0.5, 1.0)))

    def _on_success(self) -> None:
        if self.state.failing:
            log.warning("writing to %s works again", self._name)
        self.state.failing = ""
        self._pause_s = 0.0
