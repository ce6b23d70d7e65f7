"""Handmade readings of one sensor: clean air and puffs."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["START", "air", "puff", "readings_of_puff"]

START = 1_790_000_000.0
Values = dict[str, float]


def air(seconds: float, every_s: float = 2.0, seed: int = 1) -> Iterator[tuple[float, Values]]:
    """Return clean air with a little noise, as (seconds, values)."""
    rng = random.Random(seed)
    for k in range(int(seconds / every_s)):
        yield (
            k * every_s,
            {
                "pm1": round(2.6 + rng.gauss(0, 0.15), 1),
                "pm25": round(4.0 + rng.gauss(0, 0.2), 1),
                "pm10": round(4.6 + rng.gauss(0, 0.2), 1),
                "voc_index": float(round(100 + rng.gauss(0, 1))),
                "rh": round(41 + rng.gauss(0, 0.1), 1),
                "temp": 21.5,
            },
        )


def puff(since_s: float, top: float = 180.0, efold_s: float = 18.0) -> float:
    """Return the fine particles of one exhaled puff above the baseline, µg/m³."""
    if since_s < 0:
        return 0.0
    return top * (since_s / 4 if since_s < 4 else math.exp(-(since_s - 4) / efold_s))


def readings_of_puff(
    sensor: str = "n2-boys-1",
    start: float = START,
    *,
    onset_s: float = 150.0,
    seconds: float = 300.0,
    every_s: float = 2.0,
    top: float = 180.0,
    more_s: Sequence[float] = (),
) -> list[Reading]:
    """Return clean air with one puff at `onset_s`, and one at each of `more_s`."""
    readings = []
    for seq, (at, values) in enumerate(air(seconds, every_s)):
        fine = sum(puff(at - onset, top) for onset in (onset_s, *more_s))
        moved = {
            **values,
            "pm1": round(values["pm1"] + 0.9 * fine, 1),
            "pm25": round(values["pm25"] + fine, 1),
            "pm10": round(values["pm10"] + 1.02 * fine, 1),
        }
        time = start + at
        readings.append(Reading(sensor, time, time + 0.25, moved, seq=seq))
    return readings
