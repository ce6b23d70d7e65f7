r"""Conditions on labels, written as in Alertmanager: ``kind=~"vape|smoke"``, ``floor!="2"``.

Grammar, as Alertmanager's UTF-8 parser has it: matchers separated by commas, a trailing comma and
surrounding braces are allowed; names and values are words or stand in double quotes. A word holds
anything but white space and ``{ } ! = ~ , \ " ' ```; within quotes the escapes of Go's strings
hold (``\n \t \" \\ \x41 \u00e4`` and so on).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from alerts.errors import MatcherError
from alerts.routing.regex import whole_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class MatchOp(StrEnum):
    """What is asked of a value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label.

    Attributes
    ----------
    name : str
        Of the label. A label that is absent has the empty value.
    value : str
        Compared as it is, or an RE2 pattern for the whole value.

    Raises
    ------
    MatcherError
        If the name is empty, the operator unknown, or the pattern no RE2 pattern.

    Examples
    --------
    >>> Matcher("floor", MatchOp.NOT_EQUAL, "2").matches({"kind": "vape"})
    True
    """

    name: str
    op: MatchOp
    value: str
    _test: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the pattern."""
        if not self.name:
            raise MatcherError("a label has a name")
        try:
            op = MatchOp(self.op)
        except ValueError as error:
            allowed = " ".join(MatchOp)
            raise MatcherError(f"{self.op!r} is no operator; there are {allowed}") from error
        if op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
            test = whole_value(self.value)
        else:
            test = self.value.__eq__
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "_test", test)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels fulfil the condition."""
        wanted = self.op in (MatchOp.EQUAL, MatchOp.REGEX)
        return bool(self._test(labels.get(self.name, ""))) is wanted

    def __str__(self) -> str:
        """As it would be written."""
        name = self.name if not any(map(_reserved, self.name)) else _quoted(self.name)
        return f"{name}{self.op}{_quoted(self.value)}"


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Tell whether the labels fulfil every condition; true of no condition."""
    return all(matcher.matches(labels) for matcher in matchers)


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read matchers, separated by commas, in braces or without.

    Raises
    ------
    MatcherError
        With the column, counted from 1, and what was expected there.

    Examples
    --------
    >>> [str(m) for m in parse_matchers('{kind=~"vape|smoke", floor!=2}')]
    ['kind=~"vape|smoke"', 'floor!="2"']
    """
    tokens = _Tokens(text)
    braces = tokens.accept("{") is not None
    found: list[Matcher] = []
    while not tokens.ended and tokens.peek != "}":
        column = tokens.column
        name = tokens.word("a label name")
        op = tokens.operator()
        value = tokens.word("a value")
        try:
            found.append(Matcher(name, op, value))
        except MatcherError as error:
            raise MatcherError(f"column {column}: {error}") from error
        if tokens.accept(",") is None:
            break
    if braces and tokens.accept("}") is None:
        raise tokens.expected("a comma or a closing brace" if found else "a closing brace")
    if not tokens.ended:
        raise tokens.expected("a comma" if found and tokens.peek != "}" else "the end")
    return tuple(found)


_SPACE: Final = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_RESERVED: Final = frozenset("{}!=~,\\\"'`")
_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_HEX: Final = {"x": 2, "u": 4, "U": 8}


def _reserved(char: str) -> bool:
    return char in _RESERVED or char in _SPACE


class _Tokens:
    """Reads a text from left to right; white space between tokens is skipped."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip()

    @property
    def ended(self) -> bool:
        return self._at >= len(self._text)

    @property
    def peek(self) -> str:
        return self._text[self._at : self._at + 1]

    @property
    def column(self) -> int:
        return self._at + 1

    def _skip(self) -> None:
        while self.peek and self.peek in _SPACE:
            self._at += 1

    def accept(self, wanted: str) -> str | None:
        if not self._text.startswith(wanted, self._at):
            return None
        self._at += len(wanted)
        self._skip()
        return wanted

    def expected(self, what: str) -> MatcherError:
        here = repr(self.peek) if self.peek else "the end"
        return MatcherError(f"column {self.column}: expected {what}, found {here}")

    def operator(self) -> MatchOp:
        for op in (MatchOp.REGEX, MatchOp.NOT_REGEX, MatchOp.NOT_EQUAL, MatchOp.EQUAL):
            if self.accept(op.value) is not None:
                return op
        raise self.expected("one of = != =~ !~")

    def word(self, what: str) -> str:
        if self.peek == '"':
            return self._quoted_word()
        start = self._at
        while self.peek and not _reserved(self.peek):
            self._at += 1
        if self._at == start:
            raise self.expected(what)
        found = self._text[start : self._at]
        self._skip()
        return found

    def _quoted_word(self) -> str:
        start = self._at
        self._at += 1
        out = bytearray()
        while self.peek != '"':
            if self.ended:
                raise MatcherError(f"column {start + 1}: the quote is never closed")
            if self.peek == "\n":
                raise MatcherError(f"column {self.column}: a line break in quotes is written \\n")
            out += self._escaped() if self.peek == "\\" else self._char()
        self._at += 1
        self._skip()
        try:
            return out.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MatcherError(f"column {start + 1}: the quoted text is not UTF-8") from error

    def _char(self) -> bytes:
        char = self.peek
        self._at += 1
        try:
            return char.encode("utf-8")
        except UnicodeEncodeError as error:
            raise MatcherError(f"column {self._at}: not valid Unicode") from error

    def _escaped(self) -> bytes:
        """One escape of a Go string; octal and two hexadecimal digits are bytes."""
        column = self.column
        kind = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if kind in _ESCAPES:
            return _ESCAPES[kind].encode()
        if kind in _HEX:
            digits = self._digits(_HEX[kind], "0123456789abcdefABCDEF")
            number = int(digits, 16) if digits else -1
        else:
            self._at -= 1
            digits = self._digits(3, "01234567")
            number = int(digits, 8) if digits else -1
        try:
            if kind in ("u", "U"):
                return chr(number).encode("utf-8")
            return bytes([number])
        except (ValueError, OverflowError) as error:  # also of a surrogate
            raise MatcherError(f"column {column}: no such escape in quotes") from error

    def _digits(self, count: int, allowed: str) -> str:
        found = self._text[self._at : self._at + count]
        if len(found) != count or any(c not in allowed for c in found):
            return ""
        self._at += count
        return found


def _quoted(text: str) -> str:
    r"""Write a value in quotes so that it reads back as the same.

    Examples
    --------
    >>> print(_quoted('O"Neil'))
    "O\"Neil"
    """
    known = {char: f"\\{key}" for key, char in _ESCAPES.items()}
    return '"' + "".join(known.get(char, char) for char in text) + '"'
