"""The channels the detector follows, and the baseline, noise and smoothed signal of each.

Readings reach the detector as a `ReadingBatch`. Their columns become one matrix of channels.

Baselines of particles and VOC fall faster than they rise. All baselines rise even more slowly
during an episode, so that a plume does not become its own baseline.

Nearly all readings fall outside episodes, so most of the detector's time is spent in `advance`.
State is stored channel by channel, one column per sensor, so each operation runs over contiguous
numbers of many sensors, in blocks that fit a core's cache. Each number is computed by the same
operations, no matter what else is in the block. Logarithms are taken only of contiguous arrays,
because for those numpy gives the same bits at any length. The state therefore doesn't depend on how
a stream is split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.quantities import COLUMN_INDEX, FINE_PARTICLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

# key, baseline time constants down and up (s)
_TABLE: Final = (
    ("pm1", 20.0, 900.0),
    ("pm25", 20.0, 900.0),
    ("pm10", 20.0, 900.0),
    ("n03", 20.0, 900.0),
    ("n05", 20.0, 900.0),
    ("n10", 20.0, 900.0),
    ("n25", 20.0, 900.0),
    ("fine", 20.0, 900.0),
    ("tvoc_ppb", 120.0, 900.0),
    ("tvoc_ugm3", 120.0, 900.0),
    ("voc_index", 120.0, 900.0),
    ("voc_raw", 120.0, 900.0),
    ("rh", 600.0, 600.0),
    ("temp", 900.0, 900.0),
    ("co2", 600.0, 600.0),
)

# key, minimum rise, minimum noise scale
_OPENERS: Final = (
    ("fine", 3.0, 0.3),
    ("tvoc_ppb", 80.0, 5.0),
    ("tvoc_ugm3", 200.0, 10.0),
    ("voc_index", 25.0, 1.0),
    ("voc_raw", 50.0, 5.0),
    ("rh", 3.0, 0.1),
)

CHANNELS: Final = tuple(key for key, _, _ in _TABLE)
"""Followed channels: quantity keys, and ``fine``, the fine-particle signal."""
CHANNEL_INDEX: Final = {key: i for i, key in enumerate(CHANNELS)}
FINE: Final = CHANNEL_INDEX["fine"]
OPENERS: Final = slice(FINE, FINE + len(_OPENERS))
"""Channels that open an episode when they rise, ``fine`` first. Only their noise is tracked."""
RISE: Final = np.array(
    [next((rise for opener, rise, _ in _OPENERS if opener == key), np.inf) for key in CHANNELS]
)
"""Minimum rise that opens an episode: of ``fine`` above its local level, of other channels above
their baselines. Infinite for a channel that never opens one."""
FLOOR: Final = np.array([floor for _, _, floor in _OPENERS])
"""Minimum noise scale of `OPENERS`, in their units."""
TAU_DOWN_S: Final = np.array([down for _, down, _ in _TABLE])
TAU_UP_S: Final = np.array([up for _, _, up in _TABLE])
VOC: Final = tuple(CHANNEL_INDEX[k] for k in ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"))

_SOURCE: Final = np.array([COLUMN_INDEX["pm25" if key == "fine" else key] for key in CHANNELS])
_RAW: Final = CHANNEL_INDEX["voc_raw"]
_INDEX: Final = CHANNEL_INDEX["voc_index"]
VOC_OFFSETS: Final = np.array([400.0, 800.0])
"""Amounts added to TVOC, in ppb and in µg/m³, before taking the logarithm."""
RAW_SPAN: Final = 870.0
"""Raw ticks per doubling."""
_MIN_INDEX: Final = 1.5
"""A sensor with a lower VOC index is still starting up (0 for 45 s, then 1 while it learns)."""
_INDEX_TOP: Final = 505.0
"""Slightly above the end of the scale, so that the logarithm is finite at the end."""
_DOUBLINGS_PER_LOGIT: Final = 0.27
"""The index is a sigmoid with a slope of 0.0065 per unit of the normalized raw signal (Sensirion
gas index algorithm). A unit is (sd + 220) / 230 ticks, which is 1.5 at the usual sd. A doubling is
870 ticks."""
_STAND_INS: Final = tuple(COLUMN_INDEX[k] for k in FINE_PARTICLES[1:-1])
FOLLOWED: Final = np.unique([*_SOURCE, *_STAND_INS])
"""Columns of `detection.quantities.COLUMNS` that the plume detector uses."""
FOLLOWED_KEYS: Final = frozenset(key for key, column in COLUMN_INDEX.items() if column in FOLLOWED)
_N03: Final = COLUMN_INDEX[FINE_PARTICLES[-1]]


MASS_OF_N03: Final = 0.03
"""µg/m³ per particle/cm³, for unit-density spheres of 0.4 µm diameter."""


def measure_fine(values: Mapping[str, float]) -> float | None:
    """Return the fine particles of a reading in µg/m³; None if it has none."""
    for key in FINE_PARTICLES:
        if (value := values.get(key)) is not None:
            return value * MASS_OF_N03 if key == "n03" else value
    return None


def select_channels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the followed channels of each reading.

    Returns
    -------
    ndarray of float64, shape (n, len(CHANNELS)), in Fortran order
        NaN where absent, and for a VOC index that is still starting up. The raw VOC signal is
        negated, so that every VOC channel rises with concentration. ``fine`` is PM2.5, or the
        closest quantity that the sensor measures.
    """
    x: NDArray[np.float64] = values.T.take(_SOURCE, axis=0)
    np.negative(x[_RAW], out=x[_RAW])
    index = x[_INDEX]
    starting = index < _MIN_INDEX
    if np.count_nonzero(starting):
        index[starting] = np.nan
    fine = x[FINE]
    absent = np.isnan(fine)
    if np.count_nonzero(absent):
        for column in _STAND_INS:
            np.putmask(fine, absent, values[:, column])
            np.isnan(fine, out=absent)
        np.putmask(fine, absent, MASS_OF_N03 * values[:, _N03])
    return x.T


