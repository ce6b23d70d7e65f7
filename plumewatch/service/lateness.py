"""Whether the clock of this machine can be right, judged by the stamps of all sensors.

Readings that are too old when they come are stored and never alert. Where the clock of this machine
is minutes ahead of the truth, that is all of them, and nothing else would show it. A backlog after
an outage is late too, but not for as long as this looks back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ingest.reading_counts import CountKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.reading_counts import ReadingCounts

SAMPLES: Final = 15
"""Samples looked back on, one a minute."""


class Lateness:
    """Follow the counts of late readings; pure.

    Attributes
    ----------
    late, heard : int
        Registered sensors of which every reading came late over the last `SAMPLES` samples, and of
        which there was any.
    """

    def __init__(self) -> None:
        self.late = self.heard = 0
        self._samples: deque[dict[str, tuple[int, int]]] = deque(maxlen=SAMPLES + 1)

    def sample(self, sensors: Iterable[str], tally: ReadingCounts) -> None:
        """Take what was counted so far, once a minute."""
        now = {}
        for sensor in sensors:
            counts = tally.of(sensor)
            now[sensor] = (counts.get(CountKind.READINGS, 0), counts.get(CountKind.LATE, 0))
        self._samples.append(now)
        if len(self._samples) <= SAMPLES:
            return
        before = self._samples[0]
        added = [(n - before[s][0], late - before[s][1]) for s, (n, late) in now.items()]
        self.heard = sum(n > 0 for n, _ in added)
        self.late = sum(0 < n == late for n, late in added)

    @property
    def says(self) -> str:
        """What is wrong, for operators; empty if nothing is."""
        if 2 * self.late <= self.heard:
            return ""
        return (
            f"{self.late} of {self.heard} sensors stamp every reading so long ago that none of"
            " them can alert: is the clock of this machine right, and theirs?"
        )
