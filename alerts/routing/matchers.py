r"""Labels of incidents, conditions on them, and the tree of routes to receivers.

As in Alertmanager 0.28. Conditions are written ``kind=~"vape|smoke"``, ``floor!="2"``, separated
by commas; a trailing comma and surrounding braces are allowed. Names and values are words or in
double quotes. A word is anything but white space and ``{}!=~,\"'```; within quotes ``\" \\ \n \t``
are escapes. Patterns are RE2 and match the whole value, in time linear in its length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import re2

from alerts.errors import MatcherError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from storage.registry import Room

LABELS: Final = ("site", "building", "floor", "room", "room_type", "kind", "severity", "sensor")
"""All labels; a matcher on another name is a mistake."""


def incident_labels(room: Room, *, kind: str, severity: str, sensor: str) -> dict[str, str]:
    """Return the labels of an incident; unknown ones are absent, which equals empty.

    >>> from storage.registry import Room
    >>> incident_labels(
    ...     Room("N2", "Boys", "", "North", ""), kind="vape", severity="warning", sensor="s1"
    ... )
    ... # doctest: +NORMALIZE_WHITESPACE
    {'building': 'North', 'room': 'N2', 'room_type': 'restroom', 'kind': 'vape',
     'severity': 'warning', 'sensor': 's1'}
    """
    values = (room.site, room.building, room.floor, room.id, room.kind, kind, severity, sensor)
    return {name: value for name, value in zip(LABELS, values, strict=True) if value}


MAX_PATTERN: Final = 1000
_WORD: Final = r"""[^\s{}!=~,\\"'`]+"""
_TEXT: Final = rf"""(?:"((?:[^"\\\n]|\\[nt\\"])*)"|({_WORD}))"""
_MATCHER: Final = re.compile(rf"\s*{_TEXT}\s*(=~|!~|!=|=)\s*{_TEXT}\s*(?:,\s*|$)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}


class MatchOp(StrEnum):
    """How a value is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; an absent label has the empty value.

    Raises MatcherError for an empty name, an unknown operator or an invalid pattern.

    >>> Matcher("floor", MatchOp.NOT_EQUAL, "2").matches({"kind": "vape"})
    True
    """

    name: str
    op: MatchOp
    value: str
    _test: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise MatcherError("a label needs a name")
        try:
            op = MatchOp(self.op)
        except ValueError as error:
            allowed = " ".join(MatchOp)
            raise MatcherError(f"{self.op!r} is not an operator; use one of {allowed}") from error
        pattern = op in (MatchOp.REGEX, MatchOp.NOT_REGEX)
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "_test", _compiled(self.value) if pattern else self.value.__eq__)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels fulfill the condition."""
        wanted = self.op in (MatchOp.EQUAL, MatchOp.REGEX)
        return bool(self._test(labels.get(self.name, ""))) is wanted

    def __str__(self) -> str:
        name = self.name if re.fullmatch(_WORD, self.name) else _quoted(self.name)
        return f"{name}{self.op}{_quoted(self.value)}"


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Callable[[str], bool]:
    if len(pattern) > MAX_PATTERN:
        raise MatcherError(f"a regular expression has at most {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        cause = error.args[0] if error.args else "invalid"
        text = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)
        raise MatcherError(f"{pattern!r} is not a regular expression (RE2): {text}") from error
    return lambda value: compiled.fullmatch(value) is not None


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether the labels fulfill every condition; true without conditions."""
    return all(matcher.matches(labels) for matcher in matchers)


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read matchers, in braces or without; raise MatcherError with the column, from 1.

    >>> [str(m) for m in parse_matchers('{kind=~"vape|smoke", floor!=2}')]
    ['kind=~"vape|smoke"', 'floor!="2"']
    """
    inner, at = text.strip(), 0
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    found: list[Matcher] = []
    while at < len(inner):
        column = text.index(inner) + at + 1
        match = _MATCHER.match(inner, at)
        if match is None:
            raise MatcherError(f'column {column}: expected a condition, such as floor="2"')
        name, op, value = match[1] or match[2] or "", MatchOp(match[3]), match[4] or match[5] or ""
        try:
            found.append(Matcher(_unescaped(name), op, _unescaped(value)))
        except MatcherError as error:
            raise MatcherError(f"column {column}: {error}") from error
        at = match.end()
    return tuple(found)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES[found[1]], text)


def _quoted(text: str) -> str:
    r"""Write a value in quotes so that it is read back unchanged.

    >>> print(_quoted('O"Neil'))
    "O\"Neil"
    """
    escapes = {char: f"\\{key}" for key, char in _ESCAPES.items()}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the tree; without a receiver it has that of its parent.

    All matchers must match; if it `continues`, later siblings are tried even so.
    """

    receiver: str | None
    matchers: tuple[Matcher, ...] = ()
    continues: bool = False
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A node that matched, with the path from the root to it."""

    receiver: str
    path: tuple[Route, ...]

    def why(self) -> str:
        """Say which matchers led here.

        >>> Chosen("staff", (Route("staff"),)).why()
        'no route matches: default receiver'
        """
        matchers = [str(m) for route in self.path for m in route.matchers]
        return "route " + ", ".join(matchers) if matchers else "no route matches: default receiver"


def chosen(root: Route, labels: Mapping[str, str]) -> tuple[Chosen, ...]:
    """Return the nodes that match, depth first, at least one; ValueError for a bad root."""
    if not root.receiver or root.matchers:
        raise ValueError("the root route needs a receiver and no matchers")
    return tuple(_matching(root, (), "", labels))


def _matching(
    route: Route, above: tuple[Route, ...], inherited: str, labels: Mapping[str, str]
) -> Iterator[Chosen]:
    receiver = route.receiver or inherited
    path = (*above, route)
    matched = False
    for child in route.routes:
        if not all_match(child.matchers, labels):
            continue
        matched = True
        yield from _matching(child, path, receiver, labels)
        if not child.continues:
            break
    if not matched:
        yield Chosen(receiver, path)


def nodes(
    root: Route, where: tuple[int, ...] = (), above: str = ""
) -> Iterator[tuple[tuple[int, ...], str, Route]]:
    """Yield every node: its place (index of the child at each level), receiver, itself."""
    receiver = root.receiver or above
    yield where, receiver, root
    for i, child in enumerate(root.routes):
        yield from nodes(child, (*where, i), receiver)
