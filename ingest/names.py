"""What a device's own name for something means, if it is certain.

`quantity_of` maps a key such as ``PM2.5``, ``pm_2_5_concentration``, ``km100.rpm25c``, ``VOC
Index`` or ``temp`` and a unit, if one is given, to a quantity of the table and the value in its
unit. What could be two quantities is none: ``tvoc`` or ``voc`` without unit is neither ppb nor
µg/m³ nor an index. A unit that does not fit the quantity means that the name was misunderstood,
and the value is ignored.

Units at the end of a name (``pm25_ug_m3``, ``rco2 (ppm)``) count as the unit.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detection.quantities import QUANTITIES
from ingest.validation import number

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLE: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_UNITS: Final = {"": ""} | {text: unit for unit, texts in _TABLE["units"].items() for text in texts}
_CONVERT: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    own: {unit: (factor, addend) for unit, (factor, addend) in units.items()}
    for own, units in _TABLE["convert"].items()
}
_WORDS: Final = {word: quantity for quantity, words in _TABLE["words"].items() for word in words}
_UNIT_IN_NAME: Final = re.compile(
    r"[\s_.(\[]+(ug_?/?m3|µg/m³|μg/m³|mg_?/?m3|mg/m³|ppb|ppm|pct|percent|%rh|%|celsius|fahrenheit"
    r"|deg_?[cf]|°?[cf]|hpa|kpa|pa|lux|lx|dbm|mv|v|fraction|index)[)\]]?$",
    re.IGNORECASE,
)
_PM: Final = re.compile(
    r"(?:^|_)(?:r?pms?|particulates?(?:_matter)?)_?"
    r"(?:(10)(?:_0|p0)?|(1)(?:_0|p0)?|(2_5|25|2p5)c?|(4)(?:_0|p0)?)"
    r"(?:_?m|_?um(?=_))?(?:_(?:mass|weight))?(?:_?concentration)?(?:_(?:atm|env))?$"
)
_PM_OF: Final = ("pm10", "pm1", "pm25", "pm4")
_VOC: Final = re.compile(r"(?:^|_)r?t?vocs?(?:_concentration)?$|^total_voc$|^volatile_organic_.*")
_ELSEWHERE: Final = frozenset(_TABLE["elsewhere"])
_UNIT_FIRST: Final = {"fahrenheit": "degF", "celsius": "degC", "kelvin": "K"}
_NEED_UNIT: Final = frozenset({"light", "luminosity"})
"""Words for which devices send lux, volts and counts alike."""
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_NAME: Final = 64


class Meaning(NamedTuple):
    """A quantity and how to convert the device's number to the unit of the table.

    `unit`: the unit that the payload or the name states; empty if neither does.
    """

    quantity: str
    scale: float
    offset: float
    unit: str = ""

    def convert(self, raw: float) -> float:
        """Return the value in the unit of the table."""
        if self.scale == 1 and self.offset == 0:
            return raw
        return round(raw * self.scale + self.offset, 6)


def unit_of(text: object) -> str | None:
    """Return a unit's one spelling here; None if it is no unit we know.

    >>> unit_of("μg/m³"), unit_of("°F"), unit_of("furlong")
    ('ug/m3', 'degF', None)
    """
    if type(text) is not str or len(text) > _MAX_NAME:
        return None
    return _UNITS.get(text.strip().lower())


def _own_unit(quantity: str) -> str:
    return _UNITS[QUANTITIES[quantity].unit.lower()] or "index"


def conversion(quantity: str, unit: str) -> tuple[float, float] | None:
    """Return factor and addend from a unit to the unit of the table.

    Exact conversions inside one quantity only: ppb, µg/m³, index and rating are different
    quantities.

    >>> conversion("n03", "#/0.1L"), conversion("tvoc_ppb", "ppm"), conversion("tvoc_ppb", "ug/m3")
    ((0.01, 0), (1000, 0), None)
    """
    given = unit_of(unit)
    return _CONVERT[_own_unit(quantity)].get(given) if given else None


def units_for(quantity: str) -> tuple[str, ...]:
    """Units that `conversion` takes for a quantity, its own first."""
    return tuple(unit for unit in _CONVERT[_own_unit(quantity)] if unit)


def unit_in_name(name: str) -> str | None:
    """Return the unit at the end of a name; None if there is none.

    >>> unit_in_name("pm25_ug_m3"), unit_in_name("VOC Index"), unit_in_name("pm25")
    ('ug/m3', 'index', None)
    """
    if len(name) > _MAX_NAME:
        return None
    tail = _UNIT_IN_NAME.search(name.strip())
    return _UNITS.get(tail.group(1).lower().replace("deg_", "deg")) if tail else None


def quantity_of(name: str, unit: str | None = None) -> Meaning | None:
    """Return what a name means.

    >>> quantity_of("PM2.5").quantity, quantity_of("tvoc", "ppb").quantity
    ('pm25', 'tvoc_ppb')
    >>> quantity_of("tvoc") is None
    True
    """
    if len(name) > _MAX_NAME or (unit is not None and len(unit) > _MAX_NAME):
        return None
    return _look_up(name, unit)


@lru_cache(maxsize=4096)
def _look_up(name: str, unit: str | None) -> Meaning | None:
    given = None
    if unit is not None:
        given = unit_of(unit)
        if given is None:
            return None
    word = name.strip()
    tail = _UNIT_IN_NAME.search(word)
    if tail and tail.start() > 0:
        inside = unit_in_name(word)
        if inside is not None and given in (None, ""):
            given = inside
        if inside != "index":
            word = word[: tail.start()]
    meaning = _of_word(word, given)
    parts = _CAMEL.sub("_", word)
    return meaning or (None if parts == word else _look_up(parts, given))


def _of_word(word: str, given: str | None) -> Meaning | None:
    key = re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_").removesuffix("_value")
    first, joined, rest = key.partition("_")
    if joined and first in _UNIT_FIRST:
        given, key = given or _UNIT_FIRST[first], rest
    if not is_of_room(key):
        return _known(key, given) if key in _WORDS else None
    last = "_".join(key.split("_")[-2:]) if key.endswith("_index") else key.rpartition("_")[2]
    return _known(key, given) or _known(last, given, whole=False)


def is_of_room(name: str) -> bool:
    """Whether no word of a name says that it is of something else than the air of the room."""
    return _ELSEWHERE.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def _known(key: str, unit: str | None, *, whole: bool = True) -> Meaning | None:
    """Meaning of a bare word; a last word alone (`whole` false) must be long enough to trust."""
    match = _PM.search(key) if whole else None
    if match:
        quantity = _PM_OF[next(i for i, g in enumerate(match.groups()) if g)]
        return _fit(quantity, unit)
    if _VOC.search(key):
        if unit in ("ppb", "ppm"):
            return _fit("tvoc_ppb", unit)
        if unit in ("ug/m3", "mg/m3"):
            return _fit("tvoc_ugm3", unit)
        return _fit("voc_index", unit) if unit == "index" else None
    if (not unit and key in _NEED_UNIT) or not (whole or len(key) > 6 or key in _SHORT):
        return None
    return _fit(_WORDS[key], unit) if key in _WORDS else None


_SHORT: Final = frozenset({"co2", "rtemp", "rhumid"})


def _fit(quantity: str, unit: str | None) -> Meaning | None:
    if unit is None:
        return Meaning(quantity, 1, 0)
    factors = _CONVERT[_own_unit(quantity)].get(unit)
    return None if factors is None else Meaning(quantity, *factors, unit)


def measured(
    content: Mapping[str, object], units: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Return all quantities whose names are certain, in the units of the table.

    The first of several names for one quantity counts, and one that is certain as a whole before
    one of which only the first word and the unit are (``temp_SOIL``). A null or the text "nan" is a
    fault of its quantity (NaN); a value that is neither number nor the text of one is left out.
    """
    raw: dict[str, object] = {}
    led: list[tuple[Meaning, object]] = []
    for name, value in content.items():
        unit = units.get(name) if units else None
        if type(value) is str and unit is None:
            unit = _unit_after(value)
            found = None if unit else _WITH_UNIT.fullmatch(value.strip())
            if found and unit_of(found[2]):
                value, unit = found[1], found[2]  # noqa: PLW2901 - of "6ug/m3"
        meaning = quantity_of(name, unit)
        if meaning is not None:
            _take(raw, meaning, value)
        elif unit and (meaning := _led_by(name, unit)) is not None:
            led.append((meaning, value))
    for meaning, value in led:
        _take(raw, meaning, value)
    return raw


def _take(raw: dict[str, object], meaning: Meaning, value: object) -> None:
    if meaning.quantity in raw:
        return
    if value is None:
        raw[meaning.quantity] = None
        return
    plain = number(value)
    if plain is not None and (meaning.quantity != "battery" or 0 <= plain <= 100):
        raw[meaning.quantity] = meaning.convert(plain)


_WITH_UNIT: Final = re.compile(r"([+-]?\d{1,12}(?:\.\d{0,12})?)([^\d\s.+-]\S{0,11})")
_LEADING: Final = frozenset({"temp", "temperature", "hum", "humidity", "co2", "pressure"})


def _led_by(name: str, unit: str) -> Meaning | None:
    """Meaning of a name whose *first* word is known and whose value carries a fitting unit."""
    first, sep, _ = name.partition("_")
    return quantity_of(first, unit) if sep and first.lower() in _LEADING else None


def _unit_after(text: str) -> str | None:
    _, space, unit = text.strip().partition(" ")
    return unit.strip() or None if space else None
