"""Two learned references, trained on training seeds alone.

- *Boosted*: scikit-learn's histogram gradient boosting over 50 causal rolling features of one
  sensor. Rows of sessions too weak to be visible are left out; every sensor gives about as many
  rows, so that fast reporters do not drown slow ones, and most rows without vaping are of other
  plumes. Its probability is smoothed over 5 s, a choice made in its favour; one decision
  level each for fast, middling and slow reporters is tuned for F1 on further training seeds.
- *Half-space trees*: river's streaming anomaly score, one forest a sensor, over the rises of
  particles, gas and humidity; it learns as it goes and is told nothing of vaping. Level tuned for
  F1 on training seeds. It is fed one reading in five seconds at most, with the largest rise since
  the last, to keep the run short.

Both alert when the score rises over the level, and again two minutes later at the earliest.
Families in `worlds.HELD_OUT` are kept from all training. The open numbers of published rules are
chosen here as well, on the same seeds.

What was trained is kept beside the worlds, named by a hash of the simulator and of this module.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.signal import lfilter

from benchmarks.detection_bench import peers, worlds
from benchmarks.detection_bench.scoring import (
    SensorScore,
    is_visible,
    score_sensor,
    summarise,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.detection_bench.worlds import Series, World, WorldSpec
    from sensor_sim.trace import Truth

    Floats = NDArray[np.float64]

__all__ = [
    "FEATURES",
    "Trained",
    "alerts_over",
    "anomaly_scores",
    "features",
    "pace",
    "score_with",
    "train",
    "truths_by_sensor",
]

LOCK_S: Final = 120.0
ROWS_POSITIVE: Final = 1500
ROWS_PLUME: Final = 5000
ROWS_CALM: Final = 1000
SMOOTH_S: Final = 5.0
THIN_S: Final = 5.0


# ---------------------------------------------------------------------------------------- features


def _filled(x: Floats) -> Floats:
    known = np.where(np.isnan(x), 0, np.arange(x.size))
    held = x[np.maximum.accumulate(known)]
    if np.isnan(held[0]):
        good = np.flatnonzero(~np.isnan(held))
        held[: good[0] if good.size else None] = held[good[0]] if good.size else 0.0
    return np.asarray(held)


class _Causal:
    """Rolling operators at the nominal interval, which look back only."""

    def __init__(self, interval_s: float) -> None:
        self.dt = interval_s

    def samples(self, window_s: float) -> int:
        return max(round(window_s / self.dt), 1)

    def ema(self, x: Floats, tau_s: float) -> Floats:
        keep = float(np.exp(-self.dt / tau_s))
        out, _ = lfilter([1 - keep], [1, -keep], x, zi=[keep * x[0]])
        return np.asarray(out)

    def low(self, x: Floats, window_s: float) -> Floats:
        n = self.samples(window_s) + 1
        return np.asarray(minimum_filter1d(x, n, origin=(n - 1) // 2, mode="nearest"))

    def high(self, x: Floats, window_s: float) -> Floats:
        n = self.samples(window_s) + 1
        return np.asarray(maximum_filter1d(x, n, origin=(n - 1) // 2, mode="nearest"))

    def slope(self, x: Floats, window_s: float) -> Floats:
        n = self.samples(window_s)
        before = np.concatenate([np.full(min(n, x.size), x[0]), x[: max(x.size - n, 0)]])
        return np.asarray((x - before) / (n * self.dt))

    def spread(self, x: Floats, window_s: float) -> Floats:
        step = np.abs(np.diff(x, prepend=x[:1]))
        return self.ema(step, window_s)


def _particles(series: Series, roll: _Causal) -> tuple[dict[str, Floats], Floats]:
    raw = series.column("pm25")
    pm = _filled(raw if raw is not None else np.zeros(series.time.size))
    x = np.log1p(np.maximum(pm, 0))
    base = roll.low(x, 600)
    top = roll.high(x, 120)
    rise = np.expm1(x) - np.expm1(base)
    out = {
        "pm": x,
        "pm_over_600": x - base,
        "pm_over_120": x - roll.low(x, 120),
        "pm_over_1800": x - roll.low(x, 1800),
        "pm_excess": rise,
        "pm_5_30": roll.ema(x, 5) - roll.ema(x, 30),
        "pm_5_60": roll.ema(x, 5) - roll.ema(x, 60),
        "pm_15_300": roll.ema(x, 15) - roll.ema(x, 300),
        "pm_60_1800": roll.ema(x, 60) - roll.ema(x, 1800),
        "pm_slope_5": roll.slope(x, 5),
        "pm_slope_15": roll.slope(x, 15),
        "pm_slope_30": roll.slope(x, 30),
        "pm_slope_60": roll.slope(x, 60),
        "pm_slope_120": roll.slope(x, 120),
        "pm_fall_60": roll.high(x, 60) - x,
        "pm_fall_120": top - x,
        "pm_fall_300": roll.high(x, 300) - x,
        "pm_top_120": top - base,
        "pm_top_600": roll.high(x, 600) - base,
        "pm_step": np.diff(x, prepend=x[:1]),
        "pm_spread_60": roll.spread(x, 60),
        "pm_spread_600": roll.spread(x, 600),
        "pm_top_30": roll.high(x, 30) - base,
    }
    for name, key in (("fine", "pm1"), ("coarse", "pm10")):
        other = series.column(key)
        if other is None:
            share = ratio = np.full(x.size, np.nan)
        else:
            y = _filled(other)
            over = y - roll.low(y, 600)
            share = roll.ema(over, 10) / np.maximum(roll.ema(rise, 10), 1.0)
            ratio = y / np.maximum(pm, 0.5)
        out |= {f"{name}_share": share, f"{name}_ratio": ratio}
        out[f"{name}_top"] = roll.high(share, 120) if other is not None else share
    few, many = series.column("n03"), series.column("n10")
    if few is None:
        few = series.column("n05")
    counted = few is not None and many is not None
    out["count_ratio"] = (
        _filled(many) / np.maximum(_filled(few), 0.1)  # type: ignore[arg-type]
        if counted
        else np.full(x.size, np.nan)
    )
    return out, x - base


def _gas(series: Series, roll: _Causal) -> dict[str, Floats]:
    nothing = np.full(series.time.size, np.nan)
    out: dict[str, Floats] = {}
    mass = series.column("tvoc_ppb")
    mass = series.column("tvoc_ugm3") if mass is None else mass
    for name, raw in (("tvoc", mass), ("index", series.column("voc_index"))):
        x = None
        if raw is not None:
            x = np.log1p(np.maximum(_filled(raw), 0))
        out |= {
            f"{name}_over_600": nothing if x is None else x - roll.low(x, 600),
            f"{name}_top_120": nothing if x is None else roll.high(x, 120) - roll.low(x, 600),
            f"{name}_15_300": nothing if x is None else roll.ema(x, 15) - roll.ema(x, 300),
            f"{name}_slope_60": nothing if x is None else roll.slope(x, 60),
        }
    raw = series.column("voc_raw")
    x = None if raw is None else _filled(raw)
    out["raw_under_600"] = nothing if x is None else roll.high(x, 600) - x
    out["raw_slope_30"] = nothing if x is None else roll.slope(x, 30)
    return out


def _climate(series: Series, roll: _Causal) -> dict[str, Floats]:
    nothing = np.full(series.time.size, np.nan)
    raw = series.column("rh")
    x = None if raw is None else _filled(raw)
    out = {
        "rh": nothing if x is None else x,
        "rh_over_600": nothing if x is None else x - roll.low(x, 600),
        "rh_top_120": nothing if x is None else roll.high(x, 120) - roll.low(x, 600),
        "rh_15_300": nothing if x is None else roll.ema(x, 15) - roll.ema(x, 300),
        "rh_slope_60": nothing if x is None else roll.slope(x, 60),
    }
    raw = series.column("temp")
    out["temp_15_300"] = nothing
    if raw is not None:
        x = _filled(raw)
        out["temp_15_300"] = roll.ema(x, 15) - roll.ema(x, 300)
    raw = series.column("co2")
    out["co2_slope_60"] = nothing if raw is None else roll.slope(_filled(raw), 60)
    raw = series.column("vape_index")
    out["vape_index_60"] = nothing if raw is None else roll.high(_filled(raw), 60)
    return out


def features(series: Series) -> NDArray[np.float32]:
    """Causal features of every reading.

    Parameters
    ----------
    series : Series

    Returns
    -------
    ndarray of float32, shape (n, len(FEATURES))
        NaN where the sensor has no such channel. A row depends on no later reading.
    """
    roll = _Causal(series.interval_s)
    found, rise = _particles(series, roll)
    found |= _gas(series, roll)
    found |= _climate(series, roll)
    gas = found["tvoc_over_600"] if series.column("voc_index") is None else found["index_over_600"]
    found["gas_per_particle"] = gas - rise
    found["interval"] = np.full(rise.size, float(series.interval_s))
    return np.stack([found[k] for k in FEATURES], axis=1).astype(np.float32)


FEATURES: Final = (
    *("pm", "pm_over_600", "pm_over_120", "pm_over_1800", "pm_excess"),
    *("pm_5_30", "pm_5_60", "pm_15_300", "pm_60_1800"),
    *("pm_slope_5", "pm_slope_15", "pm_slope_30", "pm_slope_60", "pm_slope_120"),
    *("pm_fall_60", "pm_fall_120", "pm_fall_300", "pm_top_120", "pm_top_600", "pm_step"),
    *("pm_spread_60", "pm_spread_600", "pm_top_30"),
    *("fine_share", "fine_ratio", "fine_top", "coarse_share", "coarse_ratio", "coarse_top"),
    "count_ratio",
    *("tvoc_over_600", "tvoc_top_120", "tvoc_15_300", "tvoc_slope_60"),
    *("index_over_600", "index_top_120", "index_15_300", "index_slope_60"),
    *("raw_under_600", "raw_slope_30"),
    *("rh", "rh_over_600", "rh_top_120", "rh_15_300", "rh_slope_60", "temp_15_300", "co2_slope_60"),
    *("vape_index_60", "gas_per_particle", "interval"),
)
"""Names of the features, in column order."""


# ----------------------------------------------------------------------------------------- scoring


def truths_by_sensor(world: World) -> dict[str, list[Truth]]:
    """Group what happened by sensor."""
    found: dict[str, list[Truth]] = defaultdict(list)
    for truth in world.truths:
        found[truth.sensor].append(truth)
    return found


def score_with(
    world: World,
    truths: Mapping[str, list[Truth]],
    series: Series,
    time: Floats,
    confidence: Floats | None = None,
) -> SensorScore:
    """Score alerts, at true times, on one sensor of a world."""
    return score_sensor(
        truths.get(series.sensor, []),
        time,
        confidence,
        seed=world.spec.seed,
        sensor=series.sensor,
        model=series.model,
        family=series.family,
        interval_s=series.interval_s,
        days=world.days,
    )


def alerts_over(time: Floats, score: Floats, level: float) -> NDArray[np.intp]:
    """Rows at which a score rises over a level, at least `LOCK_S` apart.

    Examples
    --------
    >>> import numpy as np
    >>> alerts_over(np.arange(4.0), np.array([0.0, 0.9, 0.1, 0.9]), 0.5)
    array([1])
    """
    over = score >= level
    rising = np.flatnonzero(over & ~np.concatenate([[False], over[:-1]]))
    kept: list[int] = []
    for row in rising.tolist():
        if not kept or time[row] - time[kept[-1]] >= LOCK_S:
            kept.append(row)
    return np.array(kept, np.intp)


def anomaly_scores(series: Series) -> tuple[NDArray[np.intp], Floats]:
    """Run half-space trees over one sensor, from its first reading on.

    Returns
    -------
    rows : ndarray of int
        Readings that were fed.
    scores : ndarray of float64
        Anomaly score of each before the forest learned it, 0-1.
    """
    from river.anomaly import HalfSpaceTrees  # noqa: PLC0415 - optional, and slow to import

    table = features(series)
    at = {name: i for i, name in enumerate(FEATURES)}
    step = max(round(THIN_S / series.interval_s), 1)
    rows = np.arange(0, series.time.size, step)
    # The largest rise since the last row fed, so that thinning loses no peak.
    parts = {"pm": (at["pm_over_600"], 6.0), "tvoc": (at["tvoc_over_600"], 4.0)}
    parts |= {"index": (at["index_over_600"], 2.0), "rh": (at["rh_over_600"], 30.0)}
    parts |= {"slope": (at["pm_slope_15"], 0.3)}
    columns = {
        name: np.clip(
            maximum_filter1d(table[:, i], step, origin=(step - 1) // 2)[rows] / scale, 0, 1
        )
        for name, (i, scale) in parts.items()
        if not np.isnan(table[:, i]).all()
    }
    forest: Any = HalfSpaceTrees(n_trees=10, height=7, window_size=250, seed=1)
    names = list(columns)
    scores = np.empty(rows.size)
    for k, row in enumerate(np.stack(list(columns.values()), axis=1).tolist()):
        x = dict(zip(names, row, strict=True))
        scores[k] = forest.score_one(x)
        forest.learn_one(x)
    return rows, scores


# ---------------------------------------------------------------------------------------- training


@dataclass(frozen=True, slots=True)
class Trained:
    """What training left.

    Attributes
    ----------
    boosted : sklearn estimator
    boosted_levels : dict of str to float
        Decision level by `pace`, with the best F1 on tuning seeds.
    anomaly_level : float
        The same of the forest.
    rules : dict of str to dict
        Open numbers of published rules.
    seeds : dict of str to tuple of int
        Training seeds by use.
    """

    boosted: Any
    boosted_levels: dict[str, float]
    anomaly_level: float
    rules: dict[str, dict[str, float]]
    seeds: dict[str, tuple[int, ...]]

    def chance(self, series: Series) -> Floats:
        """Smoothed probability of vaping at every reading."""
        return _smooth(self.boosted.predict_proba(features(series))[:, 1], series)

    def boosted_level(self, series: Series) -> float:
        """Decision level for a sensor."""
        return self.boosted_levels[pace(series)]


def pace(series: Series) -> str:
    """Whether a sensor reports fast (to 2 s), middling (to 10 s) or slow."""
    return "fast" if series.interval_s <= 2 else "middling" if series.interval_s <= 10 else "slow"


def _smooth(chance: Floats, series: Series) -> Floats:
    keep = float(np.exp(-series.interval_s / SMOOTH_S))
    return np.asarray(lfilter([1 - keep], [1, -keep], chance))


def _labels(series: Series, truths: Iterable[Truth]) -> NDArray[np.int8]:
    """1 while a visible session can be seen, 0 elsewhere, -1 where only a weak one is."""
    label = np.zeros(series.time.size, np.int8)
    vapes = [t for t in truths if t.kind == "vape" and np.isfinite(t.arrival)]
    for truth in sorted(vapes, key=is_visible):
        begin, end = window(truth)
        inside = (series.sent >= begin + 10) & (series.sent <= end - 50)
        label[inside] = 1 if is_visible(truth) else -1
    return label


def _rows(world: World, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    truths = truths_by_sensor(world)
    xs, ys = [], []
    for series in world.series:
        if series.family in worlds.HELD_OUT:
            continue
        label = _labels(series, truths[series.sensor])
        table = features(series)
        plume = table[:, FEATURES.index("pm_top_120")] > 0.7
        kinds = (
            (label == 1, ROWS_POSITIVE),
            ((label == 0) & plume, ROWS_PLUME),
            ((label == 0) & ~plume, ROWS_CALM),
        )
        chosen = [rng.permutation(np.flatnonzero(rows))[:most] for rows, most in kinds]
        pick = np.sort(np.concatenate(chosen))
        xs.append(table[pick])
        ys.append(label[pick])
    return np.concatenate(xs), np.concatenate(ys)


def _best(levels: Sequence[float], alerts: Callable[[float], Iterable[SensorScore]]) -> float:
    ranked = [(float(np.nan_to_num(summarise(alerts(v)).f1)), float(v)) for v in levels]
    return max(ranked)[1]


def _seen(world: World) -> list[Series]:
    return [s for s in world.series if s.family not in worlds.HELD_OUT]


def _tune_rules(tuning: Sequence[World]) -> dict[str, dict[str, float]]:
    chosen = {}
    cases = [(w, truths_by_sensor(w), s) for w in tuning for s in _seen(w)]
    for key, grid in peers.GRIDS.items():
        rule = peers.RULES[key][1]
        ranked = []
        for number, options in enumerate(grid):
            scores = [
                score_with(w, t, s, s.true_time(at))
                for w, t, s in cases
                if (at := rule(s, **options)) is not None
            ]
            f1 = summarise(scores).f1
            ranked.append((-1.0 if np.isnan(f1) else f1, -number))
        chosen[key] = dict(grid[-max(ranked)[1]])
    return chosen


def train(
    fitting: Sequence[WorldSpec],
    tuning: Sequence[WorldSpec],
    *,
    build: Path = worlds.BUILD,
    on_step: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train both references and choose the open numbers, or read what was trained before.

    Parameters
    ----------
    fitting, tuning : sequence of WorldSpec
        Of training seeds, disjoint.
    build : Path
    on_step : callable
        Told what is going on.

    Raises
    ------
    ValueError
        If a seed is not a training seed.
    """
    wrong = [s.seed for s in (*fitting, *tuning) if s.seed >= worlds.FIRST_TRAINING_END]
    if wrong:
        raise ValueError(f"not training seeds: {wrong}")
    digest = hashlib.blake2b(worlds.simulator_hash().encode(), digest_size=6)
    for module in (__file__, peers.__file__):
        digest.update(Path(str(module)).read_bytes())
    digest.update(repr([s.key for s in (*fitting, *tuning)]).encode())
    path = build / "detection-trained" / f"{digest.hexdigest()}.pickle"
    if path.is_file():
        with path.open("rb") as file:
            kept: Trained = pickle.load(file)  # noqa: S301 - written by this module
        return kept
    trained = _train(fitting, tuning, build, on_step)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        pickle.dump(trained, file)
    return trained


