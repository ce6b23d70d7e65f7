"""Labeled readings from every restroom world and from real recordings, cached on disk."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from research.training import recordings
from research.worlds import WORLDS
from research.worlds.world import Happening, Readings

if TYPE_CHECKING:
    from pathlib import Path

RECORDINGS: Final = "recordings"
"""Name of the source with real air; all other sources are worlds."""
VAPE_RATE: Final = 0.8
"""Sessions per hour and room at busy times: far more than in a school, to get enough examples."""
VAPE_RATES: Final = {
    "school": 0.35, "two_zones": 0.35, "parcels": 1.2, "plume_grid": 0.8, "mixing_jets": 1.4,
}  # fmt: skip
"""Rates of worlds where fewer or more sessions reach the sensor."""
RECORDED_SESSIONS_A_DAY: Final = (0.0, 25.0, 25.0, 25.0)
"""Sessions a day added to each recording, by seed."""
_FIELDS: Final = tuple(part.name for part in fields(Happening))


@dataclass(frozen=True, slots=True)
class Source:
    """One run of a world, or the real recordings with one set of added sessions."""

    name: str
    seed: int
    rooms: int = 0
    hours: float = 0.0

    @property
    def label(self) -> str:
        """Name of the source's files."""
        if self.name == RECORDINGS:
            return f"{self.name}-{self.seed}"
        return f"{self.name}-{self.seed}-{self.rooms}-{self.hours:g}"


def air(source: Source, folder: Path, recorded: Path) -> tuple[Readings, list[Happening]]:
    """Return readings and truth, from the cache in `folder` if an earlier run wrote it."""
    path = folder / f"{source.label}.npz"
    if path.exists():
        with np.load(path) as stored:
            return _unpacked({name: stored[name] for name in stored.files})
    if source.name == RECORDINGS:
        readings, truth = recordings.prepared(
            recorded, source.seed, RECORDED_SESSIONS_A_DAY[source.seed]
        )
    else:
        rate = VAPE_RATES.get(source.name, VAPE_RATE)
        readings, truth = WORLDS[source.name](source.seed, source.rooms, source.hours, rate)
    packed = {
        "names": np.array(readings.names),
        "sensor": readings.sensor,
        "time": readings.time,
        "values": readings.values.astype(np.float32),
    }
    packed |= {f"truth_{name}": np.array([getattr(h, name) for h in truth]) for name in _FIELDS}
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **packed)  # type: ignore[arg-type] # numpy's stub takes no mapping
    part.replace(path)
    # return exactly what the next run will read from the file
    return _unpacked(packed)


def _unpacked(stored: dict[str, np.ndarray]) -> tuple[Readings, list[Happening]]:
    names = tuple(stored["names"].tolist())
    values = stored["values"].astype(np.float64)
    readings = Readings(names, stored["sensor"], stored["time"], values)
    columns = (stored[f"truth_{name}"].tolist() for name in _FIELDS)
    return readings, [Happening(*row) for row in zip(*columns, strict=True)]
