"""The channels the detector follows: readings' columns in, one matrix out.

Readings reach the detector as a `ReadingBatch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS, FINE_PARTICLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

# key, least rise above the baseline, noise scale below which it is not believed
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
"""Channels of which a rise opens an episode, ``fine`` first; only their noise is followed."""
RISE: Final = np.array(
    [next((rise for opener, rise, _ in _OPENERS if opener == key), np.inf) for key in CHANNELS]
)
"""Least rise above the baseline that opens an episode; infinite where a channel never does."""
FLOOR: Final = np.array([floor for _, _, floor in _OPENERS])
"""Noise scale of `OPENERS` below which they are not believed, in their units."""
TAU_DOWN_S: Final = np.array([down for _, down, _ in _TABLE])
TAU_UP_S: Final = np.array([up for _, _, up in _TABLE])
VOC: Final = tuple(CHANNEL_INDEX[k] for k in ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"))

_SOURCE: Final = np.array([COLUMN_INDEX["pm25" if key == "fine" else key] for key in CHANNELS])
_RAW: Final = CHANNEL_INDEX["voc_raw"]
_INDEX: Final = CHANNEL_INDEX["voc_index"]
VOC_OFFSETS: Final = np.array([400.0, 800.0])
"""Of the logarithms of TVOC in ppb and in µg/m³."""
RAW_SPAN: Final = 870.0
"""Raw ticks of one doubling."""
_INDEX_SAYS: Final = 1.5
"""Below it a VOC index is still starting up (0 for 45 s, then 1 until it has learned)."""
_INDEX_TOP: Final = 505.0
"""A little above the end of the scale, so that the end itself has a place on the axis."""
_DOUBLINGS_PER_LOGIT: Final = 0.27
"""The index is a sigmoid of slope 0.0065 a unit of the normalised raw signal (Sensirion gas index
algorithm); a unit is (sd + 220) / 230 ticks, 1.5 for the usual sd, of 870 ticks a doubling."""
_STAND_INS: Final = tuple(COLUMN_INDEX[k] for k in FINE_PARTICLES[1:-1])
FOLLOWED: Final = np.unique([*_SOURCE, *_STAND_INS])
"""Columns of `detection.quantities.COLUMNS` that say something of the air."""
FOLLOWED_KEYS: Final = frozenset(key for key, column in COLUMN_INDEX.items() if column in FOLLOWED)
_N03: Final = COLUMN_INDEX[FINE_PARTICLES[-1]]
MASS_OF_N03: Final = 0.03
"""µg/m³ per particle/cm³: unit-density spheres of 0.4 µm diameter."""


def channel_matrix(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Followed channels of each reading.

    Returns
    -------
    ndarray of float64, shape (n, len(CHANNELS)), in Fortran order
        NaN where absent. The raw VOC signal is negated, so that every VOC channel rises with
        concentration; ``fine`` is PM2.5, or what the sensor has in its place.
    """
    x: NDArray[np.float64] = values.T.take(_SOURCE, axis=0)
    np.negative(x[_RAW], out=x[_RAW])
    index = x[_INDEX]
    starting = index < _INDEX_SAYS
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


def doublings_of_index(index: NDArray[np.float64]) -> NDArray[np.float64]:
    """VOC index as doublings of concentration: its sigmoid undone.

    So a rise near the end of the scale counts as much as one in its middle.
    """
    within = np.minimum(np.maximum(index, 1.0), _INDEX_TOP - 5.0)
    doublings: NDArray[np.float64] = np.log(within / (_INDEX_TOP - within))
    doublings *= _DOUBLINGS_PER_LOGIT
    return doublings


def voc_strength(
    x: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rise of VOC over a reference on one scale for all kinds of VOC sensor.

    A metal-oxide sensor answers with a fixed number of raw ticks per doubling of concentration
    over its offset C0 (870 a doubling, C0 0.2-1 ppm ethanol-equivalent: Sensirion SGP40 data
    sheet). The other outputs are put on the same axis only to be weighed, never reported.

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
    now, then = doublings_of_index(np.array([x[:, index], reference[:, index]]))
    strength = now - then
    kind = np.where(np.isnan(strength), 0.0, 3.0)
    ticks = (x[:, raw] - reference[:, raw]) / RAW_SPAN
    for code, found in ((2.0, doublings[:, 1]), (1.0, doublings[:, 0]), (4.0, ticks)):
        known = ~np.isnan(found)
        np.putmask(strength, known, found)
        np.putmask(kind, known, code)
    return strength, kind


BANK: Final = ("fine", "pm1", "pm10", "voc", "rh", "temp", "co2")
"""Signals smoothed at several time scales, on scales on which a difference means the same at any
level: logarithms of concentrations, doublings of VOC, the plain value of climate."""
BANK_TAU_S: Final = np.array([4.0, 12.0, 40.0, 120.0, 400.0])


_BANK_MASSES: Final = np.array([FINE, CHANNEL_INDEX["pm1"], CHANNEL_INDEX["pm10"]])


def bank_signals(x: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Signals of the filter bank.

    Parameters
    ----------
    known : ndarray of bool, shape (len(CHANNELS), n)
        Where it is not NaN.

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
    voc[:] = doublings_of_index(x[index])
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
        Row number of the sensor as given by `Detector.sensor_row`.
    time : ndarray of float64, shape (n,)
        Event time in Unix seconds.
    values : ndarray of float64, shape (n, len(COLUMNS))
        Values in the order of `detection.quantities.COLUMNS`; NaN where absent.
    received : ndarray of float64, shape (n,), optional
        When each reached us, Unix seconds; at its event time by default.
    """

    sensor: NDArray[np.int32]
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    received: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check that the arrays fit each other.

        Raises
        ------
        ValueError
            If the shapes do not match.
        """
        n = self.sensor.shape[0]
        if self.sensor.shape != (n,) or self.time.shape != (n,):
            msg = f"sensor and time must be 1-d and equal: {self.sensor.shape}, {self.time.shape}"
            raise ValueError(msg)
        if self.values.shape != (n, len(COLUMNS)):
            msg = f"values must have shape {(n, len(COLUMNS))}, got {self.values.shape}"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Return the number of readings."""
        return int(self.sensor.shape[0])
