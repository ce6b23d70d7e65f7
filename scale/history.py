"""Store readings as Parquet files, by building, in the order in which they are evaluated.

Layout
------
Parts are files ``bucket=B/day=YYYY-MM-DD/part-N.parquet`` in one folder (the hive layout of Spark,
polars and DuckDB). All sensors of a building are in one bucket (`storage.registry.find_shard`), so
each bucket can be evaluated separately, including the detection of building-wide air changes.
Within a bucket, parts sorted by path hold readings sorted by `position`, a running number that
never repeats. The day is the receive day in UTC. It never goes back, even if the clock does, so
paths always sort in the order of the positions.

Order of operations
-------------------
`HistoryWriter.commit` writes the parts of one group to ``_staging`` and syncs them. It then commits
the group by replacing ``_writer.json``, which names the parts and holds the caller's cursor. Last,
it renames the parts into place. If the process dies before the commit, the next writer deletes the
staged files. If it dies afterward, the next writer completes the renames. So each reading is stored
once, and readers see only complete parts. A lock on ``_writer.lock`` allows one writer per folder.

This is not a table format. To change or delete data, edit or remove parts by hand, a day at a time.
"""

from __future__ import annotations

import base64
import fcntl
import json
import re
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self

import polars as pl

from detection.quantities import COLUMNS
from ingest.validation import may_alert
from scale.errors import HistoryError
from storage.files import atomic_write, sync
from storage.registry import find_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from storage.reading import Reading
    from storage.registry import Registry

PLACE: Final = ("site", "building", "floor", "room", "model")
SCHEMA: Final = pl.Schema(
    {
        "position": pl.Int64(),
        "time": pl.Float64(),
        "received": pl.Float64(),
        "sensor": pl.String(),
        **{name: pl.String() for name in PLACE},
        "evaluated": pl.Boolean(),
        **{key: pl.Float64() for key in COLUMNS},
        "events": pl.String(),
        "faults": pl.String(),
        "flags": pl.String(),
    }
)
"""Columns of a part. Times are Unix seconds, bit for bit as in the journal. Unregistered sensors
have an empty place. Lists are words separated by spaces; null means none. Detectors skip readings
that are not `evaluated`, such as retained readings and readings of unregistered sensors."""

_STATE: Final = "_writer.json"
_LOCK: Final = "_writer.lock"
_STAGING: Final = "_staging"
_BUCKET: Final = re.compile(r"bucket=(\d+)\Z")
_ROW_GROUP: Final = 250_000


class PlacedReading(NamedTuple):
    """A reading with its place and model (`PLACE`), and whether detectors evaluate it."""

    reading: Reading
    place: tuple[str, str, str, str, str]
    evaluated: bool


def place_reading(reading: Reading, registry: Registry) -> PlacedReading:
    """Add a reading's place, and whether detectors evaluate it."""
    sensor, room = registry.sensors.get(reading.sensor), registry.find_room(reading.sensor)
    if sensor is None or room is None:
        return PlacedReading(reading, ("", "", "", "", ""), may_alert(reading))
    where = (room.site, room.building, room.floor, room.id, sensor.model)
    return PlacedReading(reading, where, may_alert(reading))


def build_frame(rows: Sequence[PlacedReading]) -> pl.DataFrame:
    """Build a frame of `SCHEMA`, without `position`, from readings."""
    readings = [row.reading for row in rows]
    columns: dict[str, list[Any]] = {
        "time": [r.time for r in readings],
        "received": [r.received for r in readings],
        "sensor": [r.sensor for r in readings],
        **{name: [row.place[k] for row in rows] for k, name in enumerate(PLACE)},
        "evaluated": [row.evaluated for row in rows],
        **{key: [r.values.get(key) for r in readings] for key in COLUMNS},
        "events": [" ".join(r.events) or None for r in readings],
        "faults": [" ".join(r.faults) or None for r in readings],
        "flags": [" ".join(r.flags) or None for r in readings],
    }
    return pl.DataFrame(columns, schema={key: SCHEMA[key] for key in columns})


