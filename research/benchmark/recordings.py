"""Read recordings: simulated or real sensor readings, and the events that caused them.

Labeled recordings are pairs of files: `NAME.csv` in the format of ``plumewatch replay`` (`time` in
Unix seconds, `sensor`, and one column per quantity), and `NAME.truth.csv` with the fields of
`Happening`. Real recordings without vaping need no truth file, because every alert in them is
false.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from detection.quantities import COLUMN_INDEX, COLUMNS
from research.air_cleaner import convert_cadr
from research.training.recordings import (
    AWAIR_DAYS,
    AWAIR_PARTS,
    AWAIR_PERIOD_DAYS,
    GYM_DAYS,
    prepared,
)
from research.worlds.world import COLUMNS as WORLD_COLUMNS
from research.worlds.world import Happening

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from research.worlds.world import Readings

VOC: Final = ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw")
PUFFS_SEED: Final = 90_000
PUFFS_A_DAY: Final = 6.0
"""Seed and daily number of the sessions added to real air; training does not use this seed."""
_DAY_S: Final = 86_400.0
_NEW_RUN_S: Final = 3600.0
"""A gap longer than this in the air-cleaner data begins another run with the same name, s."""
_TRUTH: Final = {
    "sensor": "sensor",
    "kind": "kind",
    "style": "style",
    "onset": "onset",
    "end": "end",
    "device": "device",
    "dt": "interval_s",
    "vol": "volume_m3",
    "ach": "air_changes_h",
    "seen_pm25": "seen_pm25",
    "base_pm25": "base_pm25",
    "arrive": "arrival",
}
"""Columns of a truth file, and the matching fields of `Happening`."""
_WORDS: Final = {"sensor", "kind", "style", "device"}


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor; `group` is the seed or recording within which results are not independent."""

    name: str
    group: str
    device: str
    interval_s: float
    channels: tuple[str, ...]

    @property
    def channel_group(self) -> str:
        """What the sensor measures in addition to PM2.5 mass.

        >>> Sensor("a", "", "sen55", 1, ("pm1", "pm25", "voc_index")).channel_group
        'sizes and VOC'
        """
        has_sizes, has_voc = "pm1" in self.channels, not set(VOC).isdisjoint(self.channels)
        return CHANNEL_GROUPS[2 * (not has_sizes) + (not has_voc)]


