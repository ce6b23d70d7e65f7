"""Which level of a topic names the sensor: a guess for a person to check."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingest.mapping.draft import SuggestError
from ingest.mapping.topics import TopicFilter
from ingest.validation import fold_id

if TYPE_CHECKING:
    from collections.abc import Iterable

_CAPTURE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\+?\}")
_VERSION: Final = re.compile(r"v?\d{1,2}(?:\.\d{1,2})?", re.IGNORECASE)
_OF_NAMES: Final = ("sensor", "device", "id", "node", "name", "mac", "serial")


@dataclass(frozen=True, slots=True)
class Named:
    """A filter, where in it the sensor is named, and a topic that it matches.

    `capture`: capture that names the sensor; empty if none does.
    `fixed`: name of the one sensor, if no capture names it.
    `why`: why this level, for the comment.
    `weak`: A key of the payload that names the device is better.
    `example`: A topic that the filter matches.
    """

    filter: str
    capture: str
    fixed: str
    why: str
    weak: bool
    example: str


def slug(text: str) -> str:
    """Return a name for a mapping, from a topic or what a person gave.

    >>> slug("Site/{room}/Détecteur 7/state")
    'site-detecteur-7-state'
    """
    plain = unicodedata.normalize("NFKD", _CAPTURE.sub("", text)).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    return "-".join(words)[:40].strip("-") or "device"


def named_topic(topic: str, ids: Iterable[str] | None, metric: int = -1) -> Named:
    """Return a filter for a topic.

    Raises `SuggestError`: no filter can be made of it.
    """
    levels = topic.split("/")
    if {"+", "#"} & set(levels):
        raise SuggestError("give the topic of a message, or one with {captures}, without + and #")
    example = "/".join(
        f"{found[1]}-1" if (found := _CAPTURE.fullmatch(level)) else level for level in levels
    )
    try:
        if _CAPTURE.search(topic):
            given = TopicFilter(topic)
            likely = [c for c in given.captures if any(w in c for w in _OF_NAMES)]
            capture = (likely or list(given.captures))[-1]
            why = "this capture names the sensor"
            return Named(topic, capture, "", why, weak=False, example=example)
        place, why, weak = _place(levels, set(map(fold_id, ids or ())), metric)
        names = {place: "id", metric: "metric"}
        text = "/".join(
            "{" + names[i] + "}" if i >= 0 and i in names else level
            for i, level in enumerate(levels)
        )
        TopicFilter(text)
    except ValueError as error:
        raise SuggestError(f"the topic cannot be a filter: it must be {error}") from error
    return Named(text, "id" if place >= 0 else "", levels[-1], why, weak, example)


def _place(levels: list[str], ids: set[str], metric: int) -> tuple[int, str, bool]:
    """Place of the level that names the sensor (-1 for none), why, and whether that is weak."""
    free = [i for i, level in enumerate(levels) if level and i != metric]
    named = [i for i in free if fold_id(levels[i]) in ids]
    if not free or (len(free) < 2 and metric < 0):
        return -1, "", True
    if named:
        return named[-1], "the payload names the device like this level", False
    with_digits = [
        i
        for i in free
        if any(c.isdigit() for c in levels[i]) and _VERSION.fullmatch(levels[i]) is None
    ]
    if with_digits:
        return with_digits[-1], "this level looks like the name of a device", False
    if len(free) >= 3:
        return free[-2], "the level before the last", True
    return (free[-1] if len(free) == 2 else free[0]), "a level of the topic", True
