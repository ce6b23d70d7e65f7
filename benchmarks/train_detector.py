"""Make the detector's model file from simulated training seeds.

Usage: python benchmarks/train_detector.py [--seeds 144] [--rooms 24] [--hours 26] [--out FILE]

Training owns seeds 1 to 9,999; benchmarks use others. The same arguments give the same file: the
simulator is deterministic for a seed, and the trees are grown from a fixed state.

Each simulated reading is shown to the detector itself, which hands out the facts it would judge by;
what they are facts of is looked up in the simulator's truth, which the detector never sees. Three
things are learned:

- *vape*, at every reading of a pulse: would staff who are called now find vaping, by the rule of
  `benchmarks.detection_bench.scoring.window`? A first small forest finds the readings that are
  plainly something else; the second spends its trees on the rest.
- one forest a *kind*, at the moments at which the detector asks what an episode is.
- *thc*, from 20 s after the peak of a pulse of vaping on: does it evaporate?

A second file is made without the device families that the benchmark holds out, to show what the
detector is worth on sensors nobody trained on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Sums over threads depend on how many there are.
os.environ["OMP_NUM_THREADS"] = "2"

import numpy as np
from rich.progress import track

from benchmarks.detection_bench.scoring import WEAK_UG_M3, is_visible, window
from benchmarks.detection_bench.worlds import HELD_OUT, family_of
from detection.batch import ReadingBatch
from detection.detector import Detector
from detection.facts import FACTS
from detection.model import KINDS, Forest, Model
from detection.quantities import COLUMN_INDEX
from sensor_sim.school import random_school
from sensor_sim.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sensor_sim.trace import Truth

INTERVALS: Final = (1, 1, 2, 2, 5, 5, 10, 10, 30, 60)
START: Final = 1_757_203_200.0
LEAD_S: Final = 7_200.0
"""Devices warm up and learn their baselines; what is said then is not learned from."""
TOGETHER: Final = 12
"""Schools that one detector reads at a time."""
FEW: Final = 0.1
"""Share of the readings from which the first forest is grown."""
PER_PULSE: Final = 8.0
"""Readings of a pulse that are kept at each doubling of its age, about."""
KIND_CODES: Final = {kind.value: code for code, kind in enumerate(KINDS)}
FAINT_UG_M3: Final = 4.0
WEIGHTS: Final = (1.0, 0.3, 0.6, 1.0)
"""Of readings without vaping, in weak, in faint, in visible sessions."""
PLAIN: Final = -3.0
"""Log-odds of the first forest below which a reading is plainly no vaping."""
PARTICLES: Final = [
    COLUMN_INDEX[k]
    for k in ("pm1", "pm25", "pm4", "pm10", "n03", "n05", "n10", "n25", "n50", "n100")
]
GAINS: Final = (0.6, 1.7)
DROPPED: Final = (
    (("n03", "n05", "n10", "n25", "n50", "n100"), 0.5),
    (("pm1", "pm4"), 0.25),
    (("pm10",), 0.25),
    (("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"), 0.2),
    (("rh", "temp"), 0.2),
    (("co2",), 0.5),
)
"""Channels that go together, and how often a sensor of training lacks them."""
BY_INTERVAL: Final = (
    (1.0, -0.5, 0.0, 0.0),
    (2.0, -0.5, 0.2, 0.0),
    (5.0, -0.4, 0.2, 0.0),
    (10.0, -0.2, 0.3, -0.8),
    (30.0, 0.5, 0.8, -0.8),
    (60.0, -0.45, 0.2, 0.0),
)
"""What is added to the log-odds of vaping at a reporting interval, s: with PM1, without, and to
either until a pulse has been seen to fall.

