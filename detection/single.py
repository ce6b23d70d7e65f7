"""The arithmetic of `detection.motion` for one sensor, in plain numbers.

For one reading an operation of numpy costs ten of Python's own. Each number here is made by the
same operations in the same order as there, and logarithms by numpy, so that both leave the same
bits: a test steps the same readings by both.
"""

from __future__ import annotations

from math import isnan, nan
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.channels import (
    BANK,
    BANK_TAU_S,
    CHANNEL_INDEX,
    FINE,
    FLOOR,
    OPENERS,
    RAW_SPAN,
    RISE,
    TAU_DOWN_S,
    TAU_UP_S,
    VOC,
    VOC_OFFSETS,
    doublings_of_index,
)
from detection.motion import (
    HELD,
    LOCAL_PACE_S,
    NOISE_GAIN,
    WARM_UP_S,
    Motion,
    Q,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UP, _DOWN = TAU_UP_S.tolist(), TAU_DOWN_S.tolist()
_LOCAL_UP, _LOCAL_DOWN = LOCAL_PACE_S.ravel().tolist()
_RISE, _FLOOR, _TAU_S = RISE.tolist(), FLOOR.tolist(), BANK_TAU_S.tolist()
_TAUS: Final = len(_TAU_S)
_NOISE, _LAST, _SMOOTHED = Q.NOISE.start, Q.LAST.start, Q.SMOOTHED.start
_MASSES: Final = tuple((BANK.index(k), CHANNEL_INDEX[k]) for k in ("fine", "pm1", "pm10"))
_PLAIN: Final = tuple((BANK.index(k), CHANNEL_INDEX[k]) for k in ("rh", "temp", "co2"))
_VOC: Final = BANK.index("voc")
_PPB, _UGM3, _INDEX, _RAW = VOC
_PPB_OFFSET, _UGM3_OFFSET = VOC_OFFSETS.tolist()


def advance_one(
    quiet: NDArray[np.float64],
    running: np.bool_,
    time: float,
    dt: float,
    x: NDArray[np.float64],
) -> Motion | None:
    """Move the quiet state of one sensor on by one reading, in place.

    Parameters
    ----------
    running, time, dt : bool, float, float
        As for `detection.motion.advance`, of one sensor.

    Returns
    -------
    Motion or None
        None unless the sensor is in an episode or opens one.
    """
    q: list[float] = quiet.tolist()
    values: dict[int, float] = {k: v for k, v in enumerate(x.tolist()) if not isnan(v)}
    excess: dict[int, float] = {}
    for k, value in values.items():
        if isnan(q[k]):
            q[k] = value
            if k == FINE:
                q[Q.LOCAL] = value
        excess[k] = value - q[k]
    age = time - q[Q.FIRST]
    rise = values.get(FINE, nan) - q[Q.LOCAL]
    fine_noise = max(0.02 * q[FINE], q[_NOISE])  # in this order unknown stays unknown
    pulse = rise > _RISE[FINE] and rise > 5.0 * fine_noise
    opening = (pulse or _clear(q, excess)) and not running and age >= WARM_UP_S
    signals = _signals(values)
    moved = None
    if running or opening:
        moved = _motion(q, signals, fine_noise, opening=opening, pulse=pulse)
        for k, over in excess.items():
            pace = HELD * _UP[k] if over > 0.0 else _DOWN[k]
            q[k] += over * (dt / (pace + dt))
    else:
        cap = age + q[Q.INTERVAL] + 1.0
        for k, over in excess.items():
            pace = min(_UP[k] if over > 0.0 else _DOWN[k], cap)
            q[k] += over * (dt / (pace + dt))
        _move_noise(q, values)
    if FINE in values:
        q[Q.LOCAL] += rise * (dt / ((_LOCAL_UP if rise > 0.0 else _LOCAL_DOWN) + dt))
    _smooth(q, signals, dt)
    for k, value in values.items():
        q[_LAST + k] = value
    q[Q.INTERVAL] += (dt - q[Q.INTERVAL]) * max(2.0 - q[Q.COUNT], 0.2)
    q[Q.TIME] = time
    q[Q.COUNT] += 1.0
    quiet[:] = q
    return moved


def _clear(q: list[float], excess: dict[int, float]) -> bool:
    """Whether a channel other than the fine signal has risen clearly."""
    for k in range(FINE + 1, OPENERS.stop):
        over = excess.get(k, 0.0)
        if over > _RISE[k] and over > 6.0 * q[_NOISE + k - FINE]:
            return True
    return False


def _signals(values: dict[int, float]) -> dict[int, float]:
    """Signals of the filter bank that are known, by their place in it."""
    signals = {place: values[k] for place, k in _PLAIN if k in values}
    masses = [(place, max(values[k], 0.0) + 1.0) for place, k in _MASSES if k in values]
    if masses:
        logs = np.log([mass for _, mass in masses]).tolist()
        signals.update((place, log) for (place, _), log in zip(masses, logs, strict=True))
    if _RAW in values:
        signals[_VOC] = values[_RAW] / RAW_SPAN
    elif _PPB in values:
        signals[_VOC] = float(np.log2(values[_PPB] + _PPB_OFFSET))
    elif _UGM3 in values:
        signals[_VOC] = float(np.log2(values[_UGM3] + _UGM3_OFFSET))
    elif _INDEX in values:
        signals[_VOC] = float(doublings_of_index(np.array([values[_INDEX]]))[0])
    return signals


def _motion(
    q: list[float], signals: dict[int, float], fine_noise: float, *, opening: bool, pulse: bool
) -> Motion:
    over = np.full((1, _TAUS * len(BANK)), nan)
    for place, now in signals.items():
        part = slice(_TAUS * place, _TAUS * (place + 1))
        over[0, part] = now - np.array(q[Q.SMOOTHED][part])
    return Motion(
        np.zeros(1, np.intp),
        np.array([opening]),
        np.array([pulse]),
        np.array([fine_noise]),
        np.array([q[Q.LOCAL]]),
        np.array([q[Q.BASE]]),
        np.array([q[Q.LAST]]),
        over,
    )


def _move_noise(q: list[float], values: dict[int, float]) -> None:
    """Move the noise scales on, in place."""
    gain = max(1.0 / (q[Q.COUNT] + 2.0), NOISE_GAIN)
    for at, k in enumerate(range(FINE, OPENERS.stop), _NOISE):
        if k in values and not isnan(q[_LAST + k]):
            step = min(abs(values[k] - q[_LAST + k]), 4.0 * q[at])
            q[at] = max(q[at] + (step - q[at]) * gain, _FLOOR[at - _NOISE])


def _smooth(q: list[float], signals: dict[int, float], dt: float) -> None:
    """Move the filter bank on, in place."""
    shares = [dt / (tau + dt) for tau in _TAU_S]
    for place, now in signals.items():
        at = _SMOOTHED + _TAUS * place
        if isnan(q[at]):
            q[at : at + _TAUS] = [now] * _TAUS
            continue
        for share in shares:
            q[at] += (now - q[at]) * share
            at += 1
