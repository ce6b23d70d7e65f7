r"""Labels of incidents, and conditions on them.

They are written as in Alertmanager: ``kind=~"vape|smoke"``, ``floor!="2"``. Matchers are separated
by commas; a trailing comma and surrounding braces are allowed. Names and values are words or in
double quotes. A word is anything but white space and ``{}!=~,\"'```; within quotes ``\" \\ \n \t``
are escapes. Patterns are RE2 and match the whole value, in time linear in its length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import re2

from alerts.errors import MatcherError
from alerts.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from storage.registry import Room

LABELS: Final = ("site", "building", "floor", "room", "room_type", "kind", "severity", "sensor")
"""All labels; a matcher on another name is a mistake."""
SEVERITIES: Final = tuple(severity.value for severity in Severity)


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
_RESERVED: Final = re.compile(r"[\s{}!=~,\\\"'`]")
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<op>=~|!~|!=|=)|(?P<mark>[{},])|"(?P<quoted>(?:[^"\\\n]|\\.)*)"
    |(?P<word>[^\s{}!=~,\\"'`]+)|(?P<end>$))""",
    re.VERBOSE,
)
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
        name = _quoted(self.name) if _RESERVED.search(self.name) else self.name
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
    tokens = _tokens(text)
    token = next(tokens)
    braces = token.kind == "{"
    if braces:
        token = next(tokens)
    found: list[Matcher] = []
    while token.kind not in ("end", "}"):
        name, op = token.expect("word"), next(tokens).expect("op")
        value = next(tokens).expect("word", "a value")
        try:
            found.append(Matcher(name.text, MatchOp(op.text), value.text))
        except MatcherError as error:
            raise MatcherError(f"column {name.column}: {error}") from error
        token = next(tokens)
        if token.kind != ",":
            break
        token = next(tokens)
    if braces:
        token.expect("}", "a comma or a closing brace" if found else "a closing brace")
        token = next(tokens)
    token.expect("end", "a comma" if found and token.kind != "}" else "the end")
    return tuple(found)


class _Token(NamedTuple):
    """A word, an operator (op), a mark by itself, the end, or something else."""

    kind: str
    text: str
    column: int

    def expect(self, kind: str, what: str = "") -> _Token:
        if self.kind == kind:
            return self
        what = what or {"word": "a label name", "op": "one of = != =~ !~"}[kind]
        here = "the end" if self.kind == "end" else repr(self.text)
        raise MatcherError(f"column {self.column}: expected {what}, found {here}")


def _tokens(text: str) -> Iterator[_Token]:
    """Yield words, operators and marks, then the end again and again."""
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            if text[at] == '"':
                raise MatcherError(f"column {at + 1}: the quote is not closed on its line")
            yield _Token("other", text[at], at + 1)
            return
        kind = match.lastgroup or "end"
        value, column = match[kind], match.start(kind) + 1
        if kind == "quoted":
            kind, value, column = "word", _unescaped(value, column), column - 1
        yield _Token(value if kind == "mark" else kind, value, column)
        at = match.end()


def _unescaped(text: str, column: int) -> str:
    def escape(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPES:
            raise MatcherError(f"column {column + found.start()}: there is no escape {found[0]}")
        return _ESCAPES[found[1]]

    return re.sub(r"\\(.)", escape, text, flags=re.DOTALL)


def _quoted(text: str) -> str:
    r"""Write a value in quotes so that it is read back unchanged.

    >>> print(_quoted('O"Neil'))
    "O\"Neil"
    """
    escapes = {char: f"\\{key}" for key, char in _ESCAPES.items()}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'
