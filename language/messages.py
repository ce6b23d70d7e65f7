"""Messages, dates and times in the reader's language.

The source of every message is its English text, ``_("%(name)s is responding", name=...)``: a whole
sentence with named placeholders. Write a literal percent sign as ``%%``, in templates too. Use
`ngettext` for plurals, `Words` for tables of words, and `Message` for a message that is composed
before its reader is known. `python -m language.catalog` collects the messages into ``es.po`` and
compiles it to ``es.mo``, which this module reads.

The caller sets the language with ``with use_language("es"):`` for the current task or thread.
Otherwise, the language is English, so logs, commands and data for other systems stay in English.

Components store and exchange a `Fact`: a code with parameters. Code that shows a fact looks up its
sentence in the component's `Sentences`, in the reader's language. Sentences are never parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date

ENGLISH: Final = "en"
LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({ENGLISH: "English", "es": "Español"})
"""Each language's own name, by its code in pages, settings and catalogs."""

_current: Final = ContextVar("language", default=ENGLISH)
_RANGE: Final = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=(\d(?:\.\d*)?)\s*)?")
_LONGEST_HEADER: Final = 500
_ARTICLE: Final = re.compile(
    r"\b(a )?las (?=(?:<time\b[^>]*>)?(?:(1[: ])|(?:lun|mar|mié|jue|vie|sáb|dom)\b"
    r"|\d+ (?:de )?(?:ene|feb|mar|abr|may|jun|jul|ago|sep|oct|nov|dic)))"
)
"""The Spanish article "las" before one o'clock or a date, where it must be "la" or "el"."""


def get_language() -> str:
    """Return the code of the current language."""
    return _current.get()


def set_language(code: str) -> None:
    """Set the language for the rest of the current task; unknown codes mean English."""
    _current.set(code if code in LANGUAGES else ENGLISH)


@contextmanager
def use_language(code: str) -> Iterator[None]:
    """Set the language for a block; unknown codes mean English."""
    token = _current.set(code if code in LANGUAGES else ENGLISH)
    try:
        yield
    finally:
        _current.reset(token)


def choose_language(header: str) -> str:
    """Return the supported language that an Accept-Language header prefers; empty if there is none.

    >>> [choose_language(h) for h in ("fr-CA, es-MX;q=0.8, en;q=0.7", "de", "es;q=0")]
    ['es', '', '']
    """
    ranked = []
    for part in header[:_LONGEST_HEADER].split(","):
        found = _RANGE.fullmatch(part)
        if found and found[1].lower() in LANGUAGES:
            ranked.append((float(found[2] or 1), found[1].lower()))
    best, code = max(ranked, key=lambda pair: pair[0], default=(0.0, ""))
    return code if best > 0 else ""


def _(message: str, **values: object) -> str:
    """Return a message in the current language, with its placeholders filled."""
    return agree(gettext(message) % values)


def agree(text: str) -> str:
    """Make Spanish articles agree with the times after them, which may be in a `time` element.

    >>> with use_language("es"):
    ...     print(agree("a las 1:05 p.m., desde las lun 7 de sept, a las 11:05"))
    a la 1:05 p.m., desde el lun 7 de sept, a las 11:05
    """
    if get_language() == ENGLISH:
        return text
    return _ARTICLE.sub(lambda found: f"{found[1] or ''}la " if found[2] else "el ", text)


def gettext(message: str) -> str:
    """Return a message's pattern in the current language."""
    return message and _load_translations(_current.get()).gettext(message)


def in_context(context: str, message: str) -> str:
    """Return a word whose translation depends on the context, such as "Open" on a button."""
    return _load_translations(_current.get()).pgettext(context, message)


def ngettext(one: str, many: str, n: float, **values: object) -> str:
    """Return the singular or plural message for a number, which also fills ``n``."""
    return plural(one, many, n) % {"n": n, **values}


def plural(one: str, many: str, n: float) -> str:
    """Return the singular or plural pattern for a number."""
    return _load_translations(_current.get()).ngettext(one, many, 1 if n == 1 else 2)


def mark(message: str) -> str:
    """Mark a text in a table for the catalog; code that shows it translates it."""
    return message


def mark_words(words: str) -> list[str]:
    """Mark each word of a comma-separated list, like `mark`."""
    return words.split(", ")


def mark_plural(one: str, many: str) -> tuple[str, str]:
    """Mark both forms of a text in a table, like `mark`."""
    return one, many


class Coded(StrEnum):
    """Codes with their messages: ``OPEN = "open", mark("Open")``."""

    message: str | tuple[str, str]

    def __new__(cls, code: str, message: str | tuple[str, str] = "") -> Self:
        """Create a member that equals its code."""
        if not message:
            raise TypeError(f"{cls.__name__} {code!r} has no message")
        member = str.__new__(cls, code)
        member._value_, member.message = code, message
        return member

    @classmethod
    def list_texts(cls) -> dict[str, Any]:
        """Return the messages by code, for `Words` or `Sentences`."""
        return {code.value: code.message for code in cls}


class Words(Mapping[str, str]):
    """A table of words marked with `mark`; lookups return them in the current language."""

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
    """A message whose language is chosen later: ``str(message)`` is in the reader's language."""

    pattern: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return agree(gettext(self.pattern) % self.values)


def defer(message: str, **values: object) -> Message:
    """Return a message whose language is chosen when it is shown."""
    return Message(message, values)


def capitalize(text: str) -> str:
    """Capitalize the first letter and leave the rest unchanged."""
    return text[:1].upper() + text[1:]


