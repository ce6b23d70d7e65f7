"""Find sensor faults and tampering in a sensor's own readings.

Each minute (`minutes`) updates the state of each sensor, kept in arrays with one row per sensor. A
sensor is compared with its own past, never with a table of products:

* *frozen*: a channel has had exactly the same value for four times as long as ever before, and for
  at least two hours. A channel can stay at its own lowest value for a day, and forever at a value
  that is normally constant (0 ppb, a Plantower's 0 or 1 µg/m³, no coarse particles). If *every*
  channel is constant, half an hour is enough.
* *missing*: a channel has been absent for at least an hour and four times as long as ever before,
  while other channels arrive.
* *saturated*: a channel stays for six hours at the end of its range, or at the channel's own
  highest value and far from its lowest.
* *noisy*: in an hour with at least 50 readings, even a channel's quietest moment is three times as
  noisy as the quietest moment of any earlier hour. Only zigzags count as noise, so the rise and
  fall of a plume doesn't count.
* *covered*: for twenty minutes, fine particles are clearly below the cleanest level of recent days
  and have lost their noise, and humidity, CO2 and VOC barely change. Alternatively, the particle
  channels alone are very low and quiet for an hour and a half.
* *blown*: coarse dust and the humidity or CO2 of breath jump and are gone within three minutes,
  faster than any plume. A burst of coarse particles so dense that only a spray can at the inlet
  could cause it also counts.
* *drift*: on each of three days, even the cleanest air is three times as dirty as it used to be,
  and other sensors in the building do not show this.

*Covered* and *blown* are reported as `tamper`, the rest as `sensor_fault`. Neither affects the
plume detector: tampering never mutes vaping. There is at most one event a day for each sensor and
kind of fault. It is updated while the fault lasts, and ends with the fault or when the sensor has
been silent for six hours. Rules that compare with the past need up to a day of readings first;
drift needs a week.

Events depend on the minutes alone, so they are the same however the stream is split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from detection.events import ChannelEvidence, Detail, Event, EventKind, EventPhase
from detection.per_minute.minutes import CHANNEL_INDEX, CHANNELS, grow, select_fine
from detection.quantities import FINE_PARTICLES, QUANTITIES
from language.messages import Fact, build_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from detection.per_minute.minutes import Minute

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

DAY_S: Final = 86_400.0
"""Length of a day. A sensor must have reported for this long before a channel counts as frozen or
noisy."""
K: Final = len(CHANNELS)
WHOLE: Final = K
"""Channel number that means all channels together."""

FAULTS: Final = ("frozen", "missing", "saturated", "noisy", "covered", "blown", "drift")
"""Kinds of fault, in the order of their columns; also codes of `Detail`."""
FROZEN, MISSING, SATURATED, NOISY, COVERED, BLOWN, DRIFT = range(len(FAULTS))

_FROZEN_S: Final = 2 * 3600.0
_WHOLE_S: Final = 1800.0
_MIN_READINGS: Final = 20.0
_TIMES: Final = 4.0
_MISSING_S: Final = 3600.0
_FORGET_AFTER_S: Final = 7 * DAY_S
_SATURATED_S: Final = 6 * 3600.0
_NOISY_TIMES: Final = 3.0
_NOISY_LEAST: Final = 0.6
"""Minimum noise that counts as a fault, in units of the usual noise."""
_HOUR_READINGS: Final = 50.0
_NOISE_FADES: Final = 0.999
"""Decay of the noise history per hour; it halves in a month."""
_COVERED_S: Final = 1200.0
_DEAF_S: Final = 1.5 * 3600.0
_SILENT_SHARE: Final = 0.3
_SPIKE_MINUTES: Final = 3.0

_RESOLUTION: Final = np.array([QUANTITIES[key].resolution for key in CHANNELS])
_RANGE_LOW: Final = np.array([QUANTITIES[key].low for key in CHANNELS])
_RANGE_HIGH: Final = np.array([QUANTITIES[key].high for key in CHANNELS])
_NEVER_LOW: Final = np.array([key in {"rh", "temp", "co2", "voc_raw"} for key in CHANNELS])
"""Channels that cannot reach the low end of their range in breathable air."""
_MAY_REST_BELOW: Final = np.where(
    _NEVER_LOW, -np.inf, [{"p": 1.5, "n": 0.05}.get(key[0], 0.5) for key in CHANNELS]
)
"""Up to this value, a channel can stay constant forever: 0 or 1 µg/m³, no particles, 0 ppb."""

# Usual noise of each channel: a minimum in the channel's unit, and a share of the level.
_USUAL_NOISE: Final = np.array(
    [
        *[(0.5, 0.05)] * 4,  # masses
        (2.0, 0.05),
        (1.0, 0.05),
        (0.5, 0.05),
        (0.2, 0.05),
        (10.0, 0.05),  # TVOC
        (20.0, 0.05),
        (3.0, 0.02),
        (15.0, 0.0),
        (0.2, 0.0),  # humidity
        (0.1, 0.0),
        (10.0, 0.01),
    ]
)
_FINE: Final = tuple(CHANNEL_INDEX[key] for key in FINE_PARTICLES)
_OTHERS: Final = tuple(
    CHANNEL_INDEX[key] for key in ("rh", "co2", "voc_index", "voc_raw", "tvoc_ppb", "tvoc_ugm3")
)
SPIKE: Final = ("pm10", "pm25", "rh", "co2", "tvoc_ppb", "tvoc_ugm3", "voc_index")
"""Channels that show blowing. The state stores each channel's level before the spike and its
peak."""
_SPIKE: Final = tuple(CHANNEL_INDEX[key] for key in SPIKE)
_MIN_BREATH: Final = np.array([4.0, 400.0])
_MAX_VOC: Final = np.array([500.0, 1000.0, 100.0])
"""A larger rise of VOC comes from a spray, not from breath."""
_MIN_DUST: Final = 20.0
_EXTREME_DUST: Final = 30_000.0
_COARSE: Final = 0.6
"""Dust and droplets have at most this share of PM2.5 in PM10; smoke and vapor have more."""

CHANNEL_STATE: Final[Mapping[str, float]] = {
    "value": np.nan,  # constant value of the channel
    "run": 0.0,  # seconds it has been constant
    "readings": 0.0,  # readings in that time
    "longest": 0.0,  # longest time it was constant, seconds
    "absent": 0.0,  # seconds it has been missing
    "longest_absent": 0.0,
    "seen": 0.0,  # minutes with a value
    "floor": np.inf,  # lowest value
    "top": -np.inf,  # highest value
    "noise": np.nan,  # zigzag in units of usual noise, smoothed over ten minutes
    "quietest": np.inf,  # lowest `noise` this hour
    "noisiest": 0.0,  # highest `quietest` of any earlier hour; decays over months
    "noisy": 0.0,  # consecutive hours far above `noisiest`
    "times": np.nan,  # how many times noisier than `noisiest`
    "stillest": np.nan,  # lowest `noise` of earlier days
    "stillest_today": np.inf,
    "level": np.nan,  # smoothed over ten minutes
    "motion": np.nan,  # distance from `level`, smoothed over twenty minutes
    "usual_motion": np.nan,  # `motion`, smoothed over a day
    "middle": np.nan,  # midpoint of the lowest and highest value in the previous minute
}
"""State arrays with a value per sensor and channel, and their initial values."""
SENSOR_STATE: Final[Mapping[str, float]] = {
    "time": np.nan,  # start of its last minute
    "age": 0.0,  # seconds it has reported
    "hour": np.nan,  # number of the hour that `quietest` covers
    "hour_readings": 0.0,
    "whole_run": 0.0,  # seconds since any channel changed
    "whole_readings": 0.0,
    "whole_longest": 0.0,
    "fine": np.nan,  # fine particles, smoothed over five minutes
    "cleanest_today": np.inf,  # lowest `fine` today
    "covered": 0.0,  # seconds it has seemed covered
    "deaf": 0.0,  # seconds its particle channels have been low and quiet
    "spike": 0.0,  # minutes the current spike has lasted; 0 without one
}
"""State arrays with a value per sensor, and their initial values."""

Table = dict[str, "Floats"]


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of faults in one minute, for each of its sensors.

    Attributes
    ----------
    channel : ndarray of int64, shape (m, len(FAULTS))
        Channel with the fault; `WHOLE` means all channels.
    span : ndarray of float64, shape (m, len(FAULTS))
        Seconds for which the fault has lasted.
    value : ndarray of float64, shape (m, len(FAULTS))
        Depends on the fault: the constant value, how many times noisier, or the level or peak of
        particles. NaN if the fault has no such value.
    """

    shown: Flags
    channel: NDArray[np.int64]
    span: Floats
    value: Floats


