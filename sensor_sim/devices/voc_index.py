"""Sensirion's VOC Index algorithm for many sensors at once.

This is a numpy port of the published algorithm (`sensirion-gas-index-algorithm` 3.2, BSD-3-Clause,
application note "VOC Index for Experts"), in single precision like the original, with one state
column per sensor. A mean-variance estimator tracks the raw signal over 12 h; the MOX model scales
the distance to that mean; a sigmoid maps it to 0-500 around 100; an adaptive low-pass smooths it. A
test compares every sample with the original.

The port loops over time, not over sensors, so it costs about the same for one sensor as for three
hundred. With fewer sensors, the compiled original is faster; `VocIndex` chooses by their number.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

try:  # from `requirements-sim.lock`; without it, the port below does all the work
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
UPTIME_LIMIT: Final = _F(32_766)

_FEW: Final = 300
"""Up to this many sensors, the compiled original is faster than the loop over time."""

_HOUR: Final = 1.0 / 3600.0
_GAMMA_MEAN: Final = _F(8 * 64 * _HOUR / (TAU_MEAN_H + _HOUR))
_GAMMA_VARIANCE: Final = _F(64 * _HOUR / (TAU_MEAN_H + _HOUR))
_GAMMA_INITIAL_MEAN: Final = _F(8 * 64 / (TAU_INITIAL_MEAN_S + 1))
_GAMMA_INITIAL_VARIANCE: Final = _F(64 / (TAU_INITIAL_VARIANCE_S + 1))
_ONE: Final = _F(1)
_MINUTE: Final = _F(1 / 60)
_A_FAST: Final = _ONE / (TAU_FAST_S + _ONE)
_A_SLOW: Final = _ONE / (TAU_SLOW_S + _ONE)


def _exp(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the exponential, rounded to single precision exactly as by the C library."""
    return np.exp(x.astype(np.float64)).astype(np.float32)


def _sigmoid(
    x: NDArray[np.float32], middle: NDArray[np.float32] | np.float32, slope: np.float32
) -> NDArray[np.float32]:
    z = np.clip(slope * (x - middle), _F(-50), _F(50))
    return _ONE / (_ONE + _exp(z))


