"""Data of an older version: copied before a newer program changes them, or left alone.

The tables of each component have a schema number in the file they are in; a program knows up to
which. Only the service upgrades, at its start, while it holds the data folder: first it looks at
every file, so that a folder of a newer program is refused before anything is touched; then, if a
file is behind, it copies all of them as `plumewatch backup` does; then each file is opened and
migrated as always. Other commands refuse data that are behind, since an older service may be using
them.

The copy is the way back: `plumewatch restore` of the older program takes it. One is kept, the last.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from alerts.access import schema as access
from alerts.incidents import schema
from alerts.outbound import grafana_annotations, series_records, webhooks
from plumewatch import __version__
from storage import audit, firmware, holds, journal, state
from storage.backup import back_up
from storage.errors import (
    SchemaTooNewError,
    SchemaTooOldError,
    StorageCorruptError,
    StorageUnavailableError,
)
from storage.schema_damage import VERSIONS
from storage.sqlite import connect, translated
from storage.timeseries import sqlite as series

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

STATE_SCRIPTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "state": state.SCRIPTS,
        schema.COMPONENT: schema.SCRIPTS,
        access.COMPONENT: access.SCRIPTS,
        webhooks.COMPONENT: webhooks.SCRIPTS,
        grafana_annotations.COMPONENT: grafana_annotations.SCRIPTS,
        audit.COMPONENT: audit.SCRIPTS,
        holds.COMPONENT: holds.SCRIPTS,
        series_records.COMPONENT: series_records.SCRIPTS,
        firmware.COMPONENT: firmware.SCRIPTS,
    }
)
"""What makes the tables of each component of the state database, in the order of making."""

NEWEST: Final[Mapping[str, int]] = MappingProxyType(
    {
        "journal": len(journal.SCRIPTS),
        **{component: len(scripts) for component, scripts in STATE_SCRIPTS.items()},
        "series": len(series.SCRIPTS),
        "records": 1,
        "averages": 1,
    }
)
"""Newest schema of each component that this program knows."""

_COPIES: Final = "before-upgrade-"
_ROOM: Final = 1.1
"""Disk that a copy takes, of the size of the files."""


def schemas(path: Path) -> dict[str, int]:
    """Read the schema of each component in a database; empty if there is none.

    Raises
    ------
    StorageUnavailableError
        If the file cannot be read.
    """
    if not path.exists():
        return {}
    with closing(connect(path, read_only=True)) as database:
        try:
            rows = database.execute(VERSIONS).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return {}
            raise translated(error, path) from error
    return {str(row[0]): int(row[1]) for row in rows}


def refuse_older(path: Path) -> None:
    """Leave a database alone that is behind this program.

    Raises
    ------
    SchemaTooOldError
        If it has to be upgraded first.
    SchemaTooNewError
        If a newer program wrote it.
    StorageUnavailableError
        If the file cannot be read.
    """
    found = schemas(path)
    _refuse_newer(path, found)
    if _behind(found):
        raise SchemaTooOldError(
            f"{path} was written by an older version; start the service once with this one"
            f" ({__version__}): it copies the data and upgrades them"
        )


def copy_before_upgrade(root: Path, now: float, series_from: float) -> Path | None:
    """Copy the databases of a data folder if one of them is behind this program.

    Parameters
    ----------
    root : Path
        The data folder, which is ours.
    now : float
        Unix seconds.
    series_from : float
        As in `back_up`.

    Returns
    -------
    Path or None
        The folder of the copy; None if no file is behind.

    Raises
    ------
    SchemaTooNewError
        If a newer program wrote one of them; nothing was changed.
    StorageUnavailableError
        If there is no room for the copy, or it cannot be made; nothing was changed.
    """
    files = sorted(root.glob("*.db"))
    behind = []
    for path in files:
        try:
            found = schemas(path)
        except StorageCorruptError:
            continue  # set aside, which is a copy too, when it is opened
        _refuse_newer(path, found)
        behind += [f"{path.name} {part} {found[part]} to {NEWEST[part]}" for part in _behind(found)]
    if not behind:
        return None
    needed = _ROOM * sum(path.stat().st_size for path in root.glob("*.db*"))
    free = shutil.disk_usage(root).free
    if free < needed:
        raise StorageUnavailableError(
            f"{root}: the data have to be upgraded and copied before; that takes"
            f" {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} are left. Make room, or go on with the"
            " older version"
        )
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target = root / f"{_COPIES}{stamp}"
    log.warning("upgrading the data (%s); copying them to %s before", ", ".join(behind), target)
    older = [path for path in root.glob(f"{_COPIES}*") if path != target]
    shutil.rmtree(target, ignore_errors=True)
    try:
        back_up(root, target, stamp, series_from, idle=True)
    except StorageCorruptError as error:
        log.error("no copy before the upgrade, a file is damaged: %s", error)  # noqa: TRY400 - one line
        return None
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
    return target


def _behind(found: Mapping[str, int]) -> list[str]:
    return [part for part, version in found.items() if 0 < version < NEWEST.get(part, 0)]


def _refuse_newer(path: Path, found: Mapping[str, int]) -> None:
    newer = {part: n for part, n in found.items() if n > NEWEST.get(part, 0)}
    if not newer:
        return
    parts = ", ".join(f"{part} {n}" for part, n in sorted(newer.items()))
    copies = sorted(path.parent.glob(f"{_COPIES}*"))
    way_back = (
        f"restore the copy from before its upgrade (plumewatch restore --force {copies[-1]}),"
        " without what was accepted since"
        if copies
        else "restore a backup that this version made"
    )
    raise SchemaTooNewError(
        f"{path} was written by a newer version than {__version__} ({parts}): use that one, or"
        f" {way_back}. Nothing was changed"
    )
