"""`plumewatch site add`: a school of a district as a file, from a CSV of its sensors.

A CSV has one sensor a line. It is checked together with the whole configuration before anything is
written.
"""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from language.plain_text import counted
from plumewatch.cli.options import (
    CONFIG,
    ConfigOption,
    examples,
    with_config,
)
from plumewatch.cli.printer import echo
from plumewatch.config.faults import ConfigError, ConfigFault, close_to, some
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from plumewatch.config.faults import ConfigTree

    Rows = Mapping[int, Mapping[str, str]]


app = typer.Typer()
site_app = typer.Typer(help="The schools of a district.", no_args_is_help=True)
app.add_typer(site_app, name="site", rich_help_panel="Start")

COLUMNS: Final = (
    *("site", "sensor", "building", "floor", "room", "kind", "model", "interval_s", "aliases"),
)
_NEEDED: Final = ("sensor", "room")
_MOST_CHARACTERS: Final = 4_000_000


@site_app.command(
    epilog=examples('plumewatch site add north --name "North High" --sensors north.csv')
)
def add(
    site: Annotated[str, typer.Argument(help="Id of the school, which names its file.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the school.")],
    timezone: Annotated[str, typer.Option(help="IANA time zone; the district's if left out.")] = "",
    sensors: Annotated[Path | None, typer.Option(help="Rooms and sensors: a CSV.")] = None,
    staff: Annotated[
        str, typer.Option(help="Name of a person who responds there, such as a duty.")
    ] = "",
    config: ConfigOption = CONFIG,
) -> None:
    """Write the file of a new school, if the whole configuration is right with it."""
    rows, faults = _rows(sensors, ("", site)) if sensors else ({}, [])
    tree = _common(config, name)
    content: dict[str, Any] = {
        **_given({"name": name, "timezone": timezone}),
        **_entries(site, rows),
        **({"staff": [{"id": f"{site}-staff", "name": staff}]} if staff else {}),
    }
    if sensors is None and not any((config.resolve().parent / "sites").glob("*.toml")):
        raise UsageError(_first_needs_sensors(config, site, name, timezone, staff))
    _write(config, tree, {site: content}, sensors, {site: rows}, faults)


@site_app.command("import", epilog=examples("plumewatch site import schools.csv sensors.csv"))
def import_sites(
    schools: Annotated[Path, typer.Argument(help="One school per line: site, name, timezone.")],
    sensors: Annotated[Path, typer.Argument(help="One sensor per line, with its site.")],
    *,
    config: ConfigOption = CONFIG,
) -> None:
    """Write the files of many schools, unless they make the configuration invalid."""
    named, faults = _table(schools, ("site", "name", "timezone"), ("site", "name"))
    ids = [row["site"] for row in named.values()]
    again = (number for k, number in enumerate(named) if ids[k] in ids[:k])
    faults += (ConfigFault(f"{schools.name}: line {n}", "site", "is there twice") for n in again)
    rows, more = _rows(sensors, ids)
    of_site = {key: {n: row for n, row in rows.items() if row["site"] == key} for key in ids}
    contents = {
        row["site"]: _given({"name": row["name"], "timezone": row["timezone"]})
        | _entries(row["site"], of_site[row["site"]])
        for row in named.values()
        if row["site"]
    }
    tree = _common(config, "the first of the schools")
    _write(config, tree, contents, sensors, of_site, [*faults, *more])


def _write(
    config: Path,
    tree: Mapping[str, Any],
    contents: Mapping[str, Mapping[str, Any]],
    table: Path | None,
    rows: Mapping[str, Rows],
    faults: Sequence[ConfigFault],
) -> None:
    """Check the configuration with new schools, and write their files; else say all faults."""
    from plumewatch.config.editor import written
    from plumewatch.config.load import parse
    from plumewatch.config.sites import FOLDER, site_path, with_sites
    from storage.files import atomic_write

    base = config.resolve().parent
    paths = {site: site_path(config, site) for site in contents}
    if existing := next((path for path in paths.values() if path.exists()), None):
        raise UsageError(f"{existing}: exists already; choose another id, or change the file")
    try:
        added = {path.name: contents[site] for site, path in paths.items()}
        joined = with_sites(tree, base, added)
        for site, path in paths.items() if table else ():
            _name_lines(joined, f"{FOLDER}/{path.name}", table.name if table else "", rows[site])
        parse(joined, base=base)
    except ConfigError as error:
        of_csv = () if any(rows.values()) or table is None else ("room", "sensor")
        others = (fault for fault in error.faults if fault.path not in of_csv)  # named already
        raise ConfigError([*faults, *others], error.tree) from error
    if faults:
        raise ConfigError(faults)
    for site, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as draft:
            draft.write_text(written(contents[site]), encoding="utf-8")
    places, sensors = (sum(len(c[key]) for c in contents.values()) for key in ("room", "sensor"))
    what = str(next(iter(paths.values()))) if len(paths) == 1 else counted(len(paths), "school")
    echo(
        f"wrote {what}: {counted(places, 'room')}, {counted(sensors, 'sensor')}; next:"
        " `plumewatch check`, then restart the service or send it SIGHUP"
    )


