"""Decide which sensors are silent, and alert once per outage instead of once per sensor.

A sensor is *silent* after `LivenessSettings.missed` reporting intervals without a reading, but not
before `LivenessSettings.min_s`. The interval is the registered one, or the learned one if that is
longer. The learned interval is the second largest of the last ten gaps between reports (the largest
if there are fewer gaps). So a single lost report does not change it, and a longer interval set on
the device is learned after two gaps. Until three gaps have been seen, a sensor is not silent before
`UNLEARNED_S`.

A device or its gateway may also report `online` or `offline` (an MQTT will or an availability
message). `offline` makes the sensor silent at once. `online` only revokes that report, because a
device that is connected but does not measure is still silent.

Before alerting, silent sensors are collected for one reporting interval, but for at least
`GATHER_LEAST_S` and at most `GATHER_MOST_S`. After a device's own `offline` report, the wait is
`LivenessSettings.min_s`, so that a short reconnect is ignored. The sensors that are then still
silent form one *outage* with one event. If there are several, the likely cause is a gateway, a
broker or a network switch. While no sensor of such an outage has returned, a sensor that falls
silent later joins it if it was last seen no later than `GATHER_LEAST_S` after the outage began. The
event ends when all sensors are back. If only some return, the outage ends and the others start a
new one.

The service's own outages do not make sensors silent. After a restart, a pause of this process or a
lost connection to the broker (`broker_healthy`), every wait starts over. A new sensor has
`AWAITED_S` to send its first reading. After that, it is reported as an outage too, separately from
sensors that fell silent.

All times are receive times in Unix seconds, and nothing here reads a clock. Tests check that events
open and close in pairs, and that a sensor is part of at most one outage.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from detection.errors import SnapshotError
from detection.events import Detail, Event, EventKind, EventPhase
from language.messages import Fact, build_fact

if TYPE_CHECKING:
    from collections.abc import Mapping

UNLEARNED_S: Final = 1800.0
"""Silence after which a sensor with an unknown interval counts as silent: three times ten minutes,
the longest default interval of the devices we decode."""
AWAITED_S: Final = 86_400.0
"""How long a registered sensor may take to send its first reading."""
GATHER_LEAST_S: Final = 30.0
GATHER_MOST_S: Final = 600.0

_AWAY_S: Final = 60.0
_JITTER: Final = 1.1
_GAPS: Final = 10
_LEARNED: Final = 3
_SAME_REPORT_S: Final = 1.5
_NAMED: Final = 5
_VERSION: Final = "liveness-1"


class SensorState(StrEnum):
    """Liveness of a sensor."""

    NEVER = "never heard"
    ALIVE = "alive"
    SILENT = "silent"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class LivenessSettings:
    """A sensor is silent after `missed` intervals, but not before `min_s` seconds."""

    missed: int = 3
    min_s: float = 60.0


@dataclass(frozen=True, slots=True)
class SensorLife:
    """Liveness of one sensor.

    Attributes
    ----------
    state : SensorState
        No alert has been raised yet for a ``SILENT`` sensor; an ``OFFLINE`` sensor is part of an
        outage.
    last_seen : float or None
        Receive time of its last reading; None if there was none.
    interval_s : float
        Expected seconds between reports: nine out of ten arrive sooner.
    expected : int
        Number of readings expected since the first one. Every reading received counts. Each gap
        longer than the registered interval adds the readings missing in it, at the median interval
        or the registered one, whichever is longer. No readings are expected while the broker is
        down.
    """

    state: SensorState
    last_seen: float | None
    interval_s: float
    expected: int


@dataclass(slots=True)
class _Sensor:
    """One registered sensor. `due` is the time of its only valid entry in the heap.

    `awaited` is when the wait for its first reading began.
    """

    interval_s: float
    awaited: float = math.nan
    last: float = -math.inf
    report: float = -math.inf
    offline_since: float | None = None
    expected: int = 0
    gaps: list[float] = field(default_factory=list)
    due: float = math.nan

    @property
    def is_seen(self) -> bool:
        """Whether the sensor ever sent a reading."""
        return math.isfinite(self.last)

    def get_interval(self, rank: float = 0.9) -> float:
        """Return the registered interval, or the learned one if that is longer, in seconds."""
        if not self.gaps:
            return self.interval_s
        ranked = sorted(self.gaps)
        return max(self.interval_s, ranked[math.ceil(rank * len(ranked)) - 1])

    def count_expected(self, gap: float) -> int:
        """Return how many readings to expect in a gap, including the one that ends it."""
        if not self.interval_s < gap < math.inf:
            return 1
        return max(1, round(gap / self.get_interval(0.5)))


@dataclass(slots=True)
class _Outage:
    """An outage that was reported and is not over."""

    name: str
    onset: float
    alerted: float
    sensors: dict[str, None]
    several: bool
    details: tuple[Fact, ...]
    returned: int = 0
    first_return: float | None = None


@dataclass(slots=True)
class _State:
    """Contents of a snapshot; `silent` maps each silent sensor to the start of its silence."""

    sensors: dict[str, _Sensor]
    silent: dict[str, float] = field(default_factory=dict)
    outages: list[_Outage] = field(default_factory=list)
    now: float = -math.inf
    floor: float = -math.inf
    broker_healthy: bool = True


class Liveness:
    """Tracks the sensors in `intervals` (reporting intervals in seconds); ignores all others."""

    def __init__(
        self, intervals: Mapping[str, float], settings: LivenessSettings | None = None
    ) -> None:
        self.settings = settings or LivenessSettings()
        self._state = _State({name: _Sensor(every) for name, every in intervals.items()})
        self._heap: list[tuple[float, str]] = []
        self._outage_of: dict[str, _Outage] = {}
        self._all_awaited = False

    def on_item(
        self, sensor: str, received: float, *, alive: bool, status: str = ""
    ) -> list[Event]:
        """Process a message; return the outage's end if its last missing sensor is back.

        `received` is in Unix seconds. `alive` is whether the message proves that the sensor is
        measuring now; a repeated or retained value does not. `status` is ``"online"``,
        ``"offline"`` or empty, as reported by the sensor or its gateway.
        """
        found = self._state.sensors.get(sensor)
        if found is None:
            return []
        if alive:
            gap = received - max(found.last, self._state.floor)
            found.last = max(found.last, received)
            self._learn_interval(sensor, found, received)
            found.expected += found.count_expected(gap)
            found.offline_since = None
            return self._on_return(sensor, received)
        if status == "offline":
            if found.offline_since is None and math.isfinite(found.last):
                found.offline_since = received
                if sensor not in self._outage_of:
                    self._state.silent.setdefault(sensor, received)
        elif status == "online" and found.offline_since is not None:
            silent_too = received > self._find_due(found)
            found.offline_since = None
            if not silent_too:
                self._schedule(sensor, found)
                return self._on_return(sensor, received)
        return []

    def on_time(self, now: float, *, broker_healthy: bool | None = None) -> list[Event]:
        """Return the outages that begin, gain sensors or end by `now`, Unix seconds.

        `broker_healthy` is whether messages can reach us at all; None means unchanged. If the clock
        was set back by more than a minute, every wait starts over.
        """
        if self._state.now - now > _AWAY_S:
            self._set_back(now)
        if now < self._state.now:
            return []
        broker_healthy = self._state.broker_healthy if broker_healthy is None else broker_healthy
        if now - self._state.now > _AWAY_S or (broker_healthy and not self._state.broker_healthy):
            self._state.floor = now
            self._state.silent = dict.fromkeys(self._state.silent, now)
            self.skip_gap()
        self._state.now, self._state.broker_healthy = now, broker_healthy
        if not self._all_awaited:
            self._await_unseen(now)
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            found = self._state.sensors[name]
            if due != found.due:
                continue
            if self._find_due(found) > now:
                self._schedule(name, found)
                continue
            found.due = math.nan
            if name not in self._outage_of:
                self._state.silent.setdefault(name, now)
        return [*self._join_outages(now), *self._alert_outages(now), *self._end_outages(now)]

    def skip_gap(self) -> None:
        """Exclude the time until each sensor's next report from the learned intervals.

        Call this after the service was interrupted.
        """
        for found in self._state.sensors.values():
            found.report = -math.inf

    def _await_unseen(self, now: float) -> None:
        """Start waiting for the first reading of newly registered sensors."""
        self._all_awaited = True
        for name, found in self._state.sensors.items():
            if not found.is_seen:
                found.awaited = now if math.isnan(found.awaited) else found.awaited
                self._schedule(name, found)

    def _set_back(self, now: float) -> None:
        """Limit all times to `now`, after the clock was set back."""
        self._state.now = self._state.floor = now
        self._state.silent = {name: min(since, now) for name, since in self._state.silent.items()}
        for name, found in self._state.sensors.items():
            if not found.is_seen:
                found.awaited = min(found.awaited, now)
            else:
                found.last, found.report = min(found.last, now), min(found.report, now)
                if found.offline_since is not None:
                    found.offline_since = min(found.offline_since, now)
            self._schedule(name, found)
        for outage in self._state.outages:
            if outage.first_return is not None:
                outage.first_return = min(outage.first_return, now)

    def open_outage_ids(self) -> frozenset[str]:
        """Return the event ids of the outages that are not over."""
        events = (self._build_event(o, EventPhase.UPDATED, o.alerted) for o in self._state.outages)
        return frozenset(event.id for event in events)

    def get_liveness(self) -> dict[str, SensorLife]:
        """Return the liveness of every registered sensor."""
        return {
            name: SensorLife(
                self._get_state(name, found),
                found.last if math.isfinite(found.last) else None,
                found.get_interval(),
                found.expected + self._count_missing(found),
            )
            for name, found in self._state.sensors.items()
        }

    def _count_missing(self, found: _Sensor) -> int:
        """Return how many readings were expected since the last one."""
        if not self._state.broker_healthy or len(found.gaps) < _LEARNED:
            return 0
        return found.count_expected(self._state.now - max(found.last, self._state.floor)) - 1

    def _get_state(self, name: str, found: _Sensor) -> SensorState:
        if not found.is_seen:
            return SensorState.NEVER
        if name in self._outage_of:
            return SensorState.OFFLINE
        return SensorState.SILENT if name in self._state.silent else SensorState.ALIVE

    def snapshot(self) -> bytes:
        """Return the state as bytes."""
        return msgspec.msgpack.encode(self._state)

    @classmethod
    def restore(
        cls, body: bytes, intervals: Mapping[str, float], settings: LivenessSettings | None = None
    ) -> Liveness:
        """Restore a snapshot of the registered sensors; raise `SnapshotError` if it is invalid."""
        restored = cls(intervals, settings)
        try:
            state = msgspec.msgpack.decode(body, type=_State)
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"not a snapshot of liveness: {error}") from error
        for name, fresh in restored._state.sensors.items():
            found = state.sensors.setdefault(name, fresh)
            found.interval_s = fresh.interval_s
        state.sensors = {name: state.sensors[name] for name in intervals}
        state.silent = {n: t for n, t in state.silent.items() if n in intervals}
        restored._state = state
        restored.skip_gap()
        for name, found in state.sensors.items():
            restored._schedule(name, found)
        for outage in state.outages:
            outage.sensors = {n: None for n in outage.sensors if n in intervals}
            restored._outage_of.update(dict.fromkeys(outage.sensors, outage))
        return restored

    def _learn_interval(self, name: str, found: _Sensor, received: float) -> None:
        gap = received - found.report
        if gap < min(_SAME_REPORT_S, found.interval_s / 2):
            return
        found.report = received
        if math.isfinite(gap):
            found.gaps = [*found.gaps[1 - _GAPS :], gap]
        learning = len(found.gaps) <= _LEARNED or math.isnan(found.due)
        if learning or self._find_due(found) < found.due:  # a shorter interval ends the longer wait
            self._schedule(name, found)

    def _get_allowance(self, found: _Sensor) -> float:
        allowed = self.settings.missed * found.get_interval() * _JITTER
        unlearned = UNLEARNED_S if len(found.gaps) < _LEARNED else 0.0
        return max(allowed, self.settings.min_s, unlearned)

    def _find_due(self, found: _Sensor) -> float:
        if not found.is_seen:
            return max(found.awaited + AWAITED_S, self._state.floor + UNLEARNED_S)
        return max(found.last, self._state.floor) + self._get_allowance(found)

    def _schedule(self, name: str, found: _Sensor) -> None:
        if not found.is_seen and math.isnan(found.awaited):
            return
        found.due = self._find_due(found)
        heapq.heappush(self._heap, (found.due, name))

    def _on_return(self, name: str, at: float) -> list[Event]:
        self._state.silent.pop(name, None)
        outage = self._outage_of.pop(name, None)
        if outage is None:
            return []
        del outage.sensors[name]
        outage.returned += 1
        if outage.first_return is None:
            outage.first_return = at
        return [] if outage.sensors else [self._end(outage, at)]

    def _find_alert_time(self, name: str, since: float) -> float:
        found = self._state.sensors[name]
        if found.offline_since is not None:
            return since + self.settings.min_s
        return since + min(max(found.get_interval(), GATHER_LEAST_S), GATHER_MOST_S)

    def _join_outages(self, now: float) -> list[Event]:
        """Add silent sensors to outages of several sensors that began after they were last seen."""
        events = []
        for outage in self._state.outages:
            if not (outage.several and outage.sensors) or outage.first_return is not None:
                continue
            until = outage.onset + GATHER_LEAST_S
            more = [
                n
                for n in self._state.silent
                if self._state.sensors[n].is_seen and self._state.sensors[n].last <= until
            ]
            if more:
                for name in more:
                    del self._state.silent[name]
                    outage.sensors[name] = None
                    self._outage_of[name] = outage
                outage.details = self._describe_several(list(outage.sensors))
                events.append(self._build_event(outage, EventPhase.UPDATED, now))
        return events

    def _alert_outages(self, now: float) -> list[Event]:
        ready = {
            n for n, since in self._state.silent.items() if self._find_alert_time(n, since) <= now
        }
        if not ready:
            return []
        is_seen = any(self._state.sensors[n].is_seen for n in ready)
        # Sensors that have never sent a reading form an outage of their own.
        names = sorted(
            n
            for n in self._state.silent
            if self._state.sensors[n].is_seen == is_seen
            and (n in ready or self._state.sensors[n].offline_since is None)
        )
        for name in names:
            del self._state.silent[name]
        several = len(names) > 1
        outage = _Outage(
            name=f"{len(names)} sensors ({names[0]} and others)" if several else names[0],
            onset=max(self._find_last_working(name) for name in names),
            alerted=now,
            sensors=dict.fromkeys(names),
            several=several,
            details=self._describe_several(names) if several else self._describe_one(names[0], now),
        )
        self._state.outages.append(outage)
        self._outage_of.update(dict.fromkeys(names, outage))
        return [self._build_event(outage, EventPhase.ALERTED, now)]

    def _end_outages(self, now: float) -> list[Event]:
        """End outages without sensors, and those from which only some sensors returned in time."""
        events = []
        for outage in list(self._state.outages):
            first = outage.first_return
            missing = (self._state.sensors[name] for name in outage.sensors)
            if outage.sensors and (
                first is None or now < first + max(map(self._get_allowance, missing))
            ):
                continue
            for name in outage.sensors:
                del self._outage_of[name]
                self._state.silent[name] = now
            events.append(self._end(outage, now))
        return events

    def _find_last_working(self, name: str) -> float:
        """Return when a silent sensor last worked, or when the wait for its first reading began."""
        found = self._state.sensors[name]
        if not found.is_seen:
            return found.awaited
        return found.last if found.offline_since is None else max(found.last, found.offline_since)

    def _describe_one(self, name: str, now: float) -> tuple[Fact, ...]:
        found = self._state.sensors[name]
        if not found.is_seen:
            detail = build_fact(Detail.NEVER_SEEN, time=now - found.awaited)
        elif found.offline_since is not None:
            detail = build_fact(Detail.SAYS_OFFLINE)
        else:
            detail = build_fact(Detail.SILENT, time=now - found.last, interval=found.get_interval())
        return detail, *self._describe_broker()

    def _describe_several(self, names: list[str]) -> tuple[Fact, ...]:
        is_seen = self._state.sensors[names[0]].is_seen
        detail = build_fact(
            Detail.SEVERAL_SILENT if is_seen else Detail.SEVERAL_NEVER_SEEN,
            n=len(names),
            sensors=", ".join(names[:_NAMED]),
            more=max(len(names) - _NAMED, 0),
        )
        return (detail, *self._describe_broker()) if is_seen else (detail,)

    def _describe_broker(self) -> tuple[Fact, ...]:
        return () if self._state.broker_healthy else (build_fact(Detail.BROKER_AWAY),)

    def _end(self, outage: _Outage, at: float) -> Event:
        self._state.outages.remove(outage)
        lasted, away, returned = at - outage.onset, len(outage.sensors), outage.returned
        if away and returned:
            back = build_fact(
                Detail.PARTLY_BACK, n=returned, all=returned + away, away=away, time=lasted
            )
            outage.details += (back,)
        elif returned:
            outage.details += (build_fact(Detail.BACK, time=lasted),)
        return self._build_event(outage, EventPhase.ENDED, at)

    @staticmethod
    def _build_event(outage: _Outage, phase: EventPhase, at: float) -> Event:
        return Event(
            sensor=outage.name,
            kind=EventKind.OFFLINE,
            phase=phase,
            onset=outage.onset,
            alerted=outage.alerted,
            peak_time=outage.onset,
            end=at if phase is EventPhase.ENDED else None,
            confidence=1.0,
            probabilities={EventKind.OFFLINE.value: 1.0},
            evidence={},
            model_version=_VERSION,
            details=outage.details,
            time=at,
        )
