"""Several schools in one configuration: `[[site]]` entries, or a file of each school.

`sites/north.toml` beside the configuration is the site `north`, with entries of its own, and
`people.csv` has a person a line. The parts are joined before anything is checked, and each fault of
an entry names the file that has it.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from language.value_errors import allowed_by
from plumewatch.config.faults import (
    ConfigError,
    ConfigFault,
    ConfigTree,
    toml_fault,
)
from plumewatch.config.sections.common import SITE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDER: Final = "sites"
PEOPLE: Final = "people.csv"
_PEOPLE_COLUMNS: Final = ("id", "name", "role", "sites", "email", "language")
ALL: Final = "*"
"""In `sites` of a person: all sites."""
_OF_ITS_SITE: Final = frozenset({"room", "zone", "bells", "holiday", "term", "shift", "silence"})
_SECTIONS: Final = (*sorted(_OF_ITS_SITE), "sensor", "staff", "receiver", "override")
_OWN: Final = ("name", "timezone", "closed")
_MAX_BYTES: Final = 4_000_000


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file; raises `ConfigError` or `OSError`."""
    raw = path.read_bytes()
    if len(raw) > _MAX_BYTES:
        raise ConfigError([ConfigFault(str(path), "too large", "at most 4 MB")])
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = ConfigFault(str(path), toml_fault(raw, error), "must be valid TOML in UTF-8")
        raise ConfigError([fault]) from error


def site_path(config: Path, site: str) -> Path:
    """Return the path of the file of a site; raises `ConfigError` if no file can have its id."""
    if not re.fullmatch(SITE_ID, site):
        error = {"type": "string_pattern_mismatch", "ctx": {"pattern": SITE_ID}, "msg": ""}
        raise ConfigError([ConfigFault("id of the school", repr(site), allowed_by(error))])
    return config.resolve().parent / FOLDER / f"{site}.toml"


def with_sites(
    tree: Mapping[str, Any],
    folder: Path,
    added: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> ConfigTree:
    """Return a configuration with the files of its sites, and `added` ones not written yet."""
    joined = normal(tree)
    for path in sorted((folder / FOLDER).glob("*.toml")):
        name = f"{FOLDER}/{path.name}"
        try:
            found = read_toml(path)
        except ConfigError as error:
            joined.faults += (fault._replace(path=name) for fault in error.faults)
        except OSError as error:
            why = error.strerror or "unreadable"
            joined.faults.append(ConfigFault(name, why, "must be readable"))
        else:
            joined.faults += _join(joined, found, path.stem, name)
    for file, content in added.items():
        name = f"{FOLDER}/{file}"
        joined.faults += _join(joined, content, file.removesuffix(".toml"), name)
    joined.faults += _join_people(joined, folder / PEOPLE)
    return joined


def _join_people(joined: ConfigTree, path: Path) -> Iterator[ConfigFault]:
    """Add the people of a CSV; a cell may have several schools, with spaces between them."""
    try:
        text = path.read_bytes()[:_MAX_BYTES].decode("utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        read = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        read.fieldnames = columns = [name.strip().casefold() for name in read.fieldnames or ()]
        rows = [(read.line_num, row) for row in read]
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, csv.Error):
        yield ConfigFault(PEOPLE, "unreadable", "must be a readable CSV in UTF-8")
        return
    if not {"id", "name"} <= set(columns) <= set(_PEOPLE_COLUMNS):
        allowed = f"must be id and name, and if you like {', '.join(_PEOPLE_COLUMNS[2:])}"
        yield ConfigFault(f"{PEOPLE}: columns", ", ".join(columns), allowed)
        return
    for line, row in rows:
        cells = {key: (value or "").strip() for key, value in row.items() if key in columns}
        entry: dict[str, Any] = {key: value for key, value in cells.items() if value}
        if "sites" in entry:
            entry["sites"] = entry["sites"].split()
        if entry:
            _add(joined, "staff", entry, f"{PEOPLE}: line {line}")


def normal(tree: Mapping[str, Any]) -> ConfigTree:
    """Return a configuration with its sites under `sites`, and their common name under `site`."""
    found = ConfigTree(tree)
    found.is_district = "district" in tree
    if isinstance(found.get("site"), list):
        found["sites"] = found.pop("site")
    if "site" not in found and "district" in found:
        found["site"] = found.pop("district")
    if isinstance(tree, ConfigTree):
        found.files, found.faults = tree.files, tree.faults
        found.is_district |= tree.is_district
    found.is_district |= bool(found.get("sites"))
    return found


def _join(
    joined: ConfigTree, found: Mapping[str, Any], site: str, file: str
) -> Iterator[ConfigFault]:
    _add(joined, "sites", {"id": site} | {k: found[k] for k in _OWN if k in found}, file)
    for key, entries in found.items():
        if key in _OWN:
            continue
        if key not in _SECTIONS or not isinstance(entries, list):
            allowed = f"must be one of {', '.join(_OWN)}, or [[{']], [['.join(_SECTIONS)}]]"
            yield ConfigFault(f"{file}: {key}", "no key of a site", allowed)
            continue
        for number, entry in enumerate(entries, 1):
            own = entry
            if isinstance(entry, dict):
                own = {"site": site, **entry} if key in _OF_ITS_SITE else entry
                own = {"sites": [site], **entry} if key == "staff" else own
                if own.get("site", site) != site:
                    where = f"{file}: [[{key}]] {entry.get('id') or f'number {number}'}: site"
                    yield ConfigFault(where, repr(own["site"]), f"must be left out, or {site!r}")
            _add(joined, key, own, file)


def _add(joined: ConfigTree, section: str, entry: object, file: str) -> None:
    entries = joined[section] = list(joined.get(section, ()))
    joined.files[section, len(entries)] = file
    entries.append(entry)
