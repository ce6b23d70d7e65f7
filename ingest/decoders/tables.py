"""Formats that ship as tables: ``ingest/formats/<name>.toml``, read by the mapping engine."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingest.decoding import Decoder
from ingest.mapping.topics import TopicFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

FORMATS: Final = Path(__file__).parents[1] / "formats"


def load_format(name: str) -> Decoder:
    """Return the decoder of a format; its table is checked and compiled with the first message.

    Raises `ValueError`, at once or with the first message, with the file and what is wrong in it.
    """
    path = FORMATS / f"{name}.toml"
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    if "summary" not in tree:
        raise ValueError(f"{path.name}: summary: missing")

    @cache
    def compiled() -> Callable[[Message, Context], list[Reading]]:
        from ingest.mapping.decoder import compile_format  # noqa: PLC0415 - loads pydantic

        try:
            return compile_format(name, tree)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error

    def decode(message: Message, context: Context) -> list[Reading]:
        return compiled()(message, context)

    topics = tuple(TopicFilter(topic).pattern for topic in tree.get("topics", ()))
    return Decoder(name, topics, decode, tree["summary"], over_http=tree.get("over_http", False))
