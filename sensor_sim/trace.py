"""The output of a simulation: each device's readings and, separately, the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DeviceTrace:
    """Readings of one device over a stretch of time, as the device itself measured them.

    - `sensor`, `room`, `model`: sensor id, room id, hardware model.
    - `time` (n,): event time by the device's own clock, Unix seconds, increasing.
    - `sent` (n,): true time of publication, Unix seconds.
    - `values` (n, len(detection.quantities.COLUMNS)): NaN if the device has no such channel or no
      value.
    - `events`: device events (such as `vendor_vape` or `restart`) with their true times.
    """

    sensor: str
    room: str
    model: str
    time: NDArray[np.float64]
    sent: NDArray[np.float64]
    values: NDArray[np.float64]
    events: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth about one event at one sensor; never part of a reading.

    - `session`: id of the event, the same for all sensors that could see it.
    - `kind`: event kind that a perfect detector would report (`detection.events.EventKind` values).
    - `start`, `end`: start of the first and end of the last release, Unix seconds.
    - `arrival`: first time at which the noise-free excess at the sensor's inlet exceeded 2 µg/m³
      (particles) or the channel's detection limit (gas, humidity); NaN if never.
    - `peak_excess`: largest noise-free excess of PM2.5 at the inlet, µg/m³; 0 for sources without
      particles, building-wide events and faults.
    - `baseline`: PM2.5 at the inlet from all other sources at `arrival`, µg/m³.
    """

    session: str
    sensor: str
    room: str
    source: str
    kind: str
    start: float
    end: float
    arrival: float = math.nan
    peak_excess: float = 0.0
    baseline: float = math.nan
