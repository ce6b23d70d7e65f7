"""Map a device's name for a value to a quantity, if the name is unambiguous.

`find_quantity` maps a name such as ``PM2.5``, ``pm_2_5_concentration``, ``km100.rpm25c``, ``VOC
Index`` or ``temp``, and its unit if there is one, to a quantity of the table. A name that could
mean two quantities is not used: ``tvoc`` or ``voc`` without a unit may be ppb, µg/m³ or an index.
If the unit does not match the quantity, the name must mean something else, and the value is
ignored. The unit may also be at the end of the name (``pm25_ug_m3``, ``rco2 (ppm)``).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from detection.quantities import QUANTITIES
from ingest.validation import parse_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TABLE: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_UNITS: Final = {"": ""} | {text: unit for unit, texts in _TABLE["units"].items() for text in texts}
_CONVERT: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    own: {unit: (factor, addend) for unit, (factor, addend) in units.items()}
    for own, units in _TABLE["convert"].items()
}
WORDS: Final = {word: quantity for quantity, words in _TABLE["words"].items() for word in words}
"""Quantities by names that are unambiguous on their own."""
_UNIT_IN_NAME: Final = re.compile(
    r"(?:[\s_.(\[]+|(?<=[a-z0-9])(?=[um]gm3|pp[bm]|pct|[hk]pa))"
    r"(ug_?/?m3|µg/m³|μg/m³|mg_?/?m3|mg/m³|ppb|ppm|pct|percent|%rh|%|celsius|fahrenheit|deg_?[cf]"
    r"|°?[cf]|hpa|kpa|pa|lux|lx|dbm|mv|v|fraction|index|idx)[)\]]?$",
    re.IGNORECASE,
)
_PM: Final = re.compile(
    r"(?:^|_)(?:r?pms?|particulates?(?:_matter)?)_?"
    r"(?:(10)(?:_0|p0)?|(1)(?:_0|p0)?|(2_5|25|2p5)c?|(4)(?:_0|p0)?)"
    r"(?:_?m|_?um(?=_))?(?:_(?:mass|weight))?(?:_?concentration)?(?:_(?:atm|env))?$"
)
_PM_OF: Final = ("pm10", "pm1", "pm25", "pm4")
_VOC: Final = re.compile(
    r"(?:^|_)(?:r?t?vocs?|covt?)(?:_concentration)?$|^total_voc$|^volatile_organic_.*"
)
_ELSEWHERE: Final = frozenset(_TABLE["elsewhere"])
_UNIT_FIRST: Final = {"fahrenheit": "degF", "celsius": "degC", "kelvin": "K"}
_NEED_UNIT: Final = frozenset({"light", "luminosity", "batt", "t", "h"})
"""Names that mean a quantity only with a unit. Without one, they may be volts or a time."""
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_NAME: Final = 64


class Meaning(NamedTuple):
    """A quantity, and how to convert the device's number to the unit of the table.

    `unit`: the unit that the payload or the name gives, or empty.
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


def find_unit(text: object) -> str | None:
    """Return the standard spelling of a unit; None if it is unknown.

    >>> find_unit("μg/m³"), find_unit("°F"), find_unit("furlong")
    ('ug/m3', 'degF', None)
    """
    if type(text) is not str or len(text) > _MAX_NAME:
        return None
    return _UNITS.get(text.strip().lower())


def _find_own_unit(quantity: str) -> str:
    return _UNITS[QUANTITIES[quantity].unit.lower()] or "index"


def find_conversion(quantity: str, unit: str) -> tuple[float, float] | None:
    """Return the factor and addend that convert a unit to the unit of the table, or None.

    Only exact conversions within a quantity are possible: a VOC value in ppb, in µg/m³, as an index
    and as a rating are different quantities.

    >>> find_conversion("n03", "#/0.1L"), find_conversion("tvoc_ppb", "ug/m3")
    ((0.01, 0), None)
    """
    given = find_unit(unit)
    return _CONVERT[_find_own_unit(quantity)].get(given) if given else None


