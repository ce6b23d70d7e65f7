"""Faults of a configuration: where they are, the value found, and what is allowed."""

from __future__ import annotations

import codecs
import os
import re
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from language.messages import Message
from language.plain_text import pluralize, suggest_name
from storage.audit import find_account
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


_LINE: Final = re.compile(r": (line \d+)")
_VARIED: Final = re.compile(r"'[^']*'|\d+")
_NUMBER_WANTED: Final = re.compile("^must be (?=a (whole )?number$)")
_LEADING_NUMBER: Final = re.compile(r"'\s*([+-]?\d+(?:\.\d+)?)")
_MAX_ALIKE: Final = 3
"""If more faults of a column than this differ only in names and numbers, they are merged."""
_REPEATED: Final = re.compile("Cannot (overwrite|declare .* twice)")
_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")
_TOML: Final = (
    'put text in straight quotes ("..."), write true and false in lowercase, and begin each entry'
    " of a list with [[name]]"
)


class ConfigFault(NamedTuple):
    """One fault: the path of the key, the value found, and what is allowed.

    `remedy` is what to do if changing the key doesn't help.
    """

    path: str
    value: str
    message: str | Message
    remedy: str = ""

    @property
    def allowed(self) -> str:
        """What is allowed, in the reader's language."""
        return str(self.message)

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.path}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """The value, and what is allowed or wrong: "'x' is already used by y"."""
        allowed = self.allowed
        if self.value[:1] == "'":
            allowed, is_number = _NUMBER_WANTED.subn("is not ", allowed)
            if is_number and (found := _LEADING_NUMBER.match(self.value)):
                allowed += f"; did you mean {found[1]}?"
        return f"{self.value}{' ' if allowed.startswith('is ') else ': '}{allowed}"


