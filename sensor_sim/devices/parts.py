"""Sensors and devices of ``parts.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

_Part = TypeVar("_Part")
_PARTS: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def parts_of(section: str, kind: type[_Part]) -> dict[str, _Part]:
    """Return the parts of a section, such as ``pm``, by name."""
    return {name: msgspec.convert(part, kind) for name, part in _PARTS[section].items()}