def list_units(quantity: str) -> tuple[str, ...]:
    """Return the units that can be converted to the unit of the table, which comes first."""
    return tuple(unit for unit in _CONVERT[_find_own_unit(quantity)] if unit)


def find_unit_in_name(name: str) -> str | None:
    """Return the unit at the end of a name, or None.

    >>> find_unit_in_name("pm25_ug_m3"), find_unit_in_name("VOC Index"), find_unit_in_name("pm25")
    ('ug/m3', 'index', None)
    """
    if len(name) > _MAX_NAME:
        return None
    tail = _UNIT_IN_NAME.search(name.strip())
    return _UNITS.get(tail.group(1).lower().replace("deg_", "deg")) if tail else None


def find_quantity(name: str, unit: str | None = None) -> Meaning | None:
    """Return the meaning of a name, or None if it is unknown or ambiguous.

    >>> find_quantity("PM2.5").quantity, find_quantity("tvoc", "ppb").quantity
    ('pm25', 'tvoc_ppb')
    >>> find_quantity("tvoc") is None
    True
    """
    if len(name) > _MAX_NAME or (unit is not None and len(unit) > _MAX_NAME):
        return None
    return _look_up(name, unit)


@lru_cache(maxsize=4096)
def _look_up(name: str, unit: str | None) -> Meaning | None:
    given = None
    if unit is not None:
        given = find_unit(unit)
        if given is None:
            return None
    word = name.strip()
    tail = _UNIT_IN_NAME.search(word)
    if tail and tail.start() > 0:
        inside = find_unit_in_name(word)
        if inside is not None and given in (None, ""):
            given = inside
        if inside != "index":
            word = word[: tail.start()]
    meaning = _look_up_word(word, given)
    parts = _CAMEL.sub("_", word)
    return meaning or (None if parts == word else _look_up(parts, given))


def _look_up_word(word: str, given: str | None) -> Meaning | None:
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
    key = re.sub(r"[^a-z0-9]+", "_", plain).strip("_").removesuffix("_value")
    key = re.sub("_idx$", "_index", key)
    first, joined, rest = key.partition("_")
    if joined and first in _UNIT_FIRST:
        given, key = given or _UNIT_FIRST[first], rest
    if not is_of_room(key):
        return _look_up_key(key, given) if key in WORDS else None
    last = "_".join(key.split("_")[-2:]) if key.endswith("_index") else key.rpartition("_")[2]
    return _look_up_key(key, given) or _look_up_key(last, given, whole=False)


def is_of_room(name: str) -> bool:
    """Return whether a name may describe room air: it contains no word for anything else."""
    return _ELSEWHERE.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def _look_up_key(key: str, unit: str | None, *, whole: bool = True) -> Meaning | None:
    """Return the meaning of a name or, if not `whole`, of its last word.

    Most short last words are ambiguous, so they have no meaning.
    """
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
    return _fit(WORDS[key], unit) if key in WORDS else None


_SHORT: Final = frozenset({"co2", "rtemp", "rhumid", "rssi"})


def _fit(quantity: str, unit: str | None) -> Meaning | None:
    if unit is None:
        return Meaning(quantity, 1, 0)
    factors = _CONVERT[_find_own_unit(quantity)].get(unit)
    return None if factors is None else Meaning(quantity, *factors, unit)


def describe_unknown(names: Iterable[str], noun: str) -> str:
    """Describe names that mean quantities but are not their keys; empty if there are none."""
    found = {n: m.quantity for n in names if n not in QUANTITIES and (m := find_quantity(n))}
    keys, quantities = ", ".join(found), ", ".join(dict.fromkeys(found.values()))
    plural = "s" if len(found) > 1 else ""
    return f"unknown {noun}{plural} {keys}: use {quantities}" if found else ""


