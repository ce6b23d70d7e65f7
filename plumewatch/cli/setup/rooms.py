"""Guess where a sensor hangs from what it calls itself; a person then says yes or puts it right."""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

_KINDS: Final = {
    **dict.fromkeys(("boy", "boys"), "Boys' restroom"),
    "men": "Men's restroom",
    **dict.fromkeys(("girl", "girls"), "Girls' restroom"),
    "women": "Women's restroom",
    "staff": "Staff restroom",
    "locker": "Locker room",
    **dict.fromkeys(("restroom", "bathroom", "toilet", "wc"), "Restroom"),
}
_WINGS: Final = {"n": "North", "s": "South", "e": "East", "w": "West", "m": "Main building"}
_WING_AND_FLOOR: Final = re.compile(r"([a-z]+?)(\d)$")
_ORDINALS: Final = {"1": "1st", "2": "2nd", "3": "3rd"}


class Place(NamedTuple):
    """Names of a room for people; the floor may be empty."""

    building: str
    floor: str
    room: str


def guessed(sensor: str) -> Place:
    """Guess from the words of a name.

    >>> "/".join(guessed("n2-boys-1")), "/".join(guessed("24E124707C123456"))
    ("North/2nd floor/Boys' restroom", 'Main building//Room of 24E124707C123456')
    """
    words = re.split(r"[^a-z0-9]+", sensor.lower())
    room = next((_KINDS[word] for word in words if word in _KINDS), f"Room of {sensor}"[:80])
    for word in words:
        found = _WING_AND_FLOOR.match(word)
        if found and word not in _KINDS:
            wing, number = found.groups()
            floor = f"{_ORDINALS.get(number, f'{number}th')} floor"
            return Place(_WINGS.get(wing, wing.capitalize()), floor, room)
    named = next((w for w in words if w.isalpha() and len(w) > 2 and w not in _KINDS), "")
    building = named.capitalize() if named and room in _KINDS.values() else "Main building"
    return Place(building, "", room)


def place_of(text: str) -> Place:
    """Read ``Building/Floor/Room``, ``Building/Room`` or ``Room``; raises `ValueError`.

    >>> place_of("North/Boys"), place_of("Boys").building
    (Place(building='North', floor='', room='Boys'), 'Main building')
    """
    parts = [part.strip() for part in text.split("/")]
    if not 1 <= len(parts) <= 3 or not parts[-1] or any(len(part) > 80 for part in parts):
        raise ValueError(f"{text!r}: Building/Floor/Room, each at most 80 characters")
    building = parts[0] if len(parts) > 1 and parts[0] else "Main building"
    return Place(building, parts[1] if len(parts) == 3 else "", parts[-1])


def id_of(*names: str) -> str:
    """Make an id of names for people.

    >>> id_of("North", "", "Boys' restroom")
    'north-boys-restroom'
    """
    text = "-".join(filter(None, names)).lower().replace("'", "")
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:64] or "unnamed"


def distinct(named: Iterable[tuple[T, str]], taken: Iterable[str] = ()) -> dict[T, str]:
    """Keep names apart: of those that are the same, the first stays, others are numbered.

    >>> distinct([("Boys 1", "boys-1"), ("Boys-1", "boys-1")], ["girls"])
    {'Boys 1': 'boys-1', 'Boys-1': 'boys-1-2'}
    """
    found: dict[T, str] = {}
    gone = set(taken)
    for what, name in named:
        tries = chain((name,), (f"{name[:60]}-{number}" for number in count(2)))
        found[what] = next(one for one in tries if one not in gone)
        gone.add(found[what])
    return found
