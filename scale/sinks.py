"""Write the events of a stream to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from storage.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class EventRow(NamedTuple):
    """One state of an event, with the complete event as JSON."""

    id: str
    sensor: str
    kind: str
    phase: str
    time: float
    event: str


def write_events(folder: Path, events: Sequence[EventRow], number: int) -> None:
    """Write a trigger's Parquet file atomically; without events, leave no file.

    A repeated trigger replaces its file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"trigger-{number:012d}.parquet"
    if not events:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as draft:
        pl.DataFrame(events, schema=[*EventRow._fields], orient="row").write_parquet(draft)
