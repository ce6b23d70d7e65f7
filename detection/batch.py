"""The array form in which readings reach the detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detection.quantities import COLUMNS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """Readings of many sensors, one row each.

    Attributes
    ----------
    sensor : ndarray of int32, shape (n,)
        Row number of the sensor as given by `Detector.sensor_row`.
    time : ndarray of float64, shape (n,)
        Event time in Unix seconds.
    values : ndarray of float64, shape (n, len(COLUMNS))
        Values in the order of `detection.quantities.COLUMNS`; NaN where absent.
    received : ndarray of float64, shape (n,), optional
        When each reached us, Unix seconds; at its event time by default.
    """

    sensor: NDArray[np.int32]
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    received: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check that the arrays fit each other.

        Raises
        ------
        ValueError
            If the shapes do not match.
        """
        n = self.sensor.shape[0]
        if self.sensor.shape != (n,) or self.time.shape != (n,):
            msg = f"sensor and time must be 1-d and equal: {self.sensor.shape}, {self.time.shape}"
            raise ValueError(msg)
        if self.values.shape != (n, len(COLUMNS)):
            msg = f"values must have shape {(n, len(COLUMNS))}, got {self.values.shape}"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Return the number of readings."""
        return int(self.sensor.shape[0])