def invert_index(index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert a VOC index to doublings of concentration by inverting its sigmoid.

    A rise near the end of the scale then counts as much as a rise in the middle.
    """
    within = np.minimum(np.maximum(index, 1.0), _INDEX_TOP - 5.0)
    doublings: NDArray[np.float64] = np.log(within / (_INDEX_TOP - within))
    doublings *= _DOUBLINGS_PER_LOGIT
    return doublings


def measure_voc_rise(
    x: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rise of VOC over a reference, on one scale for all kinds of VOC sensors.

    The raw signal of a metal-oxide sensor changes by 870 ticks each time C + C0 doubles, where C is
    the concentration and C0 is 0.2-1 ppm ethanol-equivalent (Sensirion SGP40 data sheet). Other
    outputs are converted to this scale only for scoring. The scale is never reported.

    Returns
    -------
    strength : ndarray of float64, shape (n,)
        Doublings of C + C0; NaN without a VOC channel.
    kind : ndarray of float64, shape (n,)
        Which channel was used, 1 to 4 in the order of `VOC`; 0 for none.
    """
    ppb, ugm3, index, raw = VOC
    doublings = np.log2(
        (x[:, ppb : ugm3 + 1] + VOC_OFFSETS) / (reference[:, ppb : ugm3 + 1] + VOC_OFFSETS)
    )
    now, then = invert_index(np.array([x[:, index], reference[:, index]]))
    strength = now - then
    kind = np.where(np.isnan(strength), 0.0, 3.0)
    ticks = (x[:, raw] - reference[:, raw]) / RAW_SPAN
    for code, found in ((2.0, doublings[:, 1]), (1.0, doublings[:, 0]), (4.0, ticks)):
        known = ~np.isnan(found)
        np.putmask(strength, known, found)
        np.putmask(kind, known, code)
    return strength, kind


BANK: Final = ("fine", "pm1", "pm10", "voc", "rh", "temp", "co2")
"""Signals smoothed with several time constants. Particles are logarithms and VOC is in doublings,
so that a difference means the same at any level. Humidity, temperature and CO2 are as measured."""
BANK_TAU_S: Final = np.array([4.0, 12.0, 40.0, 120.0, 400.0])


_BANK_MASSES: Final = np.array([FINE, CHANNEL_INDEX["pm1"], CHANNEL_INDEX["pm10"]])


def compute_bank_signals(x: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the signals of the filter bank.

    Parameters
    ----------
    known : ndarray of bool, shape (len(CHANNELS), n)
        Where `x` is not NaN.

    Returns
    -------
    ndarray of float64, shape (len(BANK), n)
        NaN where absent.
    """
    out = np.empty((len(BANK), x.shape[1]))
    masses = np.maximum(x.take(_BANK_MASSES, axis=0), 0.0)
    masses += 1.0
    np.log(masses, out=out[:3])
    ppb, ugm3, index, raw = VOC
    voc = out[3]
    voc[:] = invert_index(x[index])
    doublings = np.log2(x[ppb : ugm3 + 1] + VOC_OFFSETS[:, None])
    np.putmask(voc, known[ugm3], doublings[1])
    np.putmask(voc, known[ppb], doublings[0])
    np.putmask(voc, known[raw], x[raw] / RAW_SPAN)
    out[4:] = x[CHANNEL_INDEX["rh"] : CHANNEL_INDEX["co2"] + 1]
    return out


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """Readings of many sensors, one row each.

    Attributes
    ----------
    sensor : ndarray of int32, shape (n,)
        Row of the sensor, from `Detector.assign_row`.
    time : ndarray of float64, shape (n,)
        Event time in Unix seconds.
    values : ndarray of float64, shape (n, len(COLUMNS))
        Values in the order of `detection.quantities.COLUMNS`; NaN where absent.
    received : ndarray of float64, shape (n,), optional
        Receive times in Unix seconds; the event times by default.
    """

    sensor: NDArray[np.int32]
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    received: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Return the number of readings."""
        return int(self.sensor.shape[0])


K: Final = len(CHANNELS)
BLOCK: Final = 1024
"""Maximum number of readings processed together, so that their state fits a core's cache."""
WARM_UP_S: Final = 20.0
"""A sensor is not scored before it has reported for this long."""
MIN_S: Final = 0.001
NOISE_GAIN: Final = 0.02
HELD: Final = 6.0
"""Factor by which baselines rise more slowly during an episode."""
LOCAL_TAU_S: Final = np.array([[45.0], [2.0]])
"""Time constants of the local level: rising, then falling."""

_PULSE_UG_M3: Final = float(RISE[FINE])
_PAIRS: Final = sorted(
    {(tau, tau) for tau in TAU_DOWN_S.tolist()} | {(tau, HELD * tau) for tau in TAU_UP_S.tolist()}
)
"""Distinct pairs of baseline time constants: the usual one, and the one during an episode."""
_USUAL_TAU_S: Final = np.array([[usual] for usual, _ in _PAIRS])
_HELD_TAU_S: Final = np.array([[held] for _, held in _PAIRS])
_UP: Final = np.array([*(_PAIRS.index((tau, HELD * tau)) for tau in TAU_UP_S), len(_PAIRS)])
_DOWN: Final = np.array([*(_PAIRS.index((tau, tau)) for tau in TAU_DOWN_S), len(_PAIRS) + 1])
"""Row of `gain` to use when a level rises (`_UP`) or falls (`_DOWN`): one entry for each baseline,
then one for the local level."""
_FLOOR: Final = FLOOR[:, None]
_OTHERS: Final = slice(OPENERS.start + 1, OPENERS.stop)
"""The channels of `OPENERS` except the fine signal."""
_RISE: Final = RISE[_OTHERS, None]
_BANK_TAU_S: Final = BANK_TAU_S[:, None]
_IN_PLACE: Final = 24
"""With at least this many neighboring sensors, updating in place is cheaper than a copy."""


_NONE: Final = np.zeros(0, np.intp)


@dataclass(slots=True)
class Baselines:
    """State of `n` sensors between readings; every other field is a view of `block`.

    Attributes
    ----------
    block : ndarray of float64, shape (WIDTH, n)
    levels : shape (K + 1, n)
        Baselines of all channels, then the local level. All follow the same rule.
    local : shape (n,)
        Local level of the fine signal: it falls within seconds and rises within 45 s.
    last : shape (K, n)
        Last value of every channel.
    noise : shape (len(FLOOR), n)
        Mean absolute step of `OPENERS` outside episodes, at least `FLOOR`.
    time, first : shape (n,)
        Event time of the last reading, and the time from which the sensor's age counts, Unix
        seconds.
    particle_time : shape (n,)
        Event time of the last reading with particles; NaN before the first.
    interval, count : shape (n,)
        Smoothed reporting interval in seconds, and number of readings since the last restart. Once
        a sensor has sent particles, only readings with particles count.
    smoothed : shape (len(BANK), len(BANK_TAU_S), n)
        Signals of the filter bank for each time constant.
    """

    block: Floats
    levels: Floats
    baseline: Floats
    local: Floats
    last: Floats
    noise: Floats
    smoothed: Floats
    time: Floats
    first: Floats
    particle_time: Floats
    interval: Floats
    count: Floats

    @classmethod
    def from_block(cls, block: Floats) -> Baselines:
        """Return the state stored in a block."""
        start = 2 * K + 1
        after = start + len(FLOOR)
        levels, last, noise = block[: K + 1], block[K + 1 : start], block[start:after]
        singles = block[after : after + 5]
        smoothed = block[after + 5 :].reshape(len(BANK), BANK_TAU_S.size, block.shape[1])
        return cls(block, levels, levels[:K], levels[K], last, noise, smoothed, *singles)


WIDTH: Final = 2 * K + 1 + len(FLOOR) + 5 + len(BANK) * BANK_TAU_S.size
"""Numbers stored for each sensor."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a reading changed for each sensor in an episode, and the state before it.

    Attributes
    ----------
    reading : ndarray of intp, shape (n,)
        Position among the readings.
    opens, has_pulse : ndarray of bool, shape (n,)
        Whether an episode opens, and whether fine particles rise.
    fine_noise, local : ndarray of float64, shape (n,)
        Noise scale and local level of the fine signal before the reading.
    baseline, last : ndarray of float64, shape (n, len(CHANNELS))
        Baselines and last values before the reading.
    over : ndarray of float64, shape (n, len(BANK) * len(BANK_TAU_S))
        Each signal of the filter bank minus its smoothed past.
    """

    reading: NDArray[np.intp]
    opens: Flags
    has_pulse: Flags
    fine_noise: Floats
    local: Floats
    baseline: Floats
    last: Floats
    over: Floats

    @classmethod
    def join(cls, parts: Sequence[Change]) -> Change:
        """Concatenate changes."""
        if len(parts) == 1:
            return parts[0]
        names = [entry.name for entry in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Scratch:
    """Buffers for the intermediate results of one block."""

    known: Flags
    excess: Floats
    rising: Floats
    spare: Floats
    gain: Floats
    over: Floats


class ScratchPool:
    """One allocation, sliced for blocks of any number of sensors.

    Allocating in every step would cost as much as the arithmetic, because buffers of this size go
    back to the operating system when freed and have to be mapped again.
    """

    _SHAPES: Final = (
        (K + 1,),
        (K + 1,),
        (K + 1,),
        (len(_PAIRS) + 2,),
        (len(BANK), BANK_TAU_S.size),
    )

    def __init__(self) -> None:
        self._numbers = np.empty(sum(math.prod(s) for s in self._SHAPES) * BLOCK)
        self._flags = np.empty(K * BLOCK, np.bool_)
        self._cut: dict[int, Scratch] = {}

    def cut(self, n: int) -> Scratch:
        """Return scratch memory for `n` sensors, at most `BLOCK`."""
        scratch = self._cut.get(n)
        if scratch is None:
            if len(self._cut) == BLOCK // 8:
                self._cut.clear()
            parts, start = [], 0
            for shape in self._SHAPES:
                size = math.prod(shape) * n
                parts.append(self._numbers[start : start + size].reshape(*shape, n))
                start += size
            known = self._flags[: K * n].reshape(K, n)
            scratch = self._cut[n] = Scratch(known, *parts)
        return scratch


class BaselineTracker:
    """Tracks the baselines of all sensors, one row per sensor.

    Parameters
    ----------
    block : ndarray of float64, shape (WIDTH, n), optional
        State to continue from.
    """

    def __init__(self, block: Floats | None = None) -> None:
        self.state = Baselines.from_block(np.full((WIDTH, 16), np.nan) if block is None else block)
        self._scratch = ScratchPool()

    def reserve(self, n: int) -> None:
        """Make room for `n` sensors."""
        have = self.state.block.shape[1]
        if n > have:
            block = np.full((WIDTH, max(n, 2 * have)), np.nan)
            block[:, :have] = self.state.block
            self.state = Baselines.from_block(block)

    def restart(self, rows: NDArray[np.integer], time: Floats) -> None:
        """Reset sensors to the state before their first reading."""
        state = self.state
        state.block[:, rows] = np.nan
        state.noise[:, rows] = 2.0 * _FLOOR
        state.first[rows] = time
        state.count[rows] = 0.0
        state.interval[rows] = 0.0

    def resume(self, rows: NDArray[np.integer], time: Floats) -> None:
        """Continue from the levels before a gap, and let the next readings change them quickly."""
        state = self.state
        state.first[rows] = time - WARM_UP_S
        state.last[:, rows] = state.smoothed[..., rows] = np.nan
        state.local[rows] = state.baseline[FINE, rows]

    def compute_dt(self, rows: NDArray[np.integer], time: Floats, absent: Flags) -> Floats:
        """Return the seconds since each sensor's last reading; NaN before the first.

        A reading with particles is compared with the last one that had particles, so readings
        without them (`absent`) can't make it look old.
        """
        dt: Floats = time - self.state.particle_time[rows]
        since = time - self.state.time[rows]
        return np.where(absent, since, np.where(np.isnan(dt), np.maximum(since, MIN_S), dt))

    def advance(
        self,
        rows: NDArray[np.integer],
        in_episode: Flags,
        time: Floats,
        dt: Floats,
        x: Floats,
        absent: NDArray[np.intp] = _NONE,
    ) -> Change | None:
        """Advance sensors by one reading each.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Rows of the sensors, distinct and ascending.
        in_episode, time, dt, x : ndarray, shape (n,), (n,), (n,), (n, len(CHANNELS))
            As in the function `advance`, with one row per sensor.
        absent : ndarray of int
            Positions of the readings without particles.

        Returns
        -------
        Change or None
            Changes of the sensors in an episode; None if there are none.
        """
        if absent.size:
            state, others = self.state, rows[absent]
            before = state.particle_time[others]
            partial = others[~np.isnan(before)]
            interval, count = state.interval[partial], state.count[partial]
            change = self.advance(rows, in_episode, time, dt, x)
            state.particle_time[others] = before
            state.interval[partial], state.count[partial] = interval, count
            return change
        changes: list[Change] = []
        for start in range(0, rows.size, BLOCK):
            part = slice(start, start + BLOCK)
            change = self._advance_block(
                rows[part], in_episode[part], time[part], dt[part], x[part]
            )
            if change is not None:
                change.reading[:] += start
                changes.append(change)
        return Change.join(changes) if changes else None

    def _advance_block(
        self, rows: NDArray[np.integer], in_episode: Flags, time: Floats, dt: Floats, x: Floats
    ) -> Change | None:
        first, n, block = int(rows[0]), rows.size, self.state.block
        if n >= _IN_PLACE and int(rows[-1]) - first + 1 == n:
            here = Baselines.from_block(block[:, first : first + n])
            return advance(here, in_episode, time, dt, x.T, self._scratch.cut(n))
        columns = block.take(rows, axis=1)
        here = Baselines.from_block(columns)
        change = advance(here, in_episode, time, dt, x.T, self._scratch.cut(n))
        # Use one flat index per number: row and column indexes take numpy three times as long.
        place = np.arange(0, block.size, block.shape[1])[:, None] + rows
        block.reshape(-1)[place] = columns
        return change


def advance(
    state: Baselines, in_episode: Flags, time: Floats, dt: Floats, x: Floats, scratch: Scratch
) -> Change | None:
    """Advance the baselines of distinct sensors by one reading each, in place.

    Parameters
    ----------
    in_episode : ndarray of bool, shape (n,)
        Sensors in an episode; their baselines rise more slowly.
    time, dt : ndarray of float64, shape (n,)
        Event time, and seconds since the last reading; 0 for a first reading or after a gap.
    x : ndarray of float64, shape (len(CHANNELS), n)
    scratch : Scratch
        Buffers for `n` sensors.

    Returns
    -------
    Change or None
        Changes of the sensors that are in an episode or open one; None if there are none.
    """
    known = np.equal(x, x, out=scratch.known)
    excess = scratch.excess
    np.subtract(x, state.baseline, out=excess[:K])
    np.subtract(x[FINE], state.local, out=excess[K])
    if np.count_nonzero(np.isnan(excess[:K])) + np.count_nonzero(known) != known.size:
        _take_first_values(state, x, known, excess)
    age = time - state.first
    fine_noise = np.maximum(state.noise[0], 0.02 * state.baseline[FINE])
    has_pulse = excess[K] > np.maximum(5.0 * fine_noise, _PULSE_UG_M3)
    clear = excess[_OTHERS] > np.maximum(6.0 * state.noise[1:], _RISE)
    opens = np.logical_or.reduce(clear, axis=0)
    opens |= has_pulse
    busy = in_episode
    if np.count_nonzero(opens):
        opens &= ~in_episode
        opens &= age >= WARM_UP_S
        busy = in_episode | opens
    held = busy.nonzero()[0]
    levels = state.levels.take(held, axis=1)
    last = state.last.take(held, axis=1)
    _move_levels(state, age, dt, held, scratch)
    _move_noise(state, x, held, scratch)
    np.copyto(state.last, x, where=known)
    signal = compute_bank_signals(x, known)
    over = np.subtract(signal[:, None, :], state.smoothed, out=scratch.over)
    change = None
    if held.size:
        change = Change(
            held,
            opens[held],
            has_pulse[held],
            fine_noise[held],
            levels[K],
            levels[:K].T,
            last.T,
            over.take(held, axis=2).reshape(-1, held.size).T,
        )
    _smooth(signal, over, dt, state.smoothed)
    interval, count = state.interval, state.count
    interval += (dt - interval) * np.maximum(2.0 - count, 0.2)
    state.time[:] = time
    state.particle_time[:] = time
    count += 1.0
    return change


def _take_first_values(state: Baselines, x: Floats, known: Flags, excess: Floats) -> None:
    """Start the baseline of a channel at its first value, in place."""
    new = np.isnan(state.baseline) & known
    state.baseline[new] = x[new]
    excess[:K][new] = 0.0
    state.local[new[FINE]] = x[FINE, new[FINE]]
    excess[K, new[FINE]] = 0.0


def _move_levels(
    state: Baselines, age: Floats, dt: Floats, held: NDArray[np.intp], scratch: Scratch
) -> None:
    """Move baselines and local levels toward the reading, in place; overwrite the excess."""
    excess, rising, gain = scratch.excess, scratch.rising, scratch.gain
    np.minimum(_USUAL_TAU_S, age + state.interval + 1.0, out=gain[:-2])
    if held.size:
        gain[:-2, held] = _HELD_TAU_S
    gain[-2:] = LOCAL_TAU_S
    gain += dt
    np.divide(dt, gain, out=gain)
    # fmax and fmin of 0 and NaN are 0, so the level of an absent channel does not move.
    np.fmax(excess, 0.0, out=rising)
    rising *= gain.take(_UP, axis=0, out=scratch.spare, mode="clip")
    np.fmin(excess, 0.0, out=excess)
    excess *= gain.take(_DOWN, axis=0, out=scratch.spare, mode="clip")
    rising += excess
    levels = state.levels
    levels += rising


def _move_noise(state: Baselines, x: Floats, held: NDArray[np.intp], scratch: Scratch) -> None:
    """Update the noise scales in place, except those of the `held` sensors."""
    noise = state.noise
    step, limit = scratch.excess[: len(FLOOR)], scratch.spare[: len(FLOOR)]
    np.subtract(x[OPENERS], state.last[OPENERS], out=step)
    np.abs(step, out=step)
    np.multiply(noise, 4.0, out=limit)
    np.minimum(step, limit, out=step)
    step -= noise
    gain = np.maximum(1.0 / (state.count + 2.0), NOISE_GAIN)
    if held.size:
        gain[held] = 0.0
    step *= gain
    np.putmask(step, np.isnan(step), 0.0)
    noise += step
    np.maximum(noise, _FLOOR, out=noise)


def _smooth(signal: Floats, over: Floats, dt: Floats, smoothed: Floats) -> None:
    """Update the filter bank in place; overwrite `over`."""
    unknown = np.isnan(over)
    missing = np.isnan(signal)
    if np.count_nonzero(unknown) != BANK_TAU_S.size * np.count_nonzero(missing):
        new = np.isnan(smoothed[:, :1]) & ~missing[:, None, :]
        np.copyto(smoothed, signal[:, None, :], where=new)
    over *= dt / (_BANK_TAU_S + dt)
    np.putmask(over, unknown, 0.0)
    smoothed += over