def _read_signs(
    minute: Minute, dt: Floats, c: Table, s: Table, cleanest: Floats, spike: Floats
) -> Signs:
    """Update the state of a minute's sensors in place, and return the signs of faults.

    Parameters
    ----------
    dt : ndarray of float64, shape (m,)
        Seconds since the start of the sensor's previous minute, from 0 to `_MAX_STEP_S`.
    c, s : dict of str to ndarray
        `CHANNEL_STATE` and `SENSOR_STATE` of these sensors, shapes (m, len(CHANNELS)) and (m,).
    cleanest : ndarray of float64, shape (m,)
        Lowest clean level of earlier days, µg/m³; NaN without one.
    """
    m = minute.rows.size
    signs = Signs(
        np.zeros((m, len(FAULTS)), np.bool_),
        np.full((m, len(FAULTS)), WHOLE, np.int64),
        np.zeros((m, len(FAULTS))),
        np.full((m, len(FAULTS)), np.nan),
    )
    learned = s["age"] >= DAY_S
    present = ~np.isnan(minute.low)
    middle = 0.5 * (minute.low + minute.high)
    _find_constant(minute, dt, c, s, present, learned, signs)
    _find_missing(dt, c, present, signs)
    _find_noisy(minute, dt, c, s, middle, present, learned[:, None], signs)
    _find_covered(dt, c, s, middle, cleanest, signs)
    _find_blown(minute, dt, c, s, spike, signs)
    c["middle"] = np.where(present, middle, c["middle"])
    return signs


