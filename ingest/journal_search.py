"""The search of the journal for readings that are older than `ingest.recent_readings` remembers.

A broker that is killed after it delivered a backlog delivers it again, in any length. So a reading
that may be such a copy is looked up before it is committed. Its first copy was received after its
stamp, less the clock skew that is allowed, or has this stamp: only the end of the journal is read,
up to where `_CHUNK` readings on end are older in both. A reading that is known by its number alone
is looked for among the last `_NUMBERED`. What was read is forgotten after `KEEP_S` without a
search.

A reading that is new, at a time that the journal has of its sensor, gets the next free time:
readings of one moment are settled before, where both are remembered.

Memory: 16 bytes a reading, at most `MAX_READINGS`; older copies are accepted again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ingest.recent_readings import STEP_S, Doubtful, content_key
from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from storage.journal import Journal

KEEP_S: Final = 600.0
MAX_READINGS: Final = 5_000_000
_CHUNK: Final = 5_000
_NUMBERED: Final = 100_000


class JournalSearch:
    """Finds doubtful readings in the journal, and remembers the keys of what it read of it."""

    def __init__(self, journal: Journal, max_skew_s: float, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._max_skew_s = max_skew_s
        self._clock = clock
        self._parts: list[NDArray[np.int64]] = []
        self._from = self._to = 0
        self._reaches = math.inf
        """No reading before `_from` is as new."""
        self._used = -math.inf
        self._clock_step = 0.0

    def divide(self, readings: Sequence[Reading]) -> tuple[list[Reading], list[Reading]]:
        """Return the readings that are new, in order, and those that the journal has; blocks."""
        doubtful = [reading for reading in readings if type(reading) is Doubtful]
        copies: set[int] = set()
        if doubtful:
            self._reach(doubtful)
            known = self._known([content_key(reading) for reading in doubtful])
            copies = {id(r) for r, is_known in zip(doubtful, known, strict=True) if is_known}
        elif not self._clock_step:
            return list(readings), []
        fresh: list[Reading] = []
        given: set[int] = set()
        for reading in readings:
            self._clock_step += reading.clock_step
            if id(reading) in copies:
                continue
            new = self._placed(reading, given) if type(reading) is Doubtful else reading
            if self._clock_step != new.clock_step:  # of a copy before it
                new = msgspec.structs.replace(new, clock_step=self._clock_step)
            self._clock_step = 0.0
            fresh.append(new)
        return fresh, [reading for reading in doubtful if id(reading) in copies]

    def _placed(self, reading: Reading, given: set[int]) -> Reading:
        """Return a plain reading at a time that the journal does not have of its sensor."""
        time, stamp = reading.time, reading.said
        while (key := _moment(reading.sensor, time)) in given or self._known([key])[0]:
            time += STEP_S
        given.add(key)
        placed = Reading(*msgspec.structs.astuple(reading))
        return (
            placed
            if time == reading.time
            else msgspec.structs.replace(placed, time=time, stamp=stamp)
        )

    def _known(self, keys: Sequence[int]) -> NDArray[np.bool_]:
        wanted = np.array(keys, np.int64)
        found = np.zeros(len(wanted), np.bool_)
        for part in self._parts:
            found |= part[np.searchsorted(part, wanted).clip(max=len(part) - 1)] == wanted
        return found

    def _reach(self, doubtful: Sequence[Reading]) -> None:
        """Read as much of the journal as may have copies of these."""
        now, last = self._clock(), self._journal.last_offset()
        if now - self._used > KEEP_S or self._to - self._from > MAX_READINGS:
            self._parts, self._from, self._to, self._reaches = [], last, last, math.inf
        self._used = now
        self._load(self._to, last)
        self._to = last
        stamps = [stamp for r in doubtful if (stamp := r.said) is not None]
        oldest = min(stamps, default=math.inf) - self._max_skew_s
        numbered = last - _NUMBERED if len(stamps) < len(doubtful) else last
        ahead = max(reading.received for reading in doubtful) + self._max_skew_s
        earliest = max(last - MAX_READINGS, 0)
        while self._from > earliest and (oldest < self._reaches or numbered < self._from):
            begin = max(self._from - _CHUNK, 0)
            newest = self._load(begin, self._from, ahead)
            self._from = begin
            if newest < oldest:
                self._reaches = min(self._reaches, oldest)

    def _load(self, after: int, upto: int, ahead: float = math.inf) -> float:
        """Read a part; return its newest receipt, or stamp up to `ahead`."""
        newest = -math.inf
        while after < upto:
            entries, after = self._journal.read(after, min(_CHUNK, upto - after))
            readings = [entry.reading for entry in entries if entry.offset <= upto]
            if readings:
                keys = [content_key(r) for r in readings]
                keys += [_moment(r.sensor, r.time) for r in readings]
                self._parts.append(np.sort(np.array(keys, np.int64)))
                stamps = [at for r in readings if (at := r.said or 0.0) <= ahead]
                newest = max(newest, *stamps, *(r.received for r in readings))
        self._merge()
        return newest

    def _merge(self) -> None:
        """Join parts of like size, so that there are few."""
        parts = sorted(self._parts, key=len, reverse=True)
        while len(parts) > 1 and len(parts[-2]) < 2 * len(parts[-1]):
            joined = np.sort(np.concatenate((parts.pop(), parts.pop())))
            parts.append(joined)
            parts.sort(key=len, reverse=True)
        self._parts = parts


def _moment(sensor: str, time: float) -> int:
    return hash((sensor, time))
