"""The one table of physical quantities: key, label, unit, valid range, resolution.

Every other module takes units, ranges and column order from here. Mass concentrations, mixing
ratios, indices and vendor ratings are different quantities and are never converted into each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from language.messages import Words, mark

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measurable quantity.

    Attributes
    ----------
    key : str
        Name in readings, CSV headers and series columns.
    label : str
        Name for people.
    unit : str
        Unit symbol; empty for dimensionless indices.
    low, high : float
        Closed range of physically possible values; a value outside it is a channel fault.
    resolution : float
        Smallest meaningful difference.
    """

    key: str
    label: str
    unit: str
    low: float
    high: float
    resolution: float

    def accepts(self, value: float) -> bool:
        """Return whether `value` is finite and inside the valid range."""
        return math.isfinite(value) and self.low <= value <= self.high


_MASS: Final = "µg/m³"
_NUMBER: Final = "/cm³"

_TABLE: Final = (
    Quantity("pm1", "PM1", _MASS, 0, 100_000, 0.1),
    Quantity("pm25", "PM2.5", _MASS, 0, 100_000, 0.1),
    Quantity("pm4", "PM4", _MASS, 0, 100_000, 0.1),
    Quantity("pm10", "PM10", _MASS, 0, 100_000, 0.1),
    Quantity("n03", mark("particles > 0.3 µm"), _NUMBER, 0, 1e7, 0.01),
    Quantity("n05", mark("particles > 0.5 µm"), _NUMBER, 0, 1e7, 0.01),
    Quantity("n10", mark("particles > 1.0 µm"), _NUMBER, 0, 1e7, 0.01),
    Quantity("n25", mark("particles > 2.5 µm"), _NUMBER, 0, 1e7, 0.01),
    Quantity("n50", mark("particles > 5.0 µm"), _NUMBER, 0, 1e7, 0.01),
    Quantity("n100", mark("particles > 10 µm"), _NUMBER, 0, 1e7, 0.01),
    Quantity("tvoc_ppb", "TVOC", "ppb", 0, 1_000_000, 1),
    Quantity("tvoc_ugm3", "TVOC", _MASS, 0, 1_000_000, 1),
    Quantity("voc_index", mark("VOC index"), "", 0, 500, 1),
    Quantity("voc_raw", mark("VOC raw signal"), "ticks", 0, 65_535, 1),
    Quantity("nox_index", mark("NOx index"), "", 0, 500, 1),
    Quantity("rh", mark("relative humidity"), "%", 0, 100, 0.1),
    Quantity("temp", mark("temperature"), "°C", -40, 85, 0.1),
    Quantity("co2", "CO2", "ppm", 0, 40_000, 1),
    Quantity("co", "CO", "ppm", 0, 1_000, 0.1),
    Quantity("pressure", mark("air pressure"), "hPa", 300, 1_250, 0.1),
    Quantity("light", mark("illuminance"), "lx", 0, 200_000, 1),
    Quantity(mark("battery"), mark("battery"), "%", 0, 100, 1),
    Quantity("vape_index", mark("vendor vape index"), "", 0, 100, 1),
    Quantity("rssi", mark("signal strength"), "dBm", -200, 20, 1),
)

QUANTITIES: Final[Mapping[str, Quantity]] = MappingProxyType({q.key: q for q in _TABLE})

FINE_PARTICLES: Final = ("pm25", "pm1", "pm4", "pm10", "n03")
"""Quantities that show fine particles, in order of preference. A sensor without any of them cannot
detect vaping."""

QUANTITY_WORDS: Final = Words({q.key: q.label for q in _TABLE})
"""Labels of the quantities in the reader's language."""

COLUMNS: Final[tuple[str, ...]] = tuple(QUANTITIES)
"""Column order of value matrices (`detection.channels.ReadingBatch.values`)."""

COLUMN_INDEX: Final[Mapping[str, int]] = MappingProxyType({k: i for i, k in enumerate(COLUMNS)})
"""Column of each quantity in a value matrix."""

_MASSES: Final = ("pm25", "pm10", "pm1", "pm4")
UNLIKELY: Final = {
    **dict.fromkeys(_MASSES, (0.0, 0.05)),
    "rh": (0.0, 1.5),
    "temp": (45.0, 150.0),
}
"""A channel seems to have another unit if all its values are in its range; for a mass, only if they
also vary."""
_LOOKS_LIKE: Final = Words(
    {
        **dict.fromkeys(_MASSES, mark("always below 0.05 µg/m³ and varying: looks like mg/m³")),
        "rh": mark("always below 1.5%: looks like a fraction"),
        "temp": mark("always above 45 °C: looks like °F"),
    }
)


def describe_unit(quantity: str) -> str:
    """Describe which unit the values of a quantity seem to have.

    >>> describe_unit("temp")
    'temperature always above 45 °C: looks like °F'
    """
    return f"{QUANTITY_WORDS[quantity]} {_LOOKS_LIKE[quantity]}"


def is_unlikely(quantity: str, value: float) -> bool:
    """Return whether a value suggests another unit."""
    least, most = UNLIKELY.get(quantity, (0.0, 0.0))
    return least < value < most