CHANNEL_GROUPS: Final = ("sizes and VOC", "sizes, no VOC", "VOC, no sizes", "neither")
"""Values of `Sensor.channel_group`; *sizes* means PM1 in addition to PM2.5."""


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one sensor in time order; `values` has one column per channel, NaN if absent."""

    sensor: Sensor
    time: NDArray[np.float64]
    values: NDArray[np.float32]

    def get_column(self, key: str) -> NDArray[np.float64] | None:
        """Return the values of one quantity; None if the sensor does not measure it."""
        if key not in self.sensor.channels:
            return None
        return self.values[:, self.sensor.channels.index(key)].astype(np.float64)

    def build_matrix(self, begin: int, end: int) -> NDArray[np.float64]:
        """Return rows `begin` to `end` with the columns `detection.quantities.COLUMNS`."""
        full = np.full((end - begin, len(COLUMNS)), np.nan)
        full[:, [COLUMN_INDEX[c] for c in self.sensor.channels]] = self.values[begin:end]
        return full

    def select_after(self, time: float) -> Series:
        """Return the readings at or after `time`."""
        return self.select_between(time, np.inf)

    def select_between(self, begin: float, end: float) -> Series:
        """Return the readings in ``[begin, end)``."""
        first, last = np.searchsorted(self.time, (begin, end))
        return Series(self.sensor, self.time[first:last], self.values[first:last])


@dataclass(frozen=True, slots=True)
class Recording:
    """Readings of several sensors in one period; only `spans`, in Unix seconds, are scored."""

    name: str
    spans: tuple[tuple[float, float], ...]
    series: tuple[Series, ...]
    happenings: tuple[Happening, ...] = ()


def make_series(
    name: str, group: str, device: str, time: NDArray[np.float64], columns: dict[str, NDArray[Any]]
) -> Series:
    """Build a series from the columns that have values; its interval is the median gap."""
    present = {k: v for k, v in columns.items() if k in COLUMN_INDEX and not np.isnan(v).all()}
    step = np.diff(time)
    usual = float(np.median(step)) if step.size else 1.0
    interval_s = round(usual) if usual >= 1 else usual
    values = np.stack(list(present.values()), axis=1) if present else np.zeros((time.size, 0))
    sensor = Sensor(name, group, device, interval_s, tuple(present))
    return Series(sensor, np.asarray(time, float), values.astype(np.float32))


def split_by_sensor(
    readings: Readings, truth: Iterable[Happening], group: str
) -> tuple[Series, ...]:
    """Return a series for each sensor that has readings."""
    device_of = {h.sensor: h.device for h in truth}
    order = np.argsort(readings.sensor, kind="stable")
    cuts = np.searchsorted(readings.sensor[order], np.arange(1, len(readings.names)))
    found = []
    for name, rows in zip(readings.names, np.split(order, cuts), strict=True):
        if rows.size:
            columns = dict(zip(WORLD_COLUMNS, readings.values[rows].T, strict=True))
            device = device_of.get(name, "")
            found.append(make_series(name, group, device, readings.time[rows], columns))
    return tuple(found)


def read_series(path: Path, group: str = "") -> list[Series]:
    """Read a CSV file of readings, compressed or not."""
    rows: dict[str, list[list[float]]] = {}
    with _open(path) as file:
        reader = csv.DictReader(file)
        keys = [k for k in reader.fieldnames or () if k in COLUMN_INDEX]
        for row in reader:
            line = [float(row["time"]), *(float(row[k]) if row[k] else np.nan for k in keys)]
            rows.setdefault(row["sensor"], []).append(line)
    found = []
    for sensor, lines in rows.items():
        table = np.array(sorted(lines, key=lambda line: line[0]))
        columns = dict(zip(keys, table[:, 1:].T, strict=True))
        found.append(make_series(sensor, group or path.name, "", table[:, 0], columns))
    return found


def read_truth(path: Path) -> list[Happening]:
    """Read a truth file; an empty number means 0, and an empty arrival NaN."""
    with _open(path) as file:
        return [_happening(row) for row in csv.DictReader(file)]


def _happening(row: dict[str, str]) -> Happening:
    fields: dict[str, Any] = {}
    for column, field in _TRUTH.items():
        text = row.get(column) or ""
        if column in _WORDS:
            fields[field] = text
        else:
            fields[field] = float(text) if text else np.nan if column == "arrive" else 0.0
    return Happening(**fields)


def _open(path: Path) -> Any:  # an open text file, compressed or not
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8")
    return path.open(newline="", encoding="utf-8")


def read_labeled(folder: Path) -> Iterator[Recording]:
    """Read all labeled recordings in a folder; each is scored from start to end.

    Raises `FileNotFoundError` if the folder has none.
    """
    truths = sorted(folder.glob("*.truth.csv*"))
    if not truths:
        raise FileNotFoundError(f"no NAME.truth.csv in {folder}")
    for path in truths:
        name = path.name.split(".truth.csv")[0]
        readings = next(
            p for p in (folder / f"{name}.csv", folder / f"{name}.csv.gz") if p.exists()
        )
        series = read_series(readings, name)
        yield Recording(name, (_ends(series),), tuple(series), tuple(read_truth(path)))


def read_without_vaping(folder: Path) -> Iterator[Recording]:
    """Read the real recordings in `folder`; none contains vaping.

    Parts used in training are not scored: the first days of the gym, some days in each period of
    the Awair gym, the first kitchen, and every second air-cleaner run.
    """
    (gym,) = read_series(folder / "gym_pms5003_61s.csv.gz", "gym, PMS5003")
    begin, end = _ends([gym])
    yield Recording(gym.sensor.group, ((begin + GYM_DAYS * _DAY_S, end),), (gym,))
    (awair,) = read_series(folder / "awair_gym_60s.csv.gz", "gym, Awair")
    begin, end = _ends([awair])
    period, used = AWAIR_PERIOD_DAYS * _DAY_S, AWAIR_DAYS * _DAY_S
    spans = [
        (begin + k * period + (used if k < AWAIR_PARTS else 0), min(begin + (k + 1) * period, end))
        for k in range(int((end - begin) / period) + 1)
    ]
    yield Recording(awair.sensor.group, tuple(s for s in spans if s[1] > s[0]), (awair,))
    kitchens = read_series(folder / "openhap_60s.csv.gz", "kitchen, OpenHAP")[1:]
    yield Recording("kitchen, OpenHAP", (_ends(kitchens),), tuple(kitchens))
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "runs.csv.gz"
        convert_cadr(folder / "cadr_runs_1s.csv.gz", target)
        series = read_series(target, "air-cleaner runs")
    for run in [run for one in series for run in _runs(one)][1::2]:
        yield Recording(run.sensor.group, (_ends([run]),), (run,))


def read_with_puffs(folder: Path) -> Iterator[Recording]:
    """Yield the real recordings of occupied rooms with simulated sessions added.

    Only parts that training does not use are included. Puffs are drawn as in training.
    """
    readings, truth = prepared(folder, PUFFS_SEED, PUFFS_A_DAY, is_test=True)
    for series in split_by_sensor(readings, truth, "real air"):
        mine = tuple(h for h in truth if h.sensor == series.sensor.name)
        name = series.sensor.name.split("-")[0]
        yield Recording(name, (_ends([series]),), (series,), mine)


def _ends(series: Sequence[Series]) -> tuple[float, float]:
    return float(min(s.time[0] for s in series)), float(max(s.time[-1] for s in series))


def _runs(series: Series) -> Iterator[Series]:
    cuts = np.flatnonzero(np.diff(series.time) > _NEW_RUN_S) + 1
    for k, rows in enumerate(np.split(np.arange(series.time.size), cuts)):
        s = series.sensor
        sensor = Sensor(f"{s.name}#{k}", s.group, s.device, s.interval_s, s.channels)
        yield Series(sensor, series.time[rows], series.values[rows])
