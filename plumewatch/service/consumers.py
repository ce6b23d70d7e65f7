"""The consumers of the journal: detection, and the writers of the time-series store.

Readings are stored from the start, even while the detectors are still being restored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.outbound.series_records import DueRecords, mark_all
from detection.liveness import LivenessSettings
from ingest.commit import compute_pace
from ingest.validation import may_alert
from plumewatch.config.settings import build_alert_budgets
from plumewatch.service.resources import Task
from storage.sqlite import transaction
from storage.timeseries.influx import BATCH
from storage.timeseries.writer import RECORD_REASON, SeriesWriter, WriterSettings

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from alerts.engine import AlertEngine, AlertRecord
    from detection.alert_rules import ThresholdReport
    from detection.events import Event
    from detection.liveness import SensorLife
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.service.alerting import Alerting
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.resources import ExternalEvents, Resources
    from storage.journal import JournalEntry

log = logging.getLogger(__name__)

_BATCH: Final = 2000
_TICK_S: Final = 1.0
_CONNECT_FIRST_S: Final = 2.0
"""How long the detectors wait for the first attempt to connect to the broker."""
_PACE_S: Final = 0.008
"""How long single readings are gathered into a batch: a batch costs a millisecond, and a reading
only a hundredth of that. The first reading after a pause does not wait."""
_SLOWEST_PACE_S: Final = 0.05
"""Gathering time at 5,000 readings a second or more; evaluating a batch takes a twentieth of it."""
_COMMIT_EVERY_S: Final = 0.25
"""How often the cursor is committed while readings cause no events."""
_GATHER_S: Final = 0.1
"""How long readings that arrive one by one are gathered into a batch. An evidence picture waits
twice as long for its last reading."""
_RECORDS_GATHER_S: Final = 1.0
"""How long records are gathered: an incident changes several times in its first second, and its
notice must go out first."""


@dataclass(slots=True)
class DetectionCounts:
    """Counts since the service started."""

    readings: int = 0
    events: int = 0
    alerts: int = 0


def build_consumer(
    config: PlumewatchConfig, engine: AlertEngine, state: sqlite3.Connection
) -> DetectionConsumer:
    """Build a consumer from the configuration, without opening it."""
    liveness = LivenessSettings(missed=config.alerts.offline_after)
    budgets = build_alert_budgets(config)
    return DetectionConsumer(state, engine, may_alert, liveness, budgets, gather_s=_COMMIT_EVERY_S)


class DetectionLoop:
    """Drives one `DetectionConsumer` over the readings that `ingestion` stores."""

    def __init__(
        self,
        resources: Resources,
        ingestion: Ingestion,
        alerting: Alerting,
        external: ExternalEvents,
    ) -> None:
        self.counts = DetectionCounts()
        self.ready = resources.ready
        self.last_offset = 0
        self.beat = 0.0
        self.undecided: tuple[Sequence[Event], int] | None = None
        self._resources = resources
        self._ingestion = ingestion
        self._alerting = alerting
        self._external = external
        self._step_of = resources.step_reader()
        self._last_step_s = 0.0
        self._consumer: DetectionConsumer | None = None
        self._stored = asyncio.Event()
        self._detected_received = self._behind_since = 0.0
        resources.on_stored.append(self.on_stored)

    @property
    def position(self) -> int:
        """Journal offset up to which readings are evaluated; 0 until the loop is ready."""
        return self._consumer.position if self._consumer else 0

    @property
    def model_version(self) -> str:
        """Version of the detector's model; empty until the loop is ready."""
        return self._consumer.model_version if self._consumer else ""

    def get_liveness(self) -> Mapping[str, SensorLife]:
        """Return the liveness of each sensor; empty until the loop is ready."""
        return self._consumer.get_liveness() if self._consumer else {}

    def explain_thresholds(self, sensors: Collection[str]) -> dict[str, ThresholdReport]:
        """Return the known thresholds of these sensors; call this in the detector's thread."""
        return self._consumer.explain_thresholds(sensors) if self._consumer else {}

    def measure_lag(self) -> tuple[int, float]:
        """Return how far detection is behind the journal, in readings and in seconds."""
        behind = max(self.last_offset - self.position, 0)
        since = max(self._behind_since, self._detected_received)
        return behind, max(self._resources.clock() - since, 0.0) if behind else 0.0

    def open(self, last_offset: int) -> None:
        """Start with a journal that ends at `last_offset`."""
        self.last_offset = last_offset
        self._detected_received = self._resources.clock()
        self.beat = time.monotonic()

    def on_stored(self, last_offset: int) -> None:
        """Wake the loop after the journal has grown."""
        if self._consumer is not None and self.position >= self.last_offset:
            self._behind_since = self._resources.clock()
        self.last_offset = last_offset
        self._stored.set()

    def save_snapshot(self) -> int:
        """Store the detectors' state, and return its journal offset; this blocks."""
        return self._consumer.save_snapshot() if self._consumer else 0

    def fork(self, connection: sqlite3.Connection) -> DetectionConsumer:
        """Return a consumer that continues from here with another state database."""
        return self._get_consumer().fork(connection)

    async def run_external(self) -> None:
        """Commit events from other detectors as they arrive, until canceled."""
        await self.ready.wait()
        while True:
            events, committed = await self._external.take()
            consumer = self._get_consumer()
            now = await self._read_clock(consumer)
            self._report(events, await self._alerting.commit(consumer.commit_external, events, now))
            if not committed.done():  # the waiting task may be canceled
                committed.set_result(None)

    async def run(self) -> None:
        """Evaluate readings as they become durable, until canceled.

        Before restoring the detectors, wait a moment for the first attempt to connect to the
        broker.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_FIRST_S):
                await self._ingestion.source.attempted.wait()
        consumer = await self._resources.run_until_stored(
            "state of the detectors", self._restore_consumer
        )
        self._consumer = consumer
        self.ready.set()
        ticked = time.monotonic()
        while True:
            self._stored.clear()
            self.beat = began = time.monotonic()
            entries, position = await self._read(consumer.position)
            if position == consumer.position:
                await self._wait(consumer)
                continue
            entries, position = _cut_at_step(entries, position)
            await self._evaluate(consumer, entries, position)
            if time.monotonic() - ticked >= _TICK_S:  # readings may arrive without a pause
                ticked, now = time.monotonic(), await self._read_clock(consumer)
                await self._apply_time(consumer, now)
            if len(entries) < _BATCH:
                until = began + compute_pace(len(entries), _PACE_S, _SLOWEST_PACE_S)
                await asyncio.sleep(max(until - time.monotonic(), 0.0))

    def _restore_consumer(self) -> DetectionConsumer:
        """Continue where the last consumer stopped; this takes a few seconds after a crash."""

        def read(after: int, limit: int) -> tuple[list[JournalEntry], int]:
            self.beat = time.monotonic()
            return self._resources.journal.read(after, limit)

        base = self._resources
        consumer = build_consumer(base.config, self._alerting.engine, base.state)
        consumer.open(read)
        return consumer

    def _get_consumer(self) -> DetectionConsumer:
        if self._consumer is None:
            raise RuntimeError("detection is not ready")
        return self._consumer

    async def _read(self, after: int) -> tuple[list[JournalEntry], int]:
        journal = self._resources.journal
        if (entries := journal.read_recent(after, _BATCH)) is not None:
            return entries, (entries[-1].offset if entries else after)
        return await self._resources.run_until_stored(
            "journal for the detector", journal.read, after, _BATCH
        )

    async def _evaluate(
        self, consumer: DetectionConsumer, entries: Sequence[JournalEntry], position: int
    ) -> None:
        now = await self._read_clock(consumer)
        step_s = self._find_step(entries[-1].reading.received, now) if entries else 0.0
        healthy = self._is_broker_healthy()

        def evaluate() -> tuple[Sequence[Event], list[AlertRecord]]:
            if self.undecided is None:  # otherwise, only the commit failed
                readings = [entry.reading for entry in entries]
                self.undecided = consumer.step(readings, broker_healthy=healthy), position
            events, _ = self.undecided
            alerts = consumer.commit(events, position, now, step_s)
            self.undecided = None
            return events, alerts

        events, alerts = await self._alerting.commit(evaluate)
        self._ingestion.intake.reading_counts.add_skipped(consumer.drain_skipped_counts())
        self.counts.readings += len(entries)
        if entries:  # none if all were corrupt
            self._detected_received = entries[-1].reading.received
            for alert in alerts:
                self._alerting.deliveries.on_alert(alert, entries[0].reading.received)
        self._report(events, alerts)

    def _is_broker_healthy(self) -> bool:
        return self._ingestion.source.state.connected and not self._ingestion.commits.failing

    async def _wait(self, consumer: DetectionConsumer) -> None:
        """Wait for readings; if none arrive, detect silent sensors and end incidents."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICK_S):
                await self._stored.wait()
        if self._stored.is_set():
            return
        now = await self._read_clock(consumer)
        check = partial(consumer.check_silence, broker_healthy=self._is_broker_healthy())
        events = await self._resources.in_detector(check, now)
        if events:
            alerts = await self._alerting.commit(consumer.commit, events, consumer.position, now)
            self._report(events, alerts)
        else:
            await self._apply_time(consumer, now)

    async def _apply_time(self, consumer: DetectionConsumer, now: float) -> None:
        result = await self._alerting.commit(consumer.on_time, now)
        self._report([], result.alerts, state_changed=result.state_changed)

    async def _read_clock(self, consumer: DetectionConsumer) -> float:
        """Return the time; if the machine's clock was set, first move deadlines by its step.

        Every decision uses a time from here, so no step of the clock is missed.
        """
        now = self._resources.clock()
        if step := self._step_of(now):
            self._last_step_s = step
            way = "ahead" if step > 0 else "back"
            log.warning("the clock was set %s by %.0f s: deadlines are shifted", way, abs(step))
            await self._alerting.commit(consumer.move_deadlines, now, step)
            self._alerting.changes.notify()
        return now

    def _find_step(self, received: float, now: float) -> float:
        """Return the clock's last step if a reading was received before it, else 0."""
        step = self._last_step_s
        return step if abs(now - step - received) < abs(now - received) else 0.0

    def _report(
        self, events: Sequence[Event], alerts: Sequence[AlertRecord], *, state_changed: bool = False
    ) -> None:
        if not events and not alerts and not state_changed:
            return
        self._alerting.changes.notify()
        self.counts.events += len(events)
        self.counts.alerts += len(alerts)
        for alert in alerts:
            log.info("alert: %s by %s, incident %s", alert.kind, alert.sensor, alert.incident)
        self._resources.observer.on_events(events)
        self._resources.observer.on_alerts(alerts)


