"""Sample the health of sensors (``sensor_health``, ``sensor_hour``).

A ``sensor_health`` record contains the increase of counts since the previous one. A ``sensor_hour``
record contains the sums of an hour. Nothing here waits or writes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.outbound.sensor_conditions import ActiveFaults, Condition, find_condition
from detection.events import join_details
from detection.liveness import SensorLife, SensorState
from storage.timeseries.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storage.journal import Snapshot
    from storage.registry import Sensor

    Counts = dict[str, dict[str, int]]
    Fields = dict[str, float | str]
    Lives = Mapping[str, SensorLife]
    Active = Mapping[str, ActiveFaults]

HEALTH_EVERY_S: Final = 300.0
"""Seconds between two records of a sensor."""
SUMMED: Final = ("period_s", "online_s", "expected", "received", "missing")


class _Recorded(msgspec.Struct):
    """State from which the next process continues."""

    counts: dict[str, dict[str, int]] = {}
    expected: dict[str, int] = {}
    conditions: dict[str, tuple[Condition, float]] = {}
    hours: dict[str, Record] = {}


def add_to_hour(hours: dict[str, Record], health: Record, since: float) -> Record:
    """Add a health record, covering the time from `since`, to the sensor's hourly record.

    `hours` contains each sensor's latest hourly record and is updated. If the clock was set back,
    the current hour continues.
    """
    begins = since // 3600.0 * 3600.0
    before = hours.get(health.sensor)
    if before and begins < before.time <= begins + 3600.0:
        begins = before.time
    sums = before.fields if before and before.time == begins else {}
    fields: Fields = {
        key: float(sums.get(key, 0.0)) + float(health.fields.get(key, 0.0)) for key in SUMMED
    }
    hours[health.sensor] = Record("sensor_hour", begins, fields, sensor=health.sensor)
    return hours[health.sensor]


@dataclass(slots=True)
class StateRecorder:
    """Samples the health of sensors, as differences of the service's counters."""

    sensors: Mapping[str, Sensor]
    counts: Callable[[], Counts]
    room_names: Mapping[str, str] = field(default_factory=dict)
    _since: float = 0.0
    _health_since: float = 0.0
    _health_due: float = 0.0
    _recorded: _Recorded = field(default_factory=_Recorded)
    _online_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def begin(self, now: float) -> None:
        """Start counting now."""
        self._since = self._health_since = self._health_due = now
        self._recorded.counts = self.counts()

    def restore(self, stored: Snapshot) -> None:
        """Continue the previous process's counts, so that records add up even if it was killed."""
        before = msgspec.json.decode(stored.body, type=_Recorded)
        before.counts = {**self._recorded.counts, **before.counts}
        self._recorded = before

    def export(self) -> bytes:
        """Return the state for the next process to continue from; store it with the records."""
        return msgspec.json.encode(self._recorded)

    def collect(self, now: float, lives: Lives, active: Active) -> list[Record]:
        """Return records of each registered sensor if they are due; call this once a minute.

        They cover the time since the previous records.
        """
        elapsed = max(now - self._since, 0.0)
        for name, life in lives.items():
            if life.state is SensorState.ALIVE:
                self._online_s[name] += elapsed
        self._since = now
        if self._health_since <= now < self._health_due:
            return []
        self._health_due = (now // HEALTH_EVERY_S + 1) * HEALTH_EVERY_S
        period = max(now - self._health_since, 0.0)
        counts, self._recorded.counts = self._recorded.counts, self.counts()
        records = []
        for name, sensor in self.sensors.items():
            life = lives.get(name) or SensorLife(SensorState.NEVER, None, sensor.interval_s, 0)
            before = counts.get(name, {})
            fields: Fields = {
                "state": life.state.value,
                "period_s": period,
                "online": float(life.state is SensorState.ALIVE),
                "online_s": min(self._online_s[name], period),
                "expected": float(max(life.expected - self._recorded.expected.get(name, 0), 0)),
                **{
                    k: float(max(n - before.get(k, 0), 0))
                    for k, n in self._recorded.counts[name].items()
                },
            }
            self._recorded.expected[name] = life.expected
            if life.last_seen is not None:
                fields["last_seen"] = life.last_seen
            found = active.get(name) or ActiveFaults()
            fields |= {"faults": float(found.faults), "tamper": float(found.tampered)}
            if found.details:
                fields["fault"] = join_details(found.details)
            fields |= self._build_condition(sensor, life, found, now)
            records.append(Record("sensor_health", now, fields, sensor=name))
            if period:
                records.append(add_to_hour(self._recorded.hours, records[-1], self._health_since))
        self._health_since = now
        self._online_s.clear()
        return records

    def _build_condition(
        self, sensor: Sensor, life: SensorLife, active: ActiveFaults, now: float
    ) -> Fields:
        """Return a sensor's condition, when it began, and the previous condition if it changed."""
        condition, begun = find_condition(life, active)
        before = self._recorded.conditions.get(sensor.id)
        if begun is None:
            begun = before[1] if before and before[0] is condition else now
        self._recorded.conditions[sensor.id] = condition, begun
        fields: Fields = {
            "condition": condition.value,
            "condition_since": begun,
            "urgency": float(condition.urgency),
            "changed": 0.0,
        }
        if before is not None and before[0] is not condition:
            fields |= {"changed": 1.0, "condition_before": before[0].value}
        if sensor.room in self.room_names:
            fields["room_choice"] = f"{self.room_names[sensor.room]} | {sensor.room}"
        return fields
