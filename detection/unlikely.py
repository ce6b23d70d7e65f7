"""Find values that must be in a different unit from the one they are read in.

PM2.5 that is always below 0.05 µg/m³, and varies, is in mg/m³; a humidity below 1.5 % is a
fraction; a temperature indoors above 45 °C is in °F. Only a run of such values counts, and a single
plausible value ends it: a momentary value proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detection.quantities import QUANTITY_WORDS
from language.messages import Words, mark

if TYPE_CHECKING:
    from collections.abc import Mapping

MANY: Final = 5
"""How many such readings in a row it takes to report a running sensor."""
_MASS: Final = ("pm25", "pm10", "pm1", "pm4")
_RANGES: Final = {
    **dict.fromkeys(_MASS, (0.0, 0.05)),
    "rh": (0.0, 1.5),
    "temp": (45.0, 150.0),
}
"""Ranges of values that must be in another unit."""
_LOOKS_LIKE: Final = Words(
    {
        **dict.fromkeys(_MASS, mark("always below 0.05 µg/m³ and varying: looks like mg/m³")),
        "rh": mark("always below 1.5%: looks like a fraction"),
        "temp": mark("always above 45 °C: looks like °F"),
    }
)


class UnlikelyValues:
    """How many readings in a row of each sensor had a value in another unit, by quantity."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, int]] = {}
        self._last: dict[tuple[str, str], float] = {}

    def add(self, sensor: str, values: Mapping[str, float]) -> None:
        """Add the values of a reading."""
        for key, (least, most) in _RANGES.items():
            value = values.get(key)
            if value is None:
                continue
            if least < value < most:
                if key not in _MASS or self._last.setdefault((sensor, key), value) != value:
                    runs = self.runs.setdefault(sensor, {})
                    runs[key] = runs.get(key, 0) + 1
                    self._last[sensor, key] = value
            elif sensor in self.runs and value != 0:
                self.runs[sensor].pop(key, None)

    def of(self, sensor: str, least: int = MANY) -> tuple[str, ...]:
        """Return the quantities for which a sensor sent enough such values in a row."""
        return tuple(key for key, n in self.runs.get(sensor, {}).items() if n >= least)


def looks_like(quantity: str) -> str:
    """Say what the values of a quantity look like.

    >>> looks_like("temp")
    'temperature always above 45 °C: looks like °F'
    """
    return f"{QUANTITY_WORDS[quantity]} {_LOOKS_LIKE[quantity]}"


def is_unlikely(quantity: str, value: float) -> bool:
    """Whether a value would be in another unit."""
    least, most = _RANGES.get(quantity, (0.0, 0.0))
    return least < value < most
