"""Collect lessons: the detector's features, labeled with the truth.

The detector runs as in production and never sees the truth. A row of features is recorded whenever
it scores a pulse or classifies an episode.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

from detection.alert_rules import THC_FROM_S
from detection.channels import ReadingBatch
from detection.detector import Detector
from detection.episodes import FEATURES
from detection.events import EventKind
from detection.model import KINDS, Model
from detection.quantities import COLUMN_INDEX
from detection.quantities import COLUMNS as ALL_COLUMNS
from research.training.air import RECORDINGS, air
from research.training.variation import varied
from research.worlds.world import COLUMNS, Readings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from research.training.air import Source
    from research.worlds.world import Happening

AFTER_S: Final = 90.0
"""Readings are labeled vaping from its arrival until this many seconds after its end."""
WEAK_UG_M3: Final = 2.0
FAINT_UG_M3: Final = 4.0
"""Sessions with a smaller excess than this are `WEAK`; below `WEAK_UG_M3`, they are not labeled."""
WEAK, FAINT, VISIBLE = 1, 2, 3
REACHES_S: Final = 60.0
"""An act can be the cause of an episode that starts up to this many seconds after the act's end."""
KIND_OF: Final = {
    "cigarette": (EventKind.SMOKE, 4),
    "incense": (EventKind.SMOKE, 4),
    "fog": (EventKind.SMOKE, 4),
    "cooking": (EventKind.SMOKE, 3),
    "smoke": (EventKind.SMOKE, 4),
    "nebulizer": (EventKind.STEAM, 4),
    "humidifier": (EventKind.STEAM, 3),
    "spray": (EventKind.SPRAY, 3),
    "mask": (EventKind.SPRAY, 3),  # a spray or a tap that masks a session
    "cleaning": (EventKind.VOC, 2),
    "steam": (EventKind.STEAM, 2),
    "dust": (EventKind.DUST, 2),
    "dryer": (EventKind.DUST, 1),
    "voc": (EventKind.VOC, 1),
    "sanitizer": (EventKind.VOC, 1),
    "tap": (EventKind.STEAM, 0),
    "flush": (EventKind.STEAM, 0),
}
"""The kind that a perfect detector would report for each kind of event, and a rank.

The rank says how much of such an event usually reaches a sensor. It is needed because worlds do not
report how much each event contributes."""
MASK_STYLES: Final = {
    "flush": (EventKind.STEAM, 0),
    "hot tap": (EventKind.STEAM, 2),
    "tap": (EventKind.STEAM, 2),
    "steam": (EventKind.STEAM, 2),
    "dust": (EventKind.DUST, 2),
}
"""The same for acts other than sprays that mask a session."""
_AT_ONCE: Final = 50_000
_COLUMNS: Final = [COLUMN_INDEX[name] for name in COLUMNS]
_SINCE_PEAK: Final = FEATURES.index("since_peak_s")


@dataclass(frozen=True, slots=True)
class Lesson:
    """Features, shape (n, len(FEATURES)), and their labels, ordered by sensor and time.

    - `episode`: onset of the episode, Unix seconds.
    - `gap_s`: time since the pulse was last scored.
    - `is_pulse`: whether a pulse is scored; if not, the episode is only classified.
    - `vape`: 0, `WEAK`, `FAINT` or `VISIBLE`.
    - `thc`: 1 for a THC cartridge, 0 for other vaping, -1 if not labeled.
    - `kind`: index in `KINDS`, -1 if not labeled.
    """

    features: NDArray[np.float32]
    sensor: NDArray[np.int32]
    episode: NDArray[np.float64]
    gap_s: NDArray[np.float32]
    is_pulse: NDArray[np.bool_]
    vape: NDArray[np.int8]
    thc: NDArray[np.int8]
    kind: NDArray[np.int8]


_PARTS: Final = tuple(part.name for part in fields(Lesson))


