"""Messages in the language of whoever reads them.

The source of every message is its English text, ``_("%(name)s is responding", name=...)``: a whole
sentence with named placeholders; a literal percent sign is ``%%``, in templates too. Plurals are
`ngettext`, tables of words `Words`; a message that is composed before its reader is known is a
`Message`. `python -m language.catalogue` collects them into ``es.po`` and compiles it to ``es.mo``,
which is read here.

Who reads is known to the caller: ``with speaking("es"):``, for the current task or thread, and
English otherwise, so logs, commands, and what other systems receive stay in English.

What parts store and exchange is a `Fact`: a code with its parameters. Whoever shows it finds the
sentence in the part's `Sentences`, in the reader's language. Nothing reads a sentence back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ENGLISH: Final = "en"
LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({ENGLISH: "English", "es": "Español"})
"""Each language in its own words, by the code that pages, settings and catalogues use."""

_current: Final = ContextVar("language", default=ENGLISH)
_RANGE: Final = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=([0-9.]{1,5})\s*)?")
_LONGEST_HEADER: Final = 500


def get_language() -> str:
    """Return the code of the language that messages are in now."""
    return _current.get()


def set_language(code: str) -> None:
    """Change the language for the rest of the current task; unknown codes are English."""
    _current.set(code if code in LANGUAGES else ENGLISH)


@contextmanager
def use_language(code: str) -> Iterator[None]:
    """Change the language for a block; unknown codes are English."""
    token = _current.set(code if code in LANGUAGES else ENGLISH)
    try:
        yield
    finally:
        _current.reset(token)


def choose_language(header: str) -> str:
    """Return the language that an Accept-Language header prefers; empty if we have none of them.

    >>> [choose_language(h) for h in ("fr-CA, es-MX;q=0.8, en;q=0.7", "de", "es;q=0")]
    ['es', '', '']
    """
    ranked = []
    for part in header[:_LONGEST_HEADER].split(","):
        found = _RANGE.fullmatch(part)
        if found and found[1].lower() in LANGUAGES:
            ranked.append((_parse_quality(found[2]), found[1].lower()))
    best, code = max(ranked, key=lambda pair: pair[0], default=(0.0, ""))
    return code if best > 0 else ""


def _parse_quality(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


def _(message: str, **values: object) -> str:
    """Return a message in the current language, with its placeholders filled."""
    return gettext(message) % values


def gettext(message: str) -> str:
    """Return the pattern of a message in the current language."""
    return message and _load_translations(_current.get()).gettext(message)


def in_context(context: str, message: str) -> str:
    """Return a word that is another in other languages by where it is: "Open" on a button."""
    return _load_translations(_current.get()).pgettext(context, message)


def ngettext(one: str, many: str, n: float, **values: object) -> str:
    """Return one of two messages by a number, which is also the placeholder ``n``."""
    return plural(one, many, n) % {"n": n, **values}


def plural(one: str, many: str, n: float) -> str:
    """Return the pattern of one of two messages by a number."""
    return _load_translations(_current.get()).ngettext(one, many, 1 if n == 1 else 2)


def mark(message: str) -> str:
    """Mark a text of a table for the catalogue; whoever shows it translates it."""
    return message


def mark_plural(one: str, many: str) -> tuple[str, str]:
    """Mark the two forms of a text of a table, as `mark`."""
    return one, many


class Coded(StrEnum):
    """Codes of one kind, each with its message: ``OPEN = "open", mark("Open")``."""

    message: str | tuple[str, str]

    def __new__(cls, code: str, message: str | tuple[str, str] = "") -> Self:
        """Make a member, which is its code."""
        if not message:
            raise TypeError(f"{cls.__name__} {code!r} has no message")
        member = str.__new__(cls, code)
        member._value_, member.message = code, message
        return member

    @classmethod
    def texts(cls) -> dict[str, Any]:
        """Return the messages by code, for `Words` or `Sentences`."""
        return {code.value: code.message for code in cls}


class Words(Mapping[str, str]):
    """A table of `mark`-ed words by key, each returned in the current language."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = dict(words)

    def __getitem__(self, key: str) -> str:
        return gettext(self._words[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be said later, in the language of whoever reads it: ``str(message)``."""

    pattern: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return gettext(self.pattern) % self.values


def later(message: str, **values: object) -> Message:
    """Return a message to be said later."""
    return Message(message, values)


def capitalize(text: str) -> str:
    """Begin with a capital, and leave the rest as it is."""
    return text[:1].upper() + text[1:]


def join_words(items: Iterable[str]) -> str:
    """Write things one after the other.

    >>> join_words(["spray", "steam", "dust"])
    'spray, steam and dust'
    """
    *others, last = list(items) or [""]
    return _("%(others)s and %(last)s", others=", ".join(others), last=last) if others else last


@cache
def _load_translations(code: str) -> NullTranslations:
    if code == ENGLISH:
        return NullTranslations()
    with resources.files(__package__).joinpath(f"{code}.mo").open("rb") as file:
        return GNUTranslations(file)


class Fact(msgspec.Struct, frozen=True):
    """What happened, by a code of the part that says it; `params` are numbers, names or codes."""

    code: str
    params: dict[str, str | int | float | Fact | tuple[Fact, ...]] = {}

    def __hash__(self) -> int:
        """Make facts usable as keys."""
        return hash((self.code, *self.params.items()))


Parameter: TypeAlias = str | int | float | Fact | tuple[Fact, ...]
_FACTS: Final = msgspec.json.Decoder(tuple[Fact, ...])
_PARAMS: Final = msgspec.json.Decoder(dict[str, Parameter])


def fact(code: str, **params: Parameter) -> Fact:
    """Return a fact.

    >>> to_json([fact("back", after_s=90.0)])
    '[{"code":"back","params":{"after_s":90.0}}]'
    """
    return Fact(str(code), params)


def to_json(value: object) -> str:
    """Write facts, parameters or what contains them for a column of a database."""
    return msgspec.json.encode(value).decode()


def parse_facts(text: str) -> tuple[Fact, ...]:
    """Read a list of facts."""
    return _FACTS.decode(text)


def parse_fact(text: str) -> Fact:
    """Read one fact."""
    return msgspec.json.decode(text, type=Fact)


def parse_params(text: str) -> dict[str, Parameter]:
    """Read parameters."""
    return _PARAMS.decode(text)


class Sentences:
    """The sentences of a part's facts by code: a message, or two of `mark_plural` by ``n``.

    `write` are the functions that write parameters, by name, from the value and all of them; others
    are written as they are.

    >>> Sentences({"back": "back after %(time)s"}, {"time": lambda s, _: f"{s:.0f} s"}).of(
    ...     fact("back", time=90.0))
    'back after 90 s'
    """

    def __init__(
        self,
        sentences: Mapping[Any, str | tuple[str, str]],
        write: Mapping[str, Callable[[Any, Mapping[str, Any]], object]] | None = None,
    ) -> None:
        self._sentences = sentences
        self._write = write or {}

    def write(self, fact: Fact) -> str:
        """Return the sentence of a fact in the reader's language."""
        found = self._sentences[fact.code]
        values: dict[str, Any] = {
            name: self._write[name](value, fact.params) if name in self._write else value
            for name, value in fact.params.items()
        }
        if isinstance(found, str):
            return gettext(found) % values
        return plural(*found, values["n"]) % values