def _common(config: Path, name: str) -> Mapping[str, Any]:
    """Read what is common to all schools; its rooms must not become those of the first of them."""
    from plumewatch.config.sites import FOLDER, read_toml

    tree = read_toml(config)
    if tree.get("room") and isinstance(tree.get("site"), str):
        is_first = not any((config.resolve().parent / FOLDER).glob("*.toml"))
        if is_first:
            raise UsageError(
                f"{config} has rooms of {tree['site']}, which would become rooms of {name}: first"
                f" move everything of {tree['site']} into {FOLDER}/ID.toml, below the line name ="
                f' "{tree["site"]}" (docs/district.md); nothing was written'
            )
    return tree


def _first_needs_sensors(config: Path, site: str, name: str, timezone: str, staff: str) -> str:
    given = {"--name": name, "--timezone": timezone, "--staff": staff, "--sensors": f"{site}.csv"}
    options = [word for option, value in given.items() if value for word in (option, value)]
    words = with_config(shlex.join(("plumewatch", "site", "add", site, *options)), config)
    return (
        "--sensors: missing: no school has rooms and sensors yet, so the first comes with a CSV"
        f" of a sensor a line ({', '.join(COLUMNS)}; sensor and room must be given)."
        f" Nothing was written. Then:\n  {words}"
    )


def _rows(path: Path, sites: Collection[str]) -> tuple[Rows, list[ConfigFault]]:
    rows, faults = _table(path, COLUMNS, _NEEDED)
    return rows, [*faults, *_row_faults(rows, path.name, sites)]


def _table(
    path: Path, known: Sequence[str], needed: Sequence[str]
) -> tuple[Rows, list[ConfigFault]]:
    """Read a CSV whose first line names its columns; return its rows by line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        why = f"line {line} is not UTF-8; save the table as CSV in UTF-8"
        raise UsageError(f"{path}: {why}") from error
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"{path}: more than {_MOST_CHARACTERS:,} characters")
    first = text.partition("\n")[0].strip()
    separator = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    reader.fieldnames = names = [key.strip().casefold() for key in reader.fieldnames or ()]
    try:
        read = dict((reader.line_num, row) for row in reader)  # noqa: C402 - line_num changes
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.reader.line_num}: {error}") from error
    where, columns = f"{path.name}: line 1", f"columns: {', '.join(known)}"
    missing = [key for key in needed if key not in names]
    unknown = [key for key in names if key not in known]
    faults = [ConfigFault(f"{where}: {key}", "missing", columns) for key in missing]
    faults += (
        ConfigFault(f"{where}: {key[:40]!r}", "unknown", columns + close_to(key, known))
        for key in unknown
    )
    if not (faults or read):
        faults = [ConfigFault(path.name, "no line after the first", "must have lines below it")]
    if faults:
        return {}, faults
    rows = {
        number: {key: (row.get(key) or "").strip() for key in known} for number, row in read.items()
    }
    many = (number for number, row in read.items() if None in row)
    faults = [ConfigFault(f"{path.name}: line {n}", "too many cells", "as in line 1") for n in many]
    faults += (
        ConfigFault(f"{path.name}: line {number}: {key}", "missing", "must be given")
        for number, row in rows.items()
        for key in needed
        if not row[key]
    )
    return rows, faults


def _row_faults(rows: Rows, file: str, sites: Collection[str]) -> Iterator[ConfigFault]:
    """Find what the check of the configuration, which sees the rest, does not find by line."""
    for number, row in rows.items():
        if row["site"] not in sites:
            allowed = (
                f"must be {some(map(repr, dict.fromkeys(filter(None, sites))))}"
                + ", or left out" * ("" in sites)
            )
            yield ConfigFault(f"{file}: line {number}: site", repr(row["site"]), allowed)
        if (seconds := row["interval_s"]) and _seconds(seconds) is None:
            where = f"{file}: line {number}, interval_s"
            yield ConfigFault(where, repr(seconds), "is not a number")


def _place(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[key] for key in ("building", "floor", "room", "kind"))


def _entries(site: str, rows: Rows) -> dict[str, list[dict[str, Any]]]:
    from plumewatch.cli.setup.rooms import distinct, id_of

    places = dict.fromkeys(map(_place, rows.values()))
    ids = distinct((place, id_of(site, *place[:3])) for place in places)
    rooms = [
        {"id": ids[place], "building": building or "Main"}
        | _given({"name": room, "floor": floor, "kind": kind})
        for place in places
        for building, floor, room, kind in [place]
    ]
    sensors = [
        {"id": row["sensor"], "room": ids[_place(row)], **_of_sensor(row)} for row in rows.values()
    ]
    return {"room": rooms, "sensor": sensors}


def _name_lines(tree: ConfigTree, file: str, table: str, rows: Rows) -> None:
    """Let faults of the rooms and sensors of a CSV name its lines, not the file to be written."""
    first: dict[tuple[str, ...], int] = {}
    for number, row in rows.items():
        first.setdefault(_place(row), number)
    lines = {"room": list(first.values()), "sensor": list(rows)}
    for section, numbers in lines.items():
        own = [key for key, name in tree.files.items() if key[0] == section and name == file]
        tree.files.update(
            {key: f"{table}: line {number}" for key, number in zip(own, numbers, strict=True)}
        )


def _of_sensor(row: Mapping[str, str]) -> dict[str, Any]:
    found = _given({"model": row["model"], "aliases": row["aliases"].split()})
    seconds = _seconds(row["interval_s"])
    return found if seconds is None else {**found, "interval_s": seconds}


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
