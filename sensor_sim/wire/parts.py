"""Which quantities a board has, by the sensors on it: what a device announces before it measures.

A model is the name of one part, or several joined by ``+``.
"""

from __future__ import annotations

import re
from typing import Final

from detection.quantities import COLUMNS

__all__ = ["part_quantities"]

_MASS: Final = ("pm1", "pm25", "pm10")
_COUNTS: Final = ("n03", "n05", "n10", "n25", "n50", "n100")
_CLIMATE: Final = ("temp", "rh")
_PARTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (r"(pms|pmsa|plantower).*", (*_MASS, *_COUNTS)),
    (r"sps30", ("pm1", "pm25", "pm4", "pm10", "n05", "n10", "n25")),
    (r"sen5[45]\w*", ("pm1", "pm25", "pm4", "pm10", "voc_index", "nox_index", *_CLIMATE)),
    (r"sen50\w*", ("pm1", "pm25", "pm4", "pm10")),
    (r"sds011", ("pm25", "pm10")),
    (r"opc.*", (*_MASS, *_COUNTS, *_CLIMATE)),
    (r"vindstyrka|e2112", ("pm25", "voc_index", *_CLIMATE)),
    (r"sgp30|ens160", ("tvoc_ppb",)),
    (r"sgp40", ("voc_index", "voc_raw")),
    (r"sgp41", ("voc_index", "voc_raw", "nox_index")),
    (r"bme68\d", ("pressure", *_CLIMATE)),
    (r"bme280", ("pressure", *_CLIMATE)),
    (r"sht\w*", _CLIMATE),
    (r"scd\w*", ("co2", *_CLIMATE)),
    (r"mh-?z19\w*|s8", ("co2",)),
)


def part_quantities(model: str) -> tuple[str, ...]:
    """Quantities of a board in column order; all of them for a model that is not known.

    Examples
    --------
    >>> part_quantities("VINDSTYRKA")
    ('pm25', 'voc_index', 'rh', 'temp')
    """
    found: set[str] = set()
    for part in re.split(r"[+/, ]+", model.lower()):
        for pattern, quantities in _PARTS:
            if re.fullmatch(pattern, part):
                found.update(quantities)
                break
    return tuple(key for key in COLUMNS if key in found) if found else COLUMNS
