"""From readings to incidents: the path that production, replay, demo and tests share.

`DetectionConsumer` reads the journal in order, steps the detectors, hands their events to the alert
engine, and commits events, incidents, outbox and its position in one transaction.

- **Snapshots.** Detector state is a pure function of the readings and of the placed threshold
  adjustments, so it is stored less often than the position. On opening, the readings between
  snapshot and position are stepped again and their events discarded. Any split of the readings into
  batches gives the same events, so a crash costs only time.
- **What the detectors see.** Readings that must never alert (late, retained, simulated, history,
  unregistered sensor) are left out. Readings of one sensor that overtook each other are put in
  order (`reorder`); when nothing arrives, the clock ends that wait (`check_silence`), and its
  events are committed with a snapshot because a repetition would give them at another place. No
  reading counts as later than its receipt: a stamp from the future must not hide what comes until
  then. When our own clock is set while readings arrive, the journal says so (`clock_step`), and
  sensors that count at their receipt go on: their times move along. Where it does not say so, as
  when the clock is set back while the service is away, sensors that were read later start again.
- **Liveness** follows the clock of arrival, so its state is not a function of the readings: it is
  stored in the transaction that opens or resolves the incident. A replay does not follow it.
- **Threshold adjustments.** Feedback and `plumewatch levels undo` only append one. The next commit
  places it: it is effective behind the position of that commit. After a crash before the commit it
  is pending, after it placed; either way it counts once.
- **Adaptations.** The model is used with the school's active adaptation (`adaptations`). When
  another one becomes active, the next readings are judged by it, and the commit behind them stores
  a snapshot. So readings that are stepped again are judged by the adaptation of the snapshot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from alerts.consumer.outages import end_outage, lost_outages
from alerts.consumer.reorder import Reorder
from alerts.consumer.sensor_thresholds import SensorThresholds
from alerts.incidents import adaptations, threshold_adjustments
from alerts.incidents.clock_step import move_deadlines
from alerts.outbound import series_records
from detection.alert_thresholds import AlertBudgets
from detection.channels import FOLLOWED_KEYS
from detection.combined import CombinedDetector, CombinedState, Stream
from detection.errors import SnapshotError
from detection.events import EventKind
from detection.liveness import Liveness
from detection.model import Model
from detection.quantities import COLUMN_INDEX, COLUMNS
from storage import firmware, state
from storage.reading import CLOCK, CLOCK_SET
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from alerts.engine import AlertEngine, AlertRecord
    from alerts.incidents.threshold_adjustments import ThresholdAdjustment
    from detection.class_samples import ClassSample, ClassSampler
    from detection.events import Event
    from detection.liveness import LivenessSettings, SensorLife
    from storage.journal import JournalEntry
    from storage.reading import Reading

CONSUMER: Final = "detector"
LIVENESS: Final = "liveness"
"""Name under which the state of `detection.liveness` is stored."""

_NO_PROOF: Final = frozenset({"retained", "simulated", "cached", "unknown_sensor"})
"""Flags of readings that do not show that the sensor measures now."""
_WARM_UP_READINGS: Final = 200_000
_BATCH: Final = 2_000
CLOCK_SET_BACK_S: Final = 60.0
"""A reading received so long before the last one: the clock was set back in between."""


class BatchResult(NamedTuple):
    """Events and alerts of one batch."""

    events: list[Event]
    alerts: list[AlertRecord]


class TimeResult(NamedTuple):
    """What time alone did: alerts, and whether an incident or a notice changed."""

    alerts: list[AlertRecord]
    state_changed: bool


class _Snapshot(msgspec.Struct, rename={"last_adjustment": "moves", "newest_received": "received"}):
    detector: bytes
    devices: bytes
    slow: bytes
    watermark: float
    last_adjustment: int = 0
    order: bytes = b""
    newest_received: float = float("-inf")
    on_our_clock: list[str] = []


@dataclass(slots=True)
class _Arrivals:
    """How far the readings have come, Unix seconds, and how many came too late by sensor.

    `on_our_clock` are the sensors whose last reading had no time of its own. One with a time goes
    on at it when our clock is right again, maybe minutes behind its receipt.
    """

    newest_received: float = float("-inf")
    newest_judged: dict[str, float] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    on_our_clock: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Uncommitted:
    """What the next commit has to store.

    `stepped`: the state of the detectors is ahead of the position; `by_clock`: the clock or another
    adaptation moved it, so that a snapshot is needed.
    """

    stepped: bool = False
    by_clock: bool = False
    samples: list[ClassSample] = field(default_factory=list)
    firmware: list[Reading] = field(default_factory=list)


class DetectionConsumer:
    """Step detectors and incidents through the journal.

    The state database needs the tables ``state`` and ``alerts``, with `sampler` or
    `record_firmware` also those of `series_records` and `storage.firmware`. Only readings that
    `may_alert` accepts are shown to the detectors. Without `liveness` no sensor counts as silent.
    A given `model` is used as it is, without the school's adaptations.
    `position` is the journal offset of the last commit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        engine: AlertEngine,
        may_alert: Callable[[Reading], bool],
        liveness: LivenessSettings | None = None,
        budgets: AlertBudgets | None = None,
        sampler: ClassSampler | None = None,
        *,
        model: Model | None = None,
        record_firmware: bool = False,
    ) -> None:
        self.position = 0
        self._connection = connection
        self._engine = engine
        self._may_alert = may_alert
        self._follows_adaptations = model is None
        self._base_model = model or Model.shipped()
        self._model = self._base_model
        self._detectors = CombinedDetector(self._place, self._model, sampler)
        self._reorder = Reorder()
        self._thresholds = SensorThresholds(budgets or AlertBudgets())
        self._sampler = sampler
        self._adopt(self._detectors)
        self._record_firmware = record_firmware
        self._liveness_settings = liveness
        self._intervals = {s.id: s.interval_s for s in engine.registry.sensors.values()}
        self._liveness = None if liveness is None else Liveness(self._intervals, liveness)
        self._lost_outages: list[Event] = []
        self._arrivals = _Arrivals()
        self._uncommitted = _Uncommitted()
        self._thresholds_changed = False

    @property
    def watermark(self) -> float:
        """Newest event time seen, Unix seconds; minus infinity before the first reading."""
        return self._detectors.watermark

    @property
    def model_version(self) -> str:
        """Version of the detector's parameters."""
        return self._detectors.plumes.model_version

    @property
    def skipped(self) -> Counter[str]:
        """Readings by sensor that came too late to be judged, since `drain_skipped_counts`."""
        return self._arrivals.skipped

    def open(self, read: Callable[[int, int], tuple[list[JournalEntry], int]]) -> None:
        """Return to where the last committed batch ended; `read` is `Journal.read`."""
        committed = state.cursor(self._connection, CONSUMER)
        stored = state.snapshot(self._connection, CONSUMER)
        liveness_at = self._restore_liveness()
        if self._liveness is not None:
            self._lost_outages = lost_outages(self._connection, self._liveness.open_outage_ids())
        self.position = max(0, committed - _WARM_UP_READINGS)
        if stored is not None and self._follows_adaptations:
            self._use(
                adaptations.model_of(self._connection, self._base_model, stored.model_version)
            )
        if stored is not None and stored.model_version == self.model_version:
            try:
                self._restore(stored.body)
                self.position = stored.position
            except SnapshotError:
                pass  # the readings before are stepped again instead
        else:
            self._use(self._active_model())
        last = self._thresholds.last_adjustment
        adjustments = deque(threshold_adjustments.placed_after(self._connection, last))
        self._repeat([], liveness_at, adjustments)
        while self.position < committed:
            entries, position = read(self.position, min(_BATCH, committed - self.position))
            if position == self.position:
                break  # retention has deleted what was there
            self.position = position
            self._repeat(entries, liveness_at, adjustments)
        self.position = committed
        self._repeat([], liveness_at, adjustments)
        self._uncommitted = _Uncommitted()
        self._follow_adaptation()
        self._arrivals.skipped.clear()
        if self._sampler is not None:
            self._sampler.drain()  # those of readings that were committed before

    def _repeat(
        self,
        entries: Sequence[JournalEntry],
        liveness_at: int,
        adjustments: deque[ThresholdAdjustment],
    ) -> None:
        """Step committed entries up to `position` again, with adjustments at their places."""
        done = 0
        while adjustments and (place := adjustments[0].position or 0) <= self.position:
            end = bisect_right(entries, place, key=lambda entry: entry.offset)
            self._detect([entry.reading for entry in entries[done:end]])
            self._thresholds.apply([adjustments.popleft()])
            done = end
        self._detect([entry.reading for entry in entries[done:]])
        self._follow_liveness([e.reading for e in entries if e.offset > liveness_at])

    def process(self, readings: Sequence[Reading], position: int, now: float | None) -> BatchResult:
        """Process a batch and commit all that follows from it: `step`, then `commit`."""
        events = self.step(readings)
        return BatchResult(events, self.commit(events, position, now))

    def step(self, readings: Sequence[Reading], *, broker_healthy: bool = True) -> list[Event]:
        """Show readings, in journal order, to the detectors; state changes in memory only."""
        if not readings:
            return []
        self._uncommitted.stepped = True
        if self._record_firmware:
            self._uncommitted.firmware += [reading for reading in readings if reading.firmware]
        events = self._detect(readings) + self._follow_liveness(readings)
        events += self._outages(max(r.received for r in readings), broker_healthy=broker_healthy)
        events.sort(key=lambda event: event.time)
        return events

    def check_silence(self, now: float, *, broker_healthy: bool = True) -> list[Event]:
        """Return the events at `now` after nothing arrived, to be committed like a batch.

        Call it when all that has arrived is committed.
        """
        events = self._judge(self._reorder.on_time(now))
        self._uncommitted.by_clock |= bool(events)
        events += self._outages(now, broker_healthy=broker_healthy)
        self._uncommitted.stepped |= bool(events)
        return events

    def commit(
        self, events: Sequence[Event], position: int, now: float | None, step_s: float = 0.0
    ) -> list[AlertRecord]:
        """Commit the events of a batch and its position; may be retried when the disk refuses.

        The events come from `step` or `check_silence`. Without `now` each event is decided at its
        own time, as in a replay. `step_s` is by how much the clock was set since their readings.
        """
        pending = self._uncommitted
        if self._sampler is not None:
            pending.samples += self._sampler.drain()
        with transaction(self._connection) as tx:
            alerts = self._decide(tx, events, now, step_s)
            state.set_cursor(tx, CONSUMER, position)
            if any(event.kind is EventKind.OFFLINE for event in events):
                self._save_liveness(tx, position)
            if pending.by_clock:
                state.set_snapshot(tx, CONSUMER, self._snapshot(position))
            adjustments = threshold_adjustments.place_pending(tx, position)
            if pending.samples:
                series_records.append(tx, series_records.detections(pending.samples))
            for reading in pending.firmware:
                self._save_firmware(tx, reading)
        self._uncommitted = _Uncommitted()
        self.position = position
        self._adjust(adjustments)
        return alerts

    def commit_external(self, events: Sequence[Event], now: float) -> list[AlertRecord]:
        """Commit events that another system detected; allowed between `step` and `commit`."""
        with transaction(self._connection) as tx:
            return self._engine.on_events(tx, list(events), now)

    def on_time(self, now: float) -> TimeResult:
        """Apply what is due at `now`: incidents end, mutes end, thresholds are adjusted."""
        if not self._uncommitted.stepped:
            self._follow_adaptation()
        deadline = self._engine.next_deadline(self._connection)
        due = deadline is not None and deadline <= now
        adjust = not self._uncommitted.stepped and threshold_adjustments.has_pending(
            self._connection
        )
        if not due and not adjust and not self._thresholds_changed:
            return TimeResult([], state_changed=False)
        with transaction(self._connection) as tx:
            alerts = self._engine.on_time(tx, now) if due else []
            adjustments = threshold_adjustments.place_pending(tx, self.position) if adjust else []
            saved = self._thresholds.save(tx)
        self._thresholds_changed = False
        self._thresholds.mark_saved(saved)
        self._adjust(adjustments)
        return TimeResult(alerts, state_changed=due)

    def move_deadlines(self, now: float, by_s: float) -> None:
        """Move all deadlines, as the clock was set ahead by `by_s` seconds to `now`."""
        with transaction(self._connection) as tx:
            move_deadlines(tx, now, by_s)

    def save_snapshot(self) -> int:
        """Store the detectors' state with the position it belongs to; return that position.

        Between `step` and its `commit` the state is ahead of the position; stored then, it would
        make the repeated batch look old and lose its events. The stored snapshot then stays.
        """
        if self._uncommitted.stepped:
            stored = state.snapshot(self._connection, CONSUMER)
            return 0 if stored is None else stored.position
        with transaction(self._connection) as tx:
            state.set_snapshot(tx, CONSUMER, self._snapshot(self.position))
            self._save_liveness(tx, self.position)
            saved = self._thresholds.save(tx)
        self._thresholds.mark_saved(saved)
        return self.position

    def fork(self, connection: sqlite3.Connection) -> DetectionConsumer:
        """Return a consumer that continues over another state database, without liveness."""
        twin = DetectionConsumer(connection, self._engine, self._may_alert, model=self._model)
        twin._restore(self._body())
        twin.position = self.position
        return twin

    def drain_skipped_counts(self) -> Counter[str]:
        """Return `skipped` and start it anew."""
        drained, self._arrivals.skipped = self._arrivals.skipped, Counter()
        return drained

    def lives(self) -> Mapping[str, SensorLife]:
        """Return what is known of the registered sensors; empty if liveness is not followed."""
        return {} if self._liveness is None else self._liveness.lives()

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

    def _active_model(self) -> Model:
        if not self._follows_adaptations:
            return self._model
        return adaptations.active_model(self._connection, self._base_model)

    def _follow_adaptation(self) -> None:
        """Use the active adaptation from the next reading on."""
        model = self._active_model()
        if model.version != self._model.version:
            self._use(model)
            self._uncommitted.by_clock = True

    def _use(self, model: Model) -> None:
        self._model = model
        self._detectors.plumes.replace_model(model)

    def _adjust(self, adjustments: Sequence[ThresholdAdjustment]) -> None:
        self._thresholds.apply(adjustments)
        self._thresholds_changed |= bool(adjustments)

    def _save_firmware(self, tx: sqlite3.Connection, reading: Reading) -> None:
        change = firmware.note(tx, reading.sensor, reading.firmware, reading.received)
        if change is not None and change.before:
            room = self._engine.registry.room_of(reading.sensor)
            series_records.append(tx, [firmware.record(change, room.id if room else "")])

    def _snapshot(self, position: int) -> state.Snapshot:
        return state.Snapshot(position, self.model_version, self._body())

    def _body(self) -> bytes:
        return msgspec.msgpack.encode(
            _Snapshot(
                *self._detectors.state(),
                self._thresholds.last_adjustment,
                self._reorder.snapshot(),
                self._arrivals.newest_received,
                sorted(self._arrivals.on_our_clock),
            )
        )

    def _restore(self, body: bytes) -> None:
        try:
            found = msgspec.msgpack.decode(body, type=_Snapshot)
            reorder = Reorder.restore(found.order)
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"no snapshot: {error}") from error
        parts = CombinedState(found.detector, found.devices, found.slow, found.watermark)
        self._detectors = CombinedDetector.restore(parts, self._place, self._model, self._sampler)
        self._reorder = reorder
        self._arrivals.newest_received = found.newest_received
        self._arrivals.on_our_clock = set(found.on_our_clock)
        self._adopt(self._detectors, found.last_adjustment)

    def _adopt(self, detectors: CombinedDetector, last_adjustment: int = 0) -> None:
        self._thresholds.adopt(detectors.plumes, last_adjustment)
        if self._sampler is not None:
            self._sampler.reset()

    def _save_liveness(self, tx: sqlite3.Connection, position: int) -> None:
        if self._liveness is not None:
            body = self._liveness.snapshot()
            state.set_snapshot(tx, LIVENESS, state.Snapshot(position, "", body))

    def _restore_liveness(self) -> int:
        """Return the position up to which the restored state has seen the readings."""
        stored = state.snapshot(self._connection, LIVENESS)
        if self._liveness_settings is None or stored is None:
            return 0
        try:
            self._liveness = Liveness.restore(stored.body, self._intervals, self._liveness_settings)
        except SnapshotError:
            return 0
        return stored.position

    def _place(self, sensor: str) -> tuple[str, str] | None:
        room = self._engine.registry.room_of(sensor)
        return None if room is None else (f"{room.site}/{room.building}", room.id)

    def _outages(self, now: float, *, broker_healthy: bool) -> list[Event]:
        if self._liveness is None:
            return []
        events = [end_outage(event, now) for event in self._lost_outages]
        self._lost_outages = []
        return events + self._liveness.on_time(now, broker_healthy=broker_healthy)

    def _follow_liveness(self, readings: Sequence[Reading]) -> list[Event]:
        if self._liveness is None:
            return []
        events: list[Event] = []
        for reading in readings:
            word = next((e for e in reading.events if e in ("online", "offline")), "")
            alive = reading.measured and _NO_PROOF.isdisjoint(reading.flags)
            events += self._liveness.on_item(
                reading.sensor, reading.received, alive=alive, status=word
            )
        return events

    def _detect(self, readings: Sequence[Reading]) -> list[Event]:
        events: list[Event] = []
        ordered: list[Reading] = []
        arrivals = self._arrivals
        for reading in readings:
            if reading.sensor == CLOCK and CLOCK_SET in reading.events:
                ordered += self._reorder.set_back(reading.received)
                events += self._judge(ordered)
                events += self._move_clock(reading)
                ordered = []
                continue
            if reading.received < arrivals.newest_received - CLOCK_SET_BACK_S:
                ordered += self._reorder.set_back(reading.received)
                events += self._judge(ordered)
                events += self._start_again(reading.received)
                ordered = []
            arrivals.newest_received = max(arrivals.newest_received, reading.received)
            ordered += self._reorder.on_reading(reading)
        return events + self._judge(ordered)

    def _move_clock(self, step: Reading) -> list[Event]:
        """Go on behind a step of our clock: what counts at its receipt moves along."""
        now, arrivals = step.received, self._arrivals
        by_s = now - (now if step.stamp is None else step.stamp)
        arrivals.newest_received = now
        for sensor, at in arrivals.newest_judged.items():
            if at > now or sensor in arrivals.on_our_clock:
                arrivals.newest_judged[sensor] = at + by_s
        return self._detectors.move_clock(now, by_s, arrivals.on_our_clock)

    def _start_again(self, now: float) -> list[Event]:
        """Start sensors that were read after `now` again: our clock was set back."""
        arrivals = self._arrivals
        arrivals.newest_received = now
        arrivals.newest_judged = {s: at for s, at in arrivals.newest_judged.items() if at <= now}
        return self._detectors.set_back(now)

    def _judge(self, readings: Sequence[Reading]) -> list[Event]:
        """Show readings, in order for each sensor, to the detectors."""
        shown = [reading for reading in readings if self._may_alert(reading)]
        if not shown:
            return []
        newest, on_our_clock = self._arrivals.newest_judged, self._arrivals.on_our_clock
        for reading in shown:
            if "no_time" in reading.flags or reading.stamp is not None:
                on_our_clock.add(reading.sensor)
            else:
                on_our_clock.discard(reading.sensor)
            if not reading.values.keys().isdisjoint(FOLLOWED_KEYS):
                at = _judged_at(reading)
                if at > newest.get(reading.sensor, float("-inf")):
                    newest[reading.sensor] = at
                else:
                    self._arrivals.skipped[reading.sensor] += 1
        return self._detectors.step(stream_of(shown))


def _judged_at(reading: Reading) -> float:
    """Unix seconds at which a reading counts: its own time, but none after its receipt."""
    return min(reading.time, reading.received)


def stream_of(readings: Sequence[Reading]) -> Stream:
    """Return readings as arrays."""
    n = len(readings)
    names = list(dict.fromkeys(reading.sensor for reading in readings))
    at = {name: i for i, name in enumerate(names)}
    values = np.full((n, len(COLUMNS)), np.nan)
    for row, reading in enumerate(readings):
        for key, value in reading.values.items():
            values[row, COLUMN_INDEX[key]] = value
    return Stream(
        names,
        np.fromiter((at[r.sensor] for r in readings), np.int32, count=n),
        np.fromiter((r.time for r in readings), np.float64, count=n),
        np.fromiter((r.received for r in readings), np.float64, count=n),
        values,
        {i: (r.events, r.faults) for i, r in enumerate(readings) if r.events or r.faults},
    )
