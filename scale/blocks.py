"""Readings of a shard as bytes: few large values for a shuffle instead of many small rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

from scale.history import SCHEMA, bucket_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def shards_of(frame: pl.DataFrame, shards: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Divide what detectors are shown of a frame of `SCHEMA` by shard, keeping its order."""
    judged = frame if frame["judged"].all() else frame.filter("judged")
    numbered = judged.with_columns(shard=bucket_keys(judged, shards))
    for (shard,), part in numbered.partition_by("shard", as_dict=True, include_key=False).items():
        yield int(shard), part


def pack(frame: pl.DataFrame) -> bytes:
    """Return a frame of `SCHEMA` as an Arrow stream, without the columns that are empty."""
    kept = [name for name in frame.columns if frame[name].null_count() < frame.height]
    out = io.BytesIO()
    frame.select(kept).write_ipc_stream(out, compression="lz4")
    return out.getvalue()


def unpack(blocks: Iterable[bytes]) -> pl.DataFrame:
    """Return the readings of several blocks as a frame of `SCHEMA`, in the order of the receipt."""
    frames = [pl.read_ipc_stream(io.BytesIO(block)) for block in blocks]
    whole = pl.concat([pl.DataFrame(schema=SCHEMA), *frames], how="diagonal")
    return whole.sort("received", "position", maintain_order=True)
