"""Join the schools of a configuration: `[[site]]` entries, tables, and a file per school.

`sites/north.toml` next to the configuration has entries of the site `north`; CSV tables list
schools, sensors, people and groups. Everything is joined before it is checked, and each fault names
the file of its entry.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final, get_args

from plumewatch.config.faults import ConfigError, ConfigFault, ConfigTree, describe_toml_fault
from plumewatch.config.sections.staff import Role
from plumewatch.config.tables import join_tables, read_limited

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDER: Final = "sites"
ALL: Final = "*"
"""In `sites` of a person or a group, this means all sites."""
_OF_ITS_SITE: Final = frozenset({"room", "zone", "bells", "holiday", "term", "shift"})
_SECTIONS: Final = (*sorted(_OF_ITS_SITE), "sensor", "staff", "receiver", "override")
_OWN: Final = ("name", "timezone", "closed")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file; raises `ConfigError` or `OSError`."""
    raw = read_limited(path)
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        remedy = f"correct {path}, then run this command again"
        found = describe_toml_fault(raw, error)
        fault = ConfigFault(str(path), found, "must be valid TOML in UTF-8", remedy)
        raise ConfigError([fault]) from error


def join_sites(tree: Mapping[str, Any], folder: Path) -> ConfigTree:
    """Join a configuration with the tables next to it and the files of its sites."""
    joined = normalize(tree)
    join_tables(joined, folder)
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
    return joined


def normalize(tree: Mapping[str, Any]) -> ConfigTree:
    """Return a configuration with its sites as `sites`, and the district's name as `site`."""
    found = ConfigTree(tree)
    found.is_district = "district" in tree
    if isinstance(found.get("site"), list):
        found["sites"] = found.pop("site")
    if "site" not in found and "district" in found:
        found["site"] = found.pop("district")
    if isinstance(tree, ConfigTree):
        found.files, found.faults = tree.files, tree.faults
        found.has_unread_table = tree.has_unread_table
        found.is_district |= tree.is_district
    found.is_district |= bool(found.get("sites"))
    return found


def _join(
    joined: ConfigTree, found: Mapping[str, Any], site: str, file: str
) -> Iterator[ConfigFault]:
    own_keys = {key: found[key] for key in _OWN if key in found}
    if own_keys or not any(known.get("id") == site for known in joined.get("sites", ())):
        joined.add("sites", {"id": site} | own_keys, file)
    for key, entries in found.items():
        if key in _OWN:
            continue
        if key not in _SECTIONS or not isinstance(entries, list):
            allowed = f"must be one of {', '.join(_OWN)}, or [[{']], [['.join(_SECTIONS)}]]"
            yield ConfigFault(f"{file}: {key}", "not a key of a site", allowed)
            continue
        for number, entry in enumerate(entries, 1):
            own = entry
            if isinstance(entry, dict):
                own = {"site": site, **entry} if key in _OF_ITS_SITE else entry
                own = {"sites": [site], **entry} if key == "staff" else own
                where = f"{file}: [[{key}]] {entry.get('id') or f'number {number}'}"
                for name, only in (("site", site), ("sites", [site]), ("email", None)):
                    if own.get(name, only) != only:
                        allowed = f"must be left out{f', or {only!r}' if only else ''}"
                        yield ConfigFault(f"{where}: {name}", repr(own[name]), allowed)
                if key == "receiver" and entry.get("id") in get_args(Role):
                    allowed = "must be another id; all sites use this one"
                    yield ConfigFault(f"{where}: id", repr(entry["id"]), allowed)
            joined.add(key, own, file)
