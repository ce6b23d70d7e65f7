"""Stand-ins for the parts of a service that works, for what looks at its health."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from ingest.canary import Canary, CanarySettings
from ingest.intake import Intake
from ingest.mqtt import SourceState
from plumewatch.service.health import Health, Latencies
from plumewatch.service.observer import Counters
from storage.errors import StorageUnavailableError
from storage.timeseries.writer import WriterState

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000.0


class Parts:
    """Look at `health`; change a part to see what it makes of it."""

    def __init__(self, folder: Path) -> None:
        self.now, self.monotonic = NOW, 1000.0
        self.state = SourceState(connected=True)
        self.canary = Canary(CanarySettings(), "me")
        self.canary.on_connected(self.monotonic)
        self.canary.on_return(self.canary.due(self.monotonic), self.monotonic + 0.02)
        self.commits = SimpleNamespace(failing="", waiting=0, groups=0)
        self.writer = SimpleNamespace(state=WriterState())
        self.records = SimpleNamespace(state=WriterState())
        self.counters = Counters(started=NOW, beat=self.monotonic)
        self.retrying = SimpleNamespace(failing={}, last_failure=0.0)
        self.watch = SimpleNamespace(position=0, model_version="plume-2")
        self.letters = {"bad_json": 2}
        self.journal = SimpleNamespace(
            dead_letter_counts=self.dead_letters, bytes_used=lambda: 4096, corrupt_records=0
        )
        self.latencies = Latencies()
        self.intake = Intake()
        self.source = SimpleNamespace(state=self.state, canary=self.canary)
        self.health = Health(
            clock=lambda: self.now,
            monotonic=lambda: self.monotonic,
            source=self.source,
            commits=self.commits,
            intake=self.intake,
            journal=self.journal,
            writer=self.writer,
            records=self.records,
            counters=self.counters,
            retrying=self.retrying,
            latencies=self.latencies,
            watch=lambda: self.watch,
            database=folder / "no-state.db",
            queue_limit=1000,
        )

    def dead_letters(self):
        if self.letters is None:
            raise StorageUnavailableError("disk I/O error")
        return self.letters

    def failing(self):
        return [(part.name, part.says) for part in self.health.parts() if not part.ok]
