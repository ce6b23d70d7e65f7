"""Interface for changing the configuration file from the staff page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


PEOPLE: Final = "people.csv"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to a section: without `index`, add an entry; without `entry`, remove it."""

    section: str
    index: int | None
    entry: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """A version of the file, with its content as `tree`.

    - `problem` is why the file cannot be written; empty if it can.
    - `whole` is the content merged with the schools' own files and the tables.
    - `files` names the other file or table that an entry comes from, by section and index.
    """

    hash: str
    tree: Mapping[str, Any]
    problem: str
    whole: Mapping[str, Any]
    files: Mapping[tuple[str, int], str]

    def is_table_entry(self, section: str, index: int) -> bool:
        """Return whether an entry is a line in the table of people, which the page can change."""
        return self.files.get((section, index), "").startswith(PEOPLE)

    def name_file(self, section: str, index: int) -> str:
        """Name the file on the server to change an entry in; empty if the page can change it."""
        return "" if self.is_table_entry(section, index) else self.files.get((section, index), "")


@dataclass(frozen=True, slots=True)
class PreparedChange:
    """A checked change: the configuration's hashes before and after, and the new content."""

    before: str
    after: str
    file: Path
    content: bytes


class ConfigFile(Protocol):
    """The configuration file. `read`, `prepare` and `commit` block and raise `ConfigFileError`."""

    apply: Callable[[], None]
    """Applies the file; runs in the event loop and doesn't block."""

    def read(self) -> ConfigVersion:
        """Return the current version of the file."""

    def prepare(self, version: str, edits: Sequence[Edit]) -> PreparedChange:
        """Check edits to the file with hash `version`; raise `ConfigFaultsError` for faults."""

    def commit(self, change: PreparedChange) -> None:
        """Write a prepared change to the file."""
