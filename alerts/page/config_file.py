"""The interface through which the staff page changes the configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Edit:
    """One entry of a section: changed, added (`index` is None) or removed (`entry` is None)."""

    section: str
    index: int | None
    entry: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """One version of the file: hash, content, and why it cannot be written (empty if it can).

    - `whole`: the content merged with the schools' own files.
    - `files`: the file of each entry that comes from a school's file, by section and index.
    """

    hash: str
    tree: Mapping[str, Any]
    problem: str
    whole: Mapping[str, Any]
    files: Mapping[tuple[str, int], str]


@dataclass(frozen=True, slots=True)
class PreparedChange:
    """A checked change: hash of the file before and after, and its new content."""

    before: str
    after: str
    content: bytes


class ConfigFile(Protocol):
    """The file. All methods block, and raise `ConfigFileError` with a sentence for people."""

    apply: Callable[[], None]
    """Puts the file into effect; called in the event loop."""

    def read(self) -> ConfigVersion:
        """Return the file as it is now."""
        ...

    def prepare(self, version: str, edits: Sequence[Edit]) -> PreparedChange:
        """Check changes of the file with hash `version`; `ConfigFaultsError` has every fault."""
        ...

    def commit(self, change: PreparedChange) -> None:
        """Write a change."""
        ...
