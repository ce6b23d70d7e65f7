"""Run the detectors of one shard: a group of buildings whose readings are evaluated together.

A shard uses the same `detection.combined` as the service. Its readings are frames of
`scale.history.SCHEMA`, which include the place, so it needs no registry. A source must deliver each
reading once. The plume detector ignores readings that are not newer than their sensor's last, but
tampering and faults reported by a device would count twice.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import polars as pl

from detection.alert_rules import AlertBudgets
from detection.combined import CombinedDetector, CombinedState, Stream
from detection.errors import SnapshotError
from detection.quantities import COLUMNS
from scale.history import SCHEMA, find_buckets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from detection.events import Event
    from detection.per_minute.ambient import Place

FORMAT: Final = 1
READING_ORDER: Final = ("received", "position")


class _Snapshot(msgspec.Struct):
    format: int
    model_version: str
    places: dict[str, tuple[str, str]]
    plumes: bytes
    devices: bytes
    slow: bytes
    watermark: float


class Streams:
    """Builds streams from frames of readings, and remembers the sensors and their `places`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.places: dict[str, Place] = {}
        self._kind = pl.Enum([])

    def build(self, frame: pl.DataFrame) -> Stream:
        """Build a stream from a frame of `scale.history.SCHEMA`, in its order."""
        sensors = frame.select("sensor", "site", "building", "room").unique(maintain_order=True)
        known = set(self.names)
        fresh = [
            name for name in sensors["sensor"].unique(maintain_order=True) if name not in known
        ]
        if fresh:
            self.names += fresh
            self._kind = pl.Enum(self.names)
        for name, site, building, room in sensors.rows():
            if room:
                self.places[name] = (f"{site}/{building}", room)
        # Let Polars replace nulls: numpy is four times slower on columns with nulls.
        values = frame.select(pl.col(COLUMNS).fill_null(np.nan)).to_numpy(order="fortran")
        worded = frame.select("events", "faults").with_row_index("row")
        worded = worded.filter(pl.col("events").is_not_null() | pl.col("faults").is_not_null())
        return Stream(
            self.names,
            frame["sensor"].cast(self._kind).to_physical().cast(pl.Int32).to_numpy(),
            frame["time"].to_numpy(),
            frame["received"].to_numpy(),
            values,
            {
                row: (tuple((events or "").split()), tuple((faults or "").split()))
                for row, events, faults in worded.rows()
            },
        )


class Shard:
    """Detectors of one shard; `streams` builds their input."""

    def __init__(self, budgets: AlertBudgets | None = None) -> None:
        self._budgets = budgets or AlertBudgets()
        self.streams = Streams()
        self.detectors = CombinedDetector(self.streams.places.get)
        self._given = 0

    @property
    def model_version(self) -> str:
        """The version of the plume detector's model."""
        return self.detectors.plumes.model_version

    def step(self, stream: Stream) -> list[Event]:
        """Evaluate a stream that `streams` built, as `CombinedDetector.step` does."""
        plumes = self.detectors.plumes
        plumes.thresholds.budget = self._budgets.default
        if self._budgets.own or self._budgets.offsets:
            for name in stream.names[self._given :]:
                if name in self._budgets.own or name in self._budgets.offsets:
                    self._budgets.apply_to(plumes.thresholds, plumes.assign_row(name), name)
        self._given = len(stream.names)
        return self.detectors.step(stream)

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(
            _Snapshot(FORMAT, self.model_version, self.streams.places, *self.detectors.get_state())
        )

    @classmethod
    def restore(cls, body: bytes, budgets: AlertBudgets | None = None) -> Shard:
        """Restore a snapshot; raise `SnapshotError` if its format or model differs."""
        shard = cls(budgets)
        try:
            found = msgspec.msgpack.decode(body, type=_Snapshot)
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"not a snapshot of a shard: {error}") from error
        if found.format != FORMAT:
            raise SnapshotError(f"snapshot format {found.format}, expected {FORMAT}")
        if found.model_version != shard.model_version:
            raise SnapshotError(
                f"snapshot of model {found.model_version}, but this is model {shard.model_version}:"
                " begin with a new checkpoint"
            )
        shard.streams.places.update(found.places)
        state = CombinedState(found.plumes, found.devices, found.slow, found.watermark)
        shard.detectors = CombinedDetector.restore(state, shard.streams.places.get)
        plumes = shard.detectors.plumes
        for row, name in enumerate(plumes.names):
            shard._budgets.apply_to(plumes.thresholds, row, name)
        return shard


def divide_by_shard(frame: pl.DataFrame, shards: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Divide a frame of `SCHEMA` by shard, in order, without readings that detectors skip."""
    evaluated = frame if frame["evaluated"].all() else frame.filter("evaluated")
    numbered = evaluated.with_columns(shard=find_buckets(evaluated, shards))
    for (shard,), part in numbered.partition_by("shard", as_dict=True, include_key=False).items():
        yield int(shard), part


def pack(frame: pl.DataFrame) -> bytes:
    """Pack a frame into one value to shuffle: an Arrow stream without empty columns."""
    kept = [name for name in frame.columns if frame[name].null_count() < frame.height]
    out = io.BytesIO()
    frame.select(kept).write_ipc_stream(out, compression="lz4")
    return out.getvalue()


def unpack(
    blocks: Iterable[bytes], schema: pl.Schema = SCHEMA, order: Sequence[str] = READING_ORDER
) -> pl.DataFrame:
    """Unpack blocks into a frame of `schema`, in the order of receipt."""
    frames = [pl.read_ipc_stream(io.BytesIO(block)) for block in blocks]
    whole = pl.concat([pl.DataFrame(schema=schema), *frames], how="diagonal")
    return whole.sort(order, maintain_order=True)