def _cut_at_step(entries: list[JournalEntry], position: int) -> tuple[list[JournalEntry], int]:
    """Cut a batch where the clock was set, so that its events all use the same clock."""
    for k, entry in enumerate(entries):
        if k and entry.reading.clock_step:
            return entries[:k], entry.offset - 1
    return entries, position


class SeriesWriters:
    """Writers of readings and records to the time-series store."""

    def __init__(self, resources: Resources, ingestion: Ingestion) -> None:
        self._resources = resources
        write_dead_letters = partial(ingestion.writer.write, [])
        series, in_series = resources.series, resources.in_series
        self._due = DueRecords(resources.paths.state, series)
        settings = WriterSettings(pace_s=_GATHER_S)
        if resources.config.timeseries.url:
            settings = replace(settings, batch=BATCH)
        self.readings = SeriesWriter(
            "the series",
            series,
            resources.journal.read,
            write_dead_letters,
            in_series,
            resources.clock,
            settings=settings,
        )
        self.records = SeriesWriter(
            "records of the series",
            self._due,
            self._due.read,
            write_dead_letters,
            in_series,
            resources.clock,
            settings=WriterSettings(
                batch=500, gather_s=_RECORDS_GATHER_S, origin="record", reason=RECORD_REASON
            ),
        )

        resources.on_stored.append(self.on_stored)

    def on_stored(self, _last_offset: int) -> None:
        """Wake the writer of readings."""
        self.readings.wake.set()

    def open(self) -> None:
        """Queue every record again if the store is new."""
        if self._resources.series.get_cursor() == 0:
            with transaction(self._resources.state) as tx:
                mark_all(tx)

    def create_tasks(self) -> Iterator[Task]:
        """Yield the tasks of the writers."""
        yield Task("series", self.readings.run())
        yield Task("series records", self.records.run())

    def close(self) -> None:
        """Close the records' database connection."""
        self._due.close()
