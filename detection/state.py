"""Detector state as arrays, one row a sensor, with a versioned byte form."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SensorState", "SnapshotError"]

FORMAT = 1

CHANNELS = ("pm25", "voc", "rh")
"""Tracked channels: fine particles, the first VOC quantity present, relative humidity."""

_FLOATS = (
    "last_time",
    "first_time",
    "interval",
    "onset",
    "alerted",
    "peak_time",
    "half_time",
    "trough",
    "coarse_share",
    "quiet_since",
    "confidence",
)
_MATRICES = ("base", "scale", "last", "start", "peak", "peak_at")
_INTS = ("count", "phase", "kind", "voc_column", "over")


class SnapshotError(ValueError):
    """A snapshot is not one, or of another format."""


@dataclass(slots=True)
class SensorState:
    """All that is remembered of each sensor; O(1) memory a sensor.

    Attributes
    ----------
    names : list of str
        Sensor of each row.
    last_time, first_time, interval : ndarray of float64, shape (n,)
        Event time of the last and first reading since the last gap; smoothed interval, s.
    base, scale, last : ndarray of float64, shape (n, 3)
        Baseline, noise scale (mean absolute residual) and last value by channel; NaN unknown.
    start, peak, peak_at : ndarray of float64, shape (n, 3)
        During an episode: baseline at its onset, largest excess so far and its time, by channel.
    phase, kind : ndarray of int64, shape (n,)
        0 idle, 1 watching an episode, 2 alerted; index into the event kinds.
    """

    names: list[str]
    last_time: NDArray[np.float64]
    first_time: NDArray[np.float64]
    interval: NDArray[np.float64]
    onset: NDArray[np.float64]
    alerted: NDArray[np.float64]
    peak_time: NDArray[np.float64]
    half_time: NDArray[np.float64]
    trough: NDArray[np.float64]
    coarse_share: NDArray[np.float64]
    quiet_since: NDArray[np.float64]
    confidence: NDArray[np.float64]
    base: NDArray[np.float64]
    scale: NDArray[np.float64]
    last: NDArray[np.float64]
    start: NDArray[np.float64]
    peak: NDArray[np.float64]
    peak_at: NDArray[np.float64]
    count: NDArray[np.int64]
    phase: NDArray[np.int64]
    kind: NDArray[np.int64]
    voc_column: NDArray[np.int64]
    over: NDArray[np.int64]

    @classmethod
    def empty(cls, capacity: int = 16) -> SensorState:
        """State of no sensors with room for `capacity`."""
        arrays: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {}
        for name in _FLOATS:
            arrays[name] = np.full(capacity, np.nan)
        for name in _MATRICES:
            arrays[name] = np.full((capacity, len(CHANNELS)), np.nan)
        for name in _INTS:
            arrays[name] = np.zeros(capacity, np.int64)
        return cls(names=[], **arrays)  # type: ignore[arg-type] # one dict, two dtypes

    def add(self, name: str) -> int:
        """Append a sensor and return its row."""
        row = len(self.names)
        if row == self.count.shape[0]:
            fresh = SensorState.empty(max(16, row))
            for field in fields(self):
                if field.name != "names":
                    old = getattr(self, field.name)
                    setattr(self, field.name, np.concatenate([old, getattr(fresh, field.name)]))
        self.names.append(name)
        return row

    def snapshot(self, model_version: str) -> bytes:
        """Versioned bytes from which `restore` makes the same state."""
        n = len(self.names)
        arrays = {f.name: getattr(self, f.name)[:n] for f in fields(self) if f.name != "names"}
        out = io.BytesIO()
        np.savez(
            out,
            format=np.array(FORMAT),
            model_version=np.array(model_version),
            names=np.array(self.names, dtype=np.str_),
            **arrays,
        )
        return out.getvalue()

    @classmethod
    def restore(cls, body: bytes) -> tuple[SensorState, str]:
        """State and model version of a snapshot.

        Raises
        ------
        SnapshotError
            If the bytes are no snapshot of this format.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                if int(stored["format"]) != FORMAT:
                    raise SnapshotError(f"snapshot format {stored['format']}, expected {FORMAT}")
                names = [str(name) for name in stored["names"]]
                arrays = {f.name: stored[f.name] for f in fields(cls) if f.name != "names"}
                version = str(stored["model_version"])
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise SnapshotError(f"no detector snapshot: {error}") from error
        return cls(names=names, **arrays), version
