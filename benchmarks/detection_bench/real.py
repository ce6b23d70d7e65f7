"""The real recordings: none holds vaping, so every vape alarm is false.

The gym is 14 days at one reading a minute. The air-cleaner runs hold salt fog, incense and smoke
that start in the middle of a high level and decay for minutes; each gets a clean lead-in of ten
minutes. Their onset looks much like a strong puff: an alarm there is counted, and for our detector,
the only one that can take an alarm back, also whether it is left standing.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.detection_bench import learned, ours, peers
from benchmarks.detection_bench.run import ANOMALY, BOOSTED, OURS
from benchmarks.detection_bench.worlds import Series
from benchmarks.replay_real import convert_cadr
from detection.events import EventKind, EventPhase
from detection.quantities import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.detection_bench.learned import Trained

__all__ = ["Quiet", "read_series", "run_real"]


@dataclass(frozen=True, slots=True)
class Quiet:
    """How often a method cried vape where there was none.

    Attributes
    ----------
    gym : int or None
        Alarms in the gym; None where the rule lacks a channel there.
    runs, runs_alarmed, runs_standing : int
        Air-cleaner runs it could watch, those with an alarm, those with one never withdrawn.
    """

    gym: int | None
    runs: int
    runs_alarmed: int
    runs_standing: int


def read_series(path: Path) -> list[Series]:
    """Read a recording (`plumewatch replay` form) as one series a sensor."""
    rows: dict[str, list[list[float]]] = {}
    with gzip.open(path, "rt", newline="") as file:
        reader = csv.DictReader(file)
        keys = [k for k in reader.fieldnames or () if k in COLUMNS]
        for row in reader:
            line = [float(row[k]) if row[k] else np.nan for k in keys]
            rows.setdefault(row["sensor"], []).append([float(row["time"]), *line])
    found = []
    for sensor, lines in rows.items():
        table = np.array(lines)
        table = table[np.concatenate([[True], np.diff(table[:, 0]) > 0])]
        have = np.flatnonzero(~np.isnan(table[:, 1:]).all(axis=0))
        every = max(round(float(np.median(np.diff(table[:, 0])))), 1)
        channels = tuple(keys[i] for i in have)
        time = np.ascontiguousarray(table[:, 0])
        found.append(Series(sensor, "pms5003", every, time, time, channels, table[:, 1 + have]))
    return found


def run_real(folder: Path, trained: Trained | None) -> dict[str, Quiet]:
    """Run every method over both recordings.

    Parameters
    ----------
    folder : Path
        Holds ``gym_pms5003_61s.csv.gz`` and ``cadr_runs_1s.csv.gz``.
    trained : Trained or None

    Returns
    -------
    dict of str to Quiet
        By method.
    """
    gym = read_series(folder / "gym_pms5003_61s.csv.gz")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "runs.csv.gz"
        convert_cadr(folder / "cadr_runs_1s.csv.gz", target)
        runs = [part for series in read_series(target) for part in _apart(series)]
    result = {OURS: Quiet(len(_ours(gym)[0]), len(runs), *map(_sensors, _ours(runs)))}
    if trained is None:
        return result
    for key, (_, rule) in peers.RULES.items():
        options = trained.rules.get(key, {})
        at_gym = [at.size for s in gym if (at := rule(s, **options)) is not None]
        at_runs = [at.size for s in runs if (at := rule(s, **options)) is not None]
        alarmed = sum(n > 0 for n in at_runs)
        result[key] = Quiet(sum(at_gym) if at_gym else None, len(at_runs), alarmed, alarmed)
    for key, count in ((BOOSTED, _boosted), (ANOMALY, _anomaly)):
        alarmed = sum(count(s, trained) > 0 for s in runs)
        result[key] = Quiet(sum(count(s, trained) for s in gym), len(runs), alarmed, alarmed)
    return result


def _apart(series: Series) -> list[Series]:
    """Split a series where an hour is missing: another run under the same name."""
    cuts = np.flatnonzero(np.diff(series.time) > 3600) + 1
    parts = np.split(np.arange(series.time.size), cuts)
    return [
        replace(
            series,
            sensor=f"{series.sensor}#{k}",
            time=series.time[rows],
            sent=series.sent[rows],
            data=series.data[rows],
        )
        for k, rows in enumerate(parts)
    ]


def _ours(series: Sequence[Series]) -> tuple[list[str], list[str]]:
    """Sensor of each vape alert, and of each never withdrawn."""
    events = [e for e in ours.run_detector(series) if e.kind is EventKind.VAPE]
    back = {e.id for e in events if e.phase is EventPhase.WITHDRAWN}
    said = [e for e in events if e.phase is EventPhase.ALERTED]
    return [e.sensor for e in said], [e.sensor for e in said if e.id not in back]


def _sensors(names: Iterable[str]) -> int:
    return len(set(names))


def _boosted(series: Series, trained: Trained) -> int:
    level = trained.boosted_level(series)
    return int(learned.alerts_over(series.time, trained.chance(series), level).size)


def _anomaly(series: Series, trained: Trained) -> int:
    rows, scores = learned.anomaly_scores(series)
    return int(learned.alerts_over(series.time[rows], scores, trained.anomaly_level).size)
