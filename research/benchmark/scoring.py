"""Define what counts as found, false and late, as pure functions of arrays.

- A vaping session is *visible* to a sensor if it arrived and its largest true excess of PM2.5 at
  the inlet reaches ``max(8 µg/m³, background)``. Only visible sessions can be missed.
- Alerts on one sensor within two minutes of the first one are one *incident*.
- An alert *matches* a session if it lies in ``[arrival - 10 s, max(end, arrival) + 90 s]``; if the
  excess never arrived, the act's onset counts as its arrival. Several alerts in one session count
  once.
- An incident is *false* if none of its alerts matches a vaping session with an excess of 2 µg/m³ or
  more. If it matches only sessions too weak to be visible, it counts neither as found nor as false.
- *Latency* is the time from arrival at the sensor to the first matching alert, at least zero.
- A false alarm's *cause* is the kind of the latest other event that began at most 15 s after it and
  ended at most five minutes before it, or ``none``.
- Confidence intervals are bootstrap percentiles. The bootstrap draws whole groups and sensors.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from research.benchmark.recordings import Sensor
    from research.worlds.world import Happening

WEAK_UG_M3: Final = 2.0
BEFORE_S: Final = 10.0
AFTER_S: Final = 90.0
MERGE_S: Final = 120.0
CAUSE_AFTER_S: Final = 300.0
CAUSE_BEFORE_S: Final = 15.0


def is_visible(happening: Happening) -> bool:
    """Return whether the sensor could have detected a session."""
    return happening.is_visible and math.isfinite(happening.arrival)


def get_match_window(session: Happening) -> tuple[float, float]:
    """Return the time span in which an alert matches a vaping session, Unix seconds."""
    begin = session.arrival if math.isfinite(session.arrival) else session.onset
    return begin - BEFORE_S, max(session.end, begin) + AFTER_S


@dataclass(frozen=True, slots=True)
class Alerts:
    """One method's alerts on one sensor; confidence is NaN if the method has none."""

    time: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @classmethod
    def from_times(cls, time: NDArray[np.float64]) -> Alerts:
        """Return alerts at these times, without confidence."""
        return cls(time, np.full(time.size, np.nan))

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Alerts:
        """Return a selection of the alerts."""
        return Alerts(self.time[rows], self.confidence[rows])


@dataclass(frozen=True, slots=True)
class Found:
    """A visible session and the seconds from arrival to its first alert; NaN if it was missed."""

    session: Happening
    latency_s: float

    @property
    def missed(self) -> bool:
        """Whether no alert matched."""
        return math.isnan(self.latency_s)


@dataclass(frozen=True, slots=True)
class Incident:
    """One notification of staff; `time` and `confidence` come from its first alert.

    - `right`: whether one of its alerts matches a vaping session, even a weak one.
    - `cause`: kind of event that caused a false alarm; empty if it is not false.
    """

    time: float
    confidence: float
    right: bool
    cause: str


@dataclass(frozen=True, slots=True)
class SensorScore:
    """One method's counts for one sensor in one recording."""

    sensor: Sensor
    days: float
    sessions: tuple[Found, ...]
    incidents: tuple[Incident, ...]

    @property
    def n_found(self) -> int:
        """Number of visible sessions found."""
        return sum(not s.missed for s in self.sessions)

    @property
    def n_false(self) -> int:
        """Number of false alarms."""
        return sum(not i.right for i in self.incidents)


def score_sensor(
    happenings: Iterable[Happening],
    alerts: Alerts,
    sensor: Sensor,
    spans: Sequence[tuple[float, float]],
) -> SensorScore:
    """Score one sensor's alerts, in any order, within `spans`, Unix seconds."""
    happenings = list(happenings)
    alerts = alerts[np.argsort(alerts.time, kind="stable")]
    alerts = alerts[np.array([_is_in(spans, t) for t in alerts.time.tolist()], np.bool_)]
    time = alerts.time
    real = [h for h in happenings if h.kind == "vape" and h.seen_pm25 >= WEAK_UG_M3]
    others = [h for h in happenings if h.kind != "vape"]

    inside = np.zeros(time.size, np.bool_)
    sessions = []
    for session in real:
        first, last = get_match_window(session)
        matches = (time >= first) & (time <= last)
        inside |= matches
        if is_visible(session) and _is_in(spans, session.arrival):
            at = float(time[matches.argmax()]) if matches.any() else math.nan
            latency_s = at - session.arrival
            sessions.append(Found(session, 0.0 if latency_s < 0 else latency_s))

    incidents = []
    i = 0
    while i < time.size:
        j = max(int(np.searchsorted(time, time[i] + MERGE_S, side="left")), i + 1)
        right, at = bool(inside[i:j].any()), float(time[i])
        cause = "" if right else _cause(others, at)
        incidents.append(Incident(at, float(alerts.confidence[i]), right, cause))
        i = j
    days = sum(end - begin for begin, end in spans) / 86_400
    return SensorScore(sensor, days, tuple(sessions), tuple(incidents))


