"""Time series of readings: one protocol, one store so far (`storage.timeseries.sqlite`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LatestReading", "SeriesReader"]


class LatestReading(NamedTuple):
    """Newest reading of a sensor: event time in Unix seconds and its values by quantity."""

    time: float
    values: Mapping[str, float]


class SeriesReader(Protocol):
    """Where readings are read back; safe from several threads, may block."""

    def latest(self) -> Mapping[str, LatestReading]:
        """Newest reading of each sensor that has one."""

    def window(
        self, sensor: str, start: float, end: float
    ) -> tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]:
        """Event times in ``[start, end]``, ascending, and one column a quantity; NaN if absent."""