class ConfigTree(dict[str, Any]):
    """A parsed configuration; `files` and `faults` are those of entries in other files."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        super().__init__(tree)
        self.is_district = False
        self.has_unread_table = False
        self.files: dict[tuple[str, int], str] = {}
        self.faults: list[ConfigFault] = []

    def add(self, section: str, entry: object, file: str) -> None:
        """Add an entry of `file` to a section; do nothing if the section is not a list."""
        *tables, key = section.split(".")
        table: Any = self
        for name in tables:
            inner = table.get(name, {})
            if not isinstance(inner, dict):
                return
            table[name] = dict(inner)
            table = table[name]
        entries = table.setdefault(key, [])
        if not isinstance(entries, list):
            return
        number = len(entries)
        if (section, number - 1) not in self.files:  # still the list from the file that was read
            entries = table[key] = list(entries)
        self.files[section, number] = file
        entries.append(entry)


_COLUMNS: Final = {
    ("sites", "id"): "site",
    ("sensor", "id"): "sensor",
    ("room", "id"): "room_id",
    ("room", "name"): "room",
}


def locate(path: str, tree: Mapping[str, Any], *, by_number: bool = False) -> str:
    """Write the path of a key as in the file: tables by heading, entries by id or number.

    >>> tree = {"broker": {}, "sensor": [{"id": "n2-boys"}, {"room": "x"}]}
    >>> [locate(p, tree) for p in ("broker.port", "sensor.0.room", "sensor.1.id", "site")]
    ['[broker] port', '[[sensor]] n2-boys: room', '[[sensor]] number 2: id', 'site']
    """
    head, *rest = path.split(".")
    value = tree.get(head)
    if "/" in path or not isinstance(value, dict | list) or not rest:
        return path
    if isinstance(value, dict):
        while len(rest) > 1 and isinstance(value, dict) and isinstance(value.get(rest[0]), dict):
            value = value[rest[0]]
            head = f"{head}.{rest.pop(0)}"
        entries = value.get(rest[0]) if len(rest) > 1 else None
        if isinstance(entries, list) and any(isinstance(entry, dict) for entry in entries):
            value = entries
            head = f"{head}.{rest.pop(0)}"
    if isinstance(value, dict):
        return f"[{head}] {_format_keys(rest)}"
    number = rest.pop(0)
    entry = value[int(number)] if number.isdigit() and int(number) < len(value) else None
    names = {} if by_number or not isinstance(entry, dict) else entry
    name = names.get("id") or names.get("name")
    file = find_file(tree, head, number)
    if file and not file.endswith(".toml"):  # a CSV table, with its own columns
        rest[:1] = [_COLUMNS.get((head, key), key) for key in rest[:1]]
        return ", ".join(filter(None, (file, _format_keys(rest))))
    if head == "sites":
        head = "site"
        if file:
            return ": ".join(filter(None, (file, _format_keys(rest))))
    if file:  # its first entry is number 1
        places = (k for k in range(int(number)) if find_file(tree, head, str(k)) == file)
        number = str(sum(1 for _ in places))
    where = f"[[{head}]] {name or _format_keys([number])}"
    return ": ".join(filter(None, (file, where, _format_keys(rest))))


def find_line(text: str, path: str) -> int:
    r"""Return the line of a key in TOML text; 0 if it is not found.

    >>> find_line('site = "x"\n[web]\nport = 1\n[[room]]\n[[room]]\nname = 2', "room.1.name")
    6
    """
    *tables, key = path.split(".")
    at, section = 0, ""
    for name in tables:
        section = section if name.isdigit() else f"{section}.{name}".lstrip(".")
        heading = re.compile(rf"^\[\[?{re.escape(section)}\]", re.MULTILINE)
        found = [*heading.finditer(text, at)][int(name) if name.isdigit() else 0 :]
        at = found[0].start() if found else at
    line = re.compile(rf"^\s*{re.escape(key)}\s*=", re.MULTILINE).search(text, at)
    line = line or re.compile(rf"^\[\[?{re.escape(path)}[].]", re.MULTILINE).search(text)
    return text.count("\n", 0, line.end()) + 1 if line else 0


def _format_keys(rest: Iterable[str]) -> str:
    return " ".join(f"number {int(key) + 1}" if key.isdigit() else key for key in rest)


def find_file(tree: Mapping[str, Any], section: str, number: str) -> str:
    """Find the file of an entry; empty for the configuration file itself."""
    files = tree.files if isinstance(tree, ConfigTree) else {}
    return files.get((section, int(number)), "") if number.isdigit() else ""


def describe_toml_fault(raw: bytes, error: ValueError) -> str:
    """Describe a TOML error by the key on its line; leave out the value, which may be a secret."""
    if raw.startswith(codecs.BOM_UTF8):
        return "begins with a byte order mark (BOM): save it as UTF-8 without BOM"
    if isinstance(error, UnicodeDecodeError):
        before = raw.count(b"\n", 0, error.start)
        return f"line {before + 1} is not UTF-8: save the file as UTF-8"
    found = _AT_LINE.search(str(error))
    lines = raw.decode("utf-8", "replace").splitlines()
    number = int(found[1]) if found else len(lines) + 1
    line = lines[number - 1].strip() if number <= len(lines) else ""
    if _REPEATED.match(str(error)) and (sentence := _describe_repeated(lines, number)):
        return sentence
    key = re.split(r"[=\s\"'{#]", line, maxsplit=1)[0]
    return f"{error}: {key.strip()} ...; {_TOML}"


def _describe_repeated(lines: Sequence[str], number: int) -> str:
    """Describe the key or table on a line that an earlier line has too; empty if none has it."""
    found = re.match(r"\s*(\[+\s*[^]]+\]+|[^=#]+?)\s*(=|$|#)", lines[number - 1])
    name = found[1] if found else ""
    above = range(number - 1, 0, -1)
    if name[:1] == "[":
        bare = name.strip("[] ")
        heading = re.compile(rf"\s*\[\[?\s*{re.escape(bare)}\s*\]")
        first = next((k for k in reversed(above) if heading.match(lines[k - 1])), 0)
        remedy = f"join the two, or begin each with [[{bare}]] if they are entries of a list"
        return f"[{bare}] appears twice, in lines {first} and {number}: {remedy}" if first else ""
    key = re.compile(rf"\s*{re.escape(name)}\s*=")
    first = next((k for k in above if key.match(lines[k - 1])), 0)
    return f"{name} is set twice, in lines {first} and {number}: remove one" if first else ""


def suggest_access(path: object, error: BaseException | None) -> str:
    """Suggest a remedy if a file is missing, or if this account has no permission for it."""
    if isinstance(error, FileNotFoundError):
        return f"create {path}, or correct its name"
    if isinstance(error, PermissionError):
        who = find_account()
        if not os.path.lexists(str(path)):
            folder = Path(str(path)).parent
            return f"{who} cannot write to {folder}: choose another folder, or chown {who} {folder}"
        return (
            f"this command runs as {who}: run it as the account that owns {path}, or let {who} read"
            f" it and its folder: chown {who} {path}"
        )
    return ""


def find_unknown(
    path: str,
    ids: Iterable[str | None],
    known: Collection[str | None],
    what: str,
    most: int = 20,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[ConfigFault]:
    """Find ids that are not `known`; `what` is a message with the placeholder ``known``.

    `names` maps names, which people might write instead, to ids.
    """
    for one in ids:
        if one is not None and one not in known:
            there = list_known(one, known, names, most)
            yield ConfigFault(path, repr(one), Message(what, {"known": there}))


def list_known(
    asked: str,
    known: Collection[str | None],
    names: Mapping[str, str] = MappingProxyType({}),
    most: int = 20,
) -> str:
    """List known ids, and suggest one whose id or name is close to what was asked for."""
    near = suggest_name(asked, dict(names) | {one: one for one in known if one})
    return f"{list_some(known, most) or 'there is none'}{near}"


def list_some(names: Iterable[str | None], most: int = 20) -> str:
    """List the first `most` names in order."""
    known = sorted(filter(None, names), key=make_sort_key)
    return ", ".join(known[:most]) + (", ..." if len(known) > most else "")


class ConfigError(Exception):
    """The configuration has `faults`; `tree` is what was read."""

    def __init__(
        self, faults: Sequence[ConfigFault], tree: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.faults = faults
        self.tree = tree
        merged = merge_repeated(faults, tree)
        super().__init__("\n".join(f"{where}: {text}" for _fault, where, text in merged))


def merge_repeated(
    faults: Iterable[ConfigFault], tree: Mapping[str, Any]
) -> Iterator[tuple[ConfigFault, str, str]]:
    """Yield each fault, its place and sentence; merge faults that many lines of a table share."""
    alike: dict[tuple[str, str], dict[str, list[tuple[ConfigFault, str]]]] = {}
    for number, fault in enumerate(faults):
        where = locate(fault.path, tree)
        column, lines = _LINE.subn("", where)
        key = (column, _VARIED.sub("", fault.sentence)) if lines else (where, str(number))
        alike.setdefault(key, {}).setdefault(fault.sentence, []).append((fault, where))
    for own in alike.values():
        found = [*own.values()]
        for (fault, where), *rest in found if len(found) <= _MAX_ALIKE else [[*chain(*found)]]:
            also = "".join(_LINE.findall(rest[0][1])) if rest else ""
            more = f" and {pluralize(len(rest) - 1, 'more line')}" if len(rest) > 1 else ""
            yield fault, where, fault.sentence + (f" (also {also}{more})" if also else "")