def _is_in(spans: Sequence[tuple[float, float]], time: float) -> bool:
    return any(begin <= time <= end for begin, end in spans)


def _cause(others: Sequence[Happening], time: float) -> str:
    around = [h for h in others if h.onset - CAUSE_BEFORE_S <= time <= h.end + CAUSE_AFTER_S]
    return max(around, key=lambda h: h.onset).kind if around else "none"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of the stated probabilities.

    `count`, `stated` and `observed` have, for each bin between `edges`, the number of incidents,
    their mean stated probability, and the share that was right. `brier` is NaN if there are no
    incidents. `base_rate` is the share of all incidents that was right.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    stated: tuple[float, ...]
    observed: tuple[float, ...]
    brier: float
    base_rate: float


def calibrate(stated: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> Calibration:
    """Return reliability bins and the Brier score; NaN probabilities are left out.

    >>> import numpy as np
    >>> calibrate(np.array([0.9, 0.9]), np.array([True, False])).brier
    0.41
    """
    known = np.isfinite(stated)
    stated, hit = np.asarray(stated)[known], np.asarray(right)[known].astype(float)
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
    """Figures for one method over some sensors; NaN where undefined.

    Latencies of found sessions are in seconds and in their sensors' reporting intervals. `causes`
    has the false alarms by cause, most frequent first, and `interval` the 95% bootstrap intervals
    of the four rates.
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
    latency_p50_reports: float
    latency_p90_reports: float
    causes: dict[str, int]
    interval: dict[str, tuple[float, float]] = field(default_factory=dict)


def _rates(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the rates for rows of (found, visible, false, days)."""
    found, visible, false, days = counts.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": found / visible,
            "precision": found / (found + false),
            "f1": 2 * found / (visible + found + false),
            "false_per_day": false / days,
        }


def summarize(scores: Sequence[SensorScore], *, draws: int = 0, seed: int = 0) -> Summary:
    """Summarize sensors; `draws` is the number of bootstrap draws, or 0 for no intervals."""
    table = np.array([(s.n_found, len(s.sessions), s.n_false, s.days) for s in scores], float)
    table = table.reshape(-1, 4)
    found, visible, false, days = table.sum(axis=0)
    rates = {k: float(v[0]) for k, v in _rates(table.sum(axis=0, keepdims=True)).items()}
    late = [(f.latency_s, s.sensor.interval_s) for s in scores for f in s.sessions if not f.missed]
    latency_s, interval_s = np.array(late, float).reshape(-1, 2).T
    incidents = [i for s in scores for i in s.incidents]
    return Summary(
        int(visible),
        int(found),
        int(false),
        float(days),
        rates["recall"],
        rates["precision"],
        rates["f1"],
        rates["false_per_day"],
        *_percentiles(latency_s),
        *_percentiles(latency_s / interval_s),
        dict(Counter(i.cause for i in incidents if not i.right).most_common()),
        _bootstrap(scores, table, draws, seed) if draws and scores else {},
    )


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    if not values.size:
        return math.nan, math.nan
    p50, p90 = np.percentile(values, [50, 90])
    return float(p50), float(p90)


def _bootstrap(
    scores: Sequence[SensorScore], table: NDArray[np.float64], draws: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Draw groups with replacement, then sensors within each."""
    rng = np.random.default_rng(seed)
    names = [s.sensor.group for s in scores]
    groups = [np.flatnonzero([name == one for name in names]) for one in sorted(set(names))]
    sums = np.zeros((draws, table.shape[1]))
    for k in range(draws):
        drawn = [groups[g] for g in rng.integers(len(groups), size=len(groups))]
        rows = np.concatenate([g[rng.integers(g.size, size=g.size)] for g in drawn])
        sums[k] = table[rows].sum(axis=0)
    result = {}
    for name, values in _rates(sums).items():
        known = values[np.isfinite(values)]
        if known.size:
            low, high = np.percentile(known, [2.5, 97.5])
            result[name] = (float(low), float(high))
    return result
