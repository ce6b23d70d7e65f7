"""The interface through which the staff page changes the configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to one entry of a section; without `index` it is added, without `entry` removed."""

    section: str
    index: int | None
    entry: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """A version of the file; `problem` is why it cannot be written, empty if it can.

    - `whole` is the content merged with the schools' own files.
    - `files` maps section and index of each entry from a school's file to that file.
    """

    hash: str
    tree: Mapping[str, Any]
    problem: str
    whole: Mapping[str, Any]
    files: Mapping[tuple[str, int], str]


@dataclass(frozen=True, slots=True)
class PreparedChange:
    """A checked change: the file's hash before and after, and its new content."""

    before: str
    after: str
    content: bytes


class ConfigFile(Protocol):
    """The configuration file. All methods block, and raise `ConfigFileError` for people to read."""

    apply: Callable[[], None]
    """Applies the file; called in the event loop."""

    def read(self) -> ConfigVersion:
        """Return the current version of the file."""
        ...

    def prepare(self, version: str, edits: Sequence[Edit]) -> PreparedChange:
        """Check edits to the file with hash `version`; raise `ConfigFaultsError` for faults."""
        ...

    def commit(self, change: PreparedChange) -> None:
        """Write a prepared change to the file."""
        ...
