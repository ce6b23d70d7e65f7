"""Colors, units, thresholds and labels that all panels share.

Units come from `detection.quantities`. Colors are those of Okabe and Ito, distinct with any color
vision (https://jfly.uni-koeln.de/color/); no state is shown by color alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    FieldColorModeId,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from detection.quantities import QUANTITIES

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import ValueMapping

    from reports.figures import Guideline

BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
ORANGE: Final = "#E69F00"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8E8E8E"
TRANSPARENT: Final = "transparent"
COLORS: Final = {
    "blue": BLUE,
    "sky": SKY,
    "green": GREEN,
    "yellow": YELLOW,
    "orange": ORANGE,
    "vermillion": VERMILLION,
    "purple": PURPLE,
    "grey": GREY,
}
"""By name; any other name is one that Grafana knows."""

_GROUNDS: Final = {
    ORANGE: "#F5C04F",
    VERMILLION: "#B04A00",
    PURPLE: "#8F3F6E",
    SKY: "#8CCBF0",
    GREY: "#C4C4C4",
}
"""Colors behind text: Grafana writes almost black on a light ground and almost white on any other,
and only on these is the contrast 4.5 or more. The worse the darker."""

KIND_COLORS: Final = {
    "vape": VERMILLION,
    "smoke": "#000000",
    "spray": PURPLE,
    "steam": SKY,
    "voc": ORANGE,
    "dust": GREY,
    "ambient": GREEN,
    "tamper": BLUE,
    "sensor_fault": YELLOW,
    "offline": "#4D4D4D",
    "integrity": "#6A3D9A",
}
LABELS: Final = {
    "sensor_fault": "sensor fault",
    "false_alarm": "false alarm",
    "nothing_found": "nothing found",
}
"""Labels of stored codes with two words."""

PALETTE: Final = FieldColorModeId.PALETTE_CLASSIC
"""For lines whose names are not known beforehand. Its palette for any color vision is not in every
version, so lines whose names are known get colors of ours."""

_UNITS: Final = {
    "µg/m³": "conμgm3",
    "/cm³": "suffix:/cm³",
    "ppb": "conppb",
    "ppm": "ppm",
    "ticks": "none",
    "%": "percent",
    "°C": "celsius",
    "hPa": "pressurehpa",
    "lx": "lux",
    "dBm": "suffix:dBm",
    "": "none",
}
"""Unit of a quantity to Grafana's name of it."""

UNIT_TEXTS: Final = {
    **{name: text for text, name in _UNITS.items() if name != "none"},
    "s": "time",
    "ms": "time",
    "percentunit": "share",
}
"""What the axis says of a unit."""

_SEVERITY: Final = (TRANSPARENT, ORANGE, VERMILLION, PURPLE)

Bands = list[tuple[float, str]]
"""Values from which a band begins, and its color."""
Words = Mapping[str | None, tuple[str, str]]
"""Text and color shown in place of a value; None stands for no value."""


def bands_of(guideline: Guideline) -> Bands:
    """Return the bands of a guideline without the lowest."""
    return [(band.start, _SEVERITY[band.severity]) for band in guideline.bands[1:]]


def unit_of(quantity: str) -> str:
    """Return Grafana's name of the unit of a quantity.

    >>> unit_of("temp"), unit_of("voc_index")
    ('celsius', 'none')
    """
    return _UNITS[QUANTITIES[quantity].unit]


def thresholds(bands: Bands, first: str) -> ThresholdsConfig:
    """Return the colors of bands, with `first` below all of them."""
    steps = [Threshold(value=None, color=first), *(Threshold(v, c) for v, c in bands)]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def behind_text(bands: Bands) -> Bands:
    """Return bands in colors on which text can be read."""
    return [(value, _GROUNDS.get(color, color)) for value, color in bands]


def mappings(words: Words) -> list[ValueMapping]:
    """Return the texts and colors that replace values."""
    found: list[ValueMapping] = []
    results = {
        value: ValueMappingResult(text=text, color=_GROUNDS.get(color, color), index=index)
        for index, (value, (text, color)) in enumerate(words.items())
    }
    found.append(ValueMap({value: r for value, r in results.items() if value is not None}))
    if None in results:
        options = DashboardSpecialValueMapOptions(SpecialValueMatch.NULL_AND_NAN, results[None])
        found.append(SpecialValueMap(options))
    return found
