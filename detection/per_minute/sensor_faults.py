"""Faults that a sensor shows in its own signal, and hands that were laid on it.

Each minute (`minutes`) moves what is known of each sensor on by one step
(`fault_signs`). A sensor is held against its own past, never against a table of products:

* *frozen*: a channel has exactly one value for four times as long as it ever had, and two hours at
  least. At its own floor it may rest for a day; where resting is natural (0 ppb, a Plantower's 0 or
  1 µg/m³, no coarse particle) for ever. If *every* channel rests, half an hour is enough.
* *missing*: a channel that used to come does not, for an hour and four times as long as ever, while
  others do.
* *saturated*: six hours at the end of the range, or at the channel's own highest value and far from
  its lowest.
* *noisy*: for a whole hour with 50 readings, the noise of a channel is never below three times that
  of any hour before. Noise is what zigzags, so the rise and fall of a plume is none.
* *covered*: for twenty minutes, fine particles are clearly below the cleanest of the last days and
  have lost their noise, and humidity, CO2 and VOC hardly move; or the particles alone are dead for
  an hour and a half.
* *blown*: coarse dust and humidity or CO2, as breath has them, jump and are gone within three
  minutes, as no plume is; or coarse particles beyond anything but a can held to the inlet.
* *drift*: the cleanest air of each of three days is three times what it was, and other sensors of
  the building do not say the same.

*Covered* and *blown* are alerted as `tamper`, the rest as `sensor_fault`. Neither changes what the
detector of plumes says: a tamper never mutes vaping. One event a sensor, kind of fault and day; it
is updated while the fault lasts and ends with it, or when the sensor has been silent for six hours.
What needs a past waits for a day of readings, drift for a week.

Everything is a function of the minutes, so any split of the stream gives the same events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from detection.details import Detail
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from detection.per_minute import fault_signs as signs_of
from detection.per_minute.fault_signs import (
    CHANNEL_STATE,
    DAY_S,
    FAULTS,
    SENSOR_STATE,
    SPIKE,
    WHOLE,
    Signs,
)
from detection.per_minute.minutes import CHANNELS, grown
from detection.quantities import QUANTITIES
from language.facts import Fact, fact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from detection.per_minute.minutes import Minute

_STEP_S: Final = 1200.0
"""Longest time one minute may stand for: twice the slowest usual interval."""
_AGAIN_S: Final = DAY_S
_UPDATE_S: Final = 1200.0
_SILENT_S: Final = 6 * 3600.0

_DAYS: Final = 7
_DRIFT_DAYS: Final = 3
_DRIFT_TIMES: Final = 3.0
_DRIFT_OVER_TIMES: Final = 2.0
_DRIFT_UG_M3: Final = 4.0

_CONFIDENCE: Final = (0.95, 0.95, 0.9, 0.85, 0.8, 0.7, 0.8)
_TAMPER: Final = frozenset({signs_of.COVERED, signs_of.BLOWN})
_VERSION: Final = "faults-1"
_DETAILS: Final[Mapping[int, Detail]] = {
    signs_of.FROZEN: Detail.FROZEN,
    signs_of.MISSING: Detail.MISSING,
    signs_of.SATURATED: Detail.SATURATED,
    signs_of.NOISY: Detail.NOISY,
    signs_of.COVERED: Detail.COVERED,
    signs_of.BLOWN: Detail.BLOWN,
}


@dataclass(slots=True)
class _Active:
    """An alerted fault that is not over."""

    onset: float
    alerted: float
    updated: float
    detail: Fact
    evidence: dict[str, ChannelEvidence]


class SensorFaults:
    """Find faults of sensors in their minutes.

    `building` gives the building of a sensor, if any; it is called once a day, about drift.
    """

    KEPT: ClassVar[Mapping[str, Any]] = {
        "_channel": dict[str, np.ndarray],
        "_sensor": dict[str, np.ndarray],
        "_days": np.ndarray,
        "_clean": np.ndarray,
        "_drifting": np.ndarray,
        "_spike": np.ndarray,
        "_alerted_at": np.ndarray,
        "_active": dict[tuple[int, int], _Active],
        "_day": float,
    }
    """What a snapshot holds, with its types."""

    def __init__(self, building: Callable[[str], str | None]) -> None:
        self._building = building
        k = len(CHANNELS)
        self._channel = {key: np.empty((0, k)) for key in CHANNEL_STATE}
        self._sensor = {key: np.empty(0) for key in SENSOR_STATE}
        self._days = np.empty((0, _DAYS))
        self._clean = np.empty(0)
        self._drifting = np.empty(0)
        self._spike = np.empty((0, 2 * len(SPIKE)))
        self._alerted_at = np.empty((0, len(FAULTS)))
        self._active: dict[tuple[int, int], _Active] = {}
        self._day = np.nan

    def on_minute(self, minute: Minute, names: Sequence[str]) -> list[Event]:
        """Return the events that a minute begins, updates or ends; `names` are by row."""
        self._grow(len(names))
        found = self.on_time(minute.start, names)
        day = float(minute.start // DAY_S)
        if day != self._day:
            self._new_day(names)
            self._day = day
        rows = minute.rows
        c = {key: array[rows] for key, array in self._channel.items()}
        s = {key: array[rows] for key, array in self._sensor.items()}
        spike = self._spike[rows]
        dt = np.clip(np.nan_to_num(minute.start - s["time"]), 0.0, _STEP_S)
        s["time"] = np.full(rows.size, minute.start)
        s["age"] = s["age"] + dt
        days = np.where(np.isnan(self._days[rows]), np.inf, self._days[rows]).min(axis=1)
        cleanest = np.where(np.isinf(days), np.nan, days)
        signs = signs_of.follow(minute, dt, c, s, cleanest, spike)
        self._spike[rows] = spike
        for key, array in self._channel.items():
            array[rows] = c[key]
        for key, vector in self._sensor.items():
            vector[rows] = s[key]
        signs.shown[:, signs_of.DRIFT] = self._drifting[rows] > 0
        found += self._speak(signs, minute, names)
        return found

    def on_time(self, now: float, names: Sequence[str]) -> list[Event]:
        """End the faults of sensors that have been silent for six hours."""
        ended = []
        for row, fault in list(self._active):
            last = float(self._sensor["time"][row])
            if now - last > _SILENT_S:
                ended.append(self._end(row, fault, names[row], last, last + _SILENT_S))
        return ended

    def _grow(self, n: int) -> None:
        for table, empty in ((self._channel, CHANNEL_STATE), (self._sensor, SENSOR_STATE)):
            for key, fill in empty.items():
                table[key] = grown(table[key], n, fill)
        self._days = grown(self._days, n, np.nan)
        self._clean = grown(self._clean, n, np.nan)
        self._drifting = grown(self._drifting, n, 0.0)
        self._spike = grown(self._spike, n, np.nan)
        self._alerted_at = grown(self._alerted_at, n, -np.inf)

    def _new_day(self, names: Sequence[str]) -> None:
        """Keep what the day before was like at its cleanest and stillest, and judge the drift."""
        c, s = self._channel, self._sensor
        today = c["stillest_today"]
        lowest = np.fmin(1.05 * c["stillest"], today)
        c["stillest"] = np.where(np.isfinite(today), lowest, c["stillest"])
        c["stillest_today"] = np.full_like(today, np.inf)
        cleanest = s["cleanest_today"]
        rows = np.flatnonzero(np.isfinite(cleanest))
        self._days[rows] = np.c_[self._days[rows, 1:], cleanest[rows]]
        s["cleanest_today"] = np.full_like(cleanest, np.inf)
        latest = self._days[:, -_DRIFT_DAYS:].min(axis=1)
        first = np.isnan(self._clean) & ~np.isnan(self._days[:, -_DRIFT_DAYS - 1 :]).any(axis=1)
        if first.any():
            self._clean[first] = np.median(self._days[first, -_DRIFT_DAYS - 1 :], axis=1)
        step = np.clip(self._days[:, -1] - self._clean, -0.2 * self._clean, 0.03 * self._clean)
        was = self._clean.copy()
        self._clean[rows] = self._clean[rows] + np.nan_to_num(step[rows])
        whole = ~np.isnan(self._days).any(axis=1)
        ratio = np.where(whole, (latest + 0.5) / (was + 0.5), np.nan)
        common = self._common(ratio, names)
        above = latest - common * was >= _DRIFT_UG_M3
        begins = above & (ratio >= _DRIFT_TIMES * common)
        lasts = above & (ratio >= _DRIFT_OVER_TIMES * common) & (self._drifting > 0)
        self._drifting = np.where(begins | lasts, 1.0, 0.0)

    def _common(self, ratio: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
        """Return what the building's other sensors say of the same days, 1 without two of them."""
        common = np.ones_like(ratio)
        buildings: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            building = None if np.isnan(ratio[row]) else self._building(name)
            if building is not None:
                buildings.setdefault(building, []).append(row)
        for members in buildings.values():
            for row in members if len(members) > 2 else ():
                others = [ratio[other] for other in members if other != row]
                common[row] = max(1.0, float(np.median(others)))
        return common

    def _speak(self, signs: Signs, minute: Minute, names: Sequence[str]) -> list[Event]:
        found = []
        at = {row: i for i, row in enumerate(minute.rows.tolist())}
        for row, fault in list(self._active):
            i = at.get(row)
            if i is None:
                continue
            active = self._active[row, fault]
            if not signs.shown[i, fault]:
                found.append(self._end(row, fault, names[row], minute.start, minute.closed))
            elif minute.closed - active.updated >= _UPDATE_S:
                active.updated = minute.closed
                active.detail = self._detail(signs, i, fault, row)
                event = self._event(row, fault, names[row], EventPhase.UPDATED, minute.closed)
                found.append(event)
        due = signs.shown & (minute.closed - self._alerted_at[minute.rows] >= _AGAIN_S)
        for i, fault in np.argwhere(due).tolist():
            row = int(minute.rows[i])
            if (row, fault) in self._active:
                continue
            self._alerted_at[row, fault] = minute.closed
            if fault == signs_of.COVERED:
                self._sensor["cleanest_today"][row] = np.inf
            self._active[row, fault] = _Active(
                onset=max(minute.closed - float(signs.span[i, fault]), 0.0),
                alerted=minute.closed,
                updated=minute.closed,
                detail=self._detail(signs, i, fault, row),
                evidence=self._evidence(fault, row),
            )
            found.append(self._event(row, fault, names[row], EventPhase.ALERTED, minute.closed))
        return found

    def _end(self, row: int, fault: int, name: str, end: float, at: float) -> Event:
        event = self._event(row, fault, name, EventPhase.ENDED, at, end)
        del self._active[row, fault]
        return event

    def _event(
        self,
        row: int,
        fault: int,
        name: str,
        phase: EventPhase,
        at: float,
        end: float | None = None,
    ) -> Event:
        active = self._active[row, fault]
        kind = EventKind.TAMPER if fault in _TAMPER else EventKind.SENSOR_FAULT
        confidence = _CONFIDENCE[fault]
        return Event(
            sensor=name,
            kind=kind,
            phase=phase,
            onset=active.onset,
            alerted=active.alerted,
            peak_time=active.onset,
            end=end,
            confidence=confidence,
            probabilities={kind.value: confidence},
            evidence=active.evidence,
            model_version=f"{_VERSION}-{FAULTS[fault]}",
            details=(active.detail,),
            time=at,
        )

    def _evidence(self, fault: int, row: int) -> dict[str, ChannelEvidence]:
        """Return what moved in a blow; the other faults show by what does not move."""
        if fault != signs_of.BLOWN:
            return {}
        before, peak = np.split(self._spike[row], 2)
        return {
            key: ChannelEvidence(a, b - a, 60.0, None)
            for key, a, b in zip(SPIKE, before.tolist(), peak.tolist(), strict=True)
            if b - a > 3 * QUANTITIES[key].resolution
        }

    def _detail(self, signs: Signs, i: int, fault: int, row: int) -> Fact:
        if fault == signs_of.DRIFT:
            now, was = float(self._days[row, -_DRIFT_DAYS:].min()), float(self._clean[row])
            return fact(Detail.DRIFT, quantity="pm25", days=_DRIFT_DAYS, amount=now, before=was)
        channel, value = int(signs.channel[i, fault]), float(signs.value[i, fault])
        detail, params = _DETAILS[fault], {"time": float(signs.span[i, fault])}
        if fault == signs_of.FROZEN and channel == WHOLE:
            detail = Detail.ALL_FROZEN
        elif fault == signs_of.BLOWN and not np.isnan(value):
            detail = Detail.SPRAYED
        if channel == WHOLE:
            return fact(detail, **params)
        if not np.isnan(value):
            params["times" if fault == signs_of.NOISY else "amount"] = value
        return fact(detail, quantity=CHANNELS[channel], **params)
