"""Tables of decoders: formats for the mapping engine, and what the keys of other formats mean."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Decoder
from ingest.mapping.topics import TopicFilter
from ingest.validation import number

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

FORMATS: Final = Path(__file__).parents[1] / "formats"


_KEYS: Final[dict[str, dict[str, str | list[Any]]]] = tomllib.loads(
    Path(__file__).with_name("keys.toml").read_text(encoding="utf-8")
)


def keys(table: str) -> dict[str, tuple[str, float]]:
    """Return quantity and divisor by key, of a table of ``keys.toml``."""
    return {
        key: (meaning, 1) if isinstance(meaning, str) else (meaning[0], meaning[1])
        for key, meaning in _KEYS[table].items()
    }


def keyed(content: dict[str, Any], table: dict[str, tuple[str, float]]) -> dict[str, object]:
    """Return what the known keys of an object measure; what is no number is a fault."""
    raw: dict[str, object] = {}
    for key, (quantity, divisor) in table.items():
        if key in content:
            value = number(content[key])
            raw[quantity] = None if value is None else value / divisor
    return raw


def load_format(name: str) -> Decoder:
    """Return the decoder of a format; its table is checked and compiled with the first message."""
    tree = tomllib.loads((FORMATS / f"{name}.toml").read_text(encoding="utf-8"))

    @cache
    def compiled() -> Callable[[Message, Context], list[Reading]]:
        from ingest.mapping.decoder import compile_format  # noqa: PLC0415 - loads pydantic

        return compile_format(name, tree)

    def decode(message: Message, context: Context) -> list[Reading]:
        return compiled()(message, context)

    topics = tuple(TopicFilter(topic).pattern for topic in tree.get("topics", ()))
    return Decoder(name, topics, decode, tree["summary"])
