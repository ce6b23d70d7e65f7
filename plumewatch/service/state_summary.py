"""How sensors and the service were, as records of the series: ``sensor_health`` and ``pipeline``.

Everything is counted where it happens and only ever grows; a record holds what was added since the
one before. Nothing here waits or writes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from alerts.consumer import threshold_adjustments
from alerts.outbound import series_records
from alerts.outbound.series_records import active_faults
from detection.liveness import SensorLife, SensorState
from ingest.reading_counts import CountKind
from plumewatch import __version__
from reports.kpis import duty_hours
from storage import firmware
from storage.timeseries.records import Record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from alerts.outbound.series_records import ActiveFaults
    from detection.alert_thresholds import ThresholdReport
    from ingest.reading_counts import ReadingCounts
    from plumewatch.service.health import Part
    from plumewatch.service.meters import Meters
    from reports.rows import DutySpan
    from storage.firmware import Firmware
    from storage.registry import Sensor

    OnDuty = Callable[[float, float], Iterable[DutySpan]]

HEALTH_EVERY_S: Final = 300.0
"""Time between two records of a sensor."""
_DUTY_GAP_S: Final = 600.0
"""Hours on duty of a longer time than this are told hour by hour."""
_DUTY_BACK_S: Final = 62 * 86_400.0
"""Hours on duty are counted back over a time without the service no longer than so."""

_NOTED: Final = {
    "received": CountKind.READINGS,
    "missing": CountKind.MISSING,
    "duplicates": CountKind.DUPLICATE,
    "late": CountKind.LATE,
    "clock_faults": CountKind.CLOCK,
    "faulty": CountKind.FAULT,
    "unjudged": CountKind.UNJUDGED,
}


@dataclass(frozen=True, slots=True)
class StateSummary:
    """What the state database says, read at once.

    `active_faults`: faults and tampering that go on, by sensor; `versions`: by sensor; `waiting`:
    records that wait for the series.
    """

    active_faults: Mapping[str, ActiveFaults] = field(default_factory=dict)
    levels: Mapping[str, ThresholdReport] = field(default_factory=dict)
    versions: Mapping[str, Firmware] = field(default_factory=dict)
    waiting: int = 0

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> StateSummary:
        """Read it; blocks.

        Raises `sqlite3.Error`.
        """
        return cls(
            active_faults(connection),
            threshold_adjustments.load_thresholds(connection),
            firmware.current(connection),
            series_records.waiting(connection),
        )


class StateRecorder:
    """Takes samples of a service.

    `on_duty`: returns who was on duty when between two moments, Unix seconds. `duty_until`: up to
    when hours on duty are counted, Unix seconds.
    """

    def __init__(
        self,
        sensors: Mapping[str, Sensor],
        tally: ReadingCounts,
        meters: Meters,
        parts: Callable[[], Sequence[Part]],
        on_duty: OnDuty,
    ) -> None:
        self._sensors_known = sensors
        self._tally = tally
        self._meters = meters
        self._parts = parts
        self._on_duty = on_duty
        self.duty_until = 0.0
        self._since = 0.0
        self._totals: dict[str, float] = {}
        self._health_since = 0.0
        self._health_due = 0.0
        self._counts: dict[str, dict[str, int]] = {}
        self._expected: defaultdict[str, int] = defaultdict(int)
        self._online_s: defaultdict[str, float] = defaultdict(float)

    def begin(self, now: float, duty_until: float | None = None) -> None:
        """Count from here on; records of the sensors are due with the first of the service.

        Hours on duty are counted on from `duty_until`: people had them although nothing ran.
        """
        last = now if duty_until is None else min(duty_until, now)
        self.duty_until = max(last, now - _DUTY_BACK_S)
        self._since = self._health_since = self._health_due = now
        self._totals = self._meters.record("counter")
        self._counts = self._tallies()

    def introduced(
        self, now: float, lives: Mapping[str, SensorLife], stored: StateSummary
    ) -> list[Record]:
        """Return a first record of each registered sensor, for dashboards to know where it hangs.

        What it says of the sensor is how it was left, until the records that are due.
        """
        return self._sensors(now, lives, stored)

    def records(
        self,
        now: float,
        lives: Mapping[str, SensorLife],
        stored: StateSummary,
    ) -> list[Record]:
        """Return what is due, for the time since the last call."""
        elapsed = max(now - self._since, 0.0)
        found = self._missed_duty(now)
        for name, life in lives.items():
            if life.state is SensorState.ALIVE:
                self._online_s[name] += elapsed
        found.append(self._pipeline(now, elapsed, lives, stored))
        if now >= self._health_due or now < self._health_since:
            self._health_due = (now // HEALTH_EVERY_S + 1) * HEALTH_EVERY_S
            found += self._sensors(now, lives, stored)
        self._since = now
        return found

    def _missed_duty(self, now: float) -> list[Record]:
        """Return hours on duty while nothing ran, a record each clock hour."""
        found: list[Record] = []
        if now - self.duty_until <= _DUTY_GAP_S:
            return found
        while (hour := (self.duty_until // 3600.0 + 1.0) * 3600.0) < now:
            if spent := self._duty_s(hour):
                found.append(Record("pipeline", hour, {"duty_s": spent}))
        return found

    def _duty_s(self, until: float) -> float:
        """Seconds of persons on duty since it was asked last; none if the clock was set back."""
        since, self.duty_until = self.duty_until, until
        return 3600.0 * duty_hours(self._on_duty(since, until)) if since < until else 0.0

    def _pipeline(
        self,
        now: float,
        elapsed: float,
        lives: Mapping[str, SensorLife],
        stored: StateSummary,
    ) -> Record:
        totals = self._meters.record("counter")
        added = {key: totals[key] - self._totals.get(key, 0.0) for key in totals}
        self._totals = totals
        spent = added.pop("commit_s")
        fields: dict[str, float | str] = {
            "period_s": elapsed,
            **added,
            **self._meters.record("gauge"),
            "records_waiting": float(stored.waiting),
            "duty_s": self._duty_s(now),
            "sensors": float(len(self._sensors_known)),
            "sensors_alive": float(sum(s.state is SensorState.ALIVE for s in lives.values())),
            "failing": "; ".join(f"{p.name}: {p.says}" for p in self._parts() if not p.ok),
            "version": __version__,
        }
        if added["commits"]:
            fields["commit_ms"] = 1000.0 * spent / added["commits"]
        return Record("pipeline", now, fields)

    def _tallies(self) -> dict[str, dict[str, int]]:
        return {name: self._tally.of(name) for name in self._sensors_known}

    def _sensors(
        self, now: float, lives: Mapping[str, SensorLife], stored: StateSummary
    ) -> list[Record]:
        period = max(now - self._health_since, 0.0)
        counts, self._counts = self._counts, self._tallies()
        unlike = firmware.unlike_others(self._sensors_known.values(), stored.versions)
        found = []
        for sensor in self._sensors_known.values():
            name = sensor.id
            life = lives.get(name) or SensorLife(SensorState.NEVER, None, sensor.interval_s, 0)
            before, after = counts.get(name, {}), self._counts[name]
            fields: dict[str, float | str] = {
                "state": life.state.value,
                "period_s": period,
                "online": float(life.state is SensorState.ALIVE),
                "online_s": min(self._online_s[name], period),
                "interval_s": life.interval_s,
                "expected": float(max(life.expected - self._expected[name], 0)),
                **{
                    key: float(after.get(noted, 0) - before.get(noted, 0))
                    for key, noted in _NOTED.items()
                },
            }
            self._expected[name] = max(self._expected[name], life.expected)
            if life.last_seen is not None:
                fields["last_seen"] = life.last_seen
            stands = stored.active_faults.get(name)
            fields["faults"] = float(stands.faults if stands else 0)
            fields["tamper"] = float(bool(stands and stands.tampered))
            if stands and stands.detail:
                fields["fault"] = stands.detail
            level = stored.levels.get(name)
            if level is not None:
                fields |= {"level": level.level, "budget": level.budget}
                if level.expected is not None:
                    fields["expected_false_alarms"] = level.expected
            told = stored.versions.get(name)
            if told is not None:
                fields |= {
                    "firmware": told.version,
                    "firmware_since": told.since,
                    "firmware_differs": float(name in unlike),
                }
                if told.before:
                    fields["firmware_before"] = told.before
            found.append(Record("sensor_health", now, fields, sensor=name))
        self._health_since = now
        self._online_s.clear()
        return found
