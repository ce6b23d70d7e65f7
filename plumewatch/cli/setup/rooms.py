"""Guess the room of a sensor from its name; a person then confirms or corrects it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from language.plain_text import make_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

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
    """A room's name, building and floor, as people call them; building and floor may be empty."""

    building: str
    floor: str
    room: str

    @property
    def labels(self) -> dict[str, str]:
        """Building and floor, if any, as keys of a `[[room]]`."""
        found = {"building": self.building, "floor": self.floor}
        return {key: name for key, name in found.items() if name}


def guess_place(sensor: str) -> Place:
    """Guess the place from the words of a name.

    >>> "/".join(guess_place("n2-boys-1")), "/".join(guess_place("24E124707C123456"))
    ("North/2nd floor/Boys' restroom", '//Room of 24E124707C123456')
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
    building = named.capitalize() if named and room in _KINDS.values() else ""
    return Place(building, "", room)


def parse_place(text: str) -> Place:
    """Read ``Building/Floor/Room``, ``Building/Room`` or ``Room``; raises `ValueError`.

    >>> parse_place("North/Boys"), parse_place("Boys").building
    (Place(building='North', floor='', room='Boys'), '')
    """
    parts = [part.strip() for part in text.split("/")]
    if not 1 <= len(parts) <= 3 or not parts[-1] or any(len(part) > 80 for part in parts):
        raise ValueError(f"{text!r}: enter Building/Floor/Room, each at most 80 characters")
    return Place(parts[0] if parts[1:] else "", parts[1] if parts[2:] else "", parts[-1])


def find_room_ids(places: Collection[Place], known: Mapping[Place, str]) -> dict[Place, str]:
    """Return the id of each room: its own if it is known, or else a new one.

    >>> boys = Place("North", "", "Boys")
    >>> find_room_ids([boys, Place("North", "", "boys")], {boys: "b"})
    {Place(building='North', floor='', room='Boys'): 'b', \
Place(building='North', floor='', room='boys'): 'north-boys'}
    """
    ids = dict(known)
    for place in places:
        if place not in ids:
            ids[place] = make_id(filter(None, place), ids.values(), "room")
    return {place: ids[place] for place in places}
