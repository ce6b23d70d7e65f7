"""Published values against which air is shown.

They are for exposure over a day or longer, or for ventilation; a plume of minutes does not break
them, and none of them is a limit for vaping. Quantities without a published value have no bands:
an index or ppb of a metal oxide sensor is not converted into one that has.

Sources
-------
WHO global air quality guidelines (2021): PM2.5 15 µg/m³ over 24 hours. US EPA, National Ambient
Air Quality Standards: PM2.5 35 µg/m³ over 24 hours. Umweltbundesamt, Innenraumlufthygiene-
Kommission: CO2 below 1,000 ppm harmless, above 2,000 ppm unacceptable (2008); TVOC 0.3, 1, 3 and
10 mg/m³ (2007). US EPA, The Inside Story: relative humidity between 30 and 60 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CO2", "GUIDELINES", "HUMIDITY", "PM25_DAY", "TVOC", "Guideline"]

_SKY: Final = "#56B4E9"
_ORANGE: Final = "#E69F00"
_VERMILLION: Final = "#D55E00"
_PURPLE: Final = "#CC79A7"


@dataclass(frozen=True, slots=True)
class Guideline:
    """Values of one quantity from which a band begins.

    Attributes
    ----------
    quantity : str
    bands : tuple of tuple of float and str
        Value in the unit of the quantity, and the colour from there on.
    said : str
        Who says so, in a sentence.
    """

    quantity: str
    bands: tuple[tuple[float, str], ...]
    said: str


PM25_DAY: Final = Guideline(
    "pm25",
    ((15, _ORANGE), (35, _VERMILLION)),
    "Over a day: WHO's guideline 15 µg/m³, the US standard 35 µg/m³.",
)
CO2: Final = Guideline(
    "co2",
    ((1000, _ORANGE), (2000, _VERMILLION)),
    "Umweltbundesamt: harmless below 1,000 ppm, unacceptable above 2,000 ppm.",
)
TVOC: Final = Guideline(
    "tvoc_ugm3",
    ((300, _SKY), (1000, _ORANGE), (3000, _VERMILLION), (10_000, _PURPLE)),
    "Umweltbundesamt: noticeable from 0.3 and 1 mg/m³, unacceptable from 3 and 10 mg/m³.",
)
HUMIDITY: Final = Guideline(
    "rh",
    ((30, "transparent"), (60, _ORANGE)),
    "US EPA: between 30 and 60 %; mould grows where it stays above.",
)
GUIDELINES: Final = (PM25_DAY, CO2, TVOC, HUMIDITY)
