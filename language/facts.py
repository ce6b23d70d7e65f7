"""Facts: a code with its parameters, as parts store and exchange them, and the sentence of each.

A part stores what happened as a `Fact`; whoever shows it finds the sentence in the part's
`Sentences`, in the reader's language. Nothing reads a sentence back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from language.messages import gettext, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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


def facts_of(text: str) -> tuple[Fact, ...]:
    """Read a list of facts."""
    return _FACTS.decode(text)


def fact_of(text: str) -> Fact:
    """Read one fact."""
    return msgspec.json.decode(text, type=Fact)


def params_of(text: str) -> dict[str, Parameter]:
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

    def of(self, fact: Fact) -> str:
        """Return the sentence of a fact in the reader's language."""
        found = self._sentences[fact.code]
        values: dict[str, Any] = {
            name: self._write[name](value, fact.params) if name in self._write else value
            for name, value in fact.params.items()
        }
        if isinstance(found, str):
            return gettext(found) % values
        return plural(*found, values["n"]) % values
