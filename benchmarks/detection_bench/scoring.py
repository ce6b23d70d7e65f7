"""What counts as found, as a false alarm, as late. Pure functions over arrays.

Rules
-----
- A vaping session is *visible* to a sensor when its largest noise-free excess of PM2.5 at the inlet
  is at least ``max(8 µg/m³, baseline)``; only visible sessions can be missed.
- Alerts on one sensor within two minutes of the first of them are one *incident*, as staff would
  see them. A rule that never stops alerting so makes a new incident every two minutes.
- An alert *matches* a session when it lies in ``[arrival - 10 s, max(end, peak) + 90 s]``. Several
  alerts in one session count once.
- An incident is a *false alarm* when none of its alerts lies within any vaping session with an
  excess of 2 µg/m³ or more. An incident within a session too weak to be visible counts neither for
  nor against: it is right, but nobody had to see it.
- ``precision = found / (found + false)``, ``recall = found / visible``.
- Latency runs from arrival at the sensor to the first matching alert, not below zero.
- A false alarm's *cause* is the other happening on that sensor with the largest excess whose time
  (until five minutes after its end or peak) holds it; among those without particles, the one that
  arrived last; else ``none``.
- Confidence intervals are percentiles of a bootstrap that draws whole sensors of whole seeds: what
  happens on one sensor is never split.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from sensor_sim.trace import Truth

__all__ = [
    "Calibration",
    "Found",
    "Incident",
    "SensorScore",
    "Summary",
    "calibrate",
    "is_visible",
    "score_sensor",
    "summarise",
    "window",
]

VISIBLE_UG_M3: Final = 8.0
WEAK_UG_M3: Final = 2.0
BEFORE_S: Final = 10.0
AFTER_S: Final = 90.0
MERGE_S: Final = 120.0
CAUSE_AFTER_S: Final = 300.0
CAUSE_BEFORE_S: Final = 15.0


def is_visible(truth: Truth) -> bool:
    """Whether a session could have been seen by its sensor.

    Examples
    --------
    >>> from sensor_sim.trace import Truth
    >>> t = Truth("s", "a", "r", "nicotine_pod", "vape", 0, 5, 3, 9, 20.0, 15.0, "", 1)
    >>> is_visible(t)
    True
    """
    return (
        truth.kind == "vape"
        and math.isfinite(truth.arrival)
        and truth.peak_excess >= max(VISIBLE_UG_M3, truth.baseline)
    )


def window(truth: Truth) -> tuple[float, float]:
    """Span in which an alert matches a session, s; empty (NaN) if it never arrived."""
    if not math.isfinite(truth.arrival):
        return math.nan, math.nan
    last = max(t for t in (truth.end, truth.peak_time) if math.isfinite(t))
    return truth.arrival - BEFORE_S, max(last, truth.arrival) + AFTER_S


@dataclass(frozen=True, slots=True)
class Found:
    """A visible session and what became of it.

    Attributes
    ----------
    truth : Truth
    latency_s : float
        From arrival to the first matching alert; NaN if it was missed.
    """

    truth: Truth
    latency_s: float

    @property
    def missed(self) -> bool:
        """Whether no alert matched."""
        return math.isnan(self.latency_s)


@dataclass(frozen=True, slots=True)
class Incident:
    """What staff were told once.

    Attributes
    ----------
    time : float
        First alert, true time.
    confidence : float
        Of the first alert; NaN where the method has none.
    right : bool
        Whether an alert of it lies within a real vaping session, be it weak.
    cause : str
        Source that set it off where it is not right; empty where it is.
    """

    time: float
    confidence: float
    right: bool
    cause: str


@dataclass(frozen=True, slots=True)
class SensorScore:
    """All that is counted of one method on one sensor of one world."""

    seed: int
    sensor: str
    model: str
    family: str
    interval_s: int
    days: float
    sessions: tuple[Found, ...]
    incidents: tuple[Incident, ...]

    @property
    def n_found(self) -> int:
        """Visible sessions found."""
        return sum(not s.missed for s in self.sessions)

    @property
    def n_false(self) -> int:
        """False alarms."""
        return sum(not i.right for i in self.incidents)


def _cause(others: Sequence[Truth], time: float) -> str:
    best: tuple[float, float] | None = None
    name = "none"
    for t in others:
        begin = t.arrival if math.isfinite(t.arrival) else t.start
        known = [x for x in (t.end, t.peak_time) if math.isfinite(x)]
        if not begin - CAUSE_BEFORE_S <= time <= max(known) + CAUSE_AFTER_S:
            continue
        rank = (t.peak_excess if t.peak_excess >= WEAK_UG_M3 else 0.0, begin)
        if best is None or rank > best:
            best, name = rank, t.source
    return name


def score_sensor(
    truths: Iterable[Truth],
    time: NDArray[np.float64],
    confidence: NDArray[np.float64] | None = None,
    *,
    seed: int = 0,
    sensor: str = "",
    model: str = "",
    family: str = "",
    interval_s: int = 1,
    days: float = 1.0,
) -> SensorScore:
    """Score the alerts of one sensor.

    Parameters
    ----------
    truths : iterable of Truth
        Everything that happened at that sensor.
    time : ndarray of float64, shape (n,)
        Alerts, true time, in any order.
    confidence : ndarray of float64, shape (n,), optional
        Probability of vaping said with each alert.
    seed, sensor, model, family, interval_s, days
        Whose score it is; `days` is the length watched.

    Returns
    -------
    SensorScore
    """
    truths = list(truths)
    order = np.argsort(time, kind="stable")
    time = np.asarray(time, float)[order]
    said = np.full(time.size, np.nan) if confidence is None else np.asarray(confidence)[order]
    vapes = [t for t in truths if t.kind == "vape" and math.isfinite(t.arrival)]
    real = [t for t in vapes if t.peak_excess >= WEAK_UG_M3]
    others = [t for t in truths if t.kind != "vape"]

    spans = [window(t) for t in real]
    inside = np.zeros(time.size, bool)
    for begin, end in spans:
        inside |= (time >= begin) & (time <= end)

    sessions = []
    for truth in (t for t in real if is_visible(t)):
        begin, end = window(truth)
        first = int(np.searchsorted(time, begin))
        hit = first < time.size and time[first] <= end
        latency = max(float(time[first]) - truth.arrival, 0.0) if hit else math.nan
        sessions.append(Found(truth, latency))

    incidents = []
    i = 0
    while i < time.size:
        j = int(np.searchsorted(time, time[i] + MERGE_S, side="left"))
        right = bool(inside[i:j].any())
        at = float(time[i])
        incidents.append(Incident(at, float(said[i]), right, "" if right else _cause(others, at)))
        i = max(j, i + 1)
    return SensorScore(
        seed, sensor, model, family, interval_s, days, tuple(sessions), tuple(incidents)
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the stated probabilities can be believed.

    Attributes
    ----------
    edges : tuple of float
        Bin edges.
    count, stated, observed : tuple
        For each bin the incidents in it, their mean stated probability, the share that was right.
    brier : float
        Mean squared difference of stated probability and outcome; NaN without any.
    base_rate : float
        Share of incidents that were right; always saying it would give a Brier score of
        ``base_rate * (1 - base_rate)``.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    stated: tuple[float, ...]
    observed: tuple[float, ...]
    brier: float
    base_rate: float


def calibrate(stated: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> Calibration:
    """Reliability bins and Brier score; pairs without a stated probability are left out.

    Examples
    --------
    >>> import numpy as np
    >>> calibrate(np.array([0.9, 0.9]), np.array([True, False])).brier
    0.41
    """
    keep = np.isfinite(stated)
    stated, hit = np.asarray(stated)[keep], np.asarray(right)[keep].astype(float)
    edges = np.linspace(0, 1, bins + 1)
    where = np.clip(np.digitize(stated, edges) - 1, 0, bins - 1)
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(where, stated, bins) / count
        share = np.bincount(where, hit, bins) / count
    return Calibration(
        tuple(edges.tolist()),
        tuple(count.tolist()),
        tuple(mean.tolist()),
        tuple(share.tolist()),
        round(float(np.mean((stated - hit) ** 2)), 6) if stated.size else math.nan,
        float(hit.mean()) if stated.size else math.nan,
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of one method over some sensors.

    Attributes
    ----------
    visible, found, false : int
        Visible sessions, those found, false alarms.
    sensor_days : float
    recall, precision, f1 : float
        NaN where undefined (no visible session; nothing said).
    false_per_day : float
        False alarms a sensor-day.
    latency_p50_s, latency_p90_s : float
        Of found sessions.
    masked, masked_found : int
        Visible sessions somebody hid on purpose.
    causes : dict of str to int
        False alarms by cause, most first.
    interval : dict of str to (float, float)
        95 % bootstrap intervals of ``recall``, ``precision``, ``f1``, ``false_per_day``.
    """

    visible: int
    found: int
    false: int
    sensor_days: float
    recall: float
    precision: float
    f1: float
    false_per_day: float
    latency_p50_s: float
    latency_p90_s: float
    masked: int
    masked_found: int
    causes: dict[str, int]
    interval: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def masked_recall(self) -> float:
        """Share of masked visible sessions found."""
        return self.masked_found / self.masked if self.masked else math.nan