def clean(text: str) -> str:
    r"""Return one line without control characters and bidirectional overrides.

    >>> clean("Boys\x00 N2\n\u202e<b>")
    'Boys N2 <b>'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def join_words(items: Iterable[str]) -> str:
    """Join items into a list for people to read.

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
    """What happened, as a code of a component; `params` are numbers, names, codes or facts."""

    code: str
    params: dict[str, str | int | float | Fact | tuple[Fact, ...]] = {}

    def __hash__(self) -> int:
        """Make facts usable as keys."""
        return hash((self.code, *self.params.items()))


Parameter: TypeAlias = str | int | float | Fact | tuple[Fact, ...]
_FACTS: Final = msgspec.json.Decoder(tuple[Fact, ...])
_PARAMS: Final = msgspec.json.Decoder(dict[str, Parameter])


def build_fact(code: str, **params: Parameter) -> Fact:
    """Build a fact.

    >>> to_json([build_fact("back", after_s=90.0)])
    '[{"code":"back","params":{"after_s":90.0}}]'
    """
    return Fact(str(code), params)


def to_json(value: object) -> str:
    """Encode facts, parameters, or structures of them, for a database column."""
    return msgspec.json.encode(value).decode()


def parse_facts(text: str) -> tuple[Fact, ...]:
    """Decode a list of facts."""
    return _FACTS.decode(text)


def parse_fact(text: str) -> Fact:
    """Decode one fact."""
    return msgspec.json.decode(text, type=Fact)


def parse_params(text: str) -> dict[str, Parameter]:
    """Decode parameters."""
    return _PARAMS.decode(text)


class Sentences:
    """Sentences for a component's facts, by code: one message, or two from `mark_plural`.

    `write` maps names of parameters to functions that write them; a function gets the value and all
    parameters. Other parameters are written unchanged. If a code has two messages, the parameter
    ``n`` chooses one.

    >>> sentences = Sentences({"back": "back after %(time)s"}, {"time": lambda s, _: f"{s:.0f} s"})
    >>> sentences.write(build_fact("back", time=90.0))
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
            return agree(gettext(found) % values)
        return plural(*found, values["n"]) % values


FORMS: Final = {
    "date": ("%B %-d, %Y", "%-d de %B de %Y"),
    "date and time": ("%B %-d, %Y, %-I:%M %p", "%-d de %B de %Y, %-I:%M %p"),
    "short date": ("%b %-d, %Y", "%-d %b %Y"),
    "short date and time": ("%b %-d, %Y, %-I:%M %p", "%-d %b %Y, %-I:%M %p"),
    "weekday and date": ("%a, %b %-d, %Y", "%a %-d %b %Y"),
    "month and day": ("%b %-d", "%-d %b"),
    "month": ("%B %Y", "%B de %Y"),
    "weekday": ("%a", "%a"),
    "weekday and day": ("%a, %b %-d", "%a %-d %b"),
    "moment": ("%a, %b %-d, %-I:%M %p", "%a %-d de %b, %-I:%M %p"),
    "day and clock": ("%b %-d, %-I:%M %p", "%-d %b, %-I:%M %p"),
    "weekday and clock": ("%a %-I:%M %p", "%a %-I:%M %p"),
    "hour": ("%-I %p", "%-I %p"),
    "clock": ("%-I:%M %p", "%-I:%M %p"),
    "clock with seconds": ("%-I:%M:%S %p", "%-I:%M:%S %p"),
}
"""Formats for `strftime`, in English and in US Spanish according to the CLDR."""
_WALL_TIME: Final = re.compile(
    r"\b(?:(\d{4}-\d\d-\d\d)[ T])?([01]\d:[0-5]\d|2[0-3]:[0-5]\d)(?::[0-5]\d)?\b"
)
_MONTHS: Final = (
    *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
    *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
)
_DAYS: Final = ("lun", "mar", "mié", "jue", "vie", "sáb", "dom")


def write_clocks(text: object) -> str:
    """Rewrite stored wall times in a text, with any dates before them, in a readable form.

    >>> write_clocks("first shift, 08:00-16:30 until 16:30"), write_clocks("2026-09-07 10:05:00")
    ('first shift, 8:00 AM-4:30 PM until 4:30 PM', 'Sep 7, 2026, 10:05 AM')
    """
    return _WALL_TIME.sub(_write_clock, str(text))


def _write_clock(found: re.Match[str]) -> str:
    day, clock = found.groups()
    moment = datetime.fromisoformat(f"{day or '2000-01-01'} {clock}")
    return write_date(moment, "short date and time" if day else "clock")


def write_hour(hour: int) -> str:
    """Write an hour of the day, 0 to 23."""
    return write_date(datetime(2000, 1, 1, hour), "hour")  # noqa: DTZ001 - a wall time


def write_hours(hour: int) -> str:
    """Write an hour of the day as a span.

    >>> write_hours(10), write_hours(11)
    ('10–11 AM', '11 AM–12 PM')
    """
    first, last = write_hour(hour), write_hour((hour + 1) % 24)
    clock, half = first.split(" ", 1)
    return f"{clock if last.endswith(half) else first}–{last}"


def write_date(moment: date | datetime, form: str) -> str:
    """Write a date, or a date and time, in one of the `FORMS` in the current language."""
    english, spanish = FORMS[form]
    if get_language() == ENGLISH:
        return moment.strftime(english)
    month = _MONTHS[moment.month - 1]
    short = "sept" if moment.month == 9 else month[:3]
    names = {"%B": month, "%b": short, "%a": _DAYS[moment.weekday()]}
    if isinstance(moment, datetime):
        names["%p"] = "a.m." if moment.hour < 12 else "p.m."
    for code, name in names.items():
        spanish = spanish.replace(code, name)
    return moment.strftime(spanish)
