"""Alert thresholds: one for every sensor, from how often its air comes near to looking like vaping.

The score of a reading is its log-odds of vaping. What the model learned of nuisances holds for
every room: how many come near its level, and how many fewer pass each higher one. What a room tells
by itself, from its first hour on, is how many *near misses* it has.

Clusters
    Judged readings of one sensor less than `CLUSTER_S` apart are one *cluster*: one cause in the
    air, which could lead to one alert. Finished clusters are counted by their highest score.
Near misses
    Clusters whose highest score is between `NEAR` below the model's level: alike enough to tell
    something of this room, too unlike to be vaping. Plumes above them never count, however many
    there are, nor do near misses within `CONTEXT_S` after one: a busy room does not teach its
    sensor to be silent. Their number is compared with that of a busy room (`NEAR_A_WEEK`), which
    counts as a day of reading before the first.
Threshold
    False alarms fall by e per 1 / `TAIL` log-odds. In a room with more near misses than `TOLERATED`
    times those of the reference, the threshold goes up by what keeps false alarms at that: vaping
    leaves near misses too, so fewer say little of nuisances, and where they moved the threshold it
    cost more vaping than it saved alarms. In a quiet room it goes down, by `LOWER_SHARE` of what
    would keep them. The operator's budget moves it by its logarithm. It is set at a sensor's first
    reading of each hour, from its own stream alone; hours begin at a minute of its own, so that few
    sensors are due together.
Memory
    Counts and the time over which they were collected fade together, by e over `MEMORY_S` of time
    in which the sensor was read. A sensor that is switched off forgets nothing.
Bounds
    At most `UPPER` above the model's threshold: such a score always alerts. At most `LOWER` below.
Feedback
    A label moves the threshold within `FEEDBACK`, which outweighs all else, and counts its cluster
    as what it was: an alert that was false tells as much as the near misses of as long a time. Both
    can be withdrawn. The bounds hold for the sum.

Any split of the stream gives the same thresholds, no sensor depends on another, and memory is
constant for a sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BUDGET: Final = 1.0
"""Default budget, false alarms a sensor-week. With ten restrooms an adult then walks for nothing
twice a school day; more, and alerts are soon not believed."""
LOWER: Final = 1.0
UPPER: Final = 1.5
"""How far a threshold may be below and above the model's, log-odds."""
FEEDBACK: Final = 1.5
"""How far feedback may move a threshold either way, log-odds."""
NEAR: Final = (3.0, 1.0)
"""Near misses are so far below the model's level, log-odds."""
CONTEXT_S: Final = 600.0
NEAR_A_WEEK: Final = 38.0
FALSE_A_WEEK: Final = 3.2
TAIL: Final = 1.2
"""Near misses and false alarms a week in a busy room at the model's level, and how fast nuisances
become fewer with their score: of worlds on which a model was not trained."""
TOLERATED: Final = 2.5
LOWER_SHARE: Final = 0.25
CLUSTER_S: Final = 120.0
MEMORY_S: Final = 4 * 7 * 86_400.0
WEEK_S: Final = 7 * 86_400.0
LEARN_S: Final = 86_400.0
"""Before so long, what is expected is not stated."""
_LONGEST_STEP_S: Final = 300.0
"""A longer silence counts as this much time read."""
STEP: Final = 0.125
_BELOW: Final = 2.0
_ABOVE: Final = 2.0
"""Bins go this far beyond the bounds of a threshold."""
_BINS: Final = round((_BELOW + LOWER + UPPER + _ABOVE) / STEP) + 1
"""The first bin holds all that is lower; of what is higher, the last."""
_LOWEST: Final = 1 + round(_BELOW / STEP)
_MODEL: Final = _LOWEST + round(LOWER / STEP)
_SET_TOGETHER: Final = 1000
"""Sensors whose thresholds are set together: as many as fit the processor's cache."""
_RECENT: Final = 8
"""Clusters that feedback can still name."""
_UNLABELED, _NUISANCE, _VAPING = 0, 1, 2
"""Clusters without a label, and those that people labeled."""
_NEAR: Final = slice(_MODEL - round(NEAR[0] / STEP), _MODEL - round(NEAR[1] / STEP))
_PRIOR: Final = NEAR_A_WEEK / 7.0
_MIDDLES: Final = (np.arange(_BINS) - _MODEL + 0.5) * STEP
_MIDDLES[0] -= _BELOW
_MIDDLES.flags.writeable = False
"""Score of each bin minus the model's threshold."""


