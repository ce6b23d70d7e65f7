"""Signs of a faulty or handled sensor, followed minute by minute for many sensors at once.

A sensor is held against its own past, never against a table of products; `sensor_faults`
says what the signs mean and when to alert. State is a table of arrays, one row a sensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.per_minute.minutes import CHANNEL_INDEX, CHANNELS, fine
from detection.quantities import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detection.per_minute.minutes import Minute

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

DAY_S: Final = 86_400.0
"""Also the time a sensor must have been read before its past says anything."""
K: Final = len(CHANNELS)
WHOLE: Final = K
"""Stands for every channel together where a channel is named."""

FAULTS: Final = ("frozen", "missing", "saturated", "noisy", "covered", "blown", "drift")
"""Kinds of fault, in the order of their columns."""
FROZEN, MISSING, SATURATED, NOISY, COVERED, BLOWN, DRIFT = range(len(FAULTS))

_FROZEN_S: Final = 2 * 3600.0
_WHOLE_S: Final = 1800.0
_LEAST_READINGS: Final = 20.0
_TIMES: Final = 4.0
_MISSING_S: Final = 3600.0
_FORGOTTEN_S: Final = 7 * DAY_S
_SATURATED_S: Final = 6 * 3600.0
_NOISY_TIMES: Final = 3.0
_NOISY_LEAST: Final = 0.6
"""In units of usual noise: less disturbs nobody."""
_HOUR_READINGS: Final = 50.0
_NOISE_FADES: Final = 0.999
"""An hour; half in a month."""
_COVERED_S: Final = 1200.0
_DEAF_S: Final = 1.5 * 3600.0
_SILENT_SHARE: Final = 0.3
_SPIKE_MINUTES: Final = 3.0

_RESOLUTION: Final = np.array([QUANTITIES[key].resolution for key in CHANNELS])
_RANGE_LOW: Final = np.array([QUANTITIES[key].low for key in CHANNELS])
_RANGE_HIGH: Final = np.array([QUANTITIES[key].high for key in CHANNELS])
_NEVER_LOW: Final = np.array([key in {"rh", "temp", "co2", "voc_raw"} for key in CHANNELS])
"""Channels whose lower end of range is no air anybody breathes."""
_RESTS_BELOW: Final = np.array(
    [
        -np.inf
        if key in {"rh", "temp", "co2", "voc_raw"}
        else {"p": 1.5, "n": 0.05}.get(key[0], 0.5)
        for key in CHANNELS
    ]
)
"""Up to here a channel may rest for ever: a clean room's 0 or 1 µg/m³, no particle, 0 ppb."""

# key: usual noise as a floor in the channel's unit, and as a share of the level
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
_FINE: Final = tuple(CHANNEL_INDEX[key] for key in ("pm25", "pm1", "pm4", "pm10", "n03"))
_OTHERS: Final = tuple(
    CHANNEL_INDEX[key] for key in ("rh", "co2", "voc_index", "voc_raw", "tvoc_ppb", "tvoc_ugm3")
)
SPIKE: Final = ("pm10", "pm25", "rh", "co2", "tvoc_ppb", "tvoc_ugm3", "voc_index")
"""Channels of a blow; the state keeps level before and peak of each."""
_SPIKE: Final = tuple(CHANNEL_INDEX[key] for key in SPIKE)
_LEAST_BREATH: Final = np.array([4.0, 400.0])
_MOST_VOC: Final = np.array([500.0, 1000.0, 100.0])
"""Rise of VOC that no breath brings, but a spray does."""
_LEAST_DUST: Final = 20.0
_HELD_TO_IT: Final = 30_000.0
_COARSE: Final = 0.6
"""Largest share of PM2.5 in PM10 that is dust or droplets, not smoke or vapour."""

CHANNEL_STATE: Final[Mapping[str, float]] = {
    "value": np.nan,  # what the channel rests at
    "run": 0.0,  # s it has rested
    "readings": 0.0,  # readings in that time
    "longest": 0.0,  # s of its longest rest
    "absent": 0.0,  # s it has been missing
    "longest_absent": 0.0,
    "seen": 0.0,  # minutes with a value
    "floor": np.inf,  # lowest value
    "top": -np.inf,  # highest value
    "noise": np.nan,  # zigzag in units of usual noise, smoothed over ten minutes
    "quietest": np.inf,  # lowest `noise` of this hour
    "noisiest": 0.0,  # highest of that in any hour before; forgets within months
    "noisy": 0.0,  # hours on end it has been far above
    "times": np.nan,  # how many times above
    "stillest": np.nan,  # lowest `noise` of the days before
    "stillest_today": np.inf,
    "level": np.nan,  # smoothed over ten minutes
    "motion": np.nan,  # distance from it, smoothed over twenty
    "usual_motion": np.nan,  # `motion`, smoothed over a day
    "middle": np.nan,  # middle of the minute before
}
"""State arrays of one value a sensor and channel, and what a new sensor has."""
SENSOR_STATE: Final[Mapping[str, float]] = {
    "time": np.nan,  # start of its last minute
    "age": 0.0,  # s it has been read
    "hour": np.nan,  # number of the hour of `quietest`
    "hour_readings": 0.0,
    "whole_run": 0.0,  # s no channel has moved
    "whole_readings": 0.0,
    "whole_longest": 0.0,
    "fine": np.nan,  # fine particles, smoothed over five minutes
    "cleanest_today": np.inf,  # lowest of that
    "covered": 0.0,  # s it has looked covered
    "deaf": 0.0,  # s its particles have looked dead
    "spike": 0.0,  # minutes a spike has lasted; 0 without one
}
"""State arrays of one value a sensor, and what a new sensor has."""

