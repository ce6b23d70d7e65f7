"""From readings to incidents: the one path that production, replay, demo and tests share.

`DetectionConsumer` reads the journal in order, steps the detectors, hands their events to the alert
engine, and commits events, incidents, outbox and the position in the journal in one transaction.

Detector state is a pure function of the readings, so it is written less often than the position: a
snapshot is stored with the position it belongs to, and on opening, the readings between snapshot
and committed position are stepped again with their events discarded. Any split of the readings into
batches gives the same events, so a crash anywhere changes nothing but the time it takes to repeat.

Beside the plume detector, `detection.minute_detectors` finds sensor faults and air that rises in
all rooms of a building. A vape event that such air explains is marked, recorded and alerts nobody.

Readings that must never alert (late, retained, simulated, history, unknown sensor) are stored by
the series and not shown to the detectors.

Readings of a sensor that overtook each other are put in order first (`reorder`); what waits
there is part of the detectors' state. Where nothing arrives, the clock ends the wait (`listen`);
the events of that are committed together with a snapshot, as a repetition would not give them at
the same place.

No reading is judged later than it was received. A sensor's clock may run minutes ahead, which is
stored as it says; but a stamp from the future, wrong or forged, must not keep what the sensor sends
until then from being judged.

Where our own clock is set back, readings begin to be received before those that came before them;
sensors that were read later than that begin anew (`_begin_anew`).

Silence of sensors is followed too, where it is asked for (`detection.liveness`). It lives on the
clock of arrival, so its state is no function of the readings alone: it is stored whenever an outage
begins or ends, in the transaction that opens or resolves the incident. A replay does not ask for
it: a recording has no time of arrival, and where it has gaps or ends nobody was away.

What people say of an alert moves its sensor's decision level (`threshold_adjustments`). They answer
whenever they like, so an answer has no place among the readings by itself; it is given one. The
page, or `plumewatch levels undo`, only appends a move. The next commit stores, in its transaction,
that the move is effective behind the position it commits, and then applies it to the detector:
readings up to there were judged without it, all later ones are judged with it. Detector state is
thus a pure function of the readings and the placed moves. A snapshot says which moves it holds; on
opening, later ones are applied between the readings, where they have their place. A crash before
the commit leaves the move waiting, after it the move has its place, and either way it counts once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from alerts.consumer import threshold_adjustments
from alerts.consumer.outages import ended, forgotten
from alerts.consumer.reorder import Reorder
from alerts.consumer.sensor_thresholds import WatchedLevels
from alerts.incidents.clock_step import move_deadlines
from alerts.outbound import series_records as series_due
from detection.alert_thresholds import AlertBudgets
from detection.combined import CombinedDetector, CombinedState, Stream
from detection.errors import SnapshotError
from detection.events import EventKind
from detection.liveness import Liveness
from detection.quantities import COLUMN_INDEX, COLUMNS
from storage import firmware, state
from storage.sqlite import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from alerts.consumer.threshold_adjustments import ThresholdAdjustment
    from alerts.incidents.engine import AlertEngine, AlertRecord
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
SET_BACK_S: Final = 60.0
"""A reading that was received so long before the last one: the clock was set back in between."""


class BatchResult(NamedTuple):
    """What one batch led to."""

    events: list[Event]
    alerts: list[AlertRecord]


class _Snapshot(msgspec.Struct):
    detector: bytes
    devices: bytes
    slow: bytes
    watermark: float
    moves: int = 0
    order: bytes = b""
    received: float = float("-inf")


class DetectionConsumer:
    """Step detectors and incidents through the journal.

    Parameters
    ----------
    connection : sqlite3.Connection
        State database, migrated for ``state`` and ``alerts``.
    may_alert : callable
        Whether a reading may be shown to the detectors.
    silence : LivenessSettings, optional
        When silence of a registered sensor counts; without it none does.
    budgets : AlertBudgets, optional
        Tolerable false alarms of the sensors.
    samples : ClassSampler, optional
        Takes class probabilities for the series; they are committed with their batch.
    versions : bool
        Note which firmware sensors tell; the database is migrated for `storage.firmware` and
        ``series_due`` then.

    Attributes
    ----------
    hearing : bool
        As in `Liveness.on_time`; set by the shell.
    stirred : bool
        Set when time changed incidents or told somebody; taken back by the shell.
    unjudged : Counter of str
        Readings by sensor that the detectors could not use, because one with the same or a later
        time stamp had come before: a clock that was set back, or messages out of order.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        engine: AlertEngine,
        may_alert: Callable[[Reading], bool],
        silence: LivenessSettings | None = None,
        budgets: AlertBudgets | None = None,
        samples: ClassSampler | None = None,
        *,
        versions: bool = False,
    ) -> None:
        self._connection = connection
        self._engine = engine
        self._may_alert = may_alert
        self._detectors = CombinedDetector(self._place)
        self._order = Reorder()
        self._by_clock = False
        self._levels = WatchedLevels(budgets or AlertBudgets())
        self._levels.adopt(self._detectors.plumes)
        self._samples = samples
        self._sampled: list[ClassSample] = []
        if samples is not None:
            samples.adopt(self._detectors.plumes)
        self._versions = versions
        self._told: list[Reading] = []
        self._moved = False
        self._silence = silence
        self._intervals = {s.id: s.interval_s for s in engine.registry.sensors.values()}
        self._liveness = None if silence is None else Liveness(self._intervals, silence)
        self._forgotten: list[Event] = []
        self._newest: dict[str, float] = {}
        self.unjudged: Counter[str] = Counter()
        self.hearing = True
        self.stirred = False
        self._received = float("-inf")
        self._ahead = False  # stepped, not committed: the state is not that of `position`
        self.position = 0

    @property
    def watermark(self) -> float:
        """Newest event time seen, Unix seconds; minus infinity before the first reading."""
        return self._detectors.watermark

    @property
    def model_version(self) -> str:
        """Version of the detector's parameters."""
        return self._detectors.plumes.model_version

    def open(self, read: Callable[[int, int], tuple[list[JournalEntry], int]]) -> None:
        """Return to where the last committed batch left off.

        Parameters
        ----------
        read : callable
            `Journal.read`.
        """
        committed = state.position(self._connection, CONSUMER)
        stored = state.snapshot(self._connection, CONSUMER)
        heard = self._restore_liveness()
        if self._liveness is not None:
            self._forgotten = forgotten(self._connection, self._liveness.standing())
        start = max(0, committed - _WARM_UP_READINGS)
        if stored is not None and stored.model_version == self.model_version:
            try:
                self._restore(stored.body)
                start = stored.position
            except SnapshotError:
                pass  # the readings before are stepped again instead
        moves = deque(threshold_adjustments.placed_after(self._connection, self._levels.applied))
        self.position = start
        self._repeat([], heard, moves)
        while self.position < committed:
            entries, position = read(self.position, min(2000, committed - self.position))
            if position == self.position:
                break  # retention has taken what was there
            self.position = position
            self._repeat(entries, heard, moves)
        self.position = committed
        self._repeat([], heard, moves)
        self._ahead = False
        self.unjudged.clear()
        if self._samples is not None:
            self._samples.drain()  # those of readings that were committed before

    def _repeat(
        self, entries: Sequence[JournalEntry], heard: int, moves: deque[ThresholdAdjustment]
    ) -> None:
        """Step committed entries up to `position` again, and apply moves at their places."""
        done = 0
        while moves and (place := moves[0].position or 0) <= self.position:
            end = bisect_right(entries, place, key=lambda entry: entry.offset)
            self._detect([entry.reading for entry in entries[done:end]])
            self._levels.apply([moves.popleft()])
            done = end
        self._detect([entry.reading for entry in entries[done:]])
        self._hear([entry.reading for entry in entries if entry.offset > heard])

    def process(self, readings: Sequence[Reading], position: int, now: float | None) -> BatchResult:
        """Take a batch in and commit all that follows from it: `step`, then `commit`."""
        events = self.step(readings)
        return BatchResult(events, self.commit(events, position, now))

    def commit(
        self, events: Sequence[Event], position: int, now: float | None
    ) -> list[AlertRecord]:
        """Commit what a batch led to; may be tried again when the disk refuses.

        Parameters
        ----------
        events : sequence of Event
            From `step`.
        position : int
            Journal offset behind the batch.
        now : float or None
            Time of the decision, Unix seconds; None to decide each event at its own time, as a
            replay does.

        Raises
        ------
        sqlite3.OperationalError
            If the disk refuses; nothing is then kept.
        """
        with transaction(self._connection) as tx:
            alerts = self._decide(tx, events, now)
            state.set_position(tx, CONSUMER, position)
            if any(event.kind is EventKind.OFFLINE for event in events):
                self._save_liveness(tx, position)
            if self._by_clock:
                state.set_snapshot(tx, CONSUMER, self._snapshot(position))
            moves = threshold_adjustments.place_pending(tx, position)
            if self._samples is not None:
                self._sampled += self._samples.drain()
                series_due.append(tx, series_due.detections(self._sampled))
            if self._told:
                self._note_firmware(tx)
        self._sampled.clear()
        self._told.clear()
        self.position = position
        self._ahead = self._by_clock = False
        self._move(moves)
        return alerts

    def _note_firmware(self, tx: sqlite3.Connection) -> None:
        for reading in self._told:
            told = firmware.note(tx, reading.sensor, reading.firmware, reading.received)
            if told is not None and told.before:
                room = self._engine.registry.room_of(reading.sensor)
                series_due.append(tx, [firmware.record(told, room.id if room else "")])

    def admit(self, events: Sequence[Event], now: float) -> list[AlertRecord]:
        """Take in and commit events that were detected elsewhere; known ones change nothing.

        Detectors and position are not touched, so it may come between `step` and `commit`.

        Parameters
        ----------
        now : float
            Unix seconds.

        Raises
        ------
        sqlite3.OperationalError
            If the disk refuses; nothing is then kept.
        """
        with transaction(self._connection) as tx:
            return self._engine.on_events(tx, list(events), now)

    def on_time(self, now: float) -> list[AlertRecord]:
        """Let time alone do what it does: resolve incidents, release held ones, move levels."""
        due = self._engine.next_deadline(self._connection)
        idle = due is None or due > now
        waiting = not self._ahead and threshold_adjustments.has_pending(self._connection)
        if idle and not waiting and not self._moved:
            return []
        with transaction(self._connection) as tx:
            alerts = [] if idle else self._engine.on_time(tx, now)
            moves = threshold_adjustments.place_pending(tx, self.position) if waiting else []
            told = self._levels.save(tx)
        self._moved = False
        self.stirred = self.stirred or not idle
        self._levels.mark_saved(told)
        self._move(moves)
        return alerts

    def _move(self, moves: Sequence[ThresholdAdjustment]) -> None:
        self._levels.apply(moves)
        self._moved = self._moved or bool(moves)

    def move_deadlines(self, now: float, by_s: float) -> None:
        """Move what waits for a time, as the clock was set ahead by `by_s` seconds to `now`."""
        with transaction(self._connection) as tx:
            move_deadlines(tx, now, by_s)

    def save_snapshot(self) -> int:
        """Store the detectors' state with the position it belongs to; return that position.

        Between `step` and its `commit` the state is ahead of the committed position; stored then,
        it would make the repeated batch look old and lose its events. The snapshot that is stored
        already stays, and its position is returned.
        """
        if self._ahead:
            stored = state.snapshot(self._connection, CONSUMER)
            return 0 if stored is None else stored.position
        with transaction(self._connection) as tx:
            state.set_snapshot(tx, CONSUMER, self._snapshot(self.position))
            self._save_liveness(tx, self.position)
            told = self._levels.save(tx)
        self._levels.mark_saved(told)
        return self.position

    def _snapshot(self, position: int) -> state.Snapshot:
        return state.Snapshot(position, self.model_version, self._body())

    def _body(self) -> bytes:
        return msgspec.msgpack.encode(
            _Snapshot(
                *self._detectors.state(),
                self._levels.applied,
                self._order.snapshot(),
                self._received,
            )
        )

    def fork(self, connection: sqlite3.Connection) -> DetectionConsumer:
        """Return a watch that goes on from here over another state database.

        It has the same detectors, engine and levels, and does not follow silence.
        """
        twin = DetectionConsumer(connection, self._engine, self._may_alert)
        twin._restore(self._body())
        twin.position = self.position
        return twin

    def _save_liveness(self, tx: sqlite3.Connection, position: int) -> None:
        if self._liveness is not None:
            body = self._liveness.snapshot()
            state.set_snapshot(tx, LIVENESS, state.Snapshot(position, "", body))

    def _restore_liveness(self) -> int:
        """Return the position up to which the restored state has heard."""
        stored = state.snapshot(self._connection, LIVENESS)
        if self._silence is None or stored is None:
            return 0
        try:
            self._liveness = Liveness.restore(stored.body, self._intervals, self._silence)
        except SnapshotError:
            return 0
        return stored.position

    def _restore(self, body: bytes) -> None:
        try:
            found = msgspec.msgpack.decode(body, type=_Snapshot)
            order = Reorder.restore(found.order)
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"no snapshot: {error}") from error
        parts = CombinedState(found.detector, found.devices, found.slow, found.watermark)
        self._detectors = CombinedDetector.restore(parts, self._place)
        self._order = order
        self._received = found.received
        self._levels.adopt(self._detectors.plumes, found.moves)
        if self._samples is not None:
            self._samples.adopt(self._detectors.plumes)

    def _place(self, sensor: str) -> tuple[str, str] | None:
        room = self._engine.registry.room_of(sensor)
        return None if room is None else (f"{room.site}/{room.building}", room.id)

    def step(self, readings: Sequence[Reading]) -> list[Event]:
        """Show readings, in journal order, to the detectors; state moves on in memory."""
        if not readings:
            return []
        self._ahead = True
        if self._versions:
            self._told += [reading for reading in readings if reading.firmware]
        events = self._detect(readings) + self._hear(readings)
        events += self._on_time(max(r.received for r in readings))
        events.sort(key=lambda event: event.time)
        return events

    def listen(self, now: float) -> list[Event]:
        """Return what silence means at `now`, to be committed like a batch.

        Sensors may be away, and readings that wait for an earlier one do so no longer.

        Call it when all that has arrived is committed.
        """
        events = self._judge(self._order.on_time(now))
        self._by_clock = self._by_clock or bool(events)
        events += self._on_time(now)
        self._ahead = self._ahead or bool(events)
        return events

    def _on_time(self, now: float) -> list[Event]:
        if self._liveness is None:
            return []
        events = [ended(event, now) for event in self._forgotten]
        self._forgotten = []
        return events + self._liveness.on_time(now, hearing=self.hearing)

    def drain_skipped_counts(self) -> Counter[str]:
        """Return `unjudged` and begin it anew."""
        taken, self.unjudged = self.unjudged, Counter()
        return taken

    def lives(self) -> Mapping[str, SensorLife]:
        """Return what is known of the registered sensors; empty if silence is not followed."""
        return {} if self._liveness is None else self._liveness.lives()

    def _hear(self, readings: Sequence[Reading]) -> list[Event]:
        if self._liveness is None:
            return []
        events: list[Event] = []
        for reading in readings:
            word = next((e for e in reading.events if e in ("online", "offline")), "")
            alive = reading.measured and _NO_PROOF.isdisjoint(reading.flags)
            events += self._liveness.on_item(
                reading.sensor, reading.received, alive=alive, word=word
            )
        return events

    def _detect(self, readings: Sequence[Reading]) -> list[Event]:
        events: list[Event] = []
        passed: list[Reading] = []
        for each in readings:
            if each.received < self._received - SET_BACK_S:
                passed += self._order.set_back(each.received)
                events += self._judge(passed)
                events += self._begin_anew(each.received)
                passed = []
            self._received = max(self._received, each.received)
            passed += self._order.on_reading(each)
        return events + self._judge(passed)

    def _begin_anew(self, now: float) -> list[Event]:
        """Judge on from `now`, although sensors were read later than that: our clock was set back.

        Without it their readings, or at least those that have our time, would all be too old until
        the clock is where it was.
        """
        self._received = now
        self._newest = {name: time for name, time in self._newest.items() if time <= now}
        return self._detectors.set_back(now)

    def _judge(self, readings: Sequence[Reading]) -> list[Event]:
        """Show readings, each sensor's in order, to the detectors."""
        shown = [reading for reading in readings if self._may_alert(reading)]
        if not shown:
            return []
        for reading in shown:
            if reading.values:
                newest, time = self._newest.get(reading.sensor), _judged_at(reading)
                if newest is None or time > newest:
                    self._newest[reading.sensor] = time
                else:
                    self.unjudged[reading.sensor] += 1
        return self._detectors.step(_stream(shown))

    def _decide(
        self, tx: sqlite3.Connection, events: Iterable[Event], now: float | None
    ) -> list[AlertRecord]:
        if now is not None:
            return self._engine.on_events(tx, list(events), now)
        alerts: list[AlertRecord] = []
        for event in events:
            alerts += self._engine.on_events(tx, [event], event.time)
        alerts += self._engine.on_time(tx, self.watermark)
        return alerts


def _judged_at(reading: Reading) -> float:
    """Unix seconds at which a reading counts: its own time, but none after its receipt."""
    return min(reading.time, reading.received)


def _stream(readings: Sequence[Reading]) -> Stream:
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
        np.fromiter(map(_judged_at, readings), np.float64, count=n),
        np.fromiter((r.received for r in readings), np.float64, count=n),
        values,
        {i: (r.events, r.faults) for i, r in enumerate(readings) if r.events or r.faults},
    )
