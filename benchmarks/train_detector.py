"""Make the detector's model file from simulated training seeds.

Usage: python benchmarks/train_detector.py [--seeds 12] [--rooms 24] [--hours 26] [--out FILE]

Training owns seeds 1 to 9,999; benchmarks use others. The same arguments give the same file: the
simulator is deterministic for a seed, and the trees are grown in one thread from a fixed state.

Each simulated reading is shown to the detector itself, which hands out the facts it would judge by;
what they are facts of is looked up in the simulator's truth, which the detector never sees. One
forest tells vaping from all else, at every reading of a pulse; one per kind tells kinds apart, at
the moments at which the detector asks.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.progress import track

from detection.batch import ReadingBatch
from detection.detector import Detector
from detection.episodes import FACTS
from detection.episodes import EpisodeColumn as E
from detection.forest import Forest
from detection.model import KINDS, Model
from detection.quantities import COLUMN_INDEX
from sensor_sim.simulate import random_school, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensor_sim.trace import Truth

INTERVALS = (1, 1, 2, 5, 5, 10, 30)
START = 1_757_203_200.0
LEAD_S = 7_200.0
"""Devices warm up and learn their baselines; what is said then is not learned from."""
KIND_CODES = {kind.value: code for code, kind in enumerate(KINDS)}
FAINT_UG_M3 = 4.0
PARTICLES = [COLUMN_INDEX[k] for k in ("pm1", "pm25", "pm4", "pm10")]
PARTICLES += [COLUMN_INDEX[k] for k in ("n03", "n05", "n10", "n25", "n50", "n100")]
GAINS = (0.6, 1.7)
DROPPED = (
    (("n03", "n05", "n10", "n25", "n50", "n100"), 0.5),
    (("pm1", "pm4"), 0.25),
    (("pm10",), 0.25),
    (("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"), 0.2),
    (("rh", "temp"), 0.2),
    (("co2",), 0.5),
)
"""Channels that go together, and how often a sensor of training lacks them."""
AGE = FACTS.index("age_s")
INTERVAL = FACTS.index("interval_s")


@dataclass(frozen=True, slots=True)
class Lesson:
    """Facts and what they are facts of.

    Attributes
    ----------
    facts : ndarray of float32, shape (n, len(FACTS))
    vape : ndarray of int8, shape (n,)
        0 not vaping, 1 faint, 2 visible; -1 where the vape forest is not asked.
    kind : ndarray of int8, shape (n,)
        Code of the kind, -1 where unknown or not asked.
    pulse : ndarray of int64, shape (n,)
        Number of the pulse, to weigh long ones no more than short ones.
    """

    facts: NDArray[np.float32]
    vape: NDArray[np.int8]
    kind: NDArray[np.int8]
    pulse: NDArray[np.int64]


def world(seed: int, rooms: int, hours: float) -> tuple[ReadingBatch, list[str], list[Truth]]:
    """Simulate a school: readings in time order, sensor names by row, and the truth."""
    school = random_school(seed, rooms, intervals=INTERVALS)
    times: list[NDArray[np.float64]] = []
    values: list[NDArray[np.float64]] = []
    sensors: list[NDArray[np.int32]] = []
    truths: list[Truth] = []
    names = [device.id for device in school.devices]
    rows = {name: row for row, name in enumerate(names)}
    start = START + 86_400.0 * (seed % 5)
    for chunk in simulate(
        school, seed=seed, start=start, duration_s=hours * 3600.0, activity="hard_restroom"
    ):
        for trace in chunk.traces:
            times.append(trace.time)
            values.append(trace.values)
            sensors.append(np.full(trace.time.size, rows[trace.sensor], np.int32))
        truths.extend(chunk.truths)
    time = np.concatenate(times)
    order = np.argsort(time, kind="stable")
    batch = ReadingBatch(np.concatenate(sensors)[order], time[order], np.concatenate(values)[order])
    return batch, names, truths


def varied(batch: ReadingBatch, draw: np.random.Generator) -> ReadingBatch:
    """Take channels away and change gains, sensor by sensor.

    The sensors of schools to come are not those of the simulator: some report PM2.5 alone, none
    reads e-cigarette aerosol like the next (a factor of two either way between devices, Sousan
    2022).
    """
    values = batch.values.copy()
    for sensor in range(int(batch.sensor.max()) + 1):
        rows = np.flatnonzero(batch.sensor == sensor)
        particles = values[np.ix_(rows, PARTICLES)]
        values[np.ix_(rows, PARTICLES)] = particles * np.exp(draw.uniform(*np.log(GAINS)))
        for keys, chance in DROPPED:
            if draw.random() < chance:
                values[np.ix_(rows, [COLUMN_INDEX[key] for key in keys])] = np.nan
    return ReadingBatch(batch.sensor, batch.time, values)


def lesson(arguments: tuple[int, int, float]) -> Lesson:
    """Facts of one school with their labels, thinned."""
    seed, rooms, hours = arguments
    batch, names, truths = world(seed, rooms, hours)
    batch = varied(batch, np.random.default_rng([seed, 1]))
    kept: list[tuple[NDArray[np.float64], ...]] = []
    detector = Detector(Model("untrained"))
    for name in names:
        detector.sensor_row(name)
    draw = np.random.default_rng(seed)

    def collect(rows, time, episode, facts, weighed, asked):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        n = facts[:, AGE] / np.maximum(facts[:, INTERVAL], 1.0)
        thin = asked | (draw.random(rows.size) < np.minimum(1.0, 6.0 / np.maximum(n, 1.0)))
        thin &= time > batch.time[0] + LEAD_S
        kept.append(
            tuple(
                a[thin]
                for a in (
                    rows,
                    time,
                    episode[:, [E.PULSE_ONSET, E.ONSET]],
                    facts.astype(np.float32),
                    weighed,
                    asked,
                )
            )
        )

    detector.collect = collect
    with np.errstate(all="ignore"):
        for at in range(0, len(batch), 40_000):
            part = slice(at, at + 40_000)
            detector.step(ReadingBatch(batch.sensor[part], batch.time[part], batch.values[part]))
    rows, time, onsets, facts, weighed, asked = (np.concatenate(a) for a in zip(*kept, strict=True))
    by_sensor: dict[str, list[Truth]] = defaultdict(list)
    for truth in truths:
        if truth.arrival == truth.arrival and truth.kind in KIND_CODES:
            by_sensor[truth.sensor].append(truth)
    keys = np.stack([rows.astype(float), np.nan_to_num(onsets[:, 0], nan=-1.0)], axis=1)
    pulses, pulse = np.unique(keys, axis=0, return_inverse=True)
    vape = np.array([_vape(by_sensor[names[int(r)]], o) for r, o in pulses], np.int8)[pulse]
    kind = np.full(rows.size, -1, np.int8)
    for i in np.flatnonzero(asked):
        kind[i] = _kind(by_sensor[names[int(rows[i])]], float(onsets[i, 1]), float(time[i]))
    return Lesson(facts, np.where(weighed, vape, -1).astype(np.int8), kind, pulse)


def _vape(truths: list[Truth], onset: float) -> int:
    """How visible the vaping is that a pulse of this onset belongs to; 0 for none."""
    found = 0
    for truth in truths:
        if truth.kind != "vape" or truth.peak_excess < FAINT_UG_M3:
            continue
        if truth.arrival - 12.0 <= onset <= max(truth.end, truth.peak_time) + 30.0:
            visible = truth.peak_excess >= max(8.0, truth.baseline)
            found = max(found, 2 if visible else 1)
    return found


def _kind(truths: list[Truth], onset: float, time: float) -> int:
    """Code of the strongest source that arrived in an episode; -1 for none."""
    arrived = [t for t in truths if onset - 25.0 <= t.arrival <= time]
    if not arrived:
        return -1
    gas_only = {"voc": 3.0, "steam": 3.0}
    strongest = max(arrived, key=lambda t: t.peak_excess + gas_only.get(t.kind, 0.0))
    return KIND_CODES[strongest.kind]


def grow(  # type: ignore[no-untyped-def]
    facts: NDArray[np.float32],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    depth: int,
    **settings,  # noqa: ANN003 - of the library
) -> Forest:
    """Boosted trees that tell `labels` from the rest."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - training only

    learner = HistGradientBoostingClassifier(
        random_state=1, early_stopping=False, max_depth=depth, **settings
    )
    learner.fit(facts, labels, sample_weight=weights)
    return as_forest(learner, depth)