def _train(
    fitting: Sequence[WorldSpec],
    tuning: Sequence[WorldSpec],
    build: Path,
    on_step: Callable[[str], None],
) -> Trained:
    from sklearn.ensemble import (  # noqa: PLC0415 - optional, and slow to import
        HistGradientBoostingClassifier,
    )

    rng = np.random.default_rng(1)
    on_step("features of training seeds")
    parts = [_rows(worlds.load_world(spec, build), rng) for spec in fitting]
    on_step("boosting")
    boosted = HistGradientBoostingClassifier(
        max_iter=250, learning_rate=0.08, max_leaf_nodes=31, l2_regularization=1.0, random_state=1
    )
    boosted.fit(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
    on_step("levels")
    held = [worlds.load_world(spec, build) for spec in tuning]
    cases = [(w, truths_by_sensor(w), s) for w in held for s in _seen(w)]
    chances = [_smooth(boosted.predict_proba(features(s))[:, 1], s) for _, _, s in cases]
    tried = [*np.arange(0.3, 0.95, 0.05), 0.95, 0.97, 0.98, 0.99]
    levels = {}
    for one in ("fast", "middling", "slow"):

        def say(level: float, one: str = one) -> list[SensorScore]:
            return [
                score_with(w, t, s, s.sent[alerts_over(s.sent, p, level)])
                for (w, t, s), p in zip(cases, chances, strict=True)
                if pace(s) == one
            ]

        levels[one] = _best(tried, say)
    # The forest needs no fitting; a part of the tuning sensors is enough for one number.
    few = cases[:: max(len(cases) // 16, 1)]
    anomalies = [anomaly_scores(s) for _, _, s in few]

    def shout(level: float) -> list[SensorScore]:
        found = []
        for (w, t, s), (rows, score) in zip(few, anomalies, strict=True):
            sent = s.sent[rows]
            found.append(score_with(w, t, s, sent[alerts_over(sent, score, level)]))
        return found

    anomaly_level = _best([*np.arange(0.5, 0.98, 0.04), 0.98, 0.99, 0.995], shout)
    on_step("open numbers of published rules")
    return Trained(
        boosted,
        levels,
        anomaly_level,
        _tune_rules(held),
        {"fitting": tuple(s.seed for s in fitting), "tuning": tuple(s.seed for s in tuning)},
    )
