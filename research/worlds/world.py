"""The interface of restroom worlds: readings, and apart from them the truth.

Each world is a physics of its own, written from published facts without sight of the others. How
they differ shows what a detector learned of restrooms and what of one simulator, so no world is
ever corrected by another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCH: Final = 1_790_000_000.0
"""Unix time at which worlds begin, in seconds."""
COLUMNS: Final = (
    "pm1",
    "pm25",
    "pm10",
    "n03",
    "n05",
    "n10",
    "n25",
    "n50",
    "n100",
    "tvoc_ppb",
    "voc_index",
    "voc_raw",
    "rh",
    "temp",
    "co2",
    "tvoc_ugm3",
)
"""Columns of readings, keys of `detection.quantities.QUANTITIES`."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of all sensors of a world in order of time.

    Attributes
    ----------
    names : tuple of str
        Sensors.
    sensor : ndarray of int32, shape (n,)
        Position in `names`.
    time : ndarray of float64, shape (n,)
        When the device sampled, Unix seconds.
    values : ndarray of float64, shape (n, len(COLUMNS))
        NaN where the device does not measure it.
    """

    names: tuple[str, ...]
    sensor: NDArray[np.int32]
    time: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Happening:
    """One cause in the air of one sensor's room.

    Attributes
    ----------
    kind, style : str
        Such as ``vape``, ``spray``; of vaping the style is ``pod``, ``disposable``, ``mod``,
        ``thc`` or ``stealth``.
    onset, end : float
        Of the act, Unix seconds.
    device : str
        Model of the sensor.
    interval_s, volume_m3, air_changes_h : float
        Reporting interval, size of the room, air changes an hour.
    seen_pm25 : float
        Highest PM2.5 excess that vaping alone brought to the inlet until 90 s after its end, as an
        ideal instrument would see it, µg/m³. 0 for other kinds.
    base_pm25 : float
        Background of the room, µg/m³.
    arrival : float
        When that excess first passed 5 µg/m³, Unix seconds; NaN if never.
    """

    sensor: str
    kind: str
    style: str
    onset: float
    end: float
    device: str
    interval_s: float
    volume_m3: float
    air_changes_h: float
    seen_pm25: float
    base_pm25: float
    arrival: float

    @property
    def is_visible(self) -> bool:
        """Whether vaping stands out from the background at the sensor."""
        return self.kind == "vape" and self.seen_pm25 >= max(8.0, self.base_pm25)


class World(Protocol):
    """Simulate rooms with one sensor each."""

    def __call__(
        self,
        seed: int,
        rooms: int,
        hours: float,
        vape_rate: float = 0.35,
        nuisance_rate: float = 1.0,
    ) -> tuple[Readings, list[Happening]]:
        """Return readings and truth, the same for the same arguments.

        Parameters
        ----------
        vape_rate : float
            Vaping sessions an hour and room at busy times.
        nuisance_rate : float
            Visits and rare acts, relative to a busy room.
        """
