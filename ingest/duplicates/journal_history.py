"""Which readings the journal has, beyond what `ingest.duplicates.dedupe` remembers.

A broker that is killed after it delivered a backlog delivers it again, in any length. A reading
that is not later than all others of its sensor may be such a copy, so it is looked up before it is
committed. Its first copy was received after its event time, less the clock skew that is allowed:
only this part of the journal is read, once, and what was added since. It is forgotten after
`KEEP_S` without a look-up.

Memory: 8 bytes a reading, at most `MAX_READINGS`; older copies are accepted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ingest.duplicates.dedupe import content_key, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from storage.journal import Journal
    from storage.reading import Reading

KEEP_S: Final = 600.0
MAX_READINGS: Final = 5_000_000
_BATCH: Final = 20_000


class JournalHistory:
    """Keys of the readings in a part of the journal up to its end."""

    def __init__(self, journal: Journal, max_skew_s: float, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._max_skew_s = max_skew_s
        self._clock = clock
        self._parts: list[NDArray[np.int64]] = []
        self._from = self._to = 0
        self._used = 0.0

    def known(self, readings: Sequence[Reading]) -> list[bool]:
        """Return for each reading whether the journal has it; blocks while it reads."""
        now = self._clock()
        if abs(now - self._used) > KEEP_S or sum(map(len, self._parts)) > MAX_READINGS:
            self._parts, self._from, self._to = [], 0, 0
        self._used = now
        if not readings:
            return []
        last = self._journal.last_offset()
        oldest = min(map(stamp_of, readings)) - self._max_skew_s
        first = max(self._journal.offset_received(oldest), last - MAX_READINGS)
        if not self._parts:
            self._from = self._to = first
        if first < self._from:
            self._load(first, self._from)
            self._from = first
        self._load(self._to, last)
        self._to = max(self._to, last)
        keys = np.array([content_key(reading) for reading in readings], np.int64)
        found = np.zeros(len(keys), bool)
        for part in self._parts:
            found |= part[np.searchsorted(part, keys).clip(max=len(part) - 1)] == keys
        return [bool(one) for one in found]

    def _load(self, after: int, upto: int) -> None:
        while after < upto:
            entries, after = self._journal.read(after, min(_BATCH, upto - after))
            if entries:
                keys = np.array([content_key(entry.reading) for entry in entries], np.int64)
                self._parts.append(np.sort(keys))
        self._merge()

    def _merge(self) -> None:
        """Join parts of like size, so that there are few."""
        parts = sorted(self._parts, key=len, reverse=True)
        while len(parts) > 1 and len(parts[-2]) < 2 * len(parts[-1]):
            joined = np.sort(np.concatenate((parts.pop(), parts.pop())))
            parts.append(joined)
            parts.sort(key=len, reverse=True)
        self._parts = parts