def replace_comma(text: str) -> str:
    """Replace the decimal comma of a number with a point; keep the unit that follows.

    >>> replace_comma("12,3 µg/m³"), replace_comma("1.234,5")
    ('12.3 µg/m³', '1.234,5')
    """
    return _COMMA.sub(r"\1.", text)


_COMMA: Final = re.compile(r"^(\s*[+-]?\d+),(?=\d)")


def split_unit(text: str) -> tuple[str, str | None]:
    """Split a number from its unit; if there is no unit, return the text and None.

    >>> split_unit("30.11 °C"), split_unit("41%"), split_unit("nan")
    (('30.11', '°C'), ('41', '%'), ('nan', None))
    """
    found = _WITH_UNIT.fullmatch(text.strip())
    return (found[1], found[2]) if found else (text, None)


def strip_unit(value: object) -> object:
    """Return the number from text that ends in a known unit; return other values unchanged.

    >>> strip_unit("70.7F"), strip_unit("10:05"), strip_unit(7)
    ('70.7', '10:05', 7)
    """
    number, unit = split_unit(value) if type(value) is str else ("", None)
    return number if unit and find_unit(unit) else value


_WITH_UNIT: Final = re.compile(
    r"([+-]?\d{1,12}(?:\.\d{0,12})?(?:[eE][+-]?\d{1,3})?)(?:\s+|(?=[^\d\s.+-]))(\S.{0,47})"
)
USUAL_QUANTITIES: Final = ("pm25", "pm1", "pm10", "tvoc_ppb", "voc_index", "rh", "temp", "co2")
UNIT_KEYS: Final = ("unit", "u", "units", "uom", "einheit", "unidad", "unité")
VALUE_KEYS: Final = ("value", "v", "val", "wert", "messwert", "valor", "valeur")


def find_units(content: Mapping[str, object]) -> dict[str, str]:
    """Return units by key.

    They come from ``<key>_unit``, from an object ``units``, or from ``unit``, which applies to the
    keys that it fits or, if it fits none, to all.
    """
    units: dict[str, str] = {}
    for key, value in content.items():
        word = _CAMEL.sub("_", key).rpartition("_")[2]
        if word.lower() not in UNIT_KEYS:
            continue
        name = key.removesuffix(word).rstrip("_")
        if type(value) is dict:
            units.update({k: unit for k, unit in value.items() if type(unit) is str})
        elif type(value) is not str:
            continue
        elif name:
            units[name] = value
        elif find_unit(value):
            fits = [k for k, v in content.items() if find_quantities({k: v}, {k: value})]
            units.update(dict.fromkeys(fits or content, value))
    return units


def find_quantities(
    content: Mapping[str, object], units: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Return all quantities whose names are unambiguous, in the units of the table.

    If several names mean the same quantity, the first one counts. But a name that is known as a
    whole takes precedence over a name with only a known first word and unit (``temp_SOIL``). A null
    or the text "nan" is a fault of its quantity. A value that is neither a number nor text with a
    number is ignored.
    """
    raw: dict[str, object] = {}
    for look_up in (find_quantity, _look_up_first_word):
        for name, value in content.items():
            unit = units.get(name) if units else None
            if type(value) is str and unit is None:
                value, unit = split_unit(value)  # noqa: PLW2901 - splits "6ug/m3"
            meaning = look_up(name, unit)
            if meaning is None or meaning.quantity in raw:
                continue
            plain = parse_number(value)
            if value is None:
                raw[meaning.quantity] = None
            elif plain is not None and (meaning.quantity != "battery" or 0 <= plain <= 100):
                raw[meaning.quantity] = meaning.convert(plain)
    return raw


_LEADING: Final = frozenset({"temp", "temperature", "hum", "humidity", "co2", "pressure"})


def _look_up_first_word(name: str, unit: str | None) -> Meaning | None:
    """Return a name's meaning if its *first* word is known and matches the unit, or None."""
    first, sep, _ = name.partition("_")
    return find_quantity(first, unit) if unit and sep and first.lower() in _LEADING else None
