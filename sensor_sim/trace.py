"""What a simulation yields: the readings of each device, and apart from them the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DeviceTrace:
    """Readings of one device over a stretch of time, as the device itself would know them.

    - `sensor`, `room`, `model`, `wire`: sensor id, room id, hardware model, wire format (key of
      `sensor_sim.wire.ENCODERS`).
    - `time` (n,): event time by the device's own clock, Unix seconds, increasing.
    - `sent` (n,): true time of publication, Unix seconds.
    - `values` (n, len(detection.quantities.COLUMNS): NaN where the device has no such channel or no
      value.
    - `events`: device events (`tamper`, `vendor_vape`, `restart`, ...) with the true time.
    """

    sensor: str
    room: str
    model: str
    wire: str
    time: NDArray[np.float64]
    sent: NDArray[np.float64]
    values: NDArray[np.float64]
    events: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened, as seen from one sensor. Never part of a reading.

    - `session`: id of the happening; the same for every sensor that could see it.
    - `source`: source name, such as ``"nicotine_pod"``.
    - `kind`: event kind a perfect detector would say (`detection.events.EventKind` values).
    - `start`, `end`: first and last release, Unix seconds.
    - `arrival`: when the noise-free excess at the sensor's inlet first passed 2 µg/m³ (particles)
      or the channel's own detection limit (gas, humidity); NaN if never.
    - `peak_time`: when that excess was largest.
    - `peak_excess`: largest noise-free excess of PM2.5 at the inlet, µg/m³; 0 for sources without
      particles.
    - `baseline`: PM2.5 at the inlet from everything else at `arrival`, µg/m³.
    - `masked_by`: source that ran at the same time on purpose to hide it; empty if none.
    - `puffs`: releases in the session.
    """

    session: str
    sensor: str
    room: str
    source: str
    kind: str
    start: float
    end: float
    arrival: float
    peak_time: float
    peak_excess: float
    baseline: float
    masked_by: str
    puffs: int
