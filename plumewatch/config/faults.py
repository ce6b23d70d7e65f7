"""Faults of a configuration: where, what is there, what is allowed."""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from language.messages import mark, retell

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


_PATTERN: Final = "string_pattern_mismatch"
_OF_TYPE: Final = MappingProxyType(
    {
        "missing": mark("must be given"),
        "string_type": mark("must be a text"),
        "bool": mark("must be true or false"),
        "int": mark("must be a whole number"),
        "float": mark("must be a number"),
        "finite_number": mark("must be a number"),
        "date": mark("must be a date such as 2026-11-27"),
        "datetime": mark("must be a date and time such as 2026-11-27T10:05:00"),
        "list": mark("must be a list, such as [ ..., ... ]"),
        "dict": mark("must be a table, such as { key = value, ... }"),
        "model": mark("must be a table, such as { key = value, ... }"),
        "path": mark("must be the path of a file or folder"),
        "enum": mark("must be one of: %(expected)s"),
        "literal_error": mark("must be one of: %(expected)s"),
        "string_too_long": mark("must be at most %(max_length)s characters long"),
        "greater_than_equal": mark("must be at least %(ge)s"),
        "greater_than": mark("must be more than %(gt)s"),
        "less_than_equal": mark("must be at most %(le)s"),
        "less_than": mark("must be less than %(lt)s"),
        "string_too_short": mark("must not be empty"),
        "too_short": mark("needs more entries: at least %(min_length)s"),
        "too_long": mark("must have at most %(max_length)s entries"),
    }
)
"""What is allowed, by Pydantic's type of error, or its part before the first underscore.

`retold` takes the first that fits, so the longer one is first."""
_OF_PATTERN: Final = MappingProxyType(
    {
        "https?": mark("must be an address that begins with http:// or https://"),
        "[A-Za-z0-9_.:-]": mark("must be letters, digits and . _ : - only, without spaces"),
        "[A-Za-z0-9_.-]": mark("must be letters, digits and . _ - only, without spaces"),
        "[A-Za-z0-9_/-]": mark("must be letters, digits and _ / - only, without spaces"),
        "[a-z0-9_-]": mark("must be small letters, digits and _ - only, without spaces"),
        "[a-z0-9_]": mark("must be small letters, digits and _ only, without spaces"),
        "[0-9A-Fa-f]": mark("must be pairs of the digits 0-9 and A-F"),
        "[^": mark("must be a text without spaces"),
    }
)
"""What is allowed, by a part of the regular expression; the first that it has."""
_BETWEEN_ENTRIES: Final = (
    mark("must be the id of a [[staff]]: %(known)s"),
    mark("must be the id of a [[room]]: %(known)s"),
    mark("must be the id of a [[shift]]: %(known)s"),
    mark("must be the id of a [[zone]]: %(known)s"),
    mark("must be the id of a [[receiver]] or a role that somebody has: %(known)s"),
    mark("exactly one of them"),
    mark("both of them"),
    mark("at least one of them"),
    mark("must be left out"),
    mark("must name at least one person"),
    mark("at least two take turns"),
    mark("at most %(n)s days"),
    mark("at most %(n)s hours after start"),
    mark("a floor of the building"),
    mark("must not be before first, %(first)s"),
    mark("must be after start, %(start)s"),
    mark("must be somebody else than remove"),
    mark("must be unique in its schedule"),
    mark("must be unique, but is also %(other)s"),
    mark("must not be the id or alias of a sensor already"),
    mark("a period must start before it ends, on the same day"),
    mark("must be of the shift: %(people)s"),
    mark("must be a wall time from 00:00 to %(latest)s"),
    mark("must be a time zone of the IANA list, such as America/New_York"),
    mark("must have a [[shift]] then"),
)
"""What the checks between entries allow, where people meet it in a form."""


def allowed_by(error: Mapping[str, Any]) -> str:
    """Say what is allowed where Pydantic found an error.

    >>> allowed_by({"type": "int_parsing", "msg": "Input should be a valid integer, ..."})
    'must be a whole number'
    """
    kind, context = str(error["type"]), dict(error.get("ctx", {}))
    if kind == "value_error":
        return f"must be {context['error']}"
    if kind == _PATTERN:
        pattern = str(context["pattern"])
        return next((say for part, say in _OF_PATTERN.items() if part in pattern), error["msg"])
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace(" or ", ", ")
    words = _OF_TYPE.get(kind) or _OF_TYPE.get(kind.partition("_")[0], "")
    return words % context if words else str(error["msg"])


def retold(allowed: str) -> str:
    """Say what is allowed in the reader's language, where it is known."""
    return retell(allowed, (*_OF_TYPE.values(), *_OF_PATTERN.values(), *_BETWEEN_ENTRIES))


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
