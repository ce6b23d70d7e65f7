"""Sensirion's VOC Index algorithm, for many sensors.

The published original (`sensirion-gas-index-algorithm` 3.2, BSD-3-Clause, application note "VOC
Index for Experts") has to be compiled. Without it, `PortedAlgorithm` computes the same values, in
single precision like the original, but more slowly. A mean-variance estimator tracks the raw signal
over 12 h; the MOX model scales the distance to that mean; a sigmoid maps it to 0-500 around 100; an
adaptive low-pass smooths it. A test compares every sample with the original.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

try:  # from `requirements-sim.lock`
    from sensirion_gas_index_algorithm import sensirion_gas_index_algorithm_wrap as _wrap
    from sensirion_gas_index_algorithm.voc_algorithm import VocAlgorithm

    _PROCESS = _wrap.GasIndexAlgorithmParams.process
    _compiled = getattr(_wrap, "_sensirion_gas_index_algorithm_wrap", None)
    _PROCESS = getattr(_compiled, "GasIndexAlgorithmParams_process", _PROCESS)
except ImportError:  # pragma: no cover - depends on the installation
    VocAlgorithm = None

_F = np.float32

INITIAL_BLACKOUT_S: Final = 45
SRAW_MINIMUM: Final = 20_000
INDEX_GAIN: Final = _F(230)
STD_INITIAL: Final = _F(50)
STD_BONUS: Final = _F(220)
TAU_MEAN_H: Final = 12.0
TAU_INITIAL_MEAN_S: Final = 20.0
TAU_INITIAL_VARIANCE_S: Final = 2500.0
INIT_DURATION_MEAN_S: Final = _F(3600 * 0.75)
INIT_DURATION_VARIANCE_S: Final = _F(3600 * 1.45)
INIT_TRANSITION: Final = _F(0.01)
GATING_THRESHOLD: Final = _F(340)
GATING_THRESHOLD_INITIAL: Final = _F(510)
GATING_TRANSITION: Final = _F(0.09)
GATING_MAX_MINUTES: Final = _F(180)
GATING_MAX_RATIO: Final = _F(0.3)
SIGMOID_L: Final = _F(500)
SIGMOID_K: Final = _F(-0.0065)
SIGMOID_X0: Final = _F(213)
TAU_FAST_S: Final = _F(20)
TAU_SLOW_S: Final = _F(500)
LOWPASS_ALPHA: Final = _F(-0.2)
GAMMA_SCALING: Final = _F(64)
GAMMA_MEAN_SCALING: Final = _F(8)
UPTIME_LIMIT: Final = 32_766

_HOUR: Final = 1.0 / 3600.0
_GAMMA_MEAN: Final = _F(8 * 64 * _HOUR / (TAU_MEAN_H + _HOUR))
_GAMMA_VARIANCE: Final = _F(64 * _HOUR / (TAU_MEAN_H + _HOUR))
_GAMMA_INITIAL_MEAN: Final = _F(8 * 64 / (TAU_INITIAL_MEAN_S + 1))
_GAMMA_INITIAL_VARIANCE: Final = _F(64 / (TAU_INITIAL_VARIANCE_S + 1))
_ONE: Final = _F(1)
_MINUTE: Final = _F(1 / 60)
_A_FAST: Final = _ONE / (TAU_FAST_S + _ONE)
_A_SLOW: Final = _ONE / (TAU_SLOW_S + _ONE)


def _sigmoid(x: np.float32, middle: np.float32, slope: np.float32) -> np.float32:
    z = min(max(slope * (x - middle), _F(-50)), _F(50))
    return _ONE / (_ONE + _F(math.exp(z)))


class PortedAlgorithm:
    """State of the algorithm for one sensor that is sampled once a second."""

    def __init__(self) -> None:
        self._uptime = 0
        self._index = _F(0)
        self._mean = _F(0)
        self._offset = _F(0)
        self._std = STD_INITIAL
        self._is_learning = False
        self._uptime_gamma = 0
        self._uptime_gating = 0
        self._gated_minutes = _F(0)
        self._low: tuple[np.float32, np.float32, np.float32] | None = None

    def process(self, raw: int) -> int:
        """Return the VOC Index, 1-500, for a raw signal in ticks; 0 in the first 45 s."""
        if self._uptime <= INITIAL_BLACKOUT_S:
            self._uptime += 1
            return 0
        ticks = _F(min(max(raw - SRAW_MINIMUM, 1), 32_767))
        gas = (ticks - (self._mean + self._offset)) / (-(self._std + STD_BONUS)) * INDEX_GAIN
        # For the default offset of 100 the shift of the positive branch is (500 - 5*100)/4 = 0.
        self._index = max(self._smooth(SIGMOID_L * _sigmoid(gas, SIGMOID_X0, SIGMOID_K)), _F(0.5))
        self._learn(ticks)
        return int(self._index + _F(0.5))

    def _smooth(self, sample: np.float32) -> np.float32:
        fast, slow, low = self._low or (sample, sample, sample)
        fast = (_ONE - _A_FAST) * fast + _A_FAST * sample
        slow = (_ONE - _A_SLOW) * slow + _A_SLOW * sample
        mix = _F(math.exp(LOWPASS_ALPHA * abs(fast - slow)))
        a3 = _ONE / (_ONE + ((TAU_SLOW_S - TAU_FAST_S) * mix + TAU_FAST_S))
        low = (_ONE - a3) * low + a3 * sample
        self._low = fast, slow, low
        return low

    def _learn(self, ticks: np.float32) -> None:
        if not self._is_learning:
            self._is_learning, self._offset = True, ticks
            return
        if abs(self._mean) >= _F(100):
            self._offset += self._mean
            self._mean = _F(0)
        gamma_mean, gamma_variance = self._compute_gammas()
        delta = (ticks - self._offset - self._mean) / GAMMA_SCALING
        c = self._std + abs(delta)
        scaling = max(c / _F(1440), _ONE) ** 2
        self._std = np.sqrt(scaling * (GAMMA_SCALING - gamma_variance)) * np.sqrt(
            self._std * (self._std / (GAMMA_SCALING * scaling))
            + gamma_variance * delta / scaling * delta
        )
        self._mean += gamma_mean * delta / GAMMA_MEAN_SCALING

    def _compute_gammas(self) -> tuple[np.float32, np.float32]:
        self._uptime_gamma = min(self._uptime_gamma + 1, UPTIME_LIMIT)
        self._uptime_gating = min(self._uptime_gating + 1, UPTIME_LIMIT)
        start_mean, start_variance = (
            _sigmoid(_F(self._uptime_gamma), duration, INIT_TRANSITION)
            for duration in (INIT_DURATION_MEAN_S, INIT_DURATION_VARIANCE_S)
        )
        span = GATING_THRESHOLD_INITIAL - GATING_THRESHOLD
        gate_mean, gate_variance = (
            GATING_THRESHOLD + span * _sigmoid(_F(self._uptime_gating), duration, INIT_TRANSITION)
            for duration in (INIT_DURATION_MEAN_S, INIT_DURATION_VARIANCE_S)
        )
        open_mean = _sigmoid(self._index, gate_mean, GATING_TRANSITION)
        open_variance = _sigmoid(self._index, gate_variance, GATING_TRANSITION)
        gamma_mean = open_mean * (_GAMMA_MEAN + (_GAMMA_INITIAL_MEAN - _GAMMA_MEAN) * start_mean)
        gamma_variance = open_variance * (
            _GAMMA_VARIANCE
            + (_GAMMA_INITIAL_VARIANCE - _GAMMA_VARIANCE) * (start_variance - start_mean)
        )
        gated = (_ONE - open_mean) * (_ONE + GATING_MAX_RATIO) - GATING_MAX_RATIO
        self._gated_minutes = max(self._gated_minutes + _MINUTE * gated, _F(0))
        if self._gated_minutes > GATING_MAX_MINUTES:
            self._uptime_gating = 0
        return gamma_mean, gamma_variance


def _start_algorithm() -> Callable[[int], int]:
    if VocAlgorithm is None:
        return PortedAlgorithm().process
    # Bypass the package's wrappers, which cost more than the algorithm.
    return partial(_PROCESS, VocAlgorithm()._algorithm)  # noqa: SLF001


class VocIndex:
    """VOC Index of `n` sensors that are sampled once a second."""

    def __init__(self, n: int) -> None:
        self._sensors = [_start_algorithm() for _ in range(n)]

    def reset(self, sensor: int) -> None:
        """Reset `sensor`, as a power cut does."""
        self._sensors[sensor] = _start_algorithm()

    def process(self, raw: NDArray[np.integer]) -> NDArray[np.int32]:
        """Advance all sensors.

        - `raw` (n, time): raw signal in ticks, one column per second.
        - Returns (n, time): VOC Index 1-500; 0 in the first 45 s after a start.
        """
        out = np.empty(raw.shape, np.int32)
        for row, process, ticks in zip(out, self._sensors, raw.tolist(), strict=True):
            row[:] = [*map(process, ticks)]
        return out
