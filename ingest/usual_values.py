"""Recognize values that a sensor doesn't usually send, in formats with one value per topic.

The values of such a sensor are joined if they arrive within a second. A second sender could add
humidity to each particle reading, and so explain a plume away. Therefore, a value stays by itself,
and the detectors treat it as sent without particles, in these cases:

- The quantity first arrived less than `_USUAL_S` ago, and more than `_LEARNED_S` after the sensor's
  first value, or after `_LEARNED` particle readings and then more often than these.
- It isn't a particle quantity, and arrives more often than usual (`detection.liveness`), although
  particles don't. Devices that report changes send both more often.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from detection.liveness import Arrivals
from detection.quantities import FINE_PARTICLES

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEARNED_S: Final = 600.0
_USUAL_S: Final = 4 * 3600.0
_LEARNED: Final = 8


@dataclass(slots=True)
class _Quantity:
    """Arrivals of a quantity since the receive time `since`.

    `count`: how many since the last particle reading.
    `is_late`: whether particles arrived `_LEARNED` times before it did.
    `is_new`: whether the sensor probably didn't send it before.
    `is_often`: whether it last arrived more often than usual.
    """

    since: float
    is_late: bool
    is_new: bool = False
    is_often: bool = False
    count: int = 0
    arrivals: Arrivals = field(default_factory=Arrivals)


@dataclass(slots=True)
class UsualValues:
    """What one sensor sends; `main` is its first particle quantity, `readings` how many arrived."""

    main: str = ""
    readings: int = 0
    quantities: dict[str, _Quantity] = field(default_factory=dict)

    def find_unusual(self, keys: Iterable[str], now: float) -> set[str]:
        """Add values that arrive at `now`; return the quantities that may be forged."""
        return {key for key in keys if not self._add(key, now)}

    def _add(self, key: str, now: float) -> bool:
        if (quantity := self.quantities.get(key)) is None:
            first = next((q.since for q in self.quantities.values()), now)
            is_new, is_late = now - first > _LEARNED_S, self.readings >= _LEARNED
            quantity = self.quantities[key] = _Quantity(now, is_late, is_new)
        quantity.is_often = quantity.arrivals.add(now)
        quantity.count += 1
        if key in FINE_PARTICLES:
            self.main = self.main or key
        if key == self.main:
            self.readings += 1
            for other in self.quantities.values():
                other.count = 0
        quantity.is_new |= quantity.is_late and quantity.count > 1
        if quantity.is_new and now - quantity.since < _USUAL_S:
            return False
        if not quantity.is_often or key in FINE_PARTICLES:
            return True
        return bool(self.main) and self.quantities[self.main].is_often
