"""A configuration that may have faults, for the checks across entries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plumewatch.config.model import PlumewatchConfig

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class Draft:
    """The valid part of a configuration, and the paths at or below which there is a fault."""

    config: PlumewatchConfig
    _wrong: frozenset[str] = frozenset()
    _faulty: frozenset[str] = frozenset()

    @classmethod
    def from_config(cls, config: PlumewatchConfig, places: Iterable[Sequence[int | str]]) -> Self:
        """Record the locations of faults, as pydantic reports them."""
        above = [list(accumulate(map(str, place), "{}.{}".format)) for place in places]
        wrong = frozenset(paths[-1] for paths in above if paths)
        return cls(config, wrong, frozenset(path for paths in above for path in paths))

    def is_valid(self, *paths: str) -> bool:
        """Return whether no fault is at or below these paths."""
        return self._faulty.isdisjoint(paths)

    def is_table(self, path: str) -> bool:
        """Return whether the value at a path is a table, perhaps with faults inside."""
        return path not in self._wrong

    def iterate_tables(self, path: str, entries: Iterable[_Entry]) -> Iterator[tuple[str, _Entry]]:
        """Yield the entries that are tables, perhaps with faults inside, with their paths."""
        placed = ((f"{path}.{i}", entry) for i, entry in enumerate(entries))
        return ((place, entry) for place, entry in placed if self.is_table(place))

    def iterate_valid(self, path: str, entries: Iterable[_Entry]) -> Iterator[tuple[str, _Entry]]:
        """Yield the entries without faults, with their paths."""
        return (one for one in self.iterate_tables(path, entries) if self.is_valid(one[0]))