def _show(signs: Signs, fault: int, shown: Flags, span: Floats, value: Floats) -> None:
    """Record which sensors show a fault, and the channel in which it has lasted longest."""
    spans = np.where(shown, span, -1.0)
    at = np.argmax(spans, axis=1)
    rows = np.arange(at.size)
    signs.shown[:, fault] = shown.any(axis=1)
    signs.channel[:, fault] = at
    signs.span[:, fault] = span[rows, at]
    signs.value[:, fault] = value[rows, at]


def _find_constant(
    minute: Minute, dt: Floats, c: Table, s: Table, present: Flags, learned: Flags, signs: Signs
) -> None:
    """Find channels with a constant value: frozen, or saturated at the end of their range."""
    low, high = minute.low, minute.high
    moved = present & ((low != c["value"]) | (high != c["value"]))
    one = low == high
    limit = np.maximum(_FROZEN_S, _TIMES * c["longest"])
    # A constant run that counted as a fault raises the limit only a little. If such runs recur,
    # they become normal.
    taught = np.where(c["run"] >= limit, np.maximum(2.0 * c["longest"], 0.5 * _FROZEN_S), c["run"])
    c["longest"] = np.where(moved, np.maximum(c["longest"], taught), c["longest"])
    c["run"] = np.where(moved, 0.0, c["run"] + np.where(present, dt[:, None], 0.0))
    counted = c["readings"] + np.where(present, minute.count[:, None], 0.0)
    c["readings"] = np.where(moved, 0.0, counted)
    c["value"] = np.where(moved, np.where(one, low, np.nan), c["value"])
    c["floor"] = np.fmin(c["floor"], low)
    c["top"] = np.fmax(c["top"], high)
    value, floor, top = c["value"], c["floor"], c["top"]
    enough = present & (c["readings"] >= _MIN_READINGS)
    natural = value <= _MAY_REST_BELOW

    far = (value >= top) & (value - floor > 2.0 * np.abs(floor) + 50.0 * _RESOLUTION)
    end = (value >= _RANGE_HIGH) | far | (_NEVER_LOW & (value <= _RANGE_LOW))
    full = enough & end & (c["run"] >= _SATURATED_S)
    _show(signs, SATURATED, full, c["run"], value)

    limit = np.maximum(_FROZEN_S, _TIMES * c["longest"])
    limit = np.where(value <= floor + _RESOLUTION, np.maximum(limit, DAY_S), limit)
    frozen = enough & ~natural & ~end & learned[:, None] & (c["run"] >= limit)
    _show(signs, FROZEN, frozen, c["run"], value)

    any_moved = moved.any(axis=1)
    limit = np.maximum(_WHOLE_S, _TIMES * s["whole_longest"])
    taught = np.where(s["whole_run"] >= limit, 2.0 * s["whole_longest"], s["whole_run"])
    s["whole_longest"] = np.where(
        any_moved, np.maximum(s["whole_longest"], taught), s["whole_longest"]
    )
    s["whole_run"] = np.where(any_moved, 0.0, s["whole_run"] + dt)
    s["whole_readings"] = np.where(any_moved, 0.0, s["whole_readings"] + minute.count)
    whole = (
        learned
        & (s["whole_readings"] >= _MIN_READINGS)
        & (s["whole_run"] >= np.maximum(_WHOLE_S, _TIMES * s["whole_longest"]))
        & ((present & ~natural & ~end).sum(axis=1) >= 2)
    )
    signs.shown[:, FROZEN] |= whole
    signs.channel[whole, FROZEN] = WHOLE
    signs.span[whole, FROZEN] = s["whole_run"][whole]


