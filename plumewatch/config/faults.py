"""Faults of a configuration: where, what is there, what is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class ConfigFault(NamedTuple):
    """One fault: the path of the key, the value found, and what is allowed there."""

    path: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.path}: {self.value}: {self.allowed}"


class ConfigError(Exception):
    """The configuration has faults; `faults` lists all of them."""

    def __init__(self, faults: Sequence[ConfigFault]) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))
