"""A school that leaves a district: its file moves aside, accounts and tokens end, its data expire.

The file ``sites/north.toml`` becomes ``sites/removed/north-20261128T034500Z.toml``, which nothing
reads; entries of the main file are cut out and written there. Incidents and readings stay for as
long as those of the others, and only people of all schools see them. When they expire, `expire`
deletes what has the names of its sensors and rooms, and the file goes. Until then it can move back.

A removal may be killed at any moment: in one transaction accounts and tokens end, and the file
moves to ``.toml.unfinished``; after the commit it gets its name. A removal that finds such a file
goes on with it, `check` names it, and `--undo` brings it back.
"""

from __future__ import annotations

import re
import shutil
import time
import tomllib
from calendar import timegm
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from alerts.access.passwords import remove_account
from alerts.access.schema import end_site
from alerts.errors import ConfigFileError
from plumewatch.config.editor import without, written
from plumewatch.config.load import load, parse
from plumewatch.config.sites import FOLDER, as_file, own_entries, read_toml, site_path, with_sites
from plumewatch.errors import UsageError
from storage import audit
from storage.files import FILE_MODE, atomic_write, write_private

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from plumewatch.config.model import PlumewatchConfig
    from storage.holds import Hold

_REMOVED: Final = "removed"
_STAMP: Final = "%Y%m%dT%H%M%SZ"
UNFINISHED: Final = ".unfinished"
_FILE: Final = re.compile(r"(.+)-(\d{8}T\d{6}Z)\.toml")


class RemovedSite(NamedTuple):
    """The file of a school that was removed, and when."""

    site: str
    at: float
    path: Path


def removed_sites(config: Path, suffix: str = "") -> list[RemovedSite]:
    """Return the removed schools, or with `UNFINISHED` those half removed, in order of removal."""
    found = []
    for path in (config.resolve().parent / FOLDER / _REMOVED).glob(f"*.toml{suffix}"):
        name = _FILE.fullmatch(path.name.removesuffix(suffix))
        if name:
            at = float(timegm(time.strptime(name[2], _STAMP)))
            found.append(RemovedSite(name[1], at, path))
    return sorted(found, key=lambda one: one.at)


