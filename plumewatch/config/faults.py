"""Faults of a configuration: where, what is there, what is allowed."""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")


class ConfigFault(NamedTuple):
    """One fault: the path of the key, the value found, and what is allowed there."""

    path: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.path}: {self.value}: {self.allowed}"


class ConfigTree(dict[str, Any]):
    """A configuration as TOML has it.

    `files` has the file of each entry, by section and number, that is not in the configuration
    itself, and `faults` what is wrong with those files.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        super().__init__(tree)
        self.files: dict[tuple[str, int], str] = {}
        self.faults: list[ConfigFault] = []


def located(path: str, tree: Mapping[str, Any]) -> str:
    """Write the path of a key as it is in the file: tables by heading, entries by id.

    >>> tree = {"broker": {}, "sensor": [{"id": "n2-boys"}, {"room": "x"}]}
    >>> [located(p, tree) for p in ("broker.port", "sensor.0.room", "sensor.1.id", "site")]
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
        if len(rest) > 1 and isinstance(value, dict) and isinstance(value.get(rest[0]), list):
            value = value[rest[0]]
            head = f"{head}.{rest.pop(0)}"
    if isinstance(value, dict):
        return f"[{head}] {'.'.join(rest)}"
    number = rest.pop(0)
    entry = value[int(number)] if number.isdigit() and int(number) < len(value) else None
    name = (entry.get("id") or entry.get("name")) if isinstance(entry, dict) else None
    file = file_of(tree, head, number)
    if head == "sites":
        head = "site"
        if file:
            return ": ".join(filter(None, (file, " ".join(rest))))
    where = f"[[{head}]] {name or f'number {int(number) + 1}' if number.isdigit() else number}"
    keys = (f"number {int(key) + 1}" if key.isdigit() else key for key in rest)
    return ": ".join(filter(None, (file, where, " ".join(keys))))


def file_of(tree: Mapping[str, Any], section: str, number: str) -> str:
    """Return the file that has an entry; empty for the configuration itself."""
    files = tree.files if isinstance(tree, ConfigTree) else {}
    return files.get((section, int(number)), "") if number.isdigit() else ""


def toml_fault(raw: bytes, error: ValueError) -> str:
    """Say what is wrong with TOML, with the key of the line; its value may be a secret."""
    found = _AT_LINE.search(str(error))
    lines = raw.decode("utf-8", "replace").splitlines()
    if found is None or int(found[1]) > len(lines):
        return str(error)
    key = re.split(r"[=\s\"'{#]", lines[int(found[1]) - 1].strip(), maxsplit=1)[0]
    return f"{error}: {key.strip()} ..."


def close_to(name: str, known: Iterable[str | None]) -> str:
    """Ask whether a name that was meant is close to an unknown one; empty if none is.

    >>> close_to("n2-boy", ["n2-boys", "gym"]), close_to("x", ["n2-boys"])
    ("; did you mean 'n2-boys'?", '')
    """
    found = get_close_matches(name, list(filter(None, known)), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def unknown(
    path: str, names: Iterable[str | None], known: Collection[str | None], what: str, most: int = 20
) -> Iterator[ConfigFault]:
    """Find names that refer to nothing."""
    for name in names:
        if name is not None and name not in known:
            near = close_to(name, known)
            allowed = f"must be {what}: {some(known, most) or 'there is none'}{near}"
            yield ConfigFault(path, repr(name), allowed)


def some(names: Iterable[str | None], most: int = 20) -> str:
    """Return the first of some names in alphabetical order."""
    known = sorted(filter(None, names))
    return ", ".join(known[:most]) + (", ..." if len(known) > most else "")


class ConfigError(Exception):
    """The configuration has faults; `faults` lists all of them, `tree` is what was read."""

    def __init__(
        self, faults: Sequence[ConfigFault], tree: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.faults = faults
        self.tree = tree
        super().__init__(
            "\n".join(f"{located(f.path, tree)}: {f.value}: {f.allowed}" for f in faults)
        )
