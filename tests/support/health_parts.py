"""Stand-ins for the parts of a working service, to test health checks and metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from prometheus_client import Histogram

from alerts.operations import Operations
from ingest.intake import Intake
from ingest.mqtt.intake_loop import Canary, CanarySettings, SourceState
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.paths import DataPaths
from plumewatch.config.sections.broker import BrokerConfig
from plumewatch.service import pipeline_meters as declared
from plumewatch.service.alerting import Deliveries
from plumewatch.service.consumers import DetectionCounts
from plumewatch.service.health import Health
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
        self.source = SimpleNamespace(state=self.state, canary=self.canary)
        resources = SimpleNamespace(
            config=PlumewatchConfig.model_construct(
                data_dir=folder, broker=BrokerConfig(max_queued_messages=1000)
            ),
            paths=DataPaths(folder),
            clock=lambda: NOW,
            started=NOW,
            journal=self.journal,
            series=SimpleNamespace(repairs=0),
            run_until_stored=self.retrying,
            find_hanging=dict,
        )
        ingestion = SimpleNamespace(
            source=self.source,
            intake=self.intake,
            commits=self.commits,
            operations=Operations(lambda: NOW),
            http_ingest=SimpleNamespace(answers={}),
            writer=SimpleNamespace(seconds=Histogram("commit", "", registry=None)),
        )
        alerting = SimpleNamespace(
            memory=SimpleNamespace(active=False),
            stuck=self.stuck,
            deliveries=self.deliveries,
        )
        writers = SimpleNamespace(readings=self.writer, records=self.records)
        self.health = Health(
            resources, ingestion, self.detection, writers, monotonic=lambda: self.monotonic
        )
        self.meters = Meters(
            (
                *declared.declare_service(resources, self.detection, self.health),
                *declared.declare_ingestion(resources, ingestion),
                *declared.declare_storage(resources, ingestion, self.detection, writers),
                *declared.declare_alerts(resources, self.detection, alerting),
            )
        )

    def dead_letters(self):
        if self.letters is None:
            raise StorageUnavailableError("disk I/O error")
        return self.letters

    def failing(self):
        return [(part.name, part.detail) for part in self.health.check_parts() if not part.ok]