def as_forest(learner: object, depth: int) -> Forest:
    """Complete trees of one depth from a fitted binary ensemble."""
    trees = [stage[0].nodes for stage in learner._predictors]  # type: ignore[attr-defined] # noqa: SLF001
    inner = 2**depth - 1
    column = np.zeros((len(trees), inner), np.int64)
    threshold = np.full((len(trees), inner), np.inf)
    value = np.zeros((len(trees), inner + 1))
    for k, nodes in enumerate(trees):
        waiting = [(0, 0)]
        while waiting:
            at, source = waiting.pop()
            node = nodes[source]
            if at >= inner:
                value[k, at - inner] = node["value"]
            elif node["is_leaf"]:
                waiting.append((2 * at + 1, source))
            else:
                right = 0 if node["missing_go_to_left"] else len(FACTS)
                column[k, at] = node["feature_idx"] + right
                threshold[k, at] = node["num_threshold"]
                waiting += [(2 * at + 1, node["left"]), (2 * at + 2, node["right"])]
    offset = float(np.ravel(learner._baseline_prediction)[0])  # type: ignore[attr-defined] # noqa: SLF001
    return Forest(column, threshold, value, offset)


def train(lessons: list[Lesson], version: str, level: float, withdraw: float) -> Model:
    """Model from all lessons."""
    facts = np.concatenate([part.facts for part in lessons])
    vape = np.concatenate([part.vape for part in lessons])
    kind = np.concatenate([part.kind for part in lessons])
    weight = np.concatenate(
        [1.0 / np.sqrt(np.bincount(part.pulse)[part.pulse]) for part in lessons]
    )
    weight[vape == 1] *= 0.5
    asked = vape >= 0
    forest = grow(
        facts[asked],
        vape[asked] > 0,
        weight[asked],
        depth=6,
        max_iter=300,
        learning_rate=0.08,
        max_leaf_nodes=40,
        min_samples_leaf=60,
        l2_regularization=1.0,
    )
    known = kind >= 0
    kinds = tuple(
        grow(
            facts[known],
            kind[known] == code,
            np.ones(int(known.sum())),
            depth=4,
            max_iter=60,
            learning_rate=0.12,
            max_leaf_nodes=16,
            min_samples_leaf=40,
            l2_regularization=1.0,
        )
        for code in range(len(KINDS))
    )
    return Model(version, level, withdraw, forest, kinds)


def main() -> int:
    """Train and write the model file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--rooms", type=int, default=24)
    parser.add_argument("--hours", type=float, default=26.0)
    parser.add_argument("--version", default="plume-2")
    parser.add_argument("--level", type=float, default=1.8)
    parser.add_argument("--withdraw", type=float, default=-4.0)
    parser.add_argument("--out", type=Path, default=Path("detection/model.npz"))
    options = parser.parse_args()
    tasks = [(seed, options.rooms, options.hours) for seed in range(1, options.seeds + 1)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        lessons = list(track(pool.map(lesson, tasks), "simulating", total=len(tasks)))
    model = train(lessons, options.version, options.level, options.withdraw)
    body = model.to_bytes()
    options.out.write_bytes(body)
    readings = sum(len(part.facts) for part in lessons)
    print(f"{options.out}: {len(body):,} bytes, from {readings:,} sets of facts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