Table = dict[str, "Floats"]


@dataclass(frozen=True, slots=True)
class Signs:
    """What a minute shows of each of its sensors.

    Attributes
    ----------
    channel : ndarray of int64, shape (m, len(FAULTS))
        Channel that shows it; `WHOLE` for all.
    span : ndarray of float64, shape (m, len(FAULTS))
        Seconds for which it has been so.
    value : ndarray of float64, shape (m, len(FAULTS))
        Value at which it rests, or how many times noisier it is; NaN where there is none.
    """

    shown: Flags
    channel: NDArray[np.int64]
    span: Floats
    value: Floats


def follow(
    minute: Minute, dt: Floats, c: Table, s: Table, cleanest: Floats, spike: Floats
) -> Signs:
    """Move the state of a minute's sensors on, in place, and read the signs.

    Parameters
    ----------
    dt : ndarray of float64, shape (m,)
        Seconds this minute covers: since the sensor's last one, within bounds.
    c, s : dict of str to ndarray
        `CHANNEL_STATE` and `SENSOR_STATE` of these sensors, shapes (m, len(CHANNELS)) and (m,).
    cleanest : ndarray of float64, shape (m,)
        Lowest clean level of the days before, µg/m³; NaN without one.
    """
    m = minute.rows.size
    signs = Signs(
        np.zeros((m, len(FAULTS)), np.bool_),
        np.full((m, len(FAULTS)), WHOLE, np.int64),
        np.zeros((m, len(FAULTS))),
        np.full((m, len(FAULTS)), np.nan),
    )
    learnt = s["age"] >= DAY_S
    present = ~np.isnan(minute.low)
    middle = 0.5 * (minute.low + minute.high)
    _rest(minute, dt, c, s, present, learnt, signs)
    _missing(dt, c, present, signs)
    _noise(minute, dt, c, s, middle, present, learnt[:, None], signs)
    _covered(dt, c, s, middle, cleanest, signs)
    _blown(minute, dt, c, s, spike, signs)
    c["middle"] = np.where(present, middle, c["middle"])
    return signs


def _show(signs: Signs, fault: int, shown: Flags, span: Floats, value: Floats) -> None:
    """Enter a fault that channels show: of several the one that has shown it longest."""
    spans = np.where(shown, span, -1.0)
    at = np.argmax(spans, axis=1)
    rows = np.arange(at.size)
    signs.shown[:, fault] = shown.any(axis=1)
    signs.channel[:, fault] = at
    signs.span[:, fault] = span[rows, at]
    signs.value[:, fault] = value[rows, at]


def _rest(
    minute: Minute, dt: Floats, c: Table, s: Table, present: Flags, learnt: Flags, signs: Signs
) -> None:
    """Channels that rest at one value: frozen, or at the end of what they can say."""
    low, high = minute.low, minute.high
    moved = present & ((low != c["value"]) | (high != c["value"]))
    one = low == high
    limit = np.maximum(_FROZEN_S, _TIMES * c["longest"])
    # A rest that was taken for a fault teaches little; if it comes again and again, it is usual.
    taught = np.where(c["run"] >= limit, np.maximum(2.0 * c["longest"], 0.5 * _FROZEN_S), c["run"])
    c["longest"] = np.where(moved, np.maximum(c["longest"], taught), c["longest"])
    c["run"] = np.where(moved, 0.0, c["run"] + np.where(present, dt[:, None], 0.0))
    counted = c["readings"] + np.where(present, minute.count[:, None], 0.0)
    c["readings"] = np.where(moved, 0.0, counted)
    c["value"] = np.where(moved, np.where(one, low, np.nan), c["value"])
    c["floor"] = np.fmin(c["floor"], low)
    c["top"] = np.fmax(c["top"], high)
    value, floor, top = c["value"], c["floor"], c["top"]
    enough = present & (c["readings"] >= _LEAST_READINGS)
    natural = value <= _RESTS_BELOW

    far = (value >= top) & (value - floor > 2.0 * np.abs(floor) + 50.0 * _RESOLUTION)
    end = (value >= _RANGE_HIGH) | far | (_NEVER_LOW & (value <= _RANGE_LOW))
    full = enough & end & (c["run"] >= _SATURATED_S)
    _show(signs, SATURATED, full, c["run"], value)

    limit = np.maximum(_FROZEN_S, _TIMES * c["longest"])
    limit = np.where(value <= floor + _RESOLUTION, np.maximum(limit, DAY_S), limit)
    frozen = enough & ~natural & ~end & learnt[:, None] & (c["run"] >= limit)
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
        learnt
        & (s["whole_readings"] >= _LEAST_READINGS)
        & (s["whole_run"] >= np.maximum(_WHOLE_S, _TIMES * s["whole_longest"]))
        & ((present & ~natural & ~end).sum(axis=1) >= 2)
    )
    signs.shown[:, FROZEN] |= whole
    signs.channel[whole, FROZEN] = WHOLE
    signs.span[whole, FROZEN] = s["whole_run"][whole]