class HistoryWriter:
    """Appends to a history.

    `buckets` is the number of buckets of a new history; an existing history keeps its number.
    Raises `HistoryError` if the folder contains something else or another process is writing to it.
    """

    def __init__(self, folder: Path, buckets: int = 2) -> None:
        self._folder = folder
        self._lock: IO[str] | None = None
        self.position, self.cursor = 0, b""
        self._day = ""
        self.buckets = buckets
        folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder's lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def commit(self, frame: pl.DataFrame, cursor: bytes) -> list[Path]:
        """Durably append a group (`build_frame`) and the caller's cursor; return the new parts."""
        days = pl.from_epoch(frame["received"].floor().cast(pl.Int64), "s").dt.strftime("%Y-%m-%d")
        frame = frame.select(
            pl.int_range(self.position + 1, self.position + 1 + frame.height).alias("position"),
            pl.all(),
            bucket=find_buckets(frame, self.buckets),
            day=pl.concat([pl.Series([self._day]), days]).cum_max()[1:],
        )
        pending: list[tuple[str, str]] = []
        staging = self._folder / _STAGING
        staging.mkdir(exist_ok=True)
        groups = frame.partition_by(["bucket", "day"], as_dict=True, maintain_order=True)
        for (number, day), part in groups.items():
            name = f"part-{part['position'][0]:014d}.parquet"
            draft = staging / f"{number}-{day}-{name}"
            part.select(SCHEMA.names()).write_parquet(draft, row_group_size=_ROW_GROUP)
            sync(draft)
            pending.append((draft.name, f"bucket={number}/day={day}/{name}"))
        sync(staging)
        if frame.height:
            self._day = max(self._day, str(frame["day"].max()))
        self.position += frame.height
        self.cursor = cursor
        self._save(pending)
        return self._move_parts(pending)

    def _take_lock(self) -> None:
        self._lock = (self._folder / _LOCK).open("w", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise HistoryError(f"{self._folder}: another process is writing to it") from error

    def _recover(self) -> None:
        path = self._folder / _STATE
        pending: list[tuple[str, str]] = []
        if path.exists():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                self.buckets, self.position = int(stored["buckets"]), int(stored["position"])
                self.cursor, self._day = base64.b64decode(stored["cursor"]), str(stored["day"])
                pending = [(str(draft), str(final)) for draft, final in stored["pending"]]
            except (ValueError, KeyError, TypeError) as error:
                raise HistoryError(f"{path}: not the state of a history: {error}") from error
        elif any(self._folder.glob("bucket=*")):
            raise HistoryError(f"{self._folder}: has buckets, but no {_STATE} to continue from")
        elif (other := next(_find_other_files(self._folder), None)) is not None:
            raise HistoryError(f"{self._folder}: contains {other.name!r}; choose an empty folder")
        self._move_parts(pending)
        staging = self._folder / _STAGING
        for draft in staging.glob("*") if staging.is_dir() else ():
            draft.unlink()
        self._save([])

    def _save(self, pending: Sequence[tuple[str, str]]) -> None:
        state = {
            "buckets": self.buckets,
            "position": self.position,
            "day": self._day,
            "cursor": base64.b64encode(self.cursor).decode(),
            "pending": list(pending),
        }
        with atomic_write(self._folder / _STATE) as draft:
            draft.write_text(json.dumps(state), encoding="utf-8")

    def _move_parts(self, pending: Sequence[tuple[str, str]]) -> list[Path]:
        placed = []
        for name, final in pending:
            draft, path = self._folder / _STAGING / name, self._folder / final
            if draft.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                draft.replace(path)
                sync(path.parent)
                sync(path.parent.parent)
            placed.append(path)
        return placed


def find_parts(folder: Path) -> dict[int, list[Path]]:
    """Return the parts of each bucket, in order; raise `HistoryError` if there are none."""
    if not folder.is_dir():
        raise HistoryError(f"{folder}: no such folder")
    buckets = {
        int(found[1]): sorted(bucket.glob("day=*/*.parquet"))
        for bucket in folder.iterdir()
        if (found := _BUCKET.match(bucket.name))
    }
    if not any(buckets.values()):
        raise HistoryError(
            f"{folder}: not a history; expected bucket=B/day=YYYY-MM-DD/part-N.parquet,"
            " as `plumewatch segments` writes it"
        )
    return buckets


def find_buckets(frame: pl.DataFrame, buckets: int) -> pl.Series:
    """Return each reading's bucket, from its building or, if it has none, from its sensor."""
    building = pl.concat_str("site", "building", separator="/")
    key = frame.select(
        pl.when(pl.col("room") == "").then(pl.col("sensor")).otherwise(building)
    ).to_series()
    of = {name: find_shard(name, buckets) for name in key.unique()}
    return key.replace_strict(of, return_dtype=pl.Int64())


def _find_other_files(folder: Path) -> Iterator[Path]:
    known = {_STATE, _LOCK, _STAGING}
    names = (path for path in folder.iterdir() if path.name not in known)
    return (
        path for path in names if not path.name.startswith(f".{_STATE}.")
    )  # an unfinished copy of the state file