With the level, what leaves about 0.4 false alarms a sensor-day on training seeds 9200-9215, whose
sensors are varied, and 9300-9315, whose are not (768 sensor-days), so that half of one holds on
others. At a minute the gym, the only air without vaping that is not simulated, allows no more: the
highest log-odds that the trees give it in 14 days are 2.08, and 1.38 when it is read without PM1.
Up to 5 s nothing is taken off a rising plume: half of the alerts are to come within 10 s.
"""
AGE: Final = FACTS.index("age_s")
INTERVAL: Final = FACTS.index("interval_s")
SINCE_PEAK: Final = FACTS.index("since_peak_s")


@dataclass(frozen=True, slots=True)
class Lesson:
    """Facts and what they are facts of.

    Attributes
    ----------
    facts : ndarray of float32, shape (n, len(FACTS))
    vape : ndarray of int8, shape (n,)
        0 no vaping, 1 weak, 2 faint, 3 visible; -1 where the vape forest is not asked.
    thc : ndarray of int8, shape (n,)
        1 for a THC cartridge, 0 for other vaping, -1 where not asked.
    kind : ndarray of int8, shape (n,)
        Code of the kind, -1 where unknown or not asked.
    weight : ndarray of float32, shape (n,)
        One over the root of the readings of its pulse: long ones weigh no more than short ones.
    held_out : ndarray of bool, shape (n,)
        Whether its sensor is of a family that the benchmark holds out.
    """

    facts: NDArray[np.float32]
    vape: NDArray[np.int8]
    thc: NDArray[np.int8]
    kind: NDArray[np.int8]
    weight: NDArray[np.float32]
    held_out: NDArray[np.bool_]


_PARTS: Final = tuple(part.name for part in fields(Lesson))


@dataclass(frozen=True, slots=True)
class _Watched:
    """One sensor of a lesson: its truths, and when its readings were published."""

    truths: list[Truth]
    time: NDArray[np.float64]
    sent: NDArray[np.float64]
    held_out: bool


def varied(values: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
    """Take channels of a sensor away and change its gain.

    The sensors of schools to come are not those of the simulator: some report PM2.5 alone, none
    reads e-cigarette aerosol like the next (a factor of two either way between devices, Sousan
    2022).
    """
    values = values.copy()
    values[:, PARTICLES] *= np.exp(draw.uniform(*np.log(GAINS)))
    for keys, chance in DROPPED:
        if draw.random() < chance:
            values[:, [COLUMN_INDEX[key] for key in keys]] = np.nan
    return values


def world(
    seed: int, rooms: int, hours: float
) -> list[tuple[_Watched, NDArray[np.float64], NDArray[np.float64]]]:
    """Simulate a school; for each sensor its truth, device times and readings."""
    school = random_school(seed, rooms, intervals=INTERVALS)
    parts: list[list[tuple[NDArray[np.float64], ...]]] = [[] for _ in school.devices]
    truths: dict[str, list[Truth]] = defaultdict(list)
    start = START + 86_400.0 * (seed % 5)
    for chunk in simulate(
        school, seed=seed, start=start, duration_s=hours * 3600.0, activity="hard_restroom"
    ):
        for part, trace in zip(parts, chunk.traces, strict=True):
            part.append((trace.time, trace.sent, trace.values))
        for truth in chunk.truths:
            if np.isfinite(truth.arrival):
                truths[truth.sensor].append(truth)
    draw = np.random.default_rng([seed, 1])
    out = []
    for device, part in zip(school.devices, parts, strict=True):
        time, sent, values = (np.concatenate([p[i] for p in part]) for i in range(3))
        held_out = family_of(device.model) in HELD_OUT
        watched = _Watched(truths[device.id], time, sent, held_out)
        out.append((watched, time, varied(values, draw)))
    return out


class _Collector:
    """Keep the facts of pulses, thinned, and those of episodes."""

    def __init__(self, seed: int) -> None:
        self.begin = np.zeros(0)
        self.kept: list[tuple[NDArray[Any], ...]] = []
        self._draw = np.random.default_rng(seed)

    def on_facts(
        self,
        names: Sequence[str],  # noqa: ARG002 - rows are enough
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        episodes: NDArray[np.void],
        facts: NDArray[np.float64],
        is_pulse: NDArray[np.bool_],
        is_asked: NDArray[np.bool_],
    ) -> None:
        """Take the facts of a round."""
        n = facts[:, AGE] / np.maximum(facts[:, INTERVAL], 1.0)
        share = np.minimum(1.0, PER_PULSE / np.maximum(n, 1.0))
        thin = is_asked | (self._draw.random(rows.size) < share)
        thin &= time > self.begin[rows] + LEAD_S
        if thin.any():
            onsets = np.column_stack([episodes["pulse_onset"], episodes["onset"]])
            columns = (rows, time, onsets, facts.astype(np.float32), is_pulse, is_asked)
            self.kept.append(tuple(a[thin] for a in columns))


def lesson(arguments: tuple[tuple[int, ...], int, float]) -> Lesson:
    """Facts of some schools with their labels, thinned."""
    seeds, rooms, hours = arguments
    watched: list[_Watched] = []
    collector = _Collector(seeds[0])
    detector = Detector(Model("untrained"), collector)
    columns: list[tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]] = []
    for seed in seeds:
        for sensor, time, values in world(seed, rooms, hours):
            row = detector.sensor_row(f"{len(watched)}")
            columns.append((np.full(time.size, row, np.int32), time, values))
            watched.append(sensor)
    sensor, time, values = (np.concatenate(c) for c in zip(*columns, strict=True))
    del columns
    begin = collector.begin = np.array([w.time[0] for w in watched])
    # By time of day: schools of several days are read side by side.
    order = np.argsort(time - begin[sensor], kind="stable")
    with np.errstate(all="ignore"):
        for at in range(0, order.size, 100_000):
            part = order[at : at + 100_000]
            detector.step(ReadingBatch(sensor[part], time[part], values[part]))
    return _labelled(watched, *(np.concatenate(a) for a in zip(*collector.kept, strict=True)))


def _labelled(
    watched: list[_Watched],
    rows: NDArray[np.int32],
    time: NDArray[np.float64],
    onsets: NDArray[np.float64],
    facts: NDArray[np.float32],
    weighed: NDArray[np.bool_],
    asked: NDArray[np.bool_],
) -> Lesson:
    vape = np.where(weighed, 0, -1).astype(np.int8)
    thc = np.full(rows.size, -1, np.int8)
    kind = np.full(rows.size, -1, np.int8)
    weight = np.ones(rows.size, np.float32)
    held_out = np.zeros(rows.size, bool)
    for row, sensor in enumerate(watched):
        mine = np.flatnonzero(rows == row)
        held_out[mine] = sensor.held_out
        _, pulse, n = np.unique(onsets[mine, 0], return_inverse=True, return_counts=True)
        weight[mine] = 1.0 / np.sqrt(n[pulse])
        at = np.searchsorted(sensor.time, time[mine] + 1e-6, side="right") - 1
        known_at = sensor.sent[at]
        for truth in sensor.truths:
            if truth.kind != "vape" or truth.peak_excess < WEAK_UG_M3:
                continue
            begin, end = window(truth)
            inside = mine[(known_at >= begin) & (known_at <= end)]
            clear = 3 if is_visible(truth) else 1 + (truth.peak_excess >= FAINT_UG_M3)
            judged = inside[weighed[inside]]
            vape[judged] = np.maximum(vape[judged], clear)
            late = judged[facts[judged, SINCE_PEAK] >= 20.0]
            thc[late] = truth.source == "thc_cartridge"
        for i in mine[asked[mine]]:
            kind[i] = _kind(sensor.truths, float(onsets[i, 1]), float(time[i]))
    return Lesson(facts, vape, thc, kind, weight, held_out)


def _kind(truths: list[Truth], onset: float, time: float) -> int:
    """Code of the strongest source that arrived in an episode; -1 for none."""
    arrived = [t for t in truths if onset - 25.0 <= t.arrival <= time and t.kind in KIND_CODES]
    if not arrived:
        return -1
    gas_only = {"voc": 3.0, "steam": 3.0}
    strongest = max(arrived, key=lambda t: t.peak_excess + gas_only.get(t.kind, 0.0))
    return KIND_CODES[strongest.kind]


def grow(  # type: ignore[no-untyped-def]
    facts: NDArray[np.float32],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float32],
    depth: int,
    **settings,  # noqa: ANN003 - of the library
) -> Forest:
    """Boosted trees that tell `labels` from the rest."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - training only

    learner = HistGradientBoostingClassifier(
        random_state=1, early_stopping=False, max_depth=depth, l2_regularization=1.0, **settings
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


@dataclass(frozen=True, slots=True)
class Lessons:
    """Lessons kept in files, of which only what is chosen is in memory.

    Attributes
    ----------
    paths : tuple of Path
        Made by `keep`.
    without_held_out : bool
        Whether sensors of families that the benchmark holds out are left out.
    """

    paths: tuple[Path, ...]
    without_held_out: bool = False

    def chosen(self, choose: Callable[[Lesson, np.random.Generator], NDArray[np.bool_]]) -> Lesson:
        """Rows of all lessons for which `choose` is true, as one.

        `choose` is given each lesson and random numbers of its own.
        """
        parts: list[Lesson] = []
        for number, path in enumerate(self.paths):
            with np.load(path) as stored:
                one = Lesson(**{name: stored[name] for name in _PARTS})
            rows = choose(one, np.random.default_rng([1, number]))
            if self.without_held_out:
                rows &= ~one.held_out
            parts.append(Lesson(*(getattr(one, name)[rows] for name in _PARTS)))
        return Lesson(*(np.concatenate([getattr(p, name) for p in parts]) for name in _PARTS))


def vape_forests(lessons: Lessons) -> tuple[Forest, Forest]:
    """Forests of vaping: the small one that finds what is plain, and that of all the rest."""

    def few(taught: Lesson, draw: np.random.Generator) -> NDArray[np.bool_]:
        return (taught.vape >= 0) & (draw.random(taught.vape.size) < FEW)

    def doubtful(taught: Lesson, _: np.random.Generator) -> NDArray[np.bool_]:
        rows = taught.vape >= 0
        asked = rows.nonzero()[0]
        for part in np.array_split(asked, asked.size // 20_000 + 1):
            rows[part] = plain.score(taught.facts[part].astype(np.float64)) >= PLAIN
        return rows

    taught = lessons.chosen(few)
    plain = grow(
        taught.facts, taught.vape > 0, _weights(taught),
        depth=6, max_iter=80, learning_rate=0.1, max_leaf_nodes=40, min_samples_leaf=60,
    )  # fmt: skip
    taught = lessons.chosen(doubtful)
    rest = grow(
        taught.facts, taught.vape > 0, _weights(taught),
        depth=7, max_iter=400, learning_rate=0.08, max_leaf_nodes=48, min_samples_leaf=100,
        max_features=0.5,
    )  # fmt: skip
    return plain, rest


def _weights(taught: Lesson) -> NDArray[np.float32]:
    return taught.weight * np.asarray(WEIGHTS, np.float32)[taught.vape]


def train(lessons: Lessons, version: str, level: float, withdraw: float) -> Model:
    """Model from all lessons."""
    small = {"depth": 4, "learning_rate": 0.12, "max_leaf_nodes": 16, "min_samples_leaf": 40}
    known = lessons.chosen(lambda taught, _: taught.kind >= 0)
    even = np.ones(known.kind.size, np.float32)
    kinds = tuple(
        grow(known.facts, known.kind == code, even, max_iter=60, **small)
        for code in range(len(KINDS))
    )
    late = lessons.chosen(lambda taught, _: taught.thc >= 0)
    thc = grow(late.facts, late.thc > 0, late.weight, max_iter=80, **small)
    plain, vape = vape_forests(lessons)
    table = np.array(BY_INTERVAL)
    return Model(version, level, withdraw, vape, kinds, thc, table, plain, PLAIN)


def keep(task: tuple[tuple[int, ...], int, float, Path]) -> Path:
    """Make a lesson's file, unless an earlier run has left it; return its path."""
    seeds, rooms, hours, folder = task
    path = folder / f"{seeds[0]}-{seeds[-1]}_{rooms}_{hours:g}.npz"
    if not path.exists():
        taught = lesson((seeds, rooms, hours))
        part = path.with_suffix(".part.npz")
        np.savez(part, **{name: getattr(taught, name) for name in _PARTS})
        part.replace(path)
    return path


def main() -> int:
    """Train and write the model files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=144)
    parser.add_argument("--rooms", type=int, default=24)
    parser.add_argument("--hours", type=float, default=26.0)
    parser.add_argument("--version", default="plume-5")
    parser.add_argument("--level", type=float, default=1.7)
    parser.add_argument("--withdraw", type=float, default=-4.0)
    parser.add_argument(
        "--lessons",
        type=Path,
        help="folder that keeps what was simulated, and in which a run that was cut short goes on; "
        "empty it when the simulator or the detector's facts have changed",
    )
    parser.add_argument("--out", type=Path, default=Path("detection/model.npz"))
    parser.add_argument(
        "--held-out", type=Path, default=Path("benchmarks/detection_bench/held_out.npz")
    )
    options = parser.parse_args()
    seeds = range(1, options.seeds + 1)
    with TemporaryDirectory() as temporary:
        folder = options.lessons or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        tasks = [
            (tuple(seeds[k : k + TOGETHER]), options.rooms, options.hours, folder)
            for k in range(0, options.seeds, TOGETHER)
        ]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            paths = tuple(track(pool.map(keep, tasks), "simulating", total=len(tasks)))
        for path, without in ((options.out, False), (options.held_out, True)):
            version = options.version + ("-held-out" if without else "")
            model = train(Lessons(paths, without), version, options.level, options.withdraw)
            path.write_bytes(model.to_bytes())
            print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
