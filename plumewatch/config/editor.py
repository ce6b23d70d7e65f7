"""Change the configuration file, or a line of the table of people, for the staff page.

The file remains authoritative: everything but the changed entry keeps its text, comments and order.
Before anything is written, the new text is parsed: it must equal the old configuration plus the
change, and pass all checks of `plumewatch check`, including secrets. It is written to another file,
which then replaces the old one. The old version is kept in the data folder, under its hash.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import tomllib
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from alerts.errors import ConfigFaultsError, ConfigFileError, EntryFault
from alerts.page.config_file import PEOPLE, ConfigVersion, Edit, PreparedChange
from language.messages import _
from plumewatch.config.faults import ConfigError, ConfigTree, locate
from plumewatch.config.load import parse
from plumewatch.config.settings import check_settings
from plumewatch.config.sites import FOLDER, join_sites
from plumewatch.config.tables import TABLES, replace_row
from storage.files import atomic_write, make_private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_KEPT: Final = 50
_HEADINGS: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*'
    r"|^[ \t]*(\[\[?)[ \t]*([A-Za-z0-9_.-]+)[ \t]*\]\]?[ \t]*(?=#|\r?$)",
    re.DOTALL | re.MULTILINE,
)
"""Matches headings, but also strings and comments, which may look like headings."""


class ConfigEditor:
    """The configuration file at `path`; `history` keeps replaced versions."""

    def __init__(self, path: Path, history: Path, apply: Callable[[], None]) -> None:
        self._path = path.resolve()
        self._history = history
        self.apply = apply
        self._read_at: tuple[object, ...] = ()
        self._whole = ConfigTree({})

    def read(self) -> ConfigVersion:
        """Return the file as it is now; raises `ConfigFileError` if it cannot be read."""
        raw = self._read_raw()
        tree = self._parse(raw)
        paths = sorted((self._path.parent / FOLDER).rglob("*.toml"))
        paths += (self._path.parent / name for name in TABLES)
        state = (raw, *((path.name, _find_change_time(path)) for path in paths))
        if state != self._read_at:  # parsing forty files takes 0.1 s
            self._whole = join_sites(tree, self._path.parent)
            self._read_at = state
        version = _hash(raw + self._read_table())
        return ConfigVersion(version, tree, self._find_problem(), self._whole, self._whole.files)

    def prepare(self, version: str, edits: Sequence[Edit]) -> PreparedChange:
        """Check changes to file `version`; raises `ConfigFileError` or `ConfigFaultsError`."""
        raw = self._read_current(version)
        seen = self.read()
        if edits[0].index is not None and seen.is_table_entry(edits[0].section, edits[0].index):
            return self._prepare_table(raw, seen, edits[0])
        text = raw.decode("utf-8")
        wanted = deepcopy(self._parse(raw))
        for edit in edits:
            try:
                text = apply_edit(text, wanted, edit)
            except (TOMLKitError, IndexError, KeyError, TypeError, ValueError) as error:
                raise _build_by_hand_error(edit.section) from error
            _apply(wanted, edit)
        try:
            means = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _build_by_hand_error(edits[0].section) from error
        if means != wanted:
            raise _build_by_hand_error(edits[0].section)
        self._check(join_sites(wanted, self._path.parent))
        after = _hash(text.encode() + self._read_table())
        return PreparedChange(version, after, self._path, text.encode())

    def _prepare_table(self, raw: bytes, seen: ConfigVersion, edit: Edit) -> PreparedChange:
        """Check a change to a line of the table of people."""
        if edit.entry is None or edit.index is None:
            raise _build_by_hand_error(edit.section)
        old, wanted = self._read_table(), deepcopy(self._whole)
        _apply(wanted, edit)
        self._check(wanted)
        line = int(seen.files[edit.section, edit.index].rpartition(" ")[2])
        mark = codecs.BOM_UTF8 if old.startswith(codecs.BOM_UTF8) else b""
        new = mark + replace_row(old.decode("utf-8-sig"), line, edit.entry).encode()
        return PreparedChange(seen.hash, _hash(raw + new), self._path.with_name(PEOPLE), new)

    def commit(self, change: PreparedChange) -> None:
        """Write a change; raises `ConfigFileError` if the file has changed since it was checked."""
        old = self._read_current(change.before)
        old = old if change.file == self._path else self._read_table()
        try:
            for folder in (self._history.parent, self._history):  # save to the data folder first
                make_private_folder(folder)
            write_private(self._history / f"{change.before}{change.file.suffix}", old)
            kept = sorted(self._history.iterdir(), key=lambda file: file.stat().st_mtime)
            for old_one in kept[:-_KEPT]:
                old_one.unlink()
            mode = change.file.stat().st_mode & 0o777
            with atomic_write(change.file) as draft, draft.open("wb") as file:
                draft.chmod(mode)
                file.write(change.content)
        except OSError as error:
            raise ConfigFileError(
                _("%(file)s cannot be written: %(why)s.", file=change.file, why=error.strerror)
            ) from error

    def _read_raw(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise ConfigFileError(
                _("%(file)s cannot be read: %(why)s.", file=self._path, why=error.strerror)
            ) from error

    def _read_table(self) -> bytes:
        with suppress(FileNotFoundError):
            return self._path.with_name(PEOPLE).read_bytes()
        return b""

    def _parse(self, raw: bytes) -> dict[str, Any]:
        try:
            return tomllib.loads(raw.decode("utf-8"))
        except ValueError as error:
            raise ConfigFileError(
                _(
                    "%(file)s is not valid TOML right now (%(why)s). Correct it on the server.",
                    file=self._path,
                    why=error,
                )
            ) from error

    def _find_problem(self) -> str:
        for place in (self._path, self._path.parent):
            if not os.access(place, os.W_OK):
                return _(
                    "This page cannot change the configuration: the service has no"
                    " permission to write %(place)s. Change the file on the server, or"
                    " give the service that permission.",
                    place=place,
                )
        return ""

    def _read_current(self, version: str) -> bytes:
        problem = self._find_problem()
        if problem:
            raise ConfigFileError(problem)
        raw = self._read_raw()
        if _hash(raw + self._read_table()) != version:
            raise ConfigFileError(
                _(
                    "The configuration has changed since you opened this page. Nothing was"
                    " saved. Reload the page and try again."
                )
            )
        return raw

    def _check(self, tree: ConfigTree) -> None:
        try:
            check_settings(parse(tree, base=self._path.parent))
        except ConfigError as error:
            raise ConfigFaultsError(
                [
                    EntryFault(
                        *(f.path, f.value, _drop_brackets(f.allowed)),
                        _drop_brackets(locate(f.path, error.tree)),
                    )
                    for f in error.faults
                ]
            ) from error


def _drop_brackets(text: str) -> str:
    """Return a sentence without the brackets of TOML, for the page."""
    return re.sub(r"\[\[([a-z_.]+)\]\]", r"\1", text)


def apply_edit(text: str, tree: Mapping[str, Any], edit: Edit) -> str:
    r"""Return the text of a configuration with one entry changed, added or removed.

    >>> text = '[[room]]\nid = "a"  # first\n\n# the gym\n[[room]]\nid = "b"\n'
    >>> tree = tomllib.loads(text)
    >>> print(apply_edit(text, tree, Edit("room", 0, {"id": "c"})), end="")
    [[room]]
    id = "c"  # first
    <BLANKLINE>
    # the gym
    [[room]]
    id = "b"
    """
    entries = tree.get(edit.section, [])
    blocks = list(_find_blocks(text, edit.section))
    if len(blocks) != len(entries):
        raise ValueError("its entries are not tables with their own headings")
    if edit.index is None:
        new = tomlkit.document()
        added = tomlkit.aot()
        added.append(_build_table(edit.entry or {}))
        new.append(edit.section, added)
        at = blocks[-1][1] if blocks else len(text.rstrip())
        rest = text[at:]
        return f"{text[:at]}\n\n{new.as_string().strip()}\n{rest.removeprefix(chr(10))}"
    start, end = blocks[edit.index]
    if edit.entry is None:
        return text[:start] + text[end:].lstrip("\r\n")
    document: Any = tomlkit.parse(text[start:end] + "\n")
    _update(document[edit.section][0], entries[edit.index], edit.entry)
    return text[:start] + tomlkit.dumps(document).rstrip() + text[end:]


def _find_blocks(text: str, section: str) -> Iterator[tuple[int, int]]:
    """Yield where each entry begins (at its heading) and ends (after its last value)."""
    found = (one for one in _HEADINGS.finditer(text) if one[2])
    headings = [*((one.start(), one[2], one[1] == "[[") for one in found), (len(text), "", False)]
    for k, (start, name, is_array) in enumerate(headings):
        if name == section and is_array:
            later = (at for at, n, _ in headings[k + 1 :] if not n.startswith(f"{section}."))
            lines = text[start : next(later)].splitlines(keepends=True)
            while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
                lines.pop()
            yield start, start + len("".join(lines).rstrip())


def _update(table: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for key in old.keys() - new.keys():
        table.remove(key)
    for key, value in new.items():
        if key in old and old[key] == value:
            continue
        if isinstance(table.get(key), AoT):
            tables = tomlkit.aot()
            for entry in value:
                tables.append(_build_table(entry))
            table[key] = tables
        else:
            table[key] = _build_value(value)


def _build_table(entry: Mapping[str, Any]) -> Any:
    table = tomlkit.table()
    for key, value in entry.items():
        table.append(key, _build_value(value))
    return table


def _build_value(value: Any) -> Any:
    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update({key: _build_value(inner) for key, inner in value.items()})
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_build_value(inner) for inner in value)
        return array.multiline(multiline=any(isinstance(inner, dict) for inner in value))
    return tomlkit.item(value)


def _apply(tree: dict[str, Any], edit: Edit) -> None:
    entries = tree.setdefault(edit.section, [])
    if edit.index is None:
        entries.append(dict(edit.entry or {}))
    elif edit.entry is None:
        del entries[edit.index]
        if not entries:
            del tree[edit.section]
    else:
        entries[edit.index] = dict(edit.entry)


def _find_change_time(path: Path) -> tuple[int, int]:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    return 0, 0


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _build_by_hand_error(section: str) -> ConfigFileError:
    return ConfigFileError(
        _(
            "[[%(section)s]] is written in a way that this page cannot change."
            " Nothing was saved: change it in the file on the server.",
            section=section,
        )
    )
