"""Stand-ins for the parts of a working service, to test health checks and metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from prometheus_client import Histogram

from alerts.operations import Operations
from ingest.intake import Intake
from ingest.mqtt.intake_loop import Canary, CanarySettings, SourceState
from plumewatch.service import pipeline_meters as declared
from plumewatch.service.alerting import Deliveries
from plumewatch.service.consumers import DetectionCounts
from plumewatch.service.health import Health, OutboxState
from plumewatch.service.meters import Meters
from storage.errors import StorageUnavailableError
from storage.timeseries.writer import WriterState

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000.0


class Parts:
    """Parts of a service; change a part and read `health` and `meters`."""

    def __init__(self, folder: Path) -> None:
        self.monotonic = 1000.0
        self.lag = (0, 0.0)
        self.state = SourceState(connected=True)
        self.canary = Canary(CanarySettings(), "me")
        self.canary.on_connected(self.monotonic)
        self.canary.on_return(self.canary.take_due_payload(self.monotonic), self.monotonic + 0.02)
        self.commits = SimpleNamespace(failing="", waiting=0, groups=0)
        self.writer = SimpleNamespace(state=WriterState())
        self.records = SimpleNamespace(state=WriterState())
        self.retrying = SimpleNamespace(failing={}, last_failure=0.0)
        self.detection = SimpleNamespace(
            beat=self.monotonic,
            counts=DetectionCounts(),
            measure_lag=lambda: self.lag,
            last_offset=0,
            model_version="plume-2",
        )
        self.letters = {"bad_json": 2}
        self.journal = SimpleNamespace(
            count_dead_letters=self.dead_letters,
            get_bytes_used=lambda: 4096,
            count_deleted_unread=lambda: 0,
            corrupt_records=0,
            repairs=0,
        )
        self.deliveries = Deliveries()
        self.stuck: dict[str, int] = {}
        self.intake = Intake()
        self.polls = SimpleNamespace(sensors=(), requests={}, failing={})
        self.source = SimpleNamespace(state=self.state, canary=self.canary)
        self.outbox = OutboxState(folder / "no-state.db", lambda: NOW)
        self.health = Health(
            monotonic=lambda: self.monotonic,
            source=self.source,
            commits=self.commits,
            writer=self.writer,
            records=self.records,
            retrying=self.retrying,
            hanging=dict,
            detection=self.detection,
            queue_limit=1000,
            operations=Operations(lambda: NOW),
        )
        self.meters = Meters(
            (
                *declared.declare_service(
                    self.health, SimpleNamespace(started=NOW), self.detection
                ),
                *declared.declare_outlook(lambda: 5e9),
                *declared.declare_broker(self.source, 1000),
                *declared.declare_intake(self.source, self.intake, {}),
                *declared.declare_polls(self.polls),
                *declared.declare_storage(
                    journal=self.journal,
                    series=SimpleNamespace(repairs=0),
                    writer=self.writer,
                    records=self.records,
                    detection=self.detection,
                    commits=Histogram("commit", "", registry=None),
                ),
                *declared.declare_alerts(
                    self.detection,
                    SimpleNamespace(active=False),
                    self.stuck,
                    self.deliveries,
                    {"made": 1},
                ),
                *declared.declare_outbox(self.outbox),
            ),
            self.outbox.refresh,
        )

    def dead_letters(self):
        if self.letters is None:
            raise StorageUnavailableError("disk I/O error")
        return self.letters

    def failing(self):
        return [(part.name, part.detail) for part in self.health.check_parts() if not part.ok]