@dataclass(frozen=True, slots=True)
class Task:
    """Runs of one world that are read together; `folder` caches their air and lessons.

    If `is_varied`, every sensor is replaced by a varied one.
    """

    sources: tuple[Source, ...]
    is_varied: bool
    folder: Path
    recorded: Path

    @property
    def name(self) -> str:
        """Name of the world, or `RECORDINGS`."""
        return self.sources[0].name

    @property
    def path(self) -> Path:
        """File with the lessons."""
        seeds = "-".join(str(source.seed) for source in self.sources)
        variant = "varied" if self.is_varied else "plain"
        return self.folder / "lessons" / f"{self.name}-{seeds}-{variant}.npz"


def collect(task: Task) -> Path:
    """Write a task's file unless it exists with the current features; return its path."""
    path = task.path
    if _is_current(path):
        return path
    readings, truth = _together([air(s, task.folder / "air", task.recorded) for s in task.sources])
    values = readings.values
    if task.is_varied:
        devices = {h.sensor: h.device for h in truth}
        values = varied(readings, devices, np.random.default_rng(zlib.crc32(path.stem.encode())))
    taught = lesson(readings, values, truth, is_simulated=task.name != RECORDINGS)
    part = path.with_suffix(".part.npz")
    np.savez(part, names=np.array(FEATURES), **{name: getattr(taught, name) for name in _PARTS})
    part.replace(path)
    return path


def _together(
    runs: Sequence[tuple[Readings, list[Happening]]],
) -> tuple[Readings, list[Happening]]:
    """Merge several runs into one with all their sensors."""
    names: list[str] = []
    sensor, truth = [], []
    for number, (readings, happened) in enumerate(runs):
        sensor.append(readings.sensor + len(names))
        names += [f"{number} {name}" for name in readings.names]
        truth += [replace(h, sensor=f"{number} {h.sensor}") for h in happened]
    time = np.concatenate([readings.time for readings, _ in runs])
    order = np.argsort(time, kind="stable")
    values = np.concatenate([readings.values for readings, _ in runs])[order]
    return Readings(tuple(names), np.concatenate(sensor)[order], time[order], values), truth


def load(path: Path) -> Lesson:
    """Read a lesson from a file."""
    with np.load(path) as stored:
        return Lesson(*(stored[name] for name in _PARTS))


def _is_current(path: Path) -> bool:
    try:
        with np.load(path) as stored:
            return tuple(stored["names"].tolist()) == FEATURES
    except (OSError, BadZipFile, KeyError):
        return False


class _Collector:
    """Collects the features at every scored moment."""

    def __init__(self) -> None:
        self.kept: list[tuple[NDArray[Any], ...]] = []

    def on_features(
        self,
        names: Sequence[str],  # noqa: ARG002 - rows are enough
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        episodes: NDArray[np.void],
        features: NDArray[np.float64],
        is_pulse: NDArray[np.bool_],
        is_classified: NDArray[np.bool_],
    ) -> None:
        """Collect the features of a round."""
        onsets = (episodes["pulse_onset"].copy(), episodes["onset"].copy())
        small = features.astype(np.float32)
        self.kept.append((rows, time, *onsets, small, is_pulse, is_classified))


