"""Vary sensors for training: gains, lags, missing channels and artifacts.

No world has exactly the sensors that schools will have. Varied copies of each world's readings help
the model learn what all sensors have in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from research.worlds.world import COLUMNS
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from research.worlds.world import Readings

    Floats = NDArray[np.float64]

PARTICLES: Final = ("pm1", "pm25", "pm10", "n03", "n05", "n10", "n25", "n50", "n100")
GAINS: Final = (0.55, 1.8)
"""Range of sensors' gains; for e-cigarette aerosol, they differ by up to 2x (Sousan 2022)."""
DROPPED: Final[Sequence[tuple[Sequence[str], float]]] = (
    (("n03", "n05", "n10", "n25", "n50", "n100"), 0.5),
    (("pm1",), 0.2),
    (("pm10",), 0.2),
    (("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"), 0.3),
    (("rh", "temp"), 0.2),
    (("co2",), 0.5),
)
"""Groups of channels, and the share of training sensors that lack each group."""
COINCIDES, LAGS, COARSE = 0.5, 0.3, 0.25
"""Shares of sensors that merge small droplets (of those that count single particles), respond
slowly, and resolve only 1 µg/m³."""
SPIKES, DIPS, FREEZES = 0.5, 0.3, 0.3
"""Share of sensors that have each artifact."""
_DAY_S: Final = 86_400.0


def _columns(names: Iterable[str]) -> list[int]:
    return [COLUMNS.index(name) for name in names]


_PARTICLES: Final = _columns(PARTICLES)
_MASSES: Final = _columns(("pm1", "pm25", "pm10"))
_PM1, _PM25, _ = _MASSES


def varied(
    readings: Readings, devices: Mapping[str, str], draw: np.random.Generator
) -> NDArray[np.float64]:
    """Return the values that varied sensors would report; `devices` has each sensor's model."""
    values = readings.values.copy()
    for number, name in enumerate(readings.names):
        rows = np.flatnonzero(readings.sensor == number)
        part, time = values[rows], readings.time[rows]
        if "opc" in devices.get(name, "").lower() and draw.random() < COINCIDES:
            _merge_droplets(part, draw)
        if draw.random() < LAGS:
            _lag(part, time, draw)
        part[:, _PARTICLES] *= np.exp(draw.uniform(*np.log(GAINS)))
        _add_artifacts(part, time, draw)
        for names, chance in DROPPED:
            if draw.random() < chance:
                part[:, _columns(names)] = np.nan
        if draw.random() < COARSE:
            part[:, _MASSES] = np.round(part[:, _MASSES])
        values[rows] = part
    return values


def _merge_droplets(values: Floats, draw: np.random.Generator) -> None:
    """Count droplets that pass together as one of a larger size, in place.

    Near pods, an OPC-N3 has a median PM1/PM2.5 of 0.75 at 10-30 µg/m³ and 0.32 above 120 µg/m³.
    """
    least, steepness = draw.uniform(0.2, 0.45), draw.uniform(1.0, 2.5)
    dense = np.maximum(values[:, _PM25], 0.0) / draw_log(draw, 40, 300)
    values[:, _PM1] *= least + (1 - least) / (1 + dense**steepness)


def _lag(values: Floats, time: Floats, draw: np.random.Generator) -> None:
    """Make the particle channels respond slowly, in place."""
    kept = np.exp(-np.median(np.diff(time)) / draw_log(draw, 1, 10))
    for column in _PARTICLES:
        known = np.flatnonzero(np.isfinite(values[:, column]))
        if known.size:
            part = values[known, column]
            values[known, column], _ = lfilter([1 - kept], [1, -kept], part, zi=[kept * part[0]])


def _add_artifacts(values: Floats, time: Floats, draw: np.random.Generator) -> None:
    """Add dropouts and spikes of the particle channels, and freezes of all channels, in place."""
    days = (time[-1] - time[0]) / _DAY_S
    if draw.random() < DIPS:
        for at in _moments(time.size, days * draw_log(draw, 1, 20), 3, draw):
            values[at[:, None], _PARTICLES] *= draw.uniform(0.0, 0.5)
    if draw.random() < SPIKES:
        for at in _moments(time.size, days * draw_log(draw, 1, 20), 2, draw):
            _spike(values, at, draw)
    if draw.random() < FREEZES:
        longest = max(int(draw_log(draw, 30, 600) / np.median(np.diff(time))), 2)
        for at in _moments(time.size, days * draw_log(draw, 0.5, 5), longest, draw):
            values[at] = values[at[0]]


def _moments(
    n: int, expected: float, longest: int, draw: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Yield random ranges of `n` readings, `expected` on average, each up to `longest` long."""
    for begin in draw.integers(n, size=draw.poisson(expected)).tolist():
        yield np.arange(begin, min(begin + int(draw.integers(1, longest + 1)), n))


def _spike(values: Floats, at: NDArray[np.intp], draw: np.random.Generator) -> None:
    """Add a spike to all particle channels, like an electrical fault, in place."""
    before = np.maximum(values[at, _PM25], 1.0)
    height = float(np.exp(draw.normal(np.log(40.0), 1.0)))
    for column, share in zip(
        _MASSES, (draw.uniform(0.2, 0.95), 1.0, draw.uniform(1.0, 1.5)), strict=True
    ):
        values[at, column] += height * share
    counts = [column for column in _PARTICLES if column not in _MASSES]
    values[at[:, None], counts] *= np.minimum(1.0 + height / before, 50.0)[:, None]
