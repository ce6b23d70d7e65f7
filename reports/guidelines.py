"""Published values against which air is shown.

They are for exposure over a day or longer, or for ventilation; a plume of minutes does not break
them, and none of them is a limit for vaping. Quantities without a published value have no bands:
an index or ppb of a metal oxide sensor is not converted into one that has.

Sources
-------
WHO global air quality guidelines (2021): PM2.5 15 µg/m³ over 24 hours. US EPA, National Ambient
Air Quality Standards: PM2.5 35 µg/m³ over 24 hours. Umweltbundesamt, Innenraumlufthygiene-
Kommission: CO2 below 1,000 ppm harmless, above 2,000 ppm unacceptable (2008); TVOC 1, 3 and
10 mg/m³ (2007). US EPA, The Inside Story: relative humidity between 30 and 60 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from language.messages import mark


class Band(NamedTuple):
    """What a value from `start` on means.

    Attributes
    ----------
    start : float
        In the unit of the quantity.
    severity : int
        0 as it should be, 1 to look at, 2 not good, 3 bad.
    words : str
        For people; empty if it is as it should be.
    """

    start: float
    severity: int
    words: str


@dataclass(frozen=True, slots=True)
class Guideline:
    """Bands of one quantity, ascending.

    Attributes
    ----------
    bands : tuple of Band
        The first begins at 0.
    basis : str
        Who says so, in a sentence.
    over_s : float
        Seconds over which a value must be averaged to be compared; 0 for one of any moment.
    """

    quantity: str
    bands: tuple[Band, ...]
    basis: str
    over_s: float = 0.0

    def band(self, value: float) -> Band:
        """Band in which a value is.

        >>> PM25_DAY.band(20.0).words, HUMIDITY.band(12.0).words, CO2.band(999.0).severity
        ("above WHO's guideline", 'dry', 0)
        """
        return max((band for band in self.bands if band.start <= value), default=self.bands[0])


DAY_S: Final = 86_400.0
COVERAGE: Final = 0.75
"""Least share of the quarter hours of a day with readings for a mean of the day."""

PM25_DAY: Final = Guideline(
    "pm25",
    (
        Band(0, 0, ""),
        Band(15, 1, mark("above WHO's guideline")),
        Band(35, 2, mark("above the US standard")),
    ),
    mark("Over a day: WHO's guideline 15 µg/m³, the US standard 35 µg/m³."),
    DAY_S,
)
CO2: Final = Guideline(
    "co2",
    (Band(0, 0, ""), Band(1000, 1, mark("stale")), Band(2000, 2, mark("unacceptable"))),
    mark("Umweltbundesamt: harmless below 1,000 ppm, unacceptable above 2,000 ppm."),
)
TVOC: Final = Guideline(
    "tvoc_ugm3",
    (
        Band(0, 0, ""),
        Band(1000, 1, mark("noticeable")),
        Band(3000, 2, mark("objectionable")),
        Band(10_000, 3, mark("unacceptable")),
    ),
    mark(
        "Umweltbundesamt: noticeable from 1 mg/m³, objectionable from 3, unacceptable from"
        " 10 mg/m³."
    ),
)
HUMIDITY: Final = Guideline(
    "rh",
    (Band(0, 1, mark("dry")), Band(30, 0, ""), Band(60, 1, mark("damp"))),
    mark("US EPA: between 30 and 60 %; mould grows where it stays above."),
)
GUIDELINES: Final = (PM25_DAY, CO2, TVOC, HUMIDITY)
