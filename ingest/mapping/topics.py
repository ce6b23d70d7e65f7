"""Topic filters with named captures: ``site/{room}/sensor/{id}/state``.

A level is fixed text, ``+`` (any one level), ``{name}`` (one level, kept under a name) or
``{name+}`` (one or more levels, kept joined by ``/``; at most once). Matching is a comparison of
levels, linear in the length of the topic.
"""

from __future__ import annotations

import re
from typing import Final

MAX_LENGTH: Final = 256
MAX_LEVELS: Final = 16
_CAPTURE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})(\+?)\}")


class TopicFilter:
    """A parsed topic filter.

    In `pattern`, captures are ``+`` or ``#``, as in `ingest.decoding.topic_matches`. Raises
    `ValueError` with a noun phrase: what is allowed.

    >>> found = TopicFilter("site/{room}/sensor/{id}/state")
    >>> found.match("site/n2/sensor/b7/state")
    {'room': 'n2', 'id': 'b7'}
    >>> found.match("site/n2/state") is None, found.pattern
    (True, 'site/+/sensor/+/state')
    """

    __slots__ = ("_fixed", "_many", "_names", "captures", "pattern", "text")

    def __init__(self, text: str) -> None:
        levels = text.split("/")
        if not text or len(text) > MAX_LENGTH or len(levels) > MAX_LEVELS:
            raise ValueError(f"1 to {MAX_LENGTH} characters in at most {MAX_LEVELS} levels")
        if not text.isprintable():
            raise ValueError("printable text")
        self.text = text
        self._fixed: list[str | None] = []
        self._names: list[str] = []
        self._many = -1
        pattern: list[str] = []
        for place, level in enumerate(levels):
            found = _CAPTURE.fullmatch(level)
            if found is None and level != "+" and set(level) & set("+#{}"):
                raise ValueError("levels that are text, + or {name} or {name+}, not parts of them")
            if found is not None and found[2]:
                if self._many >= 0:
                    raise ValueError("a filter with at most one {name+}")
                self._many = place
            self._fixed.append(None if found or level == "+" else level)
            self._names.append(found[1] if found else "")
            pattern.append(("#" if found[2] else "+") if found else level)
        if not any(self._fixed):
            raise ValueError("a filter with at least one fixed level, or it would take everything")
        self.captures = tuple(name for name in self._names if name)
        if len(set(self.captures)) != len(self.captures):
            raise ValueError("captures with different names")
        self.pattern = "/".join(pattern)

    def match(self, topic: str) -> dict[str, str] | None:
        """Return what the captures hold in a topic; None if it does not match."""
        have = topic.split("/")
        more = len(have) - len(self._fixed)
        if self._many >= 0 and more >= 0:
            end = self._many + more + 1
            have[self._many : end] = ["/".join(have[self._many : end])]
        elif more:
            return None
        for fixed, level in zip(self._fixed, have, strict=True):
            if fixed is not None and fixed != level:
                return None
        return {name: level for name, level in zip(self._names, have, strict=True) if name}


def mqtt_filter(text: str) -> str:
    """Return a topic filter of MQTT, in which a `#` may also stand inside (one or more levels).

    Raises `ValueError`: A noun phrase: what is allowed.

    >>> mqtt_filter("lora/+/up")
    'lora/+/up'
    """
    levels = text.split("/")
    if not text or len(text) > MAX_LENGTH or len(levels) > MAX_LEVELS or not text.isprintable():
        raise ValueError(f"1 to {MAX_LENGTH} printable characters in at most {MAX_LEVELS} levels")
    if levels.count("#") > 1 or any(len(level) > 1 and set(level) & set("+#") for level in levels):
        raise ValueError("a topic filter: levels that are text or +, and at most one #")
    return text