def _missing(dt: Floats, c: Table, present: Flags, signs: Signs) -> None:
    """Channels that used to come and do not, while others do."""
    taught = np.where(present, np.minimum(c["absent"], _MISSING_S), 0.0)
    c["longest_absent"] = np.maximum(c["longest_absent"], taught)
    c["absent"] = np.where(present, 0.0, c["absent"] + dt[:, None])
    c["seen"] = np.where(c["absent"] > _FORGOTTEN_S, 0.0, c["seen"] + present)
    gone = (
        (c["seen"] >= 120.0)
        & (c["absent"] >= np.maximum(_MISSING_S, _TIMES * c["longest_absent"]))
        & present.any(axis=1, keepdims=True)
    )
    _show(signs, MISSING, gone, c["absent"], np.full_like(c["absent"], np.nan))


def _noise(
    minute: Minute,
    dt: Floats,
    c: Table,
    s: Table,
    middle: Floats,
    present: Flags,
    learnt: Flags,
    signs: Signs,
) -> None:
    """Channels that are far noisier than in any hour before; keep how still they get."""
    floor, share = _USUAL_NOISE.T
    noise = minute.zigzag / (floor + share * np.abs(middle))
    c["noise"] = _smooth(c["noise"], noise, dt, 600.0)
    known = (c["seen"] >= 30.0) & present & ~np.isnan(c["noise"])
    hour = np.full_like(s["hour"], minute.start // 3600.0)
    new = hour != s["hour"]
    over = (new & (s["hour_readings"] >= _HOUR_READINGS))[:, None] & np.isfinite(c["quietest"])
    s["hour"] = hour
    s["hour_readings"] = np.where(new, 0.0, s["hour_readings"]) + minute.count
    # In a busy hour plumes make noise of their own, but not in all of it.
    usual = np.maximum(c["noisiest"], 0.05)
    times = np.where(over, c["quietest"] / usual, 0.0)
    loud = over & learnt & (times >= _NOISY_TIMES) & (c["quietest"] >= _NOISY_LEAST)
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


def _covered(
    dt: Floats, c: Table, s: Table, middle: Floats, cleanest: Floats, signs: Signs
) -> None:
    """Fine particles below the cleanest air and dead still, and nothing else answers."""
    now = fine(middle)
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


def _blown(minute: Minute, dt: Floats, c: Table, s: Table, spike: Floats, signs: Signs) -> None:
    """Coarse dust and breath that jump and are gone at once."""
    n = len(_SPIKE)
    before, peak = spike[:, :n], spike[:, n:]
    idle = s["spike"] == 0.0
    before[idle] = c["middle"][:, _SPIKE][idle]
    high = minute.high[:, _SPIKE]
    peak[:] = np.where(idle[:, None], high, np.fmax(peak, high))
    rise = peak - before
    dust = rise[:, 0]
    coarse = ~(rise[:, 1] > _COARSE * dust)
    breath = rise[:, 2:4] >= _LEAST_BREATH
    spray = (rise[:, 4:] > _MOST_VOC).any(axis=1)
    # With fewer readings a minute nobody can say how long it lasted.
    fresh = idle & (dt <= 150.0) & (minute.count >= 3.0)
    begins = fresh & (dust >= _LEAST_DUST) & coarse & breath.any(axis=1)
    back = high <= before + 0.3 * rise
    gone = ~idle & back[:, 0] & (back[:, 2:4] | ~breath).all(axis=1)
    extreme = fresh & (dust >= _HELD_TO_IT) & coarse
    signs.shown[:, BLOWN] = (gone & ~spray) | extreme
    signs.channel[:, BLOWN] = CHANNEL_INDEX["pm10"]
    signs.span[:, BLOWN] = 60.0 * np.maximum(s["spike"], 1.0)
    signs.value[:, BLOWN] = np.where(extreme, peak[:, 0], np.nan)
    lasts = ~idle & ~gone & (s["spike"] < _SPIKE_MINUTES) & (dt <= 150.0)
    s["spike"] = np.where(begins, 1.0, np.where(lasts, s["spike"] + 1.0, 0.0))


def _smooth(state: Floats, new: Floats, dt: Floats, tau_s: float) -> Floats:
    """First-order smoothing; what is absent changes nothing, a first value is taken as it is."""
    share = 1.0 - np.exp(-np.maximum(dt, 1.0) / tau_s)
    share = share[:, None] if new.ndim == 2 else share
    moved = state + share * (new - state)
    return np.where(np.isnan(new), state, np.where(np.isnan(state), new, moved))