class SiteChange:
    """A school removed or brought back: checked when made, or `UsageError`; done by `apply`."""

    def __init__(self, config: Path, site: str, *, undo: bool = False) -> None:
        self._config = config.resolve()
        base = self._config.parent
        self._site, self._undo = site, undo
        self._path = site_path(self._config, site)
        file = self._path.name
        present = load(config)
        raw, tree = self._config.read_bytes(), read_toml(self._config)
        self._main: tuple[bytes, bytes] = raw, raw
        self._aside: Path | None = None
        kept = [one.path for one in removed_sites(config) if one.site == site]
        started = [one.path for one in removed_sites(config, UNFINISHED) if one.site == site]
        own = own_entries(tree, site) if isinstance(tree.get("site"), list) else {}
        here = self._path.exists() or "site" in own
        self._content: dict[str, Any] | None = None
        self._started = started
        if undo:
            if here or not (kept or started):
                why = "is in the configuration" if here else "was not removed, or its data expired"
                raise UsageError(f"site {site!r} {why}: nothing to undo")
            self._source = max([*kept, *started], key=lambda path: path.name)
            content = read_toml(self._source)
        elif self._path.exists():
            self._source, content = self._path, read_toml(self._path)
        elif "site" in own:
            self._source = self._config
            content = self._content = as_file(tree, own)
            try:
                rest = without(raw.decode(), tree, own)
            except ConfigFileError as error:
                raise UsageError(
                    f"the entries of {site!r} are written in a way in {config} that no program cuts"
                    f" out: move them into {self._path}, then remove it; nothing was changed"
                ) from error
            self._main, tree = (raw, rest.encode()), tomllib.loads(rest)
        elif started:  # the process of a removal was killed
            self._source = started[-1]
            content = read_toml(self._source)
        else:
            raise UsageError(self._missing(present, kept))
        changed = parse(with_sites(tree, base, {file: None if here else content}), base=base)
        if self._content is not None:
            parse(with_sites(tree, base, {file: content}), base=base)  # what --undo will read
        with_it, after = (present, changed) if here else (changed, present)
        self.name = with_it.sites_by_id()[site].name
        self.people = sorted(_people(with_it) - _people(after))
        self.sensors = len(with_it.sensor) - len(after.sensor)

    def _missing(self, config: PlumewatchConfig, kept: list[Path]) -> str:
        if kept:
            return (
                f"site {self._site!r} was removed: {kept[-1]}; `plumewatch site remove"
                f" {self._site} --undo` brings it back"
            )
        names = ", ".join(sorted(found.id for found in config.all_sites()))
        return f"no site {self._site!r} in {self._config} or {self._path}; there is {names}"

    def apply(self, tx: sqlite3.Connection, who: str, now: float) -> None:
        """End accounts and tokens, record it, and move the file last: if that fails, nothing is.

        After the commit, call `finish`; if the transaction cannot be committed, `revert`.
        """
        for person in () if self._undo else self.people:
            remove_account(tx, person, now)
        detail: dict[str, str | float | None] = {
            "site": self._site,
            "name": self.name,
            "what": "restored" if self._undo else "removed",
            "people": len(self.people),
            "sensors": self.sensors,
            "tokens": 0 if self._undo else end_site(tx, self.name),
        }
        audit.append(tx, audit.AuditKind.SITE, who, detail, now)
        if self._undo:
            self._aside = self._path
        else:
            folder = self._path.parent / _REMOVED
            folder.parent.mkdir(exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            stamp = time.strftime(_STAMP, time.gmtime(now))
            self._aside = folder / f"{self._site}-{stamp}.toml{UNFINISHED}"
        if self._content is None:
            self._source.rename(self._aside)
        else:
            write_private(self._aside, written(self._content).encode())
            self._replace_main(*self._main)

    def finish(self) -> None:
        """Give the file of a removed school its name, also what a killed removal left of it."""
        if self._aside is None or self._undo:
            return
        for path in (*self._started, self._aside):
            if path.exists():
                path.rename(path.with_suffix(""))

    def revert(self) -> None:
        """Put the files back as they were, if they were moved."""
        if self._aside is None or not self._aside.exists():
            return
        if self._content is None:
            self._aside.rename(self._source)
            return
        if self._config.read_bytes() == self._main[1]:
            self._replace_main(*reversed(self._main))
        self._aside.unlink()

    def _replace_main(self, before: bytes, after: bytes) -> None:
        if self._config.read_bytes() != before:
            raise UsageError(f"{self._config} has changed meanwhile; nothing was removed")
        mode = self._config.stat().st_mode & 0o777
        with atomic_write(self._config) as draft:
            draft.touch(FILE_MODE)
            draft.write_bytes(after)
            draft.chmod(mode)


def _people(config: PlumewatchConfig) -> set[str]:
    return {person.id for person in config.staff}


def due_sites(
    config: Path, before: float, holds: Iterable[Hold]
) -> Iterator[tuple[RemovedSite, bool]]:
    """Yield the schools that were removed before a moment, and whether a legal hold keeps each."""
    held = {hold.room for hold in holds}
    for one in removed_sites(config):
        if one.at < before:
            yield one, not held.isdisjoint({"", *_ids(read_toml(one.path), "room")})


def expire(
    tx: sqlite3.Connection, one: RemovedSite, config: PlumewatchConfig, who: str, now: float
) -> None:
    """Delete what has the names of a school's sensors and rooms; its file comes after."""
    content, registry = read_toml(one.path), config.registry()
    for sensor in _ids(content, "sensor") - registry.sensors.keys():
        tx.execute("DELETE FROM sensor_firmware WHERE sensor = ?", (sensor,))
        tx.execute("DELETE FROM sensor_level WHERE sensor = ?", (sensor,))
    tests = config.data_dir / "commissioning"
    for room in _ids(content, "room") - registry.rooms.keys():
        for folder in tests.glob(f"{room}-*"):
            if re.fullmatch(re.escape(room) + r"-\d{8}T\d{6}Z", folder.name):
                shutil.rmtree(folder)
    audit.append(tx, audit.AuditKind.RETENTION, who, {"class": "site", "site": one.site}, now)


def _ids(content: Mapping[str, Any], section: str) -> set[str]:
    return {str(entry["id"]) for entry in content.get(section, ())}
