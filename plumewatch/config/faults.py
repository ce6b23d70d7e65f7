"""Faults of a configuration: where, what is there, what is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence


class ConfigFault(NamedTuple):
    """One fault: the path of the key, the value found, and what is allowed there."""

    path: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.path}: {self.value}: {self.allowed}"


def unknown(
    path: str, names: Iterable[str | None], known: Collection[str | None], what: str, most: int = 20
) -> Iterator[ConfigFault]:
    """Find names that refer to nothing."""
    for name in names:
        if name is not None and name not in known:
            allowed = f"must be {what}: {some(known, most) or 'there is none'}"
            yield ConfigFault(path, repr(name), allowed)


def some(names: Iterable[str | None], most: int = 20) -> str:
    """Return the first of some names in alphabetical order."""
    known = sorted(filter(None, names))
    return ", ".join(known[:most]) + (", ..." if len(known) > most else "")


class ConfigError(Exception):
    """The configuration has faults; `faults` lists all of them."""

    def __init__(self, faults: Sequence[ConfigFault]) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))
