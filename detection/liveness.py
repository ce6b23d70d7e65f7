"""Which sensors are silent, and when somebody must be told: once an outage, not once a sensor.

A sensor is *alive* while its readings come. It is *silent* after `LivenessSettings.missed`
reporting intervals without one, and at least `LivenessSettings.least_s`. The interval is the
registered one, or what the stream itself shows if that is longer: the second largest of the last
ten gaps between reports (of fewer, the largest), so that one lost report does not stretch it and a
changed setting is learnt after two. Before three gaps were seen nothing is known, and `UNLEARNT_S`
has to pass.

A device or its gateway may also say so itself (`online`, `offline`: a will, an availability
message). `offline` makes it silent at once; `online` takes that word back, and no more: a device
that is connected and does not measure is silent all the same.

Silent sensors are *gathered* for a while before they are told: an interval, between
`GATHER_LEAST_S` and `GATHER_MOST_S`, or `LivenessSettings.least_s` after a device's own word, so
that a short reconnect is nothing. Those that are then still silent are one *outage*, told as one
event: of the sensor if it is one, of all together if they are several, since a gateway, a broker
or a switch is then the likely cause. A sensor that falls silent later and was last heard before
such an outage began joins it without a word. The event ends when all are back. If some come back
and others stay away, the outage ends and the others are judged anew.

Our own silence is not theirs: after a restart, a pause of this process or a lost connection to the
broker (`hearing`) every allowance begins anew.

A sensor that was never heard is not called silent: it may not have been installed yet.

All times are receive times, Unix seconds; nothing here reads a clock. An invariant the tests hold:
events open and close in pairs, and a sensor is part of at most one outage.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from detection.errors import SnapshotError
from detection.events import Event, EventKind, EventPhase

if TYPE_CHECKING:
    from collections.abc import Mapping

UNLEARNT_S: Final = 1800.0
"""Silence that is believed of a sensor whose interval is not learnt yet: three times the longest
default interval of the devices we decode, ten minutes."""
GATHER_LEAST_S: Final = 30.0
GATHER_MOST_S: Final = 600.0

_AWAY_S: Final = 60.0
_JITTER: Final = 1.1
_GAPS: Final = 10
_LEARNT: Final = 3
_SAME_REPORT_S: Final = 1.5
_NAMED: Final = 5
_VERSION: Final = "liveness-1"


class SensorState(StrEnum):
    """How a sensor is, as far as it can be told from what arrives."""

    NEVER = "never heard"
    ALIVE = "alive"
    SILENT = "silent"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class LivenessSettings:
    """When silence counts.

    Attributes
    ----------
    missed : int
        Reporting intervals without a reading.
    least_s : float
        Seconds of silence at least, whatever the interval.

    Raises
    ------
    ValueError
        If `missed` is below 1 or `least_s` is not positive.
    """

    missed: int = 3
    least_s: float = 60.0

    def __post_init__(self) -> None:
        """Check both."""
        if self.missed < 1 or not self.least_s > 0:
            raise ValueError("missed must be at least 1 and least_s positive")


@dataclass(frozen=True, slots=True)
class SensorLife:
    """What is known of one sensor.

    Attributes
    ----------
    state : SensorState
        ``SILENT`` is not told yet; ``OFFLINE`` is part of an outage.
    heard : float or None
        Receive time of its last live reading; None if there was none.
    interval_s : float
        Seconds between reports that are reckoned with: nine of ten come sooner.
    expected : int
        Readings that could have come since the program was started: those that did, and for each
        longer time between two as many as its median, or the registered interval if that is
        longer, goes into it. A time in which we could not hear expects none.
    """

    state: SensorState
    heard: float | None
    interval_s: float
    expected: int


@dataclass(slots=True)
class _Sensor:
    """One registered sensor; `due` names its one valid entry in the heap."""

    interval_s: float
    last: float = -math.inf
    report: float = -math.inf
    said: float | None = None
    expected: int = 0
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=_GAPS))
    due: float = math.nan

    def reports_every(self, rank: float = 0.9) -> float:
        """Return the registered interval, or the learnt one if that is longer, seconds."""
        if not self.gaps:
            return self.interval_s
        ranked = sorted(self.gaps)
        return max(self.interval_s, ranked[math.ceil(rank * len(ranked)) - 1])

    def expected_in(self, gap: float) -> int:
        """Return how many readings go into the time from one reading to the next."""
        if not self.interval_s < gap < math.inf:
            return 1
        return max(1, round(gap / self.reports_every(0.5)))


@dataclass(slots=True)
class _Outage:
    """Silence that was told and is not over."""

    name: str
    onset: float
    alerted: float
    members: dict[str, None]
    several: bool
    detail: str
    back: int = 0
    first_back: float | None = None


class Liveness:
    """Follow the registered sensors; pure, with time as an argument.

    Parameters
    ----------
    intervals : mapping of str to float
        Registered sensors and their reporting intervals, seconds. Others are ignored.
    """

    def __init__(
        self, intervals: Mapping[str, float], settings: LivenessSettings | None = None
    ) -> None:
        self.settings = settings or LivenessSettings()
        self._sensors = {name: _Sensor(interval) for name, interval in intervals.items()}
        self._heap: list[tuple[float, str]] = []
        self._silent: dict[str, float] = {}
        self._outages: list[_Outage] = []
        self._of: dict[str, _Outage] = {}
        self._now = -math.inf
        self._floor = -math.inf
        self._hearing = True

    def on_item(self, sensor: str, received: float, *, alive: bool, word: str = "") -> list[Event]:
        """Take what arrived of one sensor.

        Parameters
        ----------
        received : float
            Receive time, Unix seconds.
        alive : bool
            Whether it proves that the sensor measures now; a repeated or retained value does not.
        word : str
            ``"online"``, ``"offline"`` or empty: what it, or its gateway, says of it.

        Returns
        -------
        list of Event
            The end of an outage, if this was the last sensor of it to come back.
        """
        found = self._sensors.get(sensor)
        if found is None:
            return []
        if alive:
            gap = received - max(found.last, self._floor)
            self._learn(sensor, found, received)
            found.expected += found.expected_in(gap)
            found.last = max(found.last, received)
            found.said = None
            return self._back(sensor, received)
        if word == "offline":
            if found.said is None and math.isfinite(found.last):
                found.said = received
                if sensor not in self._of:
                    self._silent.setdefault(sensor, received)
        elif word == "online" and found.said is not None:
            silent_too = received > self._due(found)
            found.said = None
            if not silent_too:
                self._schedule(sensor, found)
                return self._back(sensor, received)
        return []

    def on_time(self, now: float, *, hearing: bool | None = None) -> list[Event]:
        """Let time pass.

        Parameters
        ----------
        now : float
            Time up to which all that arrived was taken in, Unix seconds. A clock that was set back
            by more than a minute is followed: every allowance begins anew.
        hearing : bool, optional
            Whether messages can reach us at all: the broker is connected, the disk takes them.
            None: as before.

        Returns
        -------
        list of Event
            Outages that begin, gain members or end.
        """
        if self._now - now > _AWAY_S:
            self._set_back(now)
        if now < self._now:
            return []
        hearing = self._hearing if hearing is None else hearing
        if now - self._now > _AWAY_S or (hearing and not self._hearing):
            self._floor = now
            self._silent = dict.fromkeys(self._silent, now)
        self._now, self._hearing = now, hearing
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            found = self._sensors[name]
            if due != found.due:
                continue
            if self._due(found) > now:
                self._schedule(name, found)
                continue
            found.due = math.nan
            if name not in self._of:
                self._silent.setdefault(name, now)
        return [*self._joined(now), *self._told(now), *self._recovered(now)]

    def _set_back(self, now: float) -> None:
        """Nothing was heard later than `now`, on the clock as it is now."""
        self._now = self._floor = now
        self._silent = {name: min(since, now) for name, since in self._silent.items()}
        for name, found in self._sensors.items():
            if math.isfinite(found.last):
                found.last, found.report = min(found.last, now), min(found.report, now)
                if found.said is not None:
                    found.said = min(found.said, now)
                self._schedule(name, found)
        for outage in self._outages:
            if outage.first_back is not None:
                outage.first_back = min(outage.first_back, now)

    def next_deadline(self) -> float | None:
        """When `on_time` may have something to do, if nothing arrives; None if never."""
        times = [self._ripe(name, since) for name, since in self._silent.items()]
        times += [
            outage.first_back + self._patience(outage)
            for outage in self._outages
            if outage.first_back is not None
        ]
        if self._heap:
            times.append(self._heap[0][0])
        return min(times, default=None)

    def standing(self) -> frozenset[str]:
        """Ids of the events of the outages that are not over."""
        said = (self._event(o, EventPhase.UPDATED, o.alerted) for o in self._outages)
        return frozenset(event.id for event in said)

    def lives(self) -> dict[str, SensorLife]:
        """Return what is known of every registered sensor."""
        return {
            name: SensorLife(
                self._state(name, found),
                found.last if math.isfinite(found.last) else None,
                found.reports_every(),
                found.expected + self._overdue(found),
            )
            for name, found in self._sensors.items()
        }

    def _overdue(self, found: _Sensor) -> int:
        """Return how many readings should have come since the last one."""
        if not self._hearing or len(found.gaps) < _LEARNT:
            return 0
        return found.expected_in(self._now - max(found.last, self._floor)) - 1

    def _state(self, name: str, found: _Sensor) -> SensorState:
        if name in self._of:
            return SensorState.OFFLINE
        if name in self._silent:
            return SensorState.SILENT
        return SensorState.ALIVE if math.isfinite(found.last) else SensorState.NEVER

    def snapshot(self) -> bytes:
        """State as bytes from which `restore` continues."""
        heard = [
            [name, s.last, s.report, s.said, [round(gap, 2) for gap in s.gaps]]
            for name, s in self._sensors.items()
            if math.isfinite(s.last)
        ]
        outages = [
            [o.name, o.onset, o.alerted, list(o.members), o.several, o.detail, o.back, o.first_back]
            for o in self._outages
        ]
        clock = [self._now, self._floor, self._hearing]
        return json.dumps([clock, heard, list(self._silent.items()), outages]).encode()

    @classmethod
    def restore(
        cls,
        body: bytes,
        intervals: Mapping[str, float],
        settings: LivenessSettings | None = None,
    ) -> Liveness:
        """Follow on from a snapshot with the sensors that are registered now.

        Raises
        ------
        SnapshotError
            If the bytes are none.
        """
        restored = cls(intervals, settings)
        try:
            (now, floor, hearing), heard, silent, outages = json.loads(body)
            restored._now, restored._floor = float(now), float(floor)
            restored._hearing = bool(hearing)
            for name, last, report, said, gaps in heard:
                found = restored._sensors.get(name)
                if found is None:
                    continue
                found.last, found.report, found.said = float(last), float(report), said
                found.gaps.extend(float(gap) for gap in gaps)
                restored._schedule(name, found)
            for name, onset, alerted, members, *rest in outages:
                known = dict.fromkeys(m for m in members if m in restored._sensors)
                restored._open(_Outage(name, onset, alerted, known, *rest))
            restored._silent = {n: float(t) for n, t in silent if n in restored._sensors}
        except (ValueError, TypeError) as error:
            raise SnapshotError(f"no snapshot of liveness: {error}") from error
        return restored

    def _learn(self, name: str, found: _Sensor, received: float) -> None:
        gap = received - found.report
        if gap < _SAME_REPORT_S:
            return
        found.report = received
        if math.isfinite(gap):
            found.gaps.append(gap)
        found.last = max(found.last, received)
        learning = len(found.gaps) <= _LEARNT or math.isnan(found.due)
        if learning or self._due(found) < found.due:  # a shorter interval ends the longer wait
            self._schedule(name, found)

    def _allowance(self, found: _Sensor) -> float:
        allowed = self.settings.missed * found.reports_every() * _JITTER
        unlearnt = UNLEARNT_S if len(found.gaps) < _LEARNT else 0.0
        return max(allowed, self.settings.least_s, unlearnt)

    def _due(self, found: _Sensor) -> float:
        return max(found.last, self._floor) + self._allowance(found)

    def _schedule(self, name: str, found: _Sensor) -> None:
        if not math.isfinite(found.last):
            return
        found.due = self._due(found)
        heapq.heappush(self._heap, (found.due, name))

    def _open(self, outage: _Outage) -> None:
        self._outages.append(outage)
        self._of.update(dict.fromkeys(outage.members, outage))

    def _back(self, name: str, at: float) -> list[Event]:
        self._silent.pop(name, None)
        outage = self._of.pop(name, None)
        if outage is None:
            return []
        del outage.members[name]
        outage.back += 1
        if outage.first_back is None:
            outage.first_back = at
        return [] if outage.members else [self._end(outage, at)]

    def _ripe(self, name: str, since: float) -> float:
        found = self._sensors[name]
        if found.said is not None:
            return since + self.settings.least_s
        return since + min(max(found.reports_every(), GATHER_LEAST_S), GATHER_MOST_S)

    def _joined(self, now: float) -> list[Event]:
        """Let sensors join an outage of several that began after they were last heard."""
        events = []
        for outage in self._outages:
            if not (outage.several and outage.members) or outage.first_back is not None:
                continue
            until = outage.onset + GATHER_LEAST_S
            more = [n for n in self._silent if self._sensors[n].last <= until]
            if more:
                for name in more:
                    del self._silent[name]
                    outage.members[name] = None
                    self._of[name] = outage
                outage.detail = self._several(list(outage.members))
                events.append(self._event(outage, EventPhase.UPDATED, now))
        return events

    def _told(self, now: float) -> list[Event]:
        ripe = {n for n, since in self._silent.items() if self._ripe(n, since) <= now}
        if not ripe:
            return []
        names = sorted(n for n in self._silent if n in ripe or self._sensors[n].said is None)
        for name in names:
            del self._silent[name]
        several = len(names) > 1
        outage = _Outage(
            name=f"{len(names)} sensors ({names[0]} and others)" if several else names[0],
            onset=max(self._fell(name) for name in names),
            alerted=now,
            members=dict.fromkeys(names),
            several=several,
            detail=self._several(names) if several else self._one(names[0], now),
        )
        self._open(outage)
        return [self._event(outage, EventPhase.ALERTED, now)]

    def _recovered(self, now: float) -> list[Event]:
        """End outages of which some are back and others stay away, or nobody is left."""
        events = []
        for outage in list(self._outages):
            over = outage.first_back is not None and (
                now >= outage.first_back + self._patience(outage)
            )
            if outage.members and not over:
                continue
            for name in outage.members:
                del self._of[name]
                self._silent[name] = now
            events.append(self._end(outage, now))
        return events

    def _patience(self, outage: _Outage) -> float:
        return max((self._allowance(self._sensors[name]) for name in outage.members), default=0.0)

    def _fell(self, name: str) -> float:
        """When a silent sensor was last known to be well: last reading or its own word."""
        found = self._sensors[name]
        return found.last if found.said is None else max(found.last, found.said)

    def _one(self, name: str, now: float) -> str:
        found = self._sensors[name]
        if found.said is not None:
            text = "the sensor, or its gateway, says that it is offline"
        else:
            text = (
                f"no reading for {_span(now - found.last)},"
                f" it reports every {_span(found.reports_every())}"
            )
        return text + self._deaf()

    def _several(self, names: list[str]) -> str:
        listed = ", ".join(names[:_NAMED])
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{len(names)} sensors fell silent together: {listed}{rest}{self._deaf()}"

    def _deaf(self) -> str:
        return "" if self._hearing else "; the broker cannot be reached"

    def _end(self, outage: _Outage, at: float) -> Event:
        self._outages.remove(outage)
        after = f"after {_span(at - outage.onset)}"
        if outage.members and outage.back:
            outage.detail += f"; {outage.back} are back {after}, {len(outage.members)} are not"
        elif outage.back:
            outage.detail += f"; back {after}"
        return self._event(outage, EventPhase.ENDED, at)

    @staticmethod
    def _event(outage: _Outage, phase: EventPhase, at: float) -> Event:
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
            detail=outage.detail,
            time=at,
        )


def _span(seconds: float) -> str:
    """Say a duration as people do.

    Examples
    --------
    >>> _span(5.0), _span(90.0), _span(300.0), _span(7200.0)
    ('5 s', '90 s', '5 min', '2 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
