"""One group commit for MQTT and HTTP, in the order of acceptance.

Why one
-------
Both feed one `Intake`, which recognizes duplicates of readings that are not on the disk yet. So a
duplicate may only be acknowledged once the first copy is durable, whichever way it came. Every
outcome enters one queue immediately after `Intake.on_message`. Groups are committed in that order,
and an entry is settled only after everything before it. A duplicate is an entry without content.

Order of operations
-------------------
While a commit waits for the disk, the next group gathers. No commit begins within `pace_s` of the
last one, or within `_SLOWEST_S` if many readings arrive. A group is never given up: if the disk
refuses, the same group is retried, `failing` has the reason, and nothing after it is settled. The
queue has no limit of its own: the broker's window limits MQTT, and HTTP ingest checks `failing` and
`waiting`.
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

_WHAT: Final = "readings, of which none is acknowledged"
_MAX_GROUP: Final = 5_000
"""Readings and dead letters at which a group is full."""

_EACH_S: Final = 0.0002
_SLOWEST_S: Final = 0.01
"""Committing 120 readings together takes two thirds of the CPU time of 40 at a time."""


def compute_pace(count: int, least_s: float, most_s: float) -> float:
    """Return how long to gather if `count` readings arrived meanwhile.

    Proportional to the rate; `most_s` at one reading in `_EACH_S`.
    """
    return max(least_s, min(math.sqrt(count * _EACH_S * most_s), most_s))


@dataclass(frozen=True, slots=True)
class _Entry:
    readings: Sequence[Reading]
    letters: Sequence[DeadLetter]
    settled: asyncio.Future[None]

    def __len__(self) -> int:
        return len(self.readings) + len(self.letters)


class GroupCommit:
    """Commit readings and dead letters in the order in which they were accepted.

    `write`: ``await write(readings, dead_letters)`` returns once both are durable, or raises
    `StorageUnavailableError` and keeps neither.
    `first_retry_s`, `last_retry_s`: pauses between attempts while the disk refuses; they double.
    `pace_s`: shortest time between the starts of two commits.
    `groups`: number of groups committed.
    """

    def __init__(
        self,
        write: Write,
        *,
        first_retry_s: float = 0.5,
        last_retry_s: float = 5.0,
        pace_s: float = 0.0,
    ) -> None:
        self.groups = 0
        self._write = write
        self._until_stored = UntilStored(first_retry_s, last_retry_s)
        self._pace_s = pace_s
        self._queue: deque[_Entry] = deque()
        self._group: list[_Entry] = []
        self._entered = asyncio.Event()
        self._closed = False

    @property
    def failing(self) -> str:
        """Why the disk refuses at the moment, or empty."""
        return self._until_stored.failing.get(_WHAT, "")

    @property
    def waiting(self) -> int:
        """Number of entries that are not settled yet."""
        return len(self._queue) + len(self._group)

    def unsettled(self) -> list[Reading]:
        """Return the readings that wait for the disk, in order of acceptance."""
        return [r for entry in (*self._group, *self._queue) for r in entry.readings]

    def enter(
        self, readings: Sequence[Reading], letters: Sequence[DeadLetter] = ()
    ) -> asyncio.Future[None]:
        """Queue readings and dead letters; never blocks."""
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
        """Return once these and everything entered before are durable."""
        await self.enter(readings, letters)

    async def run(self) -> None:
        """Commit groups until cancelled, then cancel callers that still wait."""
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
    """Writes groups to the journal, without the readings that it already has.

    `on_stored`: called with the end of the journal after each group.
    `stored_offset`: the end of the journal after the last group.
    `seconds`: durations of the commits.
    """

    def __init__(
        self,
        journal: Journal,
        in_thread: InThread,
        intake: Intake,
        max_skew_s: float,
        on_stored: Sequence[Callable[[int], None]],
    ) -> None:
        self.stored_offset = 0
        self.seconds = Histogram("commit", "", buckets=_BOUNDS_S, registry=None)
        self._journal, self._in_thread, self._intake = journal, in_thread, intake
        self._search = JournalSearch(journal, max_skew_s, time.monotonic)
        self._on_stored = on_stored

    async def write(self, readings: Sequence[Reading], letters: Sequence[DeadLetter] = ()) -> None:
        """Store a group, then count it and wake the consumers; raises as `Journal.commit`."""
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
        """Commit new readings; return the journal's end, the new ones and the duplicates."""
        fresh, copies = self._search.divide(readings)
        if copies and not fresh and not letters:
            return self._journal.last_offset(), fresh, copies
        return self._journal.commit(fresh, letters), fresh, copies
