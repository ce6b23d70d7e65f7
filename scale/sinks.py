"""Writes the events of a stream to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from storage.files import sync

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EVENT_COLUMNS: Final = ("id", "sensor", "kind", "phase", "time", "event")
_KINDS: Final = {name: pl.Float64() if name == "time" else pl.String() for name in EVENT_COLUMNS}


class EventFiles:
    """Writes a Parquet file for each trigger, atomically; a repeated trigger replaces its file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write(self, events: Sequence[tuple[object, ...]], number: int) -> None:
        """Write the events of a trigger; without events, no file is left."""
        path = self._folder / f"trigger-{number:012d}.parquet"
        if not events:
            path.unlink(missing_ok=True)
            return
        draft = path.with_name(f"_{path.name}.draft")
        pl.DataFrame(events, schema=_KINDS, orient="row").write_parquet(draft)
        sync(draft)
        draft.replace(path)
