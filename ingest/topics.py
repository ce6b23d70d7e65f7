"""MQTT topic filters, and filters with captures such as ``site/{room}/sensor/{id}/state``.

A level of a `TopicFilter` is fixed text, ``+`` (any one level), ``{name}`` (captures one level) or
``{name+}`` (captures one or more levels joined by ``/``; at most once in a filter). Unlike in MQTT,
a plain filter can also have a `#` in the middle, which matches one or more levels.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_LENGTH: Final = 256
MAX_LEVELS: Final = 16
_CAPTURE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})(\+?)\}")
_ONE, _MANY = "[^/]*", ".*"


def matches_topic(pattern: str, topic: str) -> bool:
    """Return whether a topic matches an MQTT filter.

    >>> matches_topic("tele/#/SENSOR", "tele/north/2/boys/SENSOR")
    True
    >>> matches_topic("tele/#/SENSOR", "tele/SENSOR"), matches_topic("tele/#", "tele")
    (False, True)
    """
    return _compile_filter(pattern).fullmatch(topic) is not None


@lru_cache(maxsize=4_096)
def _compile_filter(pattern: str) -> re.Pattern[str]:
    if pattern.endswith("/#"):
        return re.compile(f"{_compile_filter(pattern[:-2]).pattern}(?:/.*)?", re.DOTALL)
    open_levels = {"+": _ONE, "#": _MANY}
    levels = (open_levels.get(level) or re.escape(level) for level in pattern.split("/"))
    return re.compile("/".join(levels), re.DOTALL)


def covers(wide: str, narrow: str) -> bool:
    """Return whether `wide` matches every topic that `narrow` matches."""
    return matches_topic(wide, narrow) and (wide.endswith("#") or not narrow.endswith("#"))


def _split_levels(text: str) -> list[str]:
    levels = text.split("/")
    if not text or len(text) > MAX_LENGTH or len(levels) > MAX_LEVELS or not text.isprintable():
        raise ValueError(f"1 to {MAX_LENGTH} printable characters in at most {MAX_LEVELS} levels")
    return levels


def check_filter(text: str) -> str:
    """Return `text` if it is a valid filter.

    Raises `ValueError` with a noun phrase that describes what is allowed.
    """
    levels = _split_levels(text)
    if levels.count("#") > 1 or any(len(level) > 1 and set(level) & set("+#") for level in levels):
        raise ValueError("a topic filter: levels that are text or +, and at most one #")
    return text


class TopicFilter:
    """A topic filter with captures; in its `pattern`, they are ``+`` or ``#``.

    Raises `ValueError` with a noun phrase that describes what is allowed.

    >>> found = TopicFilter("site/{room}/sensor/{id}/state")
    >>> found.match("site/n2/sensor/b7/state")
    {'room': 'n2', 'id': 'b7'}
    >>> found.match("site/n2/state") is None, found.pattern
    (True, 'site/+/sensor/+/state')
    """

    __slots__ = ("_regex", "captures", "pattern")

    def __init__(self, text: str) -> None:
        levels = _split_levels(text)
        found = [_CAPTURE.fullmatch(level) for level in levels]
        fixed = [level for level, capture in zip(levels, found, strict=True) if not capture]
        if any(level != "+" and set(level) & set("+#{}") for level in fixed):
            raise ValueError("levels that are text, +, {name} or {name+}, not mixtures of these")
        if set(fixed) <= {"", "+"}:
            raise ValueError("a filter with at least one fixed level, or it would match everything")
        captures = [capture for capture in found if capture]
        self.captures = tuple(capture[1] for capture in captures)
        if len(set(self.captures)) != len(captures):
            raise ValueError("captures with different names")
        if sum(bool(capture[2]) for capture in captures) > 1:
            raise ValueError("a filter with at most one {name+}")
        self.pattern = _CAPTURE.sub(lambda capture: "#" if capture[2] else "+", text)
        named = (
            f"(?P<{capture[1]}>{_MANY if capture[2] else _ONE})"
            if capture
            else _ONE
            if level == "+"
            else re.escape(level)
            for level, capture in zip(levels, found, strict=True)
        )
        self._regex = re.compile("/".join(named), re.DOTALL)

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the captured levels of a topic by name; None if it does not match."""
        found = self._regex.fullmatch(topic)
        return found.groupdict() if found else None