@dataclass(frozen=True, slots=True)
class _State:
    """State of `n` sensors; every other field is a row of `block`."""

    block: Floats
    read_s: Floats
    """Time for which the sensor was read."""
    hour: Floats
    """Hour in which the threshold was last set."""
    first: Floats
    last: Floats
    """Event times of the running cluster, Unix seconds."""
    highest: Floats
    """Highest score of the running cluster."""
    label: Floats
    """What people called the running cluster: 1 vaping, 0 nuisance; NaN without a label."""
    faded_at: Floats
    """`read_s` when the counts last faded."""
    by_budget: Floats
    by_feedback: Floats
    """Offset of the threshold, log-odds, by budget and by feedback."""
    budget: Floats
    expected: Floats
    """Expected false alarms a week at the threshold."""
    lost: Floats
    lost_lowest: Floats
    """Share of vaping lost against the model's threshold, and against the lowest one."""
    next_slot: Floats
    """Where the next recent cluster is kept."""
    phase_s: Floats
    """When in the hour the threshold is set."""
    passed_at: Floats
    """When a cluster last came to the model's level, Unix seconds."""

    @classmethod
    def of(cls, block: Floats) -> _State:
        """Name the rows of a block."""
        return cls(block, *block)

    @classmethod
    def unread(cls, n: int) -> _State:
        """Return the state of sensors that have not been read."""
        state = cls.of(np.zeros((_STATE_WIDTH, n)))
        unknown = (state.hour, state.first, state.last, state.highest, state.label)
        for column in (
            *unknown,
            state.expected,
            state.lost,
            state.lost_lowest,
            state.phase_s,
            state.passed_at,
        ):
            column[:] = np.nan
        return state

    def take(self, rows: NDArray[Any]) -> _State:
        """Return a copy of some sensors."""
        return _State.of(self.block[:, rows])


_STATE_WIDTH: Final = len(fields(_State)) - 1
_CLUSTER: Final = np.dtype(
    [(name, np.float64) for name in ("start", "end", "bin", "label", "read_s")]
)
"""A finished cluster that a label can still name; `read_s` of the sensor when it ended."""
_WIDTH: Final = len(_CLUSTER.names or ())


@dataclass(frozen=True, slots=True)
class ThresholdReport:
    """A sensor's threshold, and what it costs.

    Attributes
    ----------
    level, model_level : float
        Log-odds from which vaping is alerted, and the model's own.
    budget, expected : float
        Tolerable and expected false alarms a week; None while too little was seen.
    lost, lost_lowest : float or None
        Share of vaping that the model's threshold, or the lowest one, finds and this one does not.
        None while no vaping was seen.
    feedback : float
        Offset by feedback, log-odds.
    weeks, clusters : float
        Time the sensor was read, and clusters remembered.
    """

    level: float
    model_level: float
    budget: float
    expected: float | None
    lost: float | None
    lost_lowest: float | None
    feedback: float
    weeks: float
    clusters: float

    @property
    def within_budget(self) -> bool:
        """Whether the expected false alarms are tolerable, as far as is known."""
        return self.expected is None or self.expected <= self.budget * 1.0001

    @property
    def at_bound(self) -> bool:
        """Whether the threshold is the highest the bounds allow."""
        return self.level >= self.model_level + UPPER - 1e-9