def _rates(
    found: NDArray[np.float64],
    visible: NDArray[np.float64],
    false: NDArray[np.float64],
    days: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": found / visible,
            "precision": found / (found + false),
            "f1": 2 * found / (visible + found + false),
            "false_per_day": false / days,
        }


def summarise(
    scores: Iterable[SensorScore],
    *,
    keep: Callable[[SensorScore], bool] | None = None,
    draws: int = 0,
    seed: int = 0,
) -> Summary:
    """Add up sensors.

    Parameters
    ----------
    scores : iterable of SensorScore
    keep : callable, optional
        Which sensors count; all by default.
    draws : int
        Bootstrap draws; 0 for no intervals. Seeds are drawn with replacement, then sensors within
        each drawn seed.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Summary
    """
    chosen = [s for s in scores if keep is None or keep(s)]
    table = np.array(
        [(s.n_found, len(s.sessions), s.n_false, s.days) for s in chosen], float
    ).reshape(-1, 4)
    found, visible, false, days = table.sum(axis=0)
    rates = {
        k: float(v[0])
        for k, v in _rates(*(np.array([x]) for x in (found, visible, false, days))).items()
    }
    latency = np.array([f.latency_s for s in chosen for f in s.sessions if not f.missed])
    masked = [f for s in chosen for f in s.sessions if f.truth.masked_by]
    causes = Counter(i.cause for s in chosen for i in s.incidents if not i.right)
    return Summary(
        int(visible),
        int(found),
        int(false),
        float(days),
        rates["recall"],
        rates["precision"],
        rates["f1"],
        rates["false_per_day"],
        float(np.percentile(latency, 50)) if latency.size else math.nan,
        float(np.percentile(latency, 90)) if latency.size else math.nan,
        len(masked),
        sum(not f.missed for f in masked),
        dict(causes.most_common()),
        _bootstrap(chosen, table, draws, seed) if draws and chosen else {},
    )


def _bootstrap(
    chosen: Sequence[SensorScore], table: NDArray[np.float64], draws: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Draw seeds, then sensors of each, with replacement."""
    rng = np.random.default_rng(seed)
    groups = [
        np.flatnonzero([s.seed == one for s in chosen]) for one in sorted({s.seed for s in chosen})
    ]
    sums = np.zeros((draws, table.shape[1]))
    for k in range(draws):
        drawn = [groups[g] for g in rng.integers(len(groups), size=len(groups))]
        rows = np.concatenate([g[rng.integers(g.size, size=g.size)] for g in drawn])
        sums[k] = table[rows].sum(axis=0)
    found, visible, false, days = sums.T
    result = {}
    for name, values in _rates(found, visible, false, days).items():
        known = values[np.isfinite(values)]
        if known.size:
            low, high = np.percentile(known, [2.5, 97.5])
            result[name] = (float(low), float(high))
    return result
