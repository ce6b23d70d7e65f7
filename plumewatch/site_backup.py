"""A backup of one school, and its way back into a district that goes on.

A backup is a folder as `storage.backup` writes, with the rows of one school in ``state.db`` and
``series.db``, and no journal; the manifest names the school and has the text of its file.

Restoring adds what is not there and changes nothing that is. What was open in the backup is
resolved, and notices that were to be sent are cancelled. Series come first, as copying them twice
changes nothing; then one transaction has the rest, and the file of the school last. The audit log,
sessions, tokens, silences and browsers with notices are not in it, nor readings in an InfluxDB.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec

from plumewatch.config.editor import written
from plumewatch.config.load import parse
from plumewatch.config.sections.common import SITE_ID
from plumewatch.config.sites import as_file, own_entries, read_toml, site_path, with_sites
from plumewatch.errors import UsageError
from plumewatch.service.data_folder import open_state, prepare_state, refuse_older
from storage import audit
from storage.backup import MANIFEST, SERIES, write_manifest
from storage.errors import StorageError
from storage.files import atomic_write
from storage.sqlite import connect, transaction
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from plumewatch.config.model import PlumewatchConfig

STATE: Final = "state.db"
_MISSING: Final = "INSERT OR IGNORE"
_CHOSEN: Final = {
    kind: f"(SELECT id FROM temp.chosen WHERE kind = '{kind}')"  # noqa: S608 - words of ours
    for kind in ("incident", "room", "sensor", "person")
}
_TABLES: Final[dict[str, dict[str, list[str]]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
_NUMBERED: Final = {"outbox_attempt": ("outbox", "id")}
"""Where numbers come from that are not those of the table."""


class SitePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What belongs to a school, by id; `file` is the text of its file."""

    id: str
    name: str
    rooms: list[str]
    sensors: list[str]
    people: list[str]
    file: str

    @classmethod
    def of(cls, config: PlumewatchConfig, site: str, path: Path) -> Self:
        """Return the part of a school that the configuration at `path` has."""
        name = config.sites_by_id()[site].name
        part = config.registry().within({name})
        people = [one.id for one in config.staff if one.sites == [site]]
        file, tree = site_path(path, site), read_toml(path)
        text = ""
        if file.exists():
            text = file.read_text(encoding="utf-8")
        elif isinstance(tree.get("site"), list):
            text = written(as_file(tree, own_entries(tree, site)))
        return cls(site, name, list(part.rooms), list(part.sensors), people, text)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read what a backup has of a school; None if it is of all of an installation."""
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("site")
        try:
            part = None if found is None else msgspec.convert(found, cls)
        except msgspec.ValidationError as error:
            raise StorageError(f"{folder / MANIFEST}: names no school: {error}") from error
        if part and not re.fullmatch(SITE_ID, part.id):
            raise StorageError(f"{folder / MANIFEST}: {part.id!r} is no id of a school")
        return part


class Restored(NamedTuple):
    """How many incidents and readings were added, and how many incidents were there."""

    incidents: int
    present: int
    readings: int


def back_up_site(root: Path, target: Path, made: str, part: SitePart) -> None:
    """Write the rows of a school in the data folder `root` into the new folder `target`."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    try:
        _write(root, partial, made, part)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(root: Path, target: Path, made: str, part: SitePart) -> None:
    with open_state(target / STATE) as copy, _attached(copy, root / STATE), transaction(copy):
        _choose(copy, part)
        _copy_state(copy)
        copy.execute("DELETE FROM change_feed")
    if (root / SERIES).exists():
        with SqliteSeries(target / SERIES, Retention()):
            pass
        with closing(connect(target / SERIES)) as copy, _attached(copy, root / SERIES):
            _copy_series(copy, part)
    for path in target.glob("*.db"):
        with closing(connect(path)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE")
    write_manifest(target, made, 0.0, site=msgspec.to_builtins(part))


class SiteRestore:
    """The restore of a school: `check` returns what conflicts, `run` adds what is missing."""

    def __init__(self, folder: Path, part: SitePart, config_path: Path, now: float) -> None:
        self._folder, self._part, self._now = folder, part, now
        self._config_path = config_path
        self.file = site_path(config_path, part.id)
        with closing(connect(folder / STATE)) as source:
            prepare_state(source)
            for statement in _TABLES["restored"]["closed"]:
                source.execute(statement, (now,))

    def check(self, config: PlumewatchConfig) -> list[str]:
        """Return what conflicts with the district; `ConfigError` with all faults of its file."""
        part, registry = self._part, config.registry()
        here = config.sites_by_id().get(part.id)
        if here is None:
            self._with_file()
        found = []
        for room in part.rooms:
            at = registry.rooms.get(room)
            if at and (here is None or at.site != here.name):
                found.append(f"room {room} is of {at.site}")
        for sensor in part.sensors:
            at = registry.room_of(sensor)
            if at and (here is None or at.site != here.name):
                found.append(f"sensor {sensor} is of {at.site}")
        with open_state(config.data_dir / STATE) as db, _attached(db, self._folder / STATE):
            rows = db.execute(
                "SELECT id, m.room FROM source.incident s JOIN main.incident m USING (id)"
                " WHERE s.room <> m.room OR s.opened_at <> m.opened_at ORDER BY id"
            ).fetchall()
        found += [f"incident {row['id']} is another one, in room {row['room']}" for row in rows]
        return found

    def _with_file(self) -> None:
        if not self._part.file:
            raise UsageError(
                f"site {self._part.id!r} is not in the configuration, and the backup has no file of"
                " it: add the school first"
            )
        content = tomllib.loads(self._part.file)
        base = self._config_path.resolve().parent
        parse(with_sites(read_toml(self._config_path), base, {self.file.name: content}), base=base)

    def run(self, config: PlumewatchConfig, who: str) -> Restored:
        """Add what is missing, and record it; the last step writes the file of a missing school."""
        part, root, readings = self._part, config.data_dir, 0
        if (self._folder / SERIES).exists() and (root / SERIES).exists():
            refuse_older(root / SERIES)
            with SqliteSeries(self._folder / SERIES, Retention()):
                pass  # brings it to the schema of this program
            with closing(connect(root / SERIES)) as db, _attached(db, self._folder / SERIES):
                readings = _copy_series(db, part)
        with open_state(root / STATE) as db, _attached(db, self._folder / STATE), transaction(db):
            head = db.execute("SELECT coalesce(max(seq), 0) FROM main.change_feed").fetchone()[0]
            total = db.execute("SELECT count(*) FROM source.incident").fetchone()[0]
            _choose(db, part)
            added = _copy_state(db)
            db.execute("DELETE FROM main.change_feed WHERE seq > ? AND what <> 'changed'", (head,))
            done = Restored(added, total - added, readings)
            detail = {"site": part.id, "name": part.name, "what": "restored from a backup"}
            audit.append(db, audit.AuditKind.SITE, who, detail | done._asdict(), self._now)
            if part.id not in config.sites_by_id():
                self.file.parent.mkdir(exist_ok=True)
                with atomic_write(self.file) as draft:
                    draft.write_text(part.file, encoding="utf-8")
        return done


@contextmanager
def _attached(db: sqlite3.Connection, source: Path) -> Iterator[None]:
    db.execute("ATTACH ? AS source", (f"{source.resolve().as_uri()}?mode=ro",))
    try:
        yield
    finally:
        db.execute("DETACH source")


def _choose(db: sqlite3.Connection, part: SitePart) -> None:
    db.execute("CREATE TEMP TABLE chosen (kind TEXT, id TEXT, PRIMARY KEY (kind, id))")
    own = (("room", part.rooms), ("sensor", part.sensors), ("person", part.people))
    chosen = ((kind, name) for kind, names in own for name in names)
    db.executemany("INSERT INTO temp.chosen VALUES (?, ?)", chosen)
    db.execute(
        "INSERT INTO temp.chosen SELECT 'incident', id FROM source.incident WHERE room IN"
        " (SELECT id FROM temp.chosen WHERE kind = 'room')"
        " AND id NOT IN (SELECT id FROM main.incident)"
    )


def _copy_state(db: sqlite3.Connection) -> int:
    db.execute("PRAGMA defer_foreign_keys=ON")
    for table, (where, *moved) in _TABLES["copied"].items():
        origin, number = _NUMBERED.get(table, (table, moved[0] if moved else ""))
        last = 0
        if moved:
            row = db.execute(f"SELECT coalesce(max({number}), 0) FROM main.{origin}").fetchone()  # noqa: S608 - names of ours
            last = row[0]
        _insert(
            db, table, where.format(**_CHOSEN, table=table), dict.fromkeys(moved, f"+ {int(last)}")
        )
    row = db.execute("SELECT count(*) FROM temp.chosen WHERE kind = 'incident'").fetchone()
    db.execute("DROP TABLE temp.chosen")
    return int(row[0])


def _copy_series(db: sqlite3.Connection, part: SitePart) -> int:
    readings = 0
    for sensor in part.sensors:
        with transaction(db) as tx:
            row = tx.execute("SELECT id FROM source.sensor WHERE name = ?", (sensor,)).fetchone()
            if row is not None:
                tx.execute("INSERT OR IGNORE INTO main.sensor (name) VALUES (?)", (sensor,))
                here = tx.execute("SELECT id FROM main.sensor WHERE name = ?", (sensor,)).fetchone()
                for table in ("reading", "reading_1m", "reading_15m", "stale"):
                    shift = {"sensor": f"* 0 + {int(here[0])}"}
                    added = _insert(tx, table, f"sensor = {int(row[0])}", shift, verb=_MISSING)
                    readings += added if table == "reading" else 0
            for table, keyed in MEASUREMENTS.items():
                if "sensor" in keyed.keys:
                    _insert(tx, table, "sensor = ?", {}, (sensor,), _MISSING)
    for room in part.rooms:
        with transaction(db) as tx:
            for table, keyed in MEASUREMENTS.items():
                if "sensor" not in keyed.keys and "room" in keyed.keys:
                    _insert(tx, table, "room = ?", {}, (room,), _MISSING)
    return readings


def _insert(
    db: sqlite3.Connection,
    table: str,
    where: str,
    shift: Mapping[str, str],
    values: tuple[str, ...] = (),
    verb: str = "INSERT",
) -> int:
    columns = [row["name"] for row in db.execute(f"PRAGMA source.table_info({table})").fetchall()]
    names = ", ".join(f'"{name}"' for name in columns)
    found = ", ".join(f'"{name}" {shift.get(name, "")}' for name in columns)
    sql = f"{verb} INTO main.{table} ({names}) SELECT {found} FROM source.{table} WHERE {where}"  # noqa: S608 - names from the schema
    return db.execute(sql, values).rowcount
