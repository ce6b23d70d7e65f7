"""Turn readings into incidents; production, replay, demo and tests share this path.

`DetectionConsumer` reads the journal in order, runs the detectors, passes their events to the alert
engine, and commits events, incidents, notices and its position in one transaction.

- **Snapshots.** Detector state depends only on the readings and on the threshold adjustments that
  have a journal position, so it is stored less often than the consumer's position. When the
  consumer opens, it reprocesses the readings between the snapshot and its position and discards
  their events. Batch boundaries do not change the events, so a crash costs only time.
- **Input.** `reading_selector` decides which readings the detectors see. If nothing arrives, the
  wait for a missing reading times out (`check_silence`). The resulting events are committed
  together with a snapshot, because reprocessing the readings would produce them at a different
  position.
- **Answers.** Once people have answered, the detector ends the vaping event, so that the next plume
  is a new event and opens a new incident. The commit includes a snapshot here, too.
- **Threshold adjustments.** Feedback and the staff page only append an adjustment. The next commit
  assigns it that commit's journal position, and it takes effect there. It is applied exactly once,
  even if the service crashes before or after the commit.
- **Silent sensors.** Liveness depends on arrival times, so its state cannot be rebuilt from the
  readings. It is stored in the transaction that opens or resolves the outage's incident. If the
  stored state cannot be read, open outages are ended at startup, and sensors that are still silent
  start new ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from alerts.consumer.reading_selector import ReadingSelector
from alerts.incidents import repository, threshold_adjustments
from alerts.incidents.clock_step import move_deadlines
from alerts.incidents.threshold_adjustments import SensorThresholds
from detection.alert_rules import AlertBudgets
from detection.events import Detail, Event, EventKind, EventPhase
from detection.liveness import Liveness, LivenessSettings
from language.messages import build_fact
from storage.journal import (
    Snapshot,
    load_cursor,
    load_snapshot,
    restore_snapshot,
    save_cursor,
    save_snapshot,
)
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from alerts.engine import AlertEngine, AlertRecord
    from alerts.incidents.threshold_adjustments import ThresholdAdjustment
    from detection.alert_rules import ThresholdReport
    from detection.liveness import SensorLife
    from storage.journal import JournalEntry
    from storage.reading import Reading

CONSUMER: Final = "detector"
_WARM_UP_READINGS: Final = 200_000
_BATCH: Final = 2_000


LIVENESS: Final = "liveness"
_NOT_LIVE_FLAGS: Final = frozenset({"retained", "simulated", "cached", "unknown_sensor"})
"""Flags of readings that do not prove that the sensor is measuring now."""


class Outages:
    """Tracks silent sensors, based on their reporting intervals; without settings, tracks none."""

    def __init__(self, intervals: Mapping[str, float], settings: LivenessSettings | None) -> None:
        self._intervals = {} if settings is None else intervals
        self._settings = settings or LivenessSettings()
        self.liveness = Liveness(self._intervals, self._settings)
        self._lost: list[Event] = []

    def open(self, connection: sqlite3.Connection) -> int:
        """Restore the stored state and return the journal position that it covers."""

        def restore(stored: Snapshot) -> int:
            self.liveness = Liveness.restore(stored.body, self._intervals, self._settings)
            return stored.position

        position = restore_snapshot(connection, LIVENESS, restore) or 0
        if self._intervals:
            followed = self.liveness.open_outage_ids()
            outages = repository.load_running(connection, "kind = 'offline'")
            self._lost = [e for e in outages if e.id.rstrip(repository.AGAIN) not in followed]
        return position

    def save(self, tx: sqlite3.Connection, position: int) -> None:
        """Store the state with the journal position that it covers."""
        save_snapshot(tx, LIVENESS, Snapshot(position, "", self.liveness.snapshot()))

    def step(self, readings: Sequence[Reading]) -> list[Event]:
        """Return end events for the outages that these readings end."""
        events: list[Event] = []
        for reading in readings:
            word = ""
            if reading.events:
                word = next((e for e in reading.events if e in ("online", "offline")), "")
            alive = reading.has_sensor_data and _NOT_LIVE_FLAGS.isdisjoint(reading.flags)
            events += self.liveness.on_item(
                reading.sensor, reading.received, alive=alive, status=word
            )
        return events

    def on_time(self, now: float, *, broker_healthy: bool) -> list[Event]:
        """Return the events of outages at `now`; end those missing from the restored state."""
        lost, self._lost = self._lost, []
        why = build_fact(Detail.STATE_LOST)
        events = [
            replace(e, phase=EventPhase.ENDED, end=now, time=now, details=(*e.details, why))
            for e in lost
        ]
        return events + self.liveness.on_time(now, broker_healthy=broker_healthy)


class BatchResult(NamedTuple):
    """Events and alerts of one batch."""

    events: list[Event]
    alerts: list[AlertRecord]


class TimeResult(NamedTuple):
    """Result of advancing the clock: new alerts, and whether an incident or notice changed."""

    alerts: list[AlertRecord]
    state_changed: bool


class DetectionConsumer:
    """Runs detectors and incidents over the journal.

    The state database needs the components ``state`` and ``alerts`` (`storage.sqlite.migrate`). The
    detectors see only readings that `may_alert` accepts. Without `liveness`, no sensor counts as
    silent. `position` is the journal offset of the last evaluated reading. Batches without results
    are committed together every `gather_s` seconds. After a crash, they are reprocessed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        engine: AlertEngine,
        may_alert: Callable[[Reading], bool],
        liveness: LivenessSettings | None = None,
        budgets: AlertBudgets | None = None,
        *,
        gather_s: float = 0.0,
    ) -> None:
        self.position = 0
        self._gather_s = gather_s
        self._committed = 0
        self._committed_at = float("-inf")
        self._connection = connection
        self._engine = engine
        self._may_alert = may_alert
        self._selector = ReadingSelector(self._place, may_alert)
        self._thresholds = SensorThresholds(budgets or AlertBudgets())
        self._adopt()
        intervals = {s.id: s.interval_s for s in engine.registry.sensors.values()}
        self._outages = Outages(intervals, liveness)
        self._has_stepped = False
        """Whether readings have been evaluated but not committed."""
        self._needs_snapshot = False
        """Whether the next commit includes a snapshot."""

    @property
    def watermark(self) -> float:
        """Newest event time so far, Unix seconds; minus infinity before the first reading."""
        return self._selector.detectors.watermark

    @property
    def model_version(self) -> str:
        """Version of the detector's parameters."""
        return self._selector.detectors.plumes.model_version

    @property
    def skipped(self) -> Counter[str]:
        """Number of readings skipped, by sensor, since the last `drain_skipped_counts`."""
        return self._selector.detectors.plumes.skipped

    def open(self, read: Callable[[int, int], tuple[list[JournalEntry], int]]) -> None:
        """Resume after the last committed batch; `read` is `Journal.read`."""
        committed = load_cursor(self._connection, CONSUMER)
        liveness_at = self._outages.open(self._connection)
        self.position = max(0, committed - _WARM_UP_READINGS)

        def restore(stored: Snapshot) -> None:
            if stored.model_version == self.model_version:
                self._adopt(self._selector.restore(stored.body))
                self.position = stored.position

        # without a valid snapshot, reprocess the earlier readings
        restore_snapshot(self._connection, CONSUMER, restore)
        last = self._thresholds.last_adjustment
        adjustments = deque(threshold_adjustments.load_placed_after(self._connection, last))
        self._repeat([], liveness_at, adjustments)
        while self.position < committed:
            entries, position = read(self.position, min(_BATCH, committed - self.position))
            if position == self.position:
                break  # retention deleted these entries
            self.position = position
            self._repeat(entries, liveness_at, adjustments)
        self.position = self._committed = committed
        self._repeat([], liveness_at, adjustments)
        self.skipped.clear()

    def _repeat(
        self,
        entries: Sequence[JournalEntry],
        liveness_at: int,
        adjustments: deque[ThresholdAdjustment],
    ) -> None:
        """Reprocess committed entries up to `position`; apply adjustments at their positions."""
        done = 0
        while adjustments and (place := adjustments[0].position or 0) <= self.position:
            end = bisect_right(entries, place, key=lambda entry: entry.offset)
            self._selector.step([entry.reading for entry in entries[done:end]])
            self._thresholds.apply(adjustments.popleft())
            done = end
        self._selector.step([entry.reading for entry in entries[done:]])
        self._outages.step([e.reading for e in entries if e.offset > liveness_at])

    def process(self, readings: Sequence[Reading], position: int, now: float | None) -> BatchResult:
        """Process a batch and commit the results: `step`, then `commit`."""
        events = self.step(readings)
        return BatchResult(events, self.commit(events, position, now))

    def step(self, readings: Sequence[Reading], *, broker_healthy: bool = True) -> list[Event]:
        """Pass readings to the detectors, in journal order; only state in memory changes."""
        if not readings:
            return []
        self._has_stepped = True
        events = [*self._end_answered(), *self._selector.step(readings)]
        events += self._outages.step(readings)
        newest = max(reading.received for reading in readings)
        events += self._outages.on_time(newest, broker_healthy=broker_healthy)
        events.sort(key=lambda event: event.time)
        return events

    def check_silence(self, now: float, *, broker_healthy: bool = True) -> list[Event]:
        """Return the events that time alone causes; commit them like a batch's events."""
        events = self._selector.on_time(now)
        self._needs_snapshot |= bool(events)
        events += self._end_answered()
        events += self._outages.on_time(now, broker_healthy=broker_healthy)
        self._has_stepped |= bool(events)
        return events

    def _end_answered(self) -> list[Event]:
        """End vaping events that people have answered; the next commit includes a snapshot."""
        is_answered = partial(repository.is_answered, self._connection)
        ended = self._selector.detectors.plumes.end_answered(is_answered)
        self._needs_snapshot |= bool(ended)
        return ended

    def commit(
        self, events: Sequence[Event], position: int, now: float | None, step_s: float = 0.0
    ) -> list[AlertRecord]:
        """Commit a batch's events and position; can be retried after a disk error.

        The events come from `step` or `check_silence`. Without `now`, each event is processed at
        its own time, as in a replay. `step_s` is how far the clock was set ahead since the readings
        arrived.
        """
        if self._may_wait(events, now):
            self._has_stepped, self.position = False, position
            return []
        with transaction(self._connection) as tx:
            alerts = self._decide(tx, events, now, step_s)
            save_cursor(tx, CONSUMER, position)
            if any(event.kind is EventKind.OFFLINE for event in events):
                self._outages.save(tx, position)
            if self._needs_snapshot:
                save_snapshot(tx, CONSUMER, self._take_snapshot(position))
            adjustments = self._place_adjustments(tx, position)
        self._mark_stored(position)
        self._needs_snapshot = False
        self._committed_at = float("-inf") if now is None else now
        for adjustment in adjustments:
            self._thresholds.apply(adjustment)
        return alerts

    def _may_wait(self, events: Sequence[Event], now: float | None) -> bool:
        """Return whether the commit can wait: no results, and the last commit is recent."""
        if events or self._needs_snapshot or now is None:
            return False
        return 0 <= now - self._committed_at < self._gather_s

    def _mark_stored(self, position: int) -> None:
        self._has_stepped = False
        self.position = self._committed = position

    def commit_external(self, events: Sequence[Event], now: float) -> list[AlertRecord]:
        """Commit events from another detector; allowed between `step` and `commit`."""
        with transaction(self._connection) as tx:
            return self._engine.on_events(tx, list(events), now)

    def on_time(self, now: float) -> TimeResult:
        """Do what is due by `now` (`AlertEngine.on_time`), and apply threshold adjustments."""
        between_batches = not self._has_stepped
        deadline = self._engine.next_deadline(self._connection)
        due = deadline is not None and deadline <= now
        adjust = between_batches and threshold_adjustments.has_pending(self._connection)
        behind = between_batches and self._committed != self.position
        if not (due or adjust or behind):
            return TimeResult([], state_changed=False)
        with transaction(self._connection) as tx:
            alerts = self._engine.on_time(tx, now) if due else []
            if behind:
                save_cursor(tx, CONSUMER, self.position)
            adjustments = self._place_adjustments(tx, self.position) if adjust else []
        if behind:
            self._mark_stored(self.position)
            self._committed_at = now
        for adjustment in adjustments:
            self._thresholds.apply(adjustment)
        return TimeResult(alerts, state_changed=due)

    def move_deadlines(self, now: float, by_s: float) -> None:
        """Move all deadlines after the clock was set ahead by `by_s` seconds to `now`."""
        with transaction(self._connection) as tx:
            move_deadlines(tx, now, by_s)

    def save_snapshot(self) -> int:
        """Store the detectors' state with its position, and return the stored position.

        Between `step` and `commit`, the previous snapshot is kept. With a newer one, a batch that
        is reprocessed after a crash would be skipped as old.
        """
        if self._has_stepped:
            stored = load_snapshot(self._connection, CONSUMER)
            return 0 if stored is None else stored.position
        with transaction(self._connection) as tx:
            save_cursor(tx, CONSUMER, self.position)
            save_snapshot(tx, CONSUMER, self._take_snapshot(self.position))
            self._outages.save(tx, self.position)
        self._mark_stored(self.position)
        return self.position

    def fork(self, connection: sqlite3.Connection) -> DetectionConsumer:
        """Return a copy that continues on another state database, without liveness."""
        twin = DetectionConsumer(connection, self._engine, self._may_alert)
        twin._adopt(twin._selector.restore(self._encode_state()))
        twin.position = self.position
        return twin

    def drain_skipped_counts(self) -> Counter[str]:
        """Return `skipped` and reset it."""
        drained = self.skipped.copy()
        self.skipped.clear()
        return drained

    def get_liveness(self) -> Mapping[str, SensorLife]:
        """Return the liveness of the registered sensors; empty if it is not tracked."""
        return self._outages.liveness.get_liveness()

    def explain_thresholds(self, sensors: Collection[str]) -> dict[str, ThresholdReport]:
        """Return the thresholds of the given sensors that the detector knows."""
        return self._thresholds.explain(sensors)

    def _decide(
        self, tx: sqlite3.Connection, events: Iterable[Event], now: float | None, step_s: float
    ) -> list[AlertRecord]:
        if now is not None:
            return self._engine.on_events(tx, list(events), now, step_s)
        alerts: list[AlertRecord] = []
        for event in events:
            alerts += self._engine.on_events(tx, [event], event.time)
        alerts += self._engine.on_time(tx, self.watermark)
        return alerts

    def _place_adjustments(
        self, tx: sqlite3.Connection, position: int
    ) -> list[ThresholdAdjustment]:
        """Assign a journal position to pending adjustments, and return them in order."""
        place = "UPDATE threshold_adjustment SET position = ? WHERE position IS NULL"
        if not tx.execute(place, (position,)).rowcount:
            return []
        return threshold_adjustments.load_placed_after(tx, self._thresholds.last_adjustment)

    def _take_snapshot(self, position: int) -> Snapshot:
        return Snapshot(position, self.model_version, self._encode_state())

    def _encode_state(self) -> bytes:
        return self._selector.snapshot(self._thresholds.last_adjustment)

    def _adopt(self, last_adjustment: int = 0) -> None:
        self._thresholds.adopt(self._selector.detectors.plumes, last_adjustment)

    def _place(self, sensor: str) -> tuple[str, str] | None:
        room = self._engine.registry.find_room(sensor)
        return None if room is None else (f"{room.site}/{room.building}", room.id)
