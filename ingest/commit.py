"""Commit readings and dead letters from MQTT and HTTP in groups, in the order of acceptance.

Why there is one queue
----------------------
MQTT and HTTP share one `Intake`, which recognizes duplicates of readings that are not on disk yet.
A duplicate must not be acknowledged until the original is durable, even if the original
arrived over the other protocol. So every outcome enters one queue immediately after
`Intake.on_message`, and an entry is settled only when everything before it is durable. The entry of
a duplicate is empty.

Order of operations
-------------------
While a commit waits for the disk, new entries collect for the next group. The next commit begins at
least `pace_s` after the previous one began. If many readings arrive, this interval grows to at most
`_SLOWEST_S`. While the disk is full or locked, the same group is retried. Meanwhile, `failing`
gives the reason, and nothing after the group is settled. The queue itself is not limited: the
broker's window limits MQTT, and HTTP ingest checks `failing` and `waiting`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import Histogram

from ingest.copies import JournalSearch
from storage.sqlite import UntilStored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ingest.intake import Intake
    from storage.journal import DeadLetter, Journal
    from storage.reading import Reading
    from storage.sqlite import InThread

    Write = Callable[[Sequence[Reading], Sequence[DeadLetter]], Awaitable[None]]

_WHAT: Final = "readings (acknowledged only once stored)"
_MAX_GROUP: Final = 5_000
"""A group is full at this many readings and dead letters."""

_LAST_RETRY_S: Final = 5.0
_EACH_S: Final = 0.0002
_SLOWEST_S: Final = 0.01
"""Committing 120 readings in one group takes two thirds of the CPU time of three groups of 40."""


def compute_pace(count: int, min_s: float, max_s: float) -> float:
    """Return how long after the start of a commit of `count` readings the next one may start.

    At a steady rate, this interval is proportional to the rate. It reaches `max_s` if a reading
    arrives every `_EACH_S` seconds.
    """
    return max(min_s, min(math.sqrt(count * _EACH_S * max_s), max_s))


@dataclass(frozen=True, slots=True)
class _Entry:
    readings: Sequence[Reading]
    letters: Sequence[DeadLetter]
    settled: asyncio.Future[None]

    def __len__(self) -> int:
        return len(self.readings) + len(self.letters)


class GroupCommit:
    """Commit readings and dead letters in the order in which they were accepted.

    `write`: ``await write(readings, dead_letters)`` returns once both are durable. If it raises
    `StorageUnavailableError`, neither was stored.
    `first_retry_s`: first pause before a retry; each later pause is twice as long.
    `pace_s`: shortest time between the starts of two commits.
    `groups`: number of groups committed.
    """

    def __init__(self, write: Write, *, first_retry_s: float = 0.5, pace_s: float = 0.0) -> None:
        self.groups = 0
        self._write = write
        self._until_stored = UntilStored(first_retry_s, _LAST_RETRY_S)
        self._pace_s = pace_s
        self._queue: deque[_Entry] = deque()
        self._group: list[_Entry] = []
        self._entered = asyncio.Event()
        self._closed = False

    @property
    def failing(self) -> str:
        """Why commits fail at the moment, or empty."""
        return self._until_stored.failing.get(_WHAT, "")

    @property
    def waiting(self) -> int:
        """Number of entries that are not settled yet."""
        return len(self._queue) + len(self._group)

    def list_unsettled(self) -> list[Reading]:
        """Return the readings that are not durable yet, in order of acceptance."""
        return [r for entry in (*self._group, *self._queue) for r in entry.readings]

    def enqueue(
        self, readings: Sequence[Reading], letters: Sequence[DeadLetter] = ()
    ) -> asyncio.Future[None]:
        """Queue readings and dead letters; the future is done once they are durable."""
        settled = asyncio.get_running_loop().create_future()
        if self._closed:
            settled.cancel()
        elif not readings and not letters and not self.waiting:
            settled.set_result(None)
        else:
            self._queue.append(_Entry(readings, letters, settled))
            self._entered.set()
        return settled

    async def commit(self, readings: Sequence[Reading], letters: Sequence[DeadLetter] = ()) -> None:
        """Queue readings and dead letters, and return once they are durable."""
        await self.enqueue(readings, letters)

    async def run(self) -> None:
        """Commit groups until cancelled, then cancel the callers that are still waiting."""
        try:
            while True:
                while not self._queue:
                    self._entered.clear()
                    await self._entered.wait()
                began = time.monotonic()
                self._group = self._take_group()
                await self._settle(self._group)
                count, self._group = sum(map(len, self._group)), []
                rest = began + compute_pace(count, self._pace_s, _SLOWEST_S) - time.monotonic()
                if rest > 0:
                    await asyncio.sleep(rest)
        finally:
            self._closed = True
            for entry in (*self._group, *self._queue):
                entry.settled.cancel()

    def _take_group(self) -> list[_Entry]:
        group = [self._queue.popleft()]
        size = len(group[0])
        while self._queue and size + len(self._queue[0]) <= _MAX_GROUP:
            size += len(self._queue[0])
            group.append(self._queue.popleft())
        return group

    async def _settle(self, group: Sequence[_Entry]) -> None:
        readings = [reading for entry in group for reading in entry.readings]
        letters = [letter for entry in group for letter in entry.letters]
        if readings or letters:
            await self._until_stored.repeat(_WHAT, lambda: self._write(readings, letters))
            self.groups += 1
        for entry in group:
            if not entry.settled.done():
                entry.settled.set_result(None)


_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class JournalWriter:
    """Writes groups to the journal, except readings that the journal already has.

    `on_stored`: functions called after each group with the newest offset of the journal.
    `stored_offset`: newest offset of the journal after the last group.
    `seconds`: histogram of the duration of commits.
    """

    def __init__(
        self,
        journal: Journal,
        in_thread: InThread,
        intake: Intake,
        on_stored: Sequence[Callable[[int], None]],
    ) -> None:
        self.stored_offset = 0
        self.seconds = Histogram("commit", "", buckets=_BOUNDS_S, registry=None)
        self._journal, self._in_thread, self._intake = journal, in_thread, intake
        self._search = JournalSearch(journal)
        self._on_stored = on_stored

    async def write(self, readings: Sequence[Reading], letters: Sequence[DeadLetter] = ()) -> None:
        """Store a group, then count it and wake the consumers.

        Raises the same errors as `Journal.commit`.
        """
        began = time.monotonic()
        last, fresh, copies = await self._in_thread(self._store, readings, letters)
        self.seconds.observe(time.monotonic() - began)
        self._intake.on_stored(fresh, copies)
        self.stored_offset = last
        for wake in self._on_stored:
            wake(last)

    def _store(
        self, readings: Sequence[Reading], letters: Sequence[DeadLetter]
    ) -> tuple[int, Sequence[Reading], Sequence[Reading]]:
        """Commit new readings; return the newest offset, the new readings and the duplicates."""
        fresh, copies = self._search.split_known(readings)
        if copies and not fresh and not letters:
            return self._journal.get_last_offset(), fresh, copies
        return self._journal.commit(fresh, letters), fresh, copies