class AlertThresholds:
    """Alert thresholds of many sensors, one row each.

    Parameters
    ----------
    model_level : float
        The model's own threshold, log-odds.
    budget : float
        Default budget, false alarms a sensor-week.

    Examples
    --------
    >>> thresholds = AlertThresholds(1.8)
    >>> thresholds.add()
    0
    >>> thresholds.offset(np.array([0]))
    array([0.])
    """

    def __init__(self, model_level: float, *, budget: float = BUDGET) -> None:
        if not budget > 0.0:
            raise ValueError(f"budget {budget}")
        self.model_level = model_level
        self.budget = budget
        self._n = 0
        self._state = _State.unread(0)
        self._counts = np.zeros((0, 3, _BINS), np.float32)
        self._recent = np.zeros((0, _RECENT), _CLUSTER)
        self._changed = np.zeros(0, bool)

    def __len__(self) -> int:
        """Return the number of sensors."""
        return self._n

    def add(self) -> int:
        """Append a sensor and return its row."""
        have = self._changed.size
        if self._n == have:
            more = max(16, have)
            block = [self._state.block, _State.unread(more).block]
            self._state = _State.of(np.concatenate(block, axis=1))
            self._counts = np.concatenate([self._counts, np.zeros((more, 3, _BINS), np.float32)])
            self._recent = np.concatenate([self._recent, _no_clusters(more)])
            self._changed = np.concatenate([self._changed, np.zeros(more, bool)])
        row = self._n
        self._n += 1
        self._state.budget[row] = self.budget
        self._state.by_budget[row] = np.clip(_by_budget(self.budget), -LOWER, UPPER)
        return row

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of a snapshot."""
        n = self._n
        return {
            "levels_state": self._state.block[:, :n].T.copy(),
            "levels_counts": self._counts[:n].copy(),
            "levels_recent": self._recent[:n].view(np.float64).reshape(n, _RECENT, _WIDTH),
        }

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]], model_level: float) -> AlertThresholds:
        """Return the thresholds kept by `arrays`.

        Raises
        ------
        ValueError
            If the arrays are not of this format.
        KeyError
            If one is missing.
        """
        thresholds = cls(model_level)
        state, counts = stored["levels_state"], stored["levels_counts"]
        recent = stored["levels_recent"]
        n = state.shape[0]
        shapes = ((n, _STATE_WIDTH), (n, 3, _BINS), (n, _RECENT, _WIDTH))
        if (state.shape, counts.shape, recent.shape) != shapes:
            raise ValueError(f"thresholds of shapes {state.shape}, {counts.shape}, {recent.shape}")
        thresholds._n = n
        thresholds._state = _State.of(np.array(state.T, np.float64, order="C"))
        thresholds._counts = counts.astype(np.float32)
        clusters = np.array(recent, np.float64, order="C")
        thresholds._recent = clusters.view(_CLUSTER).reshape(n, _RECENT)
        thresholds._changed = np.zeros(n, bool)
        return thresholds

    def watch(self, rows: NDArray[np.int32], time: Floats, dt: Floats) -> None:
        """Advance time, and set the thresholds that are due; call before `observe`.

        Parameters
        ----------
        rows : ndarray of int32, shape (n,)
            Distinct sensors, ascending, one reading each.
        time, dt : ndarray of float64, shape (n,)
            Event time, Unix seconds; seconds since each sensor's last reading.
        """
        if not rows.size:
            return
        first, last = int(rows[0]), int(rows[-1])
        here = slice(first, last + 1) if last - first == rows.size - 1 else rows
        self._state.read_s[here] += np.minimum(np.maximum(dt, 0.0), _LONGEST_STEP_S)
        hour = time - self._state.phase_s[here]
        hour /= 3600.0
        np.floor(hour, out=hour)
        due = hour != self._state.hour[here]  # not known at the first reading: due
        if not np.count_nonzero(due):
            return
        rows, time, hour = rows[due], time[due], hour[due]
        new = np.isnan(hour)
        if new.any():
            self._state.phase_s[rows[new]] = (time[new] * 617.0) % 3600.0
            self._changed[rows[new]] = True
            hour = np.floor((time - self._state.phase_s[rows]) / 3600.0)
        self._close(rows[(time - self._state.last[rows]) >= CLUSTER_S])
        self._state.hour[rows] = hour
        rows = rows[~new]
        for part in range(0, rows.size, _SET_TOGETHER):
            self._set(rows[part : part + _SET_TOGETHER])

    def observe(
        self,
        rows: NDArray[np.int32],
        time: Floats,
        score: Floats,
    ) -> None:
        """Count readings that were judged.

        Parameters
        ----------
        rows : ndarray of int32, shape (n,)
            Distinct sensors, one reading each.
        time : ndarray of float64, shape (n,)
            Event time, Unix seconds.
        score : ndarray of float64, shape (n,)
            Log-odds of vaping.
        """
        fresh = ~(time - self._state.last[rows] < CLUSTER_S)
        if np.count_nonzero(fresh):
            self._close(rows[fresh])
            self._state.first[rows[fresh]] = time[fresh]
            self._state.highest[rows[fresh]] = -np.inf
        self._state.last[rows] = time
        self._state.highest[rows] = np.fmax(self._state.highest[rows], score)

    def offset(self, rows: NDArray[np.int32]) -> Floats:
        """Return the offsets to the model's threshold, log-odds, within -`LOWER` and `UPPER`."""
        both = self._state.by_budget[rows] + self._state.by_feedback[rows]
        offset: Floats = np.minimum(np.maximum(both, -LOWER), UPPER)
        return offset

    def changed(self) -> NDArray[np.intp]:
        """Return the rows whose threshold changed since `mark_reported`."""
        return np.flatnonzero(self._changed[: self._n])

    def mark_reported(self, rows: NDArray[np.intp]) -> None:
        """Leave rows out of `changed` until they change again."""
        self._changed[rows] = False

    def set_budget(self, row: int, budget: float) -> None:
        """Set the budget of a sensor, false alarms a week, and its threshold if it differs."""
        if budget != self._state.budget[row]:
            self._state.budget[row] = budget
            self._set(np.array([row]))

    def set_feedback(self, row: int, moved: float) -> None:
        """Set the offset by feedback, log-odds, bounded by `FEEDBACK`."""
        self._state.by_feedback[row] = min(max(moved, -FEEDBACK), FEEDBACK)
        self._set(np.array([row]))

    def label_cluster(self, row: int, time: float, *, vaping: bool | None) -> bool:
        """Label the cluster around an event time, or withdraw its label with None.

        Return whether the cluster is still known: only the latest that came near a threshold are.
        """
        state = self._state
        label = np.nan if vaping is None else float(vaping)
        if state.first[row] <= time <= state.last[row]:
            state.label[row] = label
            return True
        recent = self._recent[row]
        found = np.flatnonzero((recent["start"] <= time) & (time <= recent["end"]))
        if not found.size:
            return False
        cluster = recent[found[0]]
        counts = self._counts[row, :, int(cluster["bin"])]
        weight = np.exp(-(state.faded_at[row] - cluster["read_s"]) / MEMORY_S)
        before = _kind(cluster["label"])
        counts[before] -= min(weight, counts[before])
        counts[_kind(label)] += weight
        cluster["label"] = label
        self._set(np.array([row]))
        return True

    def explain(self, row: int) -> ThresholdReport:
        """Return the threshold of a sensor and what it costs in sensitivity."""
        state = self._state
        offset = float(self.offset(np.array([row], np.int32))[0])
        return ThresholdReport(
            level=self.model_level + offset,
            model_level=self.model_level,
            budget=float(state.budget[row]),
            expected=_known(state.expected[row]),
            lost=_known(state.lost[row]),
            lost_lowest=_known(state.lost_lowest[row]),
            feedback=float(state.by_feedback[row]),
            weeks=float(state.read_s[row] / WEEK_S),
            clusters=float(self._counts[row].sum(dtype=np.float64)),
        )

    def _close(self, rows: NDArray[np.int32]) -> None:
        """Count the running clusters of distinct sensors, where there is one."""
        rows = rows[~np.isnan(self._state.first[rows])]
        if not rows.size:
            return
        state, counts = self._state.take(rows), self._counts[rows]
        fade = np.exp(-(state.read_s - state.faded_at) / MEMORY_S)
        counts *= fade[:, None, None].astype(np.float32)
        at = _MODEL + np.floor((state.highest - self.model_level) / STEP)
        bins = np.clip(at, 0, _BINS - 1).astype(np.intp)
        label = state.label
        kind = np.where(np.isnan(label), _UNLABELED, np.where(label > 0.0, _VAPING, _NUISANCE))
        passed = state.highest >= self.model_level
        after = ~passed & (state.first - state.passed_at < CONTEXT_S)
        state.passed_at[passed] = state.last[passed]
        counts[np.arange(rows.size), kind, np.where(after, 0, bins)] += 1.0
        self._counts[rows] = counts
        k = np.flatnonzero(bins >= _LOWEST)
        place = state.next_slot[k].astype(np.intp)
        ended = np.zeros(k.size, _CLUSTER)
        ended["start"], ended["end"], ended["bin"] = state.first[k], state.last[k], bins[k]
        ended["label"], ended["read_s"] = label[k], state.read_s[k]
        self._recent[rows[k], place] = ended
        state.next_slot[k] = (place + 1) % _RECENT
        state.faded_at[:] = state.read_s
        for column in (state.first, state.highest, state.label):
            column[:] = np.nan
        self._state.block[:, rows] = state.block

    def _set(self, rows: NDArray[Any]) -> None:
        """Set the thresholds of distinct sensors from their counts."""
        state = self._state.take(rows)
        counts = self._counts[rows].astype(np.float64)
        fade = np.exp(-(state.read_s - state.faded_at) / MEMORY_S)
        weeks = (MEMORY_S / WEEK_S) * -np.expm1(-state.read_s / MEMORY_S)
        false = counts[:, _NUISANCE, _MODEL:].sum(axis=1)
        near = counts[:, [_UNLABELED, _NUISANCE], _NEAR].sum(axis=(1, 2))
        near += false * (NEAR_A_WEEK / FALSE_A_WEEK)
        share = (near * fade + _PRIOR) / (weeks * NEAR_A_WEEK + _PRIOR)
        more = np.log(share)
        by_room = np.where(
            more > 0.0, np.maximum(more - np.log(TOLERATED), 0.0), LOWER_SHARE * more
        )
        by_room /= TAIL
        level = by_room + _by_budget(state.budget)
        state.by_budget[:] = np.clip(level, -LOWER, UPPER)
        offset = np.clip(state.by_budget + state.by_feedback, -LOWER, UPPER)
        learned = state.read_s >= LEARN_S
        expected = FALSE_A_WEEK * share * np.exp(-TAIL * offset)
        state.expected[:] = np.where(learned, expected, np.nan)
        place = np.ceil(offset / STEP - 1e-9).astype(np.intp) + _MODEL
        each = np.arange(rows.size)
        vaping = counts[:, _VAPING] + expit(self.model_level + _MIDDLES) * counts[:, _UNLABELED]
        vaping = np.cumsum(vaping[:, ::-1], axis=1)[:, ::-1] * fade[:, None]
        for column, bin_ in ((state.lost, _MODEL), (state.lost_lowest, _LOWEST)):
            reference = vaping[:, bin_]
            seen = learned & (reference >= 1.0)
            lost = 1.0 - vaping[each, place] / np.maximum(reference, 1.0)
            column[:] = np.where(seen, lost, np.nan)
        self._state.block[:, rows] = state.block
        self._changed[rows] = True


