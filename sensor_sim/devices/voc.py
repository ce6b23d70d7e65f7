"""Simulate gas sensors: metal oxides that respond to all organic gases, but not equally.

SGP40/41: ``raw = s0 - 870 log2((C + C0) / C0)`` ticks (datasheet: 870 ticks a doubling, unit range
710-1030; C in ppb ethanol-equivalent), through the VOC Index algorithm. SGP30 and ENS160 report ppb
ethanol-equivalent above their estimate of clean air. With Bosch's library, a BME680/688 holds each
value for 300 s in ultra-low-power mode and for 3 s in low-power mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class VocPart:
    """A gas sensor; each unit holds its values for one of the times in `hold_s`."""

    channels: tuple[str, ...]
    lag_s: tuple[float, float] = (5.0, 12.0)
    hold_s: tuple[int, ...] = (1,)
    cap: float = 60_000.0
    step: float = 1.0


VOC_PARTS: Final = {
    "sgp40": VocPart(("voc_index", "voc_raw")),
    "sgp41": VocPart(("voc_index", "voc_raw", "nox_index")),
    "sgp30": VocPart(("tvoc_ppb",)),
    "ens160": VocPart(("tvoc_ppb",), lag_s=(8.0, 30.0), cap=65000.0),
    "bme680": VocPart(("tvoc_ppb",), lag_s=(8.0, 30.0), hold_s=(3, 300), cap=1000000.0),
    "bme688": VocPart(("tvoc_ppb",), lag_s=(8.0, 30.0), hold_s=(3, 300), cap=1000000.0),
    "gs601": VocPart(("tvoc_ugm3",), lag_s=(8.0, 30.0), cap=2000.0),
    "merakimt": VocPart(("tvoc_ugm3",), lag_s=(8.0, 30.0), cap=65000.0),
}

# Response to each gas group relative to ethanol: weak to glycol and propellant, strong to terpenes.
_RESPONSE_LOW: Final = np.array([0.3, 1.0, 0.08, 1.0, 0.3])
_RESPONSE_HIGH: Final = np.array([1.0, 1.0, 0.35, 3.0, 1.0])

_TICKS_PER_DOUBLING: Final = (710.0, 1030.0)


@dataclass(frozen=True, slots=True)
class VocUnit:
    """One unit of a gas sensor.

    - `response` (5,): ppb ethanol-equivalent per ppb of each gas group.
    - `clean_raw`: raw signal in clean air, ticks.
    - `ticks`: ticks per doubling of concentration.
    - `half_ppb`: C0, ppb ethanol-equivalent.
    - `rh_ticks`: uncompensated effect of humidity, ticks per %RH.
    - `noise`: noise of the raw signal in ticks; the noise of TVOC is twice as many thousandths of
      the value.
    - `zero_ppb`: the unit's estimate of clean air, ppb.
    """

    part: VocPart
    response: NDArray[np.float32]
    lag_s: float
    hold_s: int
    clean_raw: float
    ticks: float
    half_ppb: float
    rh_ticks: float
    drift_ticks_day: float
    noise: float
    zero_ppb: float

    @classmethod
    def draw(cls, rng: np.random.Generator, name: str) -> VocUnit:
        """Draw a unit."""
        part = VOC_PARTS[name]
        response = _RESPONSE_LOW * (_RESPONSE_HIGH / _RESPONSE_LOW) ** rng.random(5)
        return cls(
            part=part,
            response=response.astype(np.float32),
            lag_s=draw_log(rng, *part.lag_s),
            hold_s=int(rng.choice(part.hold_s)),
            clean_raw=rng.uniform(29_000, 33_500),
            ticks=rng.uniform(*_TICKS_PER_DOUBLING),
            half_ppb=draw_log(rng, 200, 1000),
            rh_ticks=rng.normal(0, 3),
            drift_ticks_day=rng.normal(0, 30),
            noise=draw_log(rng, 2, 8),
            zero_ppb=rng.uniform(60, 250),
        )

    def read_raw(
        self,
        rng: np.random.Generator,
        ppb: NDArray[np.float32],
        rh: NDArray[np.float32],
        age_days: float,
    ) -> NDArray[np.int32]:
        """Return the raw ticks of an SGP40/41, once a second."""
        ticks = np.float32(self.clean_raw + self.drift_ticks_day * age_days)
        signal = ticks - np.float32(self.ticks) * np.log2(1 + ppb / np.float32(self.half_ppb))
        signal += np.float32(self.rh_ticks) * (rh - 50)
        signal += np.float32(self.noise) * rng.standard_normal(ppb.size, dtype=np.float32)
        return np.asarray(np.clip(np.rint(signal), 1, 64_999).astype(np.int32))

    def read_tvoc(self, rng: np.random.Generator, ppb: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return TVOC readings of other parts: above the unit's clean air, with relative noise."""
        relative = np.float32(self.noise * 2e-3)
        noise = rng.standard_normal(ppb.size, dtype=np.float32)
        value = ppb - np.float32(self.zero_ppb) + (ppb * relative + np.float32(1.0)) * noise
        if "tvoc_ugm3" in self.part.channels:
            value *= np.float32(1.9)
        value = np.clip(value, 0, self.part.cap)
        step = np.float32(self.part.step)
        return np.asarray(np.rint(value / step) * step, dtype=np.float32)
