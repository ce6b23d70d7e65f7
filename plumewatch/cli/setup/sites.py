"""`plumewatch site add` and `site export`: a school of a district as a file, its sensors as CSV.

A CSV has one sensor a line, with the columns of `COLUMNS`; `sensor` and `room` must be given. It
is checked together with the whole configuration before anything is written.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer import Argument, Option

from plumewatch.cli.options import (
    CONFIG,
    ConfigOption,
    ForceOption,
    JsonOption,
    check_output,
    command,
    group,
)
from plumewatch.cli.printer import Printer
from plumewatch.cli.site import Site
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

app = typer.Typer()
site_app = group("The schools of a district.")
app.add_typer(site_app, name="site")

COLUMNS: Final = (
    *("site", "sensor", "building", "floor", "room", "kind", "model", "interval_s", "aliases"),
)
_MOST_CHARACTERS: Final = 4_000_000


@command(site_app, "add", 'plumewatch site add north --name "North High" --sensors north.csv')
def add(
    site: Annotated[str, Argument(help="Id of the school, which names its file.")],
    *,
    name: Annotated[str, Option(help="Name of the school.")],
    timezone: Annotated[str, Option(help="IANA time zone; the district's if left out.")] = "",
    sensors: Annotated[Path | None, Option(help="Rooms and sensors: a CSV.")] = None,
    staff: Annotated[str, Option(help="Name of a person who responds there, such as a duty.")] = "",
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write the file of a new school, if the whole configuration is right with it."""
    from plumewatch.config.load import parse
    from plumewatch.config.sites import FOLDER, read_toml, with_sites
    from storage.files import atomic_write

    base = config.resolve().parent
    path = base / FOLDER / f"{site}.toml"
    if path.exists():
        raise UsageError(f"{path}: exists already; choose another id, or change the file")
    rows, faults = _rows(sensors, site)
    content: dict[str, Any] = {
        **{key: value for key, value in (("name", name), ("timezone", timezone)) if value},
        **_entries(site, rows),
        **({"staff": [{"id": f"{site}-staff", "name": staff}]} if staff else {}),
    }
    try:
        tree = with_sites(read_toml(config), base, {path.name: content})
        parse(tree, base=base)
    except OSError as error:
        raise UsageError(f"{config}: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError([*faults, *error.faults], error.tree) from error
    if faults:
        raise ConfigError(faults)
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as draft:
        draft.write_text(_written(content), encoding="utf-8")
    Printer(as_json=as_json).say(
        f"wrote {path}: {len(content['room'])} rooms, {len(content['sensor'])} sensors; next:"
        " `plumewatch check`, then restart the service or send it SIGHUP",
        wrote=path,
        rooms=len(content["room"]),
        sensors=len(content["sensor"]),
    )


@command(site_app, "export", "plumewatch site export --out sensors.csv")
def export(
    config: ConfigOption = CONFIG,
    *,
    site: Annotated[str, Option(help="Id of one school; all if left out.")] = "",
    out: Annotated[Path, Option(help="File to write.")],
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write rooms and sensors as a CSV, which `site add` reads."""
    school = Site.load(config).config
    registry = school.registry()
    ids = {found.name: found.id for found in registry.sites.values()}
    if site and site not in ids.values():
        raise UsageError(f"no site {site!r}; there is {', '.join(sorted(ids.values()))}")
    check_output(out, force=force, suffixes=(".csv",))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    count = 0
    for sensor in school.sensor:
        room = registry.rooms[sensor.room]
        if site and ids[room.site] != site:
            continue
        count += 1
        writer.writerow(
            {
                "site": ids[room.site],
                "sensor": sensor.id,
                **{key: getattr(room, key) for key in ("building", "floor", "kind")},
                "room": room.name,
                "model": sensor.model,
                "interval_s": f"{sensor.interval_s:g}",
                "aliases": " ".join(sensor.aliases),
            }
        )
    out.write_text(text.getvalue(), encoding="utf-8")
    Printer(as_json=as_json).say(f"wrote {out}: {count} sensors", wrote=out, sensors=count)


def _rows(path: Path | None, site: str) -> tuple[list[dict[str, str]], list[ConfigFault]]:
    """Read a CSV of sensors, and what is wrong with its lines."""
    if path is None:
        return [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read(_MOST_CHARACTERS + 1)
        read = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--sensors {path}: {error}") from error
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"--sensors {path}: more than {_MOST_CHARACTERS:,} characters")
    rows = [{k: (v or "").strip() for k, v in row.items() if k in COLUMNS} for row in read]
    return rows, list(_row_faults(rows, path.name, site))


def _row_faults(rows: list[dict[str, str]], file: str, site: str) -> Iterator[ConfigFault]:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{file}: line {number}"
        for key in ("sensor", "room"):
            if not row.get(key):
                yield ConfigFault(f"{where}: {key}", "missing", "must be given")
        if row.get("site", site) not in ("", site):
            yield ConfigFault(f"{where}: site", repr(row["site"]), f"must be {site!r}")
        name = row.get("sensor", "")
        if name and seen.setdefault(name, number) != number:
            allowed = f"must be unique, but is also in line {seen[name]}"
            yield ConfigFault(f"{where}: sensor", repr(name), allowed)


def _entries(site: str, rows: list[dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rooms and sensors of the lines of a CSV."""
    from plumewatch.cli.setup.rooms import distinct, id_of

    keys = ("building", "floor", "room", "kind")
    places = [tuple(row.get(key, "") for key in keys) for row in rows]
    ids = distinct((place, id_of(site, *place[:3])) for place in dict.fromkeys(places))
    rooms = [
        {"id": ids[place], **_given({"name": place[2], **dict(zip(keys, place, strict=True))})}
        for place in dict.fromkeys(places)
    ]
    for room in rooms:
        room.pop("room", None)
        room.setdefault("building", "Main")
    sensors = [
        {"id": row.get("sensor", ""), "room": ids[place], **_of_sensor(row)}
        for row, place in zip(rows, places, strict=True)
    ]
    return {"room": rooms, "sensor": sensors}


def _of_sensor(row: Mapping[str, str]) -> dict[str, Any]:
    found = _given({"model": row.get("model", ""), "aliases": row.get("aliases", "").split()})
    seconds = row.get("interval_s", "")
    if seconds:
        try:
            found["interval_s"] = float(seconds)
        except ValueError:
            found["interval_s"] = seconds  # a fault of the configuration, which names it
    return found


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def _written(content: Mapping[str, Any]) -> str:
    import tomlkit

    document = tomlkit.document()
    for key, value in content.items():
        if not isinstance(value, list):
            document.append(key, tomlkit.item(value))
            continue
        tables = tomlkit.aot()
        for entry in value:
            table = tomlkit.table()
            table.update(entry)
            tables.append(table)
        if value:
            document.append(key, tables)
    return tomlkit.dumps(document)
