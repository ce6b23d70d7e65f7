"""Define the interface of restroom worlds: sensor readings and, separately, the truth.

Each world is an independent simulation, written from published facts by an author who had not seen
the others. Differences in a detector's results show whether it learned about restrooms or about one
simulator, so no world is ever adjusted to match another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EPOCH: Final = 1_790_000_000.0
"""Unix time at which worlds start, in seconds."""
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
"""Columns of readings; each is a key of `detection.quantities.QUANTITIES`."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings from all of a world's sensors, in time order.

    Attributes
    ----------
    names : tuple of str
        Names of the sensors.
    sensor : ndarray of int32, shape (n,)
        Index in `names`.
    time : ndarray of float64, shape (n,)
        When the device sampled, Unix seconds.
    values : ndarray of float64, shape (n, len(COLUMNS))
        NaN if the device does not measure the quantity.
    """

    names: tuple[str, ...]
    sensor: NDArray[np.int32]
    time: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Happening:
    """One event that changed the air in a sensor's room.

    Attributes
    ----------
    kind, style : str
        Kinds are, for example, ``vape`` and ``spray``. The styles of vaping are ``pod``,
        ``disposable``, ``mod``, ``thc`` and ``stealth``.
    onset, end : float
        When the act began and ended, Unix seconds.
    device : str
        The sensor's model.
    interval_s, volume_m3, air_changes_h : float
        Reporting interval, room volume, air changes per hour.
    seen_pm25 : float
        Highest PM2.5 excess caused at the inlet by this vaping alone, up to 90 s after its end, as
        an ideal instrument would measure it, µg/m³. 0 for other kinds.
    base_pm25 : float
        The room's background, µg/m³.
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
        """Whether this vaping clearly exceeds the background at the sensor."""
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
        """Return readings and truth; the same arguments give the same result.

        Parameters
        ----------
        vape_rate : float
            Vaping sessions per hour and room at busy times.
        nuisance_rate : float
            Frequency of visits and rare acts, relative to a busy room.
        """