class VocIndexPort:
    """State of the algorithm for `n` sensors that are sampled once a second."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._uptime = np.zeros(n, np.int32)
        self._index = np.zeros(n, np.float32)
        self._mean = np.zeros(n, np.float32)
        self._offset = np.zeros(n, np.float32)
        self._std = np.full(n, STD_INITIAL)
        self._learning = np.zeros(n, bool)
        self._uptime_gamma = np.zeros(n, np.float32)
        self._uptime_gating = np.zeros(n, np.float32)
        self._gated_minutes = np.zeros(n, np.float32)
        self._low = np.zeros((3, n), np.float32)
        self._low_started = np.zeros(n, bool)

    def reset(self, sensor: int) -> None:
        """Reset `sensor` (column number), as a power cut does."""
        fresh = VocIndexPort(1)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                value[..., sensor] = getattr(fresh, name)[..., 0]

    def process(self, raw: NDArray[np.integer]) -> NDArray[np.int32]:
        """Advance all sensors.

        - `raw` (n, time): raw signal in ticks, one column per second; 0, or 65,000 and more, means
          "no signal".
        - Returns (n, time): VOC Index 1-500; 0 in the first 45 s after a start.
        """
        out = np.empty(raw.shape, np.int32)
        for j in range(raw.shape[1]):
            out[:, j] = self._step(raw[:, j])
        return out

    def _step(self, raw: NDArray[np.integer]) -> NDArray[np.int32]:
        black = self._uptime <= INITIAL_BLACKOUT_S
        if black.any():
            # Rare case: split the sensors, so that the common path needs no masks.
            self._uptime[black] += 1
            on = np.flatnonzero(~black)
            if on.size:
                part = self._take(on)
                part._advance(raw[on])  # noqa: SLF001 - the same class
                self._put(on, part)
        else:
            self._advance(raw)
        return (self._index + _F(0.5)).astype(np.int32)

    def _take(self, which: NDArray[np.intp]) -> VocIndexPort:
        part = VocIndexPort(0)
        for name, value in vars(self).items():
            setattr(part, name, value[..., which] if isinstance(value, np.ndarray) else which.size)
        return part

    def _put(self, which: NDArray[np.intp], part: VocIndexPort) -> None:
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                value[..., which] = getattr(part, name)

    def _advance(self, raw: NDArray[np.integer]) -> None:
        ticks = (np.clip(raw, SRAW_MINIMUM + 1, SRAW_MINIMUM + 32_767) - SRAW_MINIMUM).astype(
            np.float32
        )
        gas = (ticks - (self._mean + self._offset)) / (-(self._std + STD_BONUS)) * INDEX_GAIN
        shape = _ONE / (_ONE + _exp(np.clip(SIGMOID_K * (gas - SIGMOID_X0), _F(-50), _F(50))))
        # For the default offset of 100 the shift of the positive branch is (500 - 5*100)/4 = 0.
        self._lowpass(SIGMOID_L * shape)
        self._index[:] = np.maximum(self._low[2], _F(0.5))
        self._learn(ticks)

    def _lowpass(self, sample: NDArray[np.float32]) -> None:
        low = self._low
        if not self._low_started.all():
            low[:, ~self._low_started] = sample[~self._low_started]
            self._low_started[:] = True
        low[0] = (_ONE - _A_FAST) * low[0] + _A_FAST * sample
        low[1] = (_ONE - _A_SLOW) * low[1] + _A_SLOW * sample
        mix = _exp(LOWPASS_ALPHA * np.abs(low[0] - low[1]))
        a3 = _ONE / (_ONE + ((TAU_SLOW_S - TAU_FAST_S) * mix + TAU_FAST_S))
        low[2] = (_ONE - a3) * low[2] + a3 * sample

    def _learn(self, ticks: NDArray[np.float32]) -> None:
        first = ~self._learning
        jumped = np.abs(self._mean) >= _F(100)
        if jumped.any():
            self._offset[jumped] += self._mean[jumped]
            self._mean[jumped] = 0
        old = None
        if first.any():
            self._offset[first] = ticks[first]
            self._mean[first] = 0
            self._learning[:] = True
            old = (first, [v[first].copy() for v in self._slow()])
        gamma_mean, gamma_variance = self._gamma()
        delta = (ticks - self._offset - self._mean) / GAMMA_SCALING
        c = self._std + np.abs(delta)
        scaling = np.maximum(c / _F(1440), _ONE) ** 2
        self._std[:] = np.sqrt(scaling * (GAMMA_SCALING - gamma_variance)) * np.sqrt(
            self._std * (self._std / (GAMMA_SCALING * scaling))
            + gamma_variance * delta / scaling * delta
        )
        self._mean[:] = self._mean + gamma_mean * delta / GAMMA_MEAN_SCALING
        if old is not None:  # the first sample only sets the offset
            for value, kept in zip(self._slow(), old[1], strict=True):
                value[old[0]] = kept

    def _slow(self) -> tuple[NDArray[np.float32], ...]:
        return (
            self._mean,
            self._std,
            self._uptime_gamma,
            self._uptime_gating,
            self._gated_minutes,
        )

    def _gamma(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._uptime_gamma += self._uptime_gamma < UPTIME_LIMIT
        self._uptime_gating += self._uptime_gating < UPTIME_LIMIT
        start_mean = _sigmoid(self._uptime_gamma, INIT_DURATION_MEAN_S, INIT_TRANSITION)
        start_variance = _sigmoid(self._uptime_gamma, INIT_DURATION_VARIANCE_S, INIT_TRANSITION)
        span = GATING_THRESHOLD_INITIAL - GATING_THRESHOLD
        gate_mean = GATING_THRESHOLD + span * _sigmoid(
            self._uptime_gating, INIT_DURATION_MEAN_S, INIT_TRANSITION
        )
        gate_variance = GATING_THRESHOLD + span * _sigmoid(
            self._uptime_gating, INIT_DURATION_VARIANCE_S, INIT_TRANSITION
        )
        open_mean = _sigmoid(self._index, gate_mean, GATING_TRANSITION)
        open_variance = _sigmoid(self._index, gate_variance, GATING_TRANSITION)
        gamma_mean = open_mean * (_GAMMA_MEAN + (_GAMMA_INITIAL_MEAN - _GAMMA_MEAN) * start_mean)
        gamma_variance = open_variance * (
            _GAMMA_VARIANCE
            + (_GAMMA_INITIAL_VARIANCE - _GAMMA_VARIANCE) * (start_variance - start_mean)
        )
        self._gated_minutes += _MINUTE * (
            (_ONE - open_mean) * (_ONE + GATING_MAX_RATIO) - GATING_MAX_RATIO
        )
        np.maximum(self._gated_minutes, 0, out=self._gated_minutes)
        self._uptime_gating[self._gated_minutes > GATING_MAX_MINUTES] = 0
        return gamma_mean, gamma_variance


class VocIndex:
    """VOC Index of `n` sensors, by the compiled original or by the port."""

    def __init__(self, n: int) -> None:
        self._port = VocIndexPort(n) if n > _FEW or VocAlgorithm is None else None
        self._originals = [] if self._port is not None else [VocAlgorithm() for _ in range(n)]

    def reset(self, sensor: int) -> None:
        """Reset `sensor`."""
        if self._port is not None:
            self._port.reset(sensor)
        else:
            self._originals[sensor] = VocAlgorithm()

    def process(self, raw: NDArray[np.integer]) -> NDArray[np.int32]:
        """Advance all sensors; see `VocIndexPort.process`."""
        if self._port is not None:
            return self._port.process(raw)
        out = np.empty(raw.shape, np.int32)
        for row, algorithm, ticks in zip(out, self._originals, raw.tolist(), strict=True):
            # Bypass the package's wrappers, which cost more than the algorithm.
            row[:] = list(map(_PROCESS, repeat(algorithm._algorithm), ticks))  # noqa: SLF001
        return out