def _find_missing(dt: Floats, c: Table, present: Flags, signs: Signs) -> None:
    """Find channels that have stopped arriving while others still arrive."""
    taught = np.where(present, np.minimum(c["absent"], _MISSING_S), 0.0)
    c["longest_absent"] = np.maximum(c["longest_absent"], taught)
    c["absent"] = np.where(present, 0.0, c["absent"] + dt[:, None])
    c["seen"] = np.where(c["absent"] > _FORGET_AFTER_S, 0.0, c["seen"] + present)
    gone = (
        (c["seen"] >= 120.0)
        & (c["absent"] >= np.maximum(_MISSING_S, _TIMES * c["longest_absent"]))
        & present.any(axis=1, keepdims=True)
    )
    _show(signs, MISSING, gone, c["absent"], np.full_like(c["absent"], np.nan))


def _find_noisy(
    minute: Minute,
    dt: Floats,
    c: Table,
    s: Table,
    middle: Floats,
    present: Flags,
    learned: Flags,
    signs: Signs,
) -> None:
    """Find channels far noisier than in any earlier hour; track their lowest noise."""
    floor, share = _USUAL_NOISE.T
    noise = minute.zigzag / (floor + share * np.abs(middle))
    c["noise"] = _smooth(c["noise"], noise, dt, 600.0)
    known = (c["seen"] >= 30.0) & present & ~np.isnan(c["noise"])
    hour = np.full_like(s["hour"], minute.start // 3600.0)
    new = hour != s["hour"]
    over = (new & (s["hour_readings"] >= _HOUR_READINGS))[:, None] & np.isfinite(c["quietest"])
    s["hour"] = hour
    s["hour_readings"] = np.where(new, 0.0, s["hour_readings"]) + minute.count
    # Plumes are noisy too, but not for every minute of an hour.
    usual = np.maximum(c["noisiest"], 0.05)
    times = np.where(over, c["quietest"] / usual, 0.0)
    loud = over & learned & (times >= _NOISY_TIMES) & (c["quietest"] >= _NOISY_LEAST)
    faded = c["noisiest"] * np.where(over, _NOISE_FADES, 1.0)
    c["noisiest"] = np.where(over & ~loud, np.maximum(faded, c["quietest"]), faded)
    c["noisy"] = np.where(over, np.where(loud, c["noisy"] + 1.0, 0.0), c["noisy"])
    c["times"] = np.where(over, times, c["times"])
    _show(signs, NOISY, c["noisy"] > 0, 3600.0 * c["noisy"], c["times"])
    now = np.where(known, c["noise"], np.inf)
    c["quietest"] = np.where(new[:, None], now, np.fmin(c["quietest"], now))

    c["stillest_today"] = np.fmin(c["stillest_today"], now)
    distance = np.abs(middle - c["level"])
    c["level"] = _smooth(c["level"], middle, dt, 600.0)
    c["motion"] = _smooth(c["motion"], distance, dt, 1200.0)
    c["usual_motion"] = _smooth(c["usual_motion"], distance, dt, DAY_S)


def _find_covered(
    dt: Floats, c: Table, s: Table, middle: Floats, cleanest: Floats, signs: Signs
) -> None:
    """Find covered sensors: few particles, little noise, and no movement in other channels."""
    now = select_fine(middle)
    s["fine"] = _smooth(s["fine"], now, dt, 300.0)
    low = np.where(s["age"] > 3600.0, s["fine"], np.inf)
    s["cleanest_today"] = np.fmin(s["cleanest_today"], low)
    column = np.full(now.size, _FINE[-1])
    for k in reversed(_FINE):
        column = np.where(np.isnan(middle[:, k]), column, k)
    rows = np.arange(now.size)
    noise, stillest = c["noise"][rows, column], c["stillest"][rows, column]
    tells = stillest > 0.02
    hushed = noise <= np.maximum(0.5 * stillest, 0.08)
    below = np.where(tells, 0.7, 0.5) * cleanest
    clean = (now <= below) & (s["fine"] <= 1.2 * below) & (cleanest >= 1.0)
    others, usual = c["motion"][:, _OTHERS], c["usual_motion"][:, _OTHERS]
    answers = ~np.isnan(middle[:, _OTHERS]) & (usual > 0.0)
    silent = ((others <= _SILENT_SHARE * usual) | ~answers).all(axis=1) & answers.any(axis=1)
    s["covered"] = np.where(clean & hushed & silent, s["covered"] + dt, 0.0)
    deaf = (now <= 0.5 * cleanest) & (cleanest >= 1.0) & tells & (noise <= 0.35 * stillest)
    s["deaf"] = np.where(deaf, s["deaf"] + dt, 0.0)
    signs.shown[:, COVERED] = (s["covered"] >= _COVERED_S) | (s["deaf"] >= _DEAF_S)
    signs.channel[:, COVERED] = column
    signs.span[:, COVERED] = np.maximum(s["covered"], s["deaf"])
    signs.value[:, COVERED] = s["fine"]


def _find_blown(
    minute: Minute, dt: Floats, c: Table, s: Table, spike: Floats, signs: Signs
) -> None:
    """Find coarse dust and breath that jump and are gone at once."""
    n = len(_SPIKE)
    before, peak = spike[:, :n], spike[:, n:]
    idle = s["spike"] == 0.0
    before[idle] = c["middle"][:, _SPIKE][idle]
    high = minute.high[:, _SPIKE]
    peak[:] = np.where(idle[:, None], high, np.fmax(peak, high))
    rise = peak - before
    dust = rise[:, 0]
    coarse = ~(rise[:, 1] > _COARSE * dust)
    breath = rise[:, 2:4] >= _MIN_BREATH
    spray = (rise[:, 4:] > _MAX_VOC).any(axis=1)
    # With fewer readings a minute, the spike's duration is unknown.
    fresh = idle & (dt <= 150.0) & (minute.count >= 3.0)
    begins = fresh & (dust >= _MIN_DUST) & coarse & breath.any(axis=1)
    back = high <= before + 0.3 * rise
    gone = ~idle & back[:, 0] & (back[:, 2:4] | ~breath).all(axis=1)
    extreme = fresh & (dust >= _EXTREME_DUST) & coarse
    signs.shown[:, BLOWN] = (gone & ~spray) | extreme
    signs.channel[:, BLOWN] = CHANNEL_INDEX["pm10"]
    signs.span[:, BLOWN] = 60.0 * np.maximum(s["spike"], 1.0)
    signs.value[:, BLOWN] = np.where(extreme, peak[:, 0], np.nan)
    lasts = ~idle & ~gone & (s["spike"] < _SPIKE_MINUTES) & (dt <= 150.0)
    s["spike"] = np.where(begins, 1.0, np.where(lasts, s["spike"] + 1.0, 0.0))


def _smooth(state: Floats, new: Floats, dt: Floats, tau_s: float) -> Floats:
    """Smooth a signal (first order). It starts at the first value; absent values are skipped."""
    share = 1.0 - np.exp(-np.maximum(dt, 1.0) / tau_s)
    share = share[:, None] if new.ndim == 2 else share
    moved = state + share * (new - state)
    return np.where(np.isnan(new), state, np.where(np.isnan(state), new, moved))


_MAX_STEP_S: Final = 1200.0
"""Longest time one minute may represent: twice the slowest usual interval."""
_REPEAT_AFTER_S: Final = DAY_S
_UPDATE_INTERVAL_S: Final = 1200.0
_END_SILENT_AFTER_S: Final = 6 * 3600.0

_DAYS: Final = 7
_DRIFT_DAYS: Final = 3
_DRIFT_TIMES: Final = 3.0
_DRIFT_OVER_TIMES: Final = 2.0
_DRIFT_UG_M3: Final = 4.0

_CONFIDENCE: Final = (0.95, 0.95, 0.9, 0.85, 0.8, 0.7, 0.8)
_TAMPER: Final = frozenset({COVERED, BLOWN})
_VERSION: Final = "faults-1"


@dataclass(slots=True)
class _Active:
    """A fault that was reported and is not over."""

    onset: float
    alerted: float
    updated: float
    detail: Fact
    evidence: dict[str, ChannelEvidence]


class SensorFaults:
    """Finds sensor faults, minute by minute.

    `building` returns a sensor's building, if any; it is called once a day to check for drift.
    `active` has the reported faults that are not over, by row and kind.
    """

    KEPT: ClassVar[Mapping[str, Any]] = {
        "_channel": dict[str, np.ndarray],
        "_sensor": dict[str, np.ndarray],
        "_days": np.ndarray,
        "_clean": np.ndarray,
        "_drifting": np.ndarray,
        "_spike": np.ndarray,
        "_alerted_at": np.ndarray,
        "active": dict[tuple[int, int], _Active],
        "_day": float,
    }
    """Attributes that a snapshot contains, with their types."""

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
        self.active: dict[tuple[int, int], _Active] = {}
        self._day = np.nan

    def on_minute(self, minute: Minute, names: Sequence[str]) -> list[Event]:
        """Return the events that a minute begins, updates or ends; `names` lists sensors by row."""
        self._grow(len(names))
        found = self.on_time(minute.start, names)
        day = float(minute.start // DAY_S)
        if day != self._day:
            self._start_day(names)
            self._day = day
        rows = minute.rows
        c = {key: array[rows] for key, array in self._channel.items()}
        s = {key: array[rows] for key, array in self._sensor.items()}
        spike = self._spike[rows]
        dt = np.clip(np.nan_to_num(minute.start - s["time"]), 0.0, _MAX_STEP_S)
        s["time"] = np.full(rows.size, minute.start)
        s["age"] = s["age"] + dt
        cleanest = np.fmin.reduce(self._days[rows], axis=1)
        signs = _read_signs(minute, dt, c, s, cleanest, spike)
        self._spike[rows] = spike
        for table, changed in ((self._channel, c), (self._sensor, s)):
            for key, array in table.items():
                array[rows] = changed[key]
        signs.shown[:, DRIFT] = self._drifting[rows] > 0
        found += self._report_faults(signs, minute, names)
        return found

    def on_time(self, now: float, names: Sequence[str]) -> list[Event]:
        """End the faults of sensors that have been silent for six hours."""
        ended = []
        for row, fault in list(self.active):
            last = float(self._sensor["time"][row])
            if now - last > _END_SILENT_AFTER_S:
                ended.append(self._end(row, fault, names[row], last, last + _END_SILENT_AFTER_S))
        return ended

    def _grow(self, n: int) -> None:
        for table, empty in ((self._channel, CHANNEL_STATE), (self._sensor, SENSOR_STATE)):
            for key, fill in empty.items():
                table[key] = grow(table[key], n, fill)
        self._days = grow(self._days, n, np.nan)
        self._clean = grow(self._clean, n, np.nan)
        self._drifting = grow(self._drifting, n, 0.0)
        self._spike = grow(self._spike, n, np.nan)
        self._alerted_at = grow(self._alerted_at, n, -np.inf)

    def _start_day(self, names: Sequence[str]) -> None:
        """Store the previous day's cleanest and quietest values, and check for drift."""
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
        common = self._compute_common_drift(ratio, names)
        above = latest - common * was >= _DRIFT_UG_M3
        begins = above & (ratio >= _DRIFT_TIMES * common)
        lasts = above & (ratio >= _DRIFT_OVER_TIMES * common) & (self._drifting > 0)
        self._drifting = np.where(begins | lasts, 1.0, 0.0)

    def _compute_common_drift(
        self, ratio: NDArray[np.float64], names: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return the median drift factor of the building's other sensors; 1 without two of them."""
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

    def _report_faults(self, signs: Signs, minute: Minute, names: Sequence[str]) -> list[Event]:
        found = []
        at = {row: i for i, row in enumerate(minute.rows.tolist())}
        for row, fault in list(self.active):
            i = at.get(row)
            if i is None:
                continue
            active = self.active[row, fault]
            if not signs.shown[i, fault]:
                found.append(self._end(row, fault, names[row], minute.start, minute.closed))
            elif minute.closed - active.updated >= _UPDATE_INTERVAL_S:
                active.updated = minute.closed
                active.detail = self._make_detail(signs, i, fault, row)
                event = self._build_event(row, fault, names[row], EventPhase.UPDATED, minute.closed)
                found.append(event)
        due = signs.shown & (minute.closed - self._alerted_at[minute.rows] >= _REPEAT_AFTER_S)
        for i, fault in np.argwhere(due).tolist():
            row = int(minute.rows[i])
            if (row, fault) in self.active:
                continue
            self._alerted_at[row, fault] = minute.closed
            if fault == COVERED:
                self._sensor["cleanest_today"][row] = np.inf
            self.active[row, fault] = _Active(
                onset=max(minute.closed - float(signs.span[i, fault]), 0.0),
                alerted=minute.closed,
                updated=minute.closed,
                detail=self._make_detail(signs, i, fault, row),
                evidence=self._make_evidence(fault, row),
            )
            found.append(
                self._build_event(row, fault, names[row], EventPhase.ALERTED, minute.closed)
            )
        return found

    def _end(self, row: int, fault: int, name: str, end: float, at: float) -> Event:
        event = self._build_event(row, fault, name, EventPhase.ENDED, at, end)
        del self.active[row, fault]
        return event

    def _build_event(
        self,
        row: int,
        fault: int,
        name: str,
        phase: EventPhase,
        at: float,
        end: float | None = None,
    ) -> Event:
        active = self.active[row, fault]
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

    def _make_evidence(self, fault: int, row: int) -> dict[str, ChannelEvidence]:
        """Return how channels changed when someone blew into the sensor; empty for other faults."""
        if fault != BLOWN:
            return {}
        before, peak = np.split(self._spike[row], 2)
        return {
            key: ChannelEvidence(a, b - a, 60.0, None)
            for key, a, b in zip(SPIKE, before.tolist(), peak.tolist(), strict=True)
            if b - a > 3 * QUANTITIES[key].resolution
        }

    def _make_detail(self, signs: Signs, i: int, fault: int, row: int) -> Fact:
        if fault == DRIFT:
            now, was = float(self._days[row, -_DRIFT_DAYS:].min()), float(self._clean[row])
            return build_fact(
                Detail.DRIFT, quantity="pm25", days=_DRIFT_DAYS, amount=now, before=was
            )
        channel, value = int(signs.channel[i, fault]), float(signs.value[i, fault])
        detail, params = Detail(FAULTS[fault]), {"time": float(signs.span[i, fault])}
        if fault == FROZEN and channel == WHOLE:
            detail = Detail.ALL_FROZEN
        elif fault == BLOWN and not np.isnan(value):
            detail = Detail.SPRAYED
        if channel == WHOLE:
            return build_fact(detail, **params)
        if not np.isnan(value):
            params["times" if fault == NOISY else "amount"] = value
        return build_fact(detail, quantity=CHANNELS[channel], **params)