def lesson(
    readings: Readings,
    values: NDArray[np.float64],
    truth: Iterable[Happening],
    *,
    is_simulated: bool,
) -> Lesson:
    """Run the detector over readings with these values, and return its features, labeled.

    The truth of real recordings is incomplete, so their kinds and THC are not labeled.
    """
    collector = _Collector()
    detector = Detector(Model("untrained"), collector)
    for name in readings.names:
        detector.assign_row(name)
    known = np.flatnonzero(np.isfinite(values).any(axis=1))
    # this model is untrained, and its scores are not used
    with np.errstate(all="ignore"):
        for at in range(0, known.size, _AT_ONCE):
            part = known[at : at + _AT_ONCE]
            full = np.full((part.size, len(ALL_COLUMNS)), np.nan)
            full[:, _COLUMNS] = values[part]
            detector.step(ReadingBatch(readings.sensor[part], readings.time[part], full))
    if not collector.kept:
        collector.kept.append(_nothing())
    columns = [np.concatenate(parts) for parts in zip(*collector.kept, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    sensor, time, pulse, episode, features, is_pulse, is_classified = (c[order] for c in columns)
    vape = np.zeros(sensor.size, np.int8)
    thc = np.full(sensor.size, -1, np.int8)
    kind = np.full(sensor.size, -1, np.int8)
    by_sensor: dict[str, list[Happening]] = {}
    for h in truth:
        by_sensor.setdefault(h.sensor, []).append(h)
    for number, name in enumerate(readings.names):
        begin, end = np.searchsorted(sensor, [number, number + 1]).tolist()
        mine = slice(begin, end)
        happened = by_sensor.get(name, [])
        _label_vaping(happened, time[mine], vape[mine], thc[mine])
        if is_simulated:
            for i in (begin + np.flatnonzero(is_classified[mine])).tolist():
                kind[i] = kind_of(happened, float(episode[i]), float(time[i]))
    is_late = is_pulse & (features[:, _SINCE_PEAK] >= THC_FROM_S)
    thc[~is_late | (not is_simulated)] = -1
    gap_s = _gaps(sensor, time, pulse, is_pulse)
    return Lesson(features, sensor, episode, gap_s, is_pulse, vape, thc, kind)


def _gaps(
    sensor: NDArray[np.int32],
    time: NDArray[np.float64],
    pulse: NDArray[np.float64],
    is_pulse: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return the time since each pulse was last scored, or began; 0 where no pulse is scored."""
    gap_s = np.zeros(time.size, np.float32)
    rows = np.flatnonzero(is_pulse)
    before = np.roll(rows, 1)
    follows = (sensor[rows] == sensor[before]) & (pulse[rows] == pulse[before])
    follows[:1] = False
    gap_s[rows] = time[rows] - np.where(follows, time[before], pulse[rows])
    return gap_s


def _nothing() -> tuple[NDArray[Any], ...]:
    none = np.zeros(0)
    flags = np.zeros(0, np.bool_)
    return np.zeros(0, np.int32), none, none, none, np.zeros((0, len(FEATURES)), "f4"), flags, flags


def _label_vaping(
    happened: Iterable[Happening],
    time: NDArray[np.float64],
    vape: NDArray[np.int8],
    thc: NDArray[np.int8],
) -> None:
    """Label the moments at which responding staff would find vaping."""
    for h in happened:
        if h.kind != "vape" or not h.seen_pm25 >= WEAK_UG_M3:
            continue
        arrival = h.onset if np.isnan(h.arrival) else h.arrival
        begin = np.searchsorted(time, arrival)
        end = np.searchsorted(time, max(h.end, arrival) + AFTER_S, side="right")
        clear = VISIBLE if h.is_visible else FAINT if h.seen_pm25 >= FAINT_UG_M3 else WEAK
        vape[begin:end] = np.maximum(vape[begin:end], clear)
        thc[begin:end] = h.style == "thc"


def kind_of(happened: Iterable[Happening], onset: float, time: float) -> int:
    """Return the index in `KINDS` of the most likely cause of an episode; -1 if unknown.

    Visible vaping takes precedence, then the kind that usually contributes most, then the latest
    event.
    """
    best: tuple[int, float, int] = (-1, 0.0, -1)
    for h in happened:
        if h.onset > time or h.end < onset - REACHES_S:
            continue
        if h.kind == "vape":
            if h.seen_pm25 < WEAK_UG_M3:
                continue
            kind, rank = EventKind.VAPE, 9 if h.is_visible else 1
        elif h.kind == "mask":
            kind, rank = MASK_STYLES.get(h.style, KIND_OF["mask"])
        elif h.kind in KIND_OF:
            kind, rank = KIND_OF[h.kind]
        else:
            continue
        best = max(best, (rank, h.onset, KINDS.index(kind)))
    return best[2]
