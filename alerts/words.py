"""Words that people read for the codes of alerting: `words.toml`, by table and code."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from language.messages import Words

_TABLES: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
WORDS: Final = {name: Words(table) for name, table in _TABLES.items()}
