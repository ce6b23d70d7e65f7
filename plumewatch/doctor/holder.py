"""Which service runs on a data folder."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from plumewatch.config.paths import DataPaths
from storage.errors import StorageError
from storage.lease import holder_of

if TYPE_CHECKING:
    from plumewatch.config.model import PlumewatchConfig
    from storage.lease import Holder


def holder(config: PlumewatchConfig) -> Holder | None:
    """Return which service runs on the data folder; None if none does or nobody can tell."""
    with suppress(StorageError):
        return holder_of(DataPaths(config.data_dir).lock)
    return None