@dataclass(frozen=True, slots=True)
class AlertBudgets:
    """Tolerable false alarms a week.

    Attributes
    ----------
    default : float
        Of a sensor that has none of its own.
    own : mapping of str to float
        By sensor.
    moved : mapping of str to float
        How far a sensor's level is moved from the start, log-odds, to judge again at the level that
        held once; empty in a service, whose thresholds are moved by feedback.
    """

    default: float = BUDGET
    own: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    moved: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def give(self, thresholds: AlertThresholds, row: int, sensor: str) -> None:
        """Apply the budget of a sensor, and its offset if it has one; repeating changes nothing."""
        thresholds.set_budget(row, self.own.get(sensor, self.default))
        moved = self.moved.get(sensor)
        if moved is not None:
            moved = min(max(moved, -FEEDBACK), FEEDBACK)
            if thresholds.explain(row).feedback != moved:
                thresholds.set_feedback(row, moved)


def _by_budget(budget: Floats | float) -> Floats:
    offset: Floats = np.log(BUDGET / budget) / TAIL
    return offset


def _no_clusters(n: int) -> NDArray[np.void]:
    empty: NDArray[np.void] = np.zeros((n, _RECENT), _CLUSTER)
    for name in _CLUSTER.names or ():
        empty[name] = np.nan
    return empty


def _kind(label: float) -> int:
    return _UNLABELED if np.isnan(label) else _VAPING if label > 0.0 else _NUISANCE


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
