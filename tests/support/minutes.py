"""Make days of readings for the slow detectors without the simulator: clean air with noise."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from detection.channels import ReadingBatch
from detection.combined import MinuteDetectors
from detection.quantities import COLUMN_INDEX, COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from detection.events import Event

__all__ = ["DAY_S", "START", "Air", "slow_of", "step_all"]

START = 1_790_035_200.0
"""A midnight in UTC."""
DAY_S = 86_400.0
_ROUND = {"pm1": 1, "pm25": 1, "pm10": 1, "rh": 1, "temp": 2}


class Air:
    """Readings of some sensors: a slowly varying level, noise, and changes made by a test.

    Attributes
    ----------
    time : ndarray of float64, shape (n,)
        Seconds since `START`, the same for every sensor.
    values : dict of str to dict of str to ndarray
        Values by sensor and quantity; a test changes them in place before `batch`.
    """

    def __init__(
        self,
        sensors: Iterable[str],
        seconds: float,
        *,
        every_s: float = 240.0,
        seed: int = 1,
        levels: Mapping[str, float] | None = None,
        whole: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.time = np.arange(0.0, seconds, every_s)
        usual = levels or {"pm1": 3.0, "pm25": 5.0, "pm10": 6.0, "voc_index": 100.0, "rh": 41.0}
        noise = {"pm1": 0.2, "pm25": 0.3, "pm10": 0.4, "voc_index": 2.0, "rh": 0.2, "co2": 5.0}
        self.values: dict[str, dict[str, np.ndarray]] = {}
        n = self.time.size
        for sensor in sensors:
            phase = rng.uniform(0, 6)
            shape = 1 + 0.15 * np.sin(self.time / 5000.0 + phase)
            self.values[sensor] = {}
            for key, level in usual.items():
                x = level * shape + noise[key] * rng.standard_normal(n)
                digits = 0 if whole or key == "voc_index" else _ROUND.get(key, 0)
                self.values[sensor][key] = np.maximum(np.round(x, digits), 0.0)

    def at(self, begin_s: float, end_s: float) -> np.ndarray:
        """Return which readings lie between `begin_s` and `end_s` (excluded)."""
        return (self.time >= begin_s) & (self.time < end_s)

    def batch(self, slow: MinuteDetectors) -> ReadingBatch:
        """Return all readings in order of time, with sensors interleaved."""
        n, m = self.time.size, len(self.values)
        values = np.full((n, m, len(COLUMNS)), np.nan)
        for j, columns in enumerate(self.values.values()):
            for key, x in columns.items():
                values[:, j, COLUMN_INDEX[key]] = x
        rows = np.array([slow.assign_row(sensor) for sensor in self.values], np.int32)
        time = START + self.time[:, None] + 0.01 * np.arange(m)
        return ReadingBatch(np.tile(rows, n), time.reshape(-1), values.reshape(n * m, len(COLUMNS)))


def slow_of(sensor: str) -> tuple[str, str] | None:
    """Return a test sensor's place: names are ``building-room-number``; None without a hyphen."""
    parts = sensor.split("-")
    return None if len(parts) < 2 else (parts[0], f"{parts[0]}-{parts[1]}")


def step_all(
    slow: MinuteDetectors, batch: ReadingBatch, cuts: Iterable[int] = (), *, restart: bool = False
) -> list[Event]:
    """Step a batch cut at these rows; return its events. With `restart`, restore at each cut."""
    events: list[Event] = []
    bounds = [0, *sorted(cuts), len(batch)]
    for a, b in pairwise(bounds):
        part = ReadingBatch(batch.sensor[a:b], batch.time[a:b], batch.values[a:b])
        events += slow.step(part)
        if b > a:
            events += slow.on_time(float(batch.time[a:b].max()))
        slow.mark([])
        if restart:
            slow = MinuteDetectors.restore(slow.snapshot(), slow_of)
    return events
