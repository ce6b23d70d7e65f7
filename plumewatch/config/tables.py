"""Read schools, sensors, people and groups from CSV tables next to a configuration.

The tables are part of the configuration: they are reloaded with it, and every fault names the table
and the line.
"""

from __future__ import annotations

import csv
import io
import stat
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from language.plain_text import make_id, make_inert, restore, suggest_name
from plumewatch.config.faults import ConfigError, ConfigFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from plumewatch.config.faults import ConfigTree

_MAX_BYTES: Final = 4_000_000


class Columns(NamedTuple):
    """The required and the optional columns of a table."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]


TABLES: Final = {
    "schools.csv": Columns(("site", "name"), ("timezone", "closed")),
    "sensors.csv": Columns(
        ("sensor", "room"),
        (*("site", "building", "floor", "kind", "room_id", "model", "interval_s", "aliases"),),
    ),
    "people.csv": Columns(("id", "name"), ("role", "sites", "email", "language")),
    "groups.csv": Columns(("group", "role"), ("sites",)),
}


def read_limited(path: Path) -> bytes:
    """Read a file of the configuration; raises `ConfigError` if it is too large, or `OSError`."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # reading a pipe or device may never end
        raise ConfigError([ConfigFault(path.name, "not a file", "must be a regular file")])
    with path.open("rb") as file:
        raw = file.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise ConfigError([ConfigFault(path.name, "too large", "must be at most 4 MB")])
    return raw


def join_tables(joined: ConfigTree, folder: Path) -> None:
    """Add the entries of the tables in a folder to a configuration, and their faults."""
    rooms: set[str] = set()
    for name, columns in TABLES.items():
        before = len(joined.faults)
        rows = [*_read_table(folder / name, columns, joined.faults)]
        joined.has_unread_table |= not rows and len(joined.faults) > before
        for line, row in rows:
            for section, entry in _read_row(name, row):
                if section == "room":
                    place = repr(entry)
                    if place in rooms:
                        continue
                    rooms.add(place)
                joined.add(section, entry, f"{name}: line {line}")


def _read_table(
    path: Path, columns: Columns, faults: list[ConfigFault]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the filled cells of each line, by column; add the table's faults to `faults`."""
    try:
        text = read_limited(path).decode("utf-8-sig")
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=_find_separator(text), strict=True
        )
        reader.fieldnames = names = [name.strip().casefold() for name in reader.fieldnames or ()]
        rows = dict((reader.line_num, row) for row in reader)  # noqa: C402 - line_num changes
    except FileNotFoundError:
        return
    except ConfigError as error:
        faults += error.faults
        return
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.append(ConfigFault(f"{path.name}: line {line}", "not UTF-8", "save it as CSV UTF-8"))
        return
    except (OSError, csv.Error) as error:
        faults.append(ConfigFault(path.name, str(error), "must be a readable CSV file"))
        return
    known = (*columns.needed, *columns.optional)
    head, allowed = f"{path.name}: line 1", f"columns are {', '.join(known)}"
    unknown = [name for name in names if name not in known]
    wrong = [ConfigFault(head, repr(n[:40]), allowed + suggest_name(n, known)) for n in unknown]
    wrong += [ConfigFault(head, f"no {n}", allowed) for n in columns.needed if n not in names]
    faults += wrong
    for line, row in rows.items() if not wrong else ():
        if None in row:
            found = f"{len(names) + len(row[None])} cells"
            allowed = f"line 1 has {len(names)}; put a text with commas in quotation marks"
            faults.append(ConfigFault(f"{path.name}: line {line}", found, allowed))
        cells = {key: _restore(str(value or "").strip()) for key, value in row.items() if key}
        if any(cells.values()):
            yield line, {key: value for key, value in cells.items() if value}


def _restore(text: str) -> str:
    """Return a cell as it was before `replace_row` made it inert."""
    bare = restore(text)
    return bare if make_inert(bare) == text else text


def _find_separator(text: str) -> str:
    return max(",;\t", key=text.partition("\n")[0].count)


def replace_row(text: str, line: int, entry: Mapping[str, Any]) -> str:
    r"""Return the text of a table with the row that ends on `line` replaced by `entry`.

    >>> replace_row("id;name\na;A\nb;B\n", 3, {"id": "b", "name": "=C", "sites": ["n", "s"]})
    "id;name;sites\na;A\nb;'=C;n s\n"
    """
    separator, changed = _find_separator(text), io.StringIO()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header = next(reader)
    names = [name.strip().casefold() for name in header]
    header += [key for key in entry if key not in names]
    names += header[len(names) :]
    cells = {
        key: make_inert(" ".join(value) if isinstance(value, list) else str(value))
        for key, value in entry.items()
    }
    end = "\r\n" if "\r\n" in text else "\n"
    writer = csv.writer(changed, delimiter=separator, lineterminator=end)
    writer.writerow(header)
    for row in reader:
        is_own = reader.line_num == line
        writer.writerow([cells.get(name, "") for name in names] if is_own else row)
    return changed.getvalue()


def _read_row(table: str, row: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the entries that a line represents, each with its section."""
    entry: dict[str, Any] = dict(row)
    for key in ("sites", "aliases"):
        if key in entry:
            entry[key] = entry[key].split()
    if table == "schools.csv":
        if "closed" in entry:
            with suppress(ValueError):
                entry["closed"] = date.fromisoformat(entry["closed"])
        yield "sites", {"id": entry.pop("site", ""), **entry}
    elif table == "sensors.csv":
        place = {key: entry.pop(key, "") for key in ("site", "building", "floor", "room")}
        room = {
            "id": entry.pop("room_id", "") or make_id(filter(None, place.values()), (), "room"),
            "name": place.pop("room"),
            **{key: value for key, value in place.items() if value},
            **({"kind": entry.pop("kind")} if "kind" in entry else {}),
        }
        with suppress(ValueError):
            entry["interval_s"] = float(entry.get("interval_s", ""))
        yield "room", room
        yield "sensor", {"id": entry.pop("sensor", ""), "room": room["id"], **entry}
    else:
        yield ("staff" if table == "people.csv" else "sign_in.group"), entry
