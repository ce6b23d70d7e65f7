"""Detect particles that rise in many rooms of a building at once: outdoor smoke, mowing, a kitchen.

Each minute (`minutes`), the fine particles of every room are compared with the room's own slow
baseline b: ``e = ln((c + 4) / (b + 4))``. c is the lowest value of the last three minutes, which a
short puff or spray does not raise. Adding 4 µg/m³ keeps the noise of clean rooms from counting. A
room with several sensors uses their median.

A building's air has risen when enough of its rooms have an e of at least `RISEN` (1.6 times the
baseline) and at least half of the median e, for `HELD_MINUTES` consecutive minutes. With up to six
rooms, all of them must have risen; with seven to twelve, all but one; with thirteen to eighteen,
all but two; and so on. A building with fewer than `MIN_ROOMS` rooms never counts. Outdoor air
reaches all rooms alike, while the many small sources during a class change differ from room to
room. The event ends when the median has been below `OVER` for ten minutes.

One `ambient` event is emitted for the building. Its sensor is the one that rose first (in a tie,
the one with the lower row). Its onset is the median of the times at which the sensors rose.

A vape alert is *explained* by the building's air if the event is running and the room's own rise is
no larger than the building's. The building's rise is how far the median e is above its lowest point
since five minutes before the alert's onset. A rise of `STRONG_UG_M3` or more is never explained,
nor is a sensor's own vape alarm, which has no particle evidence.

Sensors without a place are left out. Rooms without a reading for `FRESH_S` do not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from detection.events import ChannelEvidence, Detail, Event, EventKind, EventPhase
from detection.per_minute.minutes import grow, select_fine
from detection.quantities import FINE_PARTICLES
from language.messages import Fact, build_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from detection.per_minute.minutes import Minute

MIN_ROOMS: Final = 4
RISEN: Final = 0.47
OVER: Final = 0.2
HELD_MINUTES: Final = 4
FRESH_S: Final = 900.0
STRONG_UG_M3: Final = 30.0

_ROOMS_PER_EXCEPTION: Final = 6
_OFFSET_UG_M3: Final = 4.0
_WINDOW_MINUTES: Final = 3
_RISE_TAU_S: Final = 3 * 3600.0
_RISE_TAU_RUNNING_S: Final = 24 * 3600.0
_FALL_TAU_S: Final = 600.0
_WARM_UP_S: Final = 1800.0
_MAX_STEP_S: Final = 1200.0
_UPDATE_INTERVAL_S: Final = 1200.0
_END_AFTER_S: Final = 600.0
_LOOK_BACK_S: Final = 300.0
_HISTORY_S: Final = 2 * 3600.0
_EXPLAINED_KEPT_S: Final = 24 * 3600.0
_VERSION: Final = "ambient-1"
_ARRAYS: Final[Mapping[str, float]] = {
    "window": np.nan,
    "base": np.nan,
    "excess": np.nan,
    "time": -np.inf,
    "age": 0.0,
    "risen": np.nan,
}

Place = tuple[str, str]
"""Building and room of a sensor."""


@dataclass(slots=True)
class _Building:
    """State of one building.

    - `history`: a row per minute in which the median is not near zero: the time, the median excess,
      whether the event ran, how many rooms had risen, and how many rooms there were.
    - `minutes`: consecutive minutes in which the rooms have risen together.
    - `low_since`: when the median fell below `OVER` during an event.
    """

    history: list[list[float]] = field(default_factory=list)
    minutes: int = 0
    low_since: float | None = None
    onset: float = math.nan
    alerted: float = math.nan
    updated: float = math.nan
    sensor: str = ""
    risen: int = 0
    rooms: int = 0
    base: float = math.nan
    peak: float = math.nan
    peak_time: float = math.nan

    @property
    def is_running(self) -> bool:
        """Whether its `ambient` event is running."""
        return bool(self.sensor)


class Ambient:
    """Detects building-wide air changes; `place` returns a sensor's building and room, if any."""

    KEPT: ClassVar[Mapping[str, Any]] = {
        **{f"_{key}": np.ndarray for key in _ARRAYS},
        "_buildings": dict[str, _Building],
        "_explained": dict[str, tuple[float, list[int]]],
    }
    """Attributes that a snapshot contains, with their types."""

    def __init__(self, place: Callable[[str], Place | None]) -> None:
        self._place = place
        self._window = np.empty((0, _WINDOW_MINUTES))
        self._base = np.empty(0)
        self._excess = np.empty(0)
        self._time = np.empty(0)
        self._age = np.empty(0)
        self._risen = np.empty(0)
        self._buildings: dict[str, _Building] = {}
        self._explained: dict[str, tuple[float, list[int]]] = {}

    def on_minute(self, minute: Minute, names: Sequence[str]) -> list[Event]:
        """Return the `ambient` events that a minute begins, updates or ends.

        `names` lists all sensors by row.
        """
        self._grow(len(names))
        rooms = self._group_rooms(minute, names)
        held = np.zeros(len(names), np.bool_)
        for building, members in rooms.items():
            known = self._buildings.get(building)
            if known is not None and known.is_running:
                for sensors in members.values():
                    held[sensors] = True
        self._follow(minute, held)
        found: list[Event] = []
        for building in sorted(rooms.keys() | self._buildings.keys()):
            found += self._evaluate(building, rooms.get(building, {}), minute, names)
        return found

    def mark(self, events: Iterable[Event]) -> list[Event]:
        """Set `Event.explained_by` on vape events that a building-wide air change explains.

        An event keeps this mark from its alert until an update rises above the building's air. Pass
        events in order, after `on_minute` has processed their minutes.
        """
        marked = []
        for event in events:
            rooms: list[int] = []
            if event.kind in {EventKind.VAPE, EventKind.POSSIBLE}:
                known = event.id in self._explained
                running = event.phase in {EventPhase.ALERTED, EventPhase.UPDATED}
                if event.phase is EventPhase.ALERTED or (known and running):
                    rooms = self._find_explanation(event)
                elif known:
                    rooms = self._explained[event.id][1]
                if rooms and running:
                    self._explained[event.id] = (event.time, rooms)
                else:
                    self._explained.pop(event.id, None)
            if rooms:
                details = (_make_detail(*rooms),)
                event = replace(event, explained_by=EventKind.AMBIENT.value, details=details)  # noqa: PLW2901
            marked.append(event)
        if marked and self._explained:
            newest = max(event.time for event in marked)
            kept = {k: v for k, v in self._explained.items() if newest - v[0] < _EXPLAINED_KEPT_S}
            self._explained = kept
        return marked

    def forget(self, now: float) -> None:
        """Drop the history that no event at `now` or later needs."""
        oldest = now - _HISTORY_S
        for building in self._buildings.values():
            history = building.history
            while len(history) > 1 and history[1][0] < oldest:
                del history[0]
        self._buildings = {
            name: b
            for name, b in self._buildings.items()
            if b.is_running or b.minutes or (b.history and b.history[-1][0] >= oldest)
        }

    def _grow(self, n: int) -> None:
        for key, fill in _ARRAYS.items():
            setattr(self, f"_{key}", grow(getattr(self, f"_{key}"), n, fill))

    def _group_rooms(self, minute: Minute, names: Sequence[str]) -> dict[str, dict[str, list[int]]]:
        """Return the rows of sensors with recent readings, by building and room."""
        rooms: dict[str, dict[str, list[int]]] = {}
        recent = self._time[: len(names)] > minute.start - FRESH_S
        recent[minute.rows] = True
        for row in np.flatnonzero(recent).tolist():
            place = self._place(names[row])
            if place is not None:
                rooms.setdefault(place[0], {}).setdefault(place[1], []).append(row)
        return rooms

    def _follow(self, minute: Minute, held: NDArray[np.bool_]) -> None:
        """Update levels and baselines."""
        now = select_fine(minute.low)
        seen = ~np.isnan(now)
        rows = minute.rows[seen]
        level = np.log(np.maximum(now[seen], 0.0) + _OFFSET_UG_M3)
        since = minute.start - self._time[rows]
        self._window[rows] = np.where((since > FRESH_S)[:, None], np.nan, self._window[rows])
        self._window[rows] = np.c_[self._window[rows, 1:], level]
        dt = np.where(np.isfinite(since), np.clip(since, 0.0, _MAX_STEP_S), 0.0)
        lowest = np.fmin.reduce(self._window[rows], axis=1)
        base = np.where(np.isnan(self._base[rows]), lowest, self._base[rows])
        age = self._age[rows] + dt
        up = np.where(held[rows], _RISE_TAU_RUNNING_S, np.minimum(_RISE_TAU_S, age + 60.0))
        tau = np.where(lowest > base, up, _FALL_TAU_S)
        base = base + (lowest - base) * (1.0 - np.exp(-dt / tau))
        excess = np.where(age >= _WARM_UP_S, lowest - base, np.nan)
        risen = excess >= 0.5 * RISEN
        self._risen[rows] = np.where(risen, np.fmin(self._risen[rows], minute.start), np.nan)
        self._base[rows], self._excess[rows] = base, excess
        self._age[rows], self._time[rows] = age, minute.start

    def _evaluate(
        self, name: str, rooms: Mapping[str, Sequence[int]], minute: Minute, names: Sequence[str]
    ) -> list[Event]:
        """Begin, update or end the event of one building."""
        known = {
            room: values[~np.isnan(values)]
            for room, rows in rooms.items()
            if not np.isnan(values := self._excess[list(rows)]).all()
        }
        excess = sorted(float(np.median(values)) for values in known.values())
        n = len(excess)
        building = self._buildings.get(name)
        middle = float(np.median(excess)) if n >= MIN_ROOMS else 0.0
        least = excess[(n - 1) // _ROOMS_PER_EXCEPTION] if n >= MIN_ROOMS else 0.0
        together = least >= RISEN and least >= 0.5 * middle
        if building is None:
            if middle < 0.5 * OVER and not together:
                return []
            building = self._buildings[name] = _Building()
        building.minutes = building.minutes + 1 if together else 0
        phase = _find_phase(building, middle, minute)
        if phase is EventPhase.ALERTED:
            self._begin(building, rooms, minute, names)
        risen = sum(value >= 0.5 * RISEN for value in excess)
        if building.is_running and phase is not EventPhase.ENDED:
            level = (building.base + _OFFSET_UG_M3) * math.exp(middle) - _OFFSET_UG_M3
            if not building.peak >= level:
                building.peak, building.peak_time = level, minute.start
                building.risen, building.rooms = risen, n
        event = None if phase is None else self._build_event(building, phase, minute.closed)
        if phase is EventPhase.ENDED:
            building = self._buildings[name] = _Building(history=building.history)
        elif phase is not None:
            building.updated = minute.closed
        matters = building.is_running or middle >= 0.5 * OVER
        if matters or (building.history and building.history[-1][1] >= 0.5 * OVER):
            running = float(building.is_running)
            building.history.append([minute.closed, middle, running, float(risen), float(n)])
        return [] if event is None else [event]

    def _begin(
        self,
        building: _Building,
        rooms: Mapping[str, Sequence[int]],
        minute: Minute,
        names: Sequence[str],
    ) -> None:
        rows = [row for sensors in rooms.values() for row in sensors]
        risen = [row for row in rows if not math.isnan(self._risen[row])]
        first = min(risen, key=lambda row: (float(self._risen[row]), row))
        building.sensor = names[first]
        building.onset = float(np.median(self._risen[risen]))
        building.alerted = minute.closed
        building.low_since = None
        base = float(np.median(self._base[rows]))
        building.base = math.exp(base) - _OFFSET_UG_M3
        building.peak = math.nan

    @staticmethod
    def _build_event(building: _Building, phase: EventPhase, at: float) -> Event:
        evidence = ChannelEvidence(
            baseline=building.base,
            peak_excess=building.peak - building.base,
            rise_s=max(building.peak_time - building.onset, 0.0),
            decay_s=None,
        )
        return Event(
            sensor=building.sensor,
            kind=EventKind.AMBIENT,
            phase=phase,
            onset=building.onset,
            alerted=building.alerted,
            peak_time=building.peak_time,
            end=building.low_since if phase is EventPhase.ENDED else None,
            confidence=0.9,
            probabilities={EventKind.AMBIENT.value: 0.9},
            evidence={"pm25": evidence},
            model_version=_VERSION,
            details=(_make_detail(building.risen, building.rooms),),
            time=at,
        )

    def _find_explanation(self, event: Event) -> list[int]:
        """Return the counts of risen rooms and of all rooms if they explain an event, else `[]`."""
        place = self._place(event.sensor)
        building = None if place is None else self._buildings.get(place[0])
        own = max(
            (event.evidence[key] for key in FINE_PARTICLES[:-1] if key in event.evidence),
            key=lambda channel: channel.peak_excess,
            default=None,
        )
        if building is None or own is None or own.peak_excess >= STRONG_UG_M3:
            return []
        before = event.onset - _LOOK_BACK_S
        past = [row for row in building.history if row[0] <= event.time]
        if not past or not past[-1][2]:
            return []
        since = [row[1] for row in past if row[0] >= before]
        if past[0][0] > before:
            since.append(0.0)
        _, now, _, risen, n = past[-1]
        common = now - min([*since, now])
        base = max(own.baseline, 0.0) + _OFFSET_UG_M3
        if math.log1p(max(own.peak_excess, 0.0) / base) > common:
            return []
        return [int(risen), int(n)]


def _find_phase(building: _Building, middle: float, minute: Minute) -> EventPhase | None:
    """Return the phase that a building's event enters in a minute, if any."""
    if not building.is_running:
        return EventPhase.ALERTED if building.minutes >= HELD_MINUTES else None
    if middle >= OVER:
        building.low_since = None
        due = minute.closed - building.updated >= _UPDATE_INTERVAL_S
        return EventPhase.UPDATED if due else None
    if building.low_since is None:
        building.low_since = minute.start
    return EventPhase.ENDED if minute.start - building.low_since >= _END_AFTER_S else None


def _make_detail(risen: int, n: int) -> Fact:
    return build_fact(Detail.ROSE_TOGETHER, risen=risen, n=n)
