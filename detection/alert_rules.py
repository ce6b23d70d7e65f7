"""Alert rules: decide when to score a pulse, what to report, and at which score to alert.

The rules depend only on episodes and their features. The detector applies them to its sensors.

Thresholds
----------
A pulse raises an alert when its score reaches the model's level plus the sensor's offset, both in
log-odds. The offset is the lowest value expected to keep the sensor within its weekly budget of
false alarms.

Seen
    Scored readings of one sensor less than `CLUSTER_S` apart form a *cluster*, which is assumed to
    have one cause. A cluster that could have alerted counts as a fraction of a false alarm: one
    minus its probability of vaping. Once a person answers, it counts as one false alarm or none.
Expected
    The false alarms seen, plus those that an ordinary room has in one week, divided by the weeks
    observed plus one. At its own level, an ordinary room has `BUDGET` false alarms a week. For each
    1 / `TAIL` log-odds below that level, it has e times as many. Its level is the model's, adjusted
    by room tests and staff answers (`alerts.incidents.threshold_adjustments`).

A threshold therefore starts at the model's level, as adjusted by room tests and answers. A room
that uses none of its budget becomes more sensitive until it uses some. A room that a test made too
sensitive becomes less sensitive again. Unanswered plumes may be vaping, so they never raise a
threshold above the model's or the one people set, whichever is higher (adjusted if the sensor's
budget is not the default). The offset stays between
-`LOWER` and `UPPER`, so a score more than `UPPER` above the model's level always passes.

The offset is set at a sensor's first reading of each hour. Each sensor's hours begin at a different
minute, so that few offsets are set at once. Cluster counts and the time over which they were
collected decay together, by a factor of e for every `MEMORY_S` of reporting. They don't decay while
a sensor is switched off. A threshold depends neither on other sensors nor on how the stream is
split.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import expit

from detection.channels import CHANNEL_INDEX, CHANNELS, FINE, VOC
from detection.episodes import ALERTED, FEATURES, SESSION_S
from detection.events import ChannelEvidence, EventKind
from detection.model import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detection.episodes import Episodes

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

VAPE, SMOKE = KINDS.index(EventKind.VAPE), KINDS.index(EventKind.SMOKE)
PERSISTS_SHARE: Final = 0.6
"""A session continues while more than this share of its peak excess remains in the air."""
_RH = CHANNEL_INDEX["rh"]
_FINE_COLUMNS = tuple(CHANNEL_INDEX[k] for k in ("pm25", "pm1", "pm10", "n03"))
MASK_PROBABILITY: Final = 0.6
"""Vaping counts as masked if another kind is at least this probable."""
THC_FROM_S: Final = 20.0
"""Seconds after the peak until it is clear whether an aerosol persists."""
THC_LOG_ODDS: Final = 0.85
_OFTEN_S, _RARE_S, _MINUTE_S = 3.0, 20.0, 45.0
"""Limits on the reporting interval. Up to the first, readings are frequent. From the second on,
they are rare. From the third on, they arrive about once a minute or less often."""
_AGAIN_S: Final = 600.0
"""At a sensor that reports once a minute, a second pulse within this time confirms the first."""
_READINGS_OFTEN, _READINGS = 3.0, 2.0
"""Readings that a pulse needs before it alerts. The first value applies to sensors with frequent
readings, the second to all others. A single reading may be an artifact."""
_AGREES_VOC, _AGREES_RH = 0.06, 1.0
"""A larger rise in another channel confirms a pulse: VOC in doublings, humidity in percent."""
_INTERVAL, _VOC_MAX, _RH_RISE = (FEATURES.index(k) for k in ("interval_s", "voc_max", "rh_rise"))
FAINT_UG_M3: Final = 8.0
"""Smaller pulses do not alert. Most plumes in an ordinary room are that small, and the two readings
such a pulse may have are too few to recognize vaping."""
FAINT_SHARE: Final = 0.2
"""Smallest rise that alerts, as a share of the level before it. A particle sensor's error grows
with the level."""
NEAR_MARGIN, RARE_MARGIN, SMALL_MARGIN, SMALL_UG_M3 = 1.25, 1.75, 0.5, 30.0
"""How far below the model's level, in log-odds, a pulse can score and still be reported as possible
vaping. The second value applies if readings are rare, because few readings show little of a plume.
Pulses smaller than `SMALL_UG_M3` get the third, because most plumes are small."""
LARGE_UG_M3, LARGE_WITHIN_S, LARGE_AFTER_S, LARGE_MARGIN = 60.0, 60.0, 8.0, 2.5
"""A pulse that rose by `LARGE_UG_M3` within `LARGE_WITHIN_S` is reported if no cause is clear, once
it is `LARGE_AFTER_S` old and scores at most `LARGE_MARGIN` below the model's level."""
CLEAR: Final = dict.fromkeys(range(len(KINDS)), 0.7) | {SMOKE: 0.85}
"""Probability from which a kind other than vaping counts as clear. It is alerted before its episode
ends only if the episode has lasted `CLEAR_AFTER_S`."""
CLEAR_AFTER_S: Final = dict.fromkeys(range(len(KINDS)), 60.0) | {SMOKE: 120.0}


def compute_share_left(episodes: Episodes, x: Floats) -> Floats:
    """Return the share of an episode's peak excess that is still in the air."""
    baseline = episodes["baseline"][:, FINE]
    highest = np.maximum(episodes["highest"][:, FINE] - baseline, 4.0)
    return np.asarray((x[:, FINE] - baseline) / highest)


def is_early(episodes: Episodes, f: Floats) -> Flags:
    """Return whether a pulse has too few readings so far to alert.

    If readings are rare, a rise of VOC or humidity replaces the missing reading.
    """
    interval = f[:, _INTERVAL]
    enough = np.where(interval <= _OFTEN_S, _READINGS_OFTEN, _READINGS)
    flags: Flags = (episodes["readings"] < enough) & ~(_has_other_rise(f) & (interval >= _RARE_S))
    return flags


def _has_other_rise(f: Floats) -> Flags:
    """Return whether VOC or humidity rose as well."""
    return np.asarray((f[:, _VOC_MAX] > _AGREES_VOC) | (f[:, _RH_RISE] > _AGREES_RH))


def is_ambiguous(episodes: Episodes, f: Floats) -> Flags:
    """Return whether a sensor reports too rarely to tell whether a pulse is a puff or a spray.

    A pulse is not ambiguous if VOC or humidity rose too, or if possible vaping was reported shortly
    before.
    """
    since = episodes["pulse_onset"] - episodes["possible_onset"]
    is_second = (since > 0.0) & (since <= _AGAIN_S)
    return np.asarray((f[:, _INTERVAL] >= _MINUTE_S) & ~(_has_other_rise(f) | is_second))


def is_faint(episodes: Episodes) -> Flags:
    """Return whether a pulse is too small to alert."""
    least = np.maximum(FAINT_UG_M3, FAINT_SHARE * episodes["pulse_base"])
    return np.asarray(episodes["peak"] < least)


def is_near(episodes: Episodes, f: Floats, model_level: float) -> Flags:
    """Return whether a pulse scores above the model's level, or slightly below it."""
    margin = np.where(f[:, _INTERVAL] >= _RARE_S, RARE_MARGIN, NEAR_MARGIN)
    margin = np.where(episodes["peak"] < SMALL_UG_M3, SMALL_MARGIN, margin)
    return np.asarray(episodes["log_odds"] >= model_level - margin)


def is_large(episodes: Episodes, age: Floats, model_level: float) -> Flags:
    """Return whether a pulse is large enough to be reported if it has no clear cause."""
    rise = episodes["at_peak"][:, FINE] - episodes["before_pulse"][:, FINE]
    flags: Flags = (rise >= LARGE_UG_M3) & (age >= LARGE_AFTER_S)
    flags &= episodes["peak_at"] - episodes["pulse_onset"] <= LARGE_WITHIN_S
    flags &= episodes["log_odds"] >= model_level - LARGE_MARGIN
    return flags


def is_answered(episodes: Episodes) -> Flags:
    """Return whether staff have already answered an alert on a pulse's plume.

    They have if the pulse began before the answer. They also have if it began within a minute after
    the answer and is smaller than what was left in the air, because air movement may have stirred
    up the old plume.
    """
    since = episodes["pulse_onset"] - episodes["answered_at"]
    left = episodes["pulse_base"] - episodes["baseline"][:, FINE]
    return np.asarray((since < 0.0) | ((since < SESSION_S) & (episodes["peak"] < left)))


def is_answered_smoke(episodes: Episodes) -> Flags:
    """Return whether staff have answered a smoke alert and the smoke hasn't risen since."""
    since = episodes["peak_at"] - episodes["answered_at"]
    return np.asarray((episodes["kind"] == SMOKE) & is_answered(episodes) & ~(since > SESSION_S))


def is_possible(episodes: Episodes) -> Flags:
    """Return whether possible vaping is being reported."""
    return np.asarray(~np.isnan(episodes["possible_at"]))


def is_unclear(chances: Floats) -> Flags:
    """Return whether no kind other than vaping is clear."""
    clear = np.array([CLEAR[kind] for kind in range(1, len(KINDS))])
    return np.asarray(np.all(chances[:, 1:] < clear, axis=1))


def drop_unseen_kinds(chances: Floats, episodes: Episodes) -> Floats:
    """Zero the probabilities of kinds that the sensor could not have detected.

    The others are not rescaled, so that no kind seems clear just because channels are missing.
    """
    baseline = episodes["baseline"]
    chances = chances.copy()
    chances[np.isnan(baseline[:, VOC]).all(axis=1), KINDS.index(EventKind.VOC)] = 0.0
    chances[np.isnan(baseline[:, _RH]), KINDS.index(EventKind.STEAM)] = 0.0
    return chances


def compute_probabilities(log_odds: Floats, kinds: Floats) -> Floats:
    """Return the kinds' probabilities: vaping from its log-odds; the other kinds share the rest."""
    vape = expit(log_odds)
    others = kinds[:, 1:]
    total = others.sum(axis=1)
    share = others / np.where(total > 0.0, total, 1.0)[:, None]
    share[total <= 0.0] = 1.0 / others.shape[1]
    return np.column_stack([vape, (1.0 - vape)[:, None] * share])


def build_evidence(episode: np.void, *, pulse: bool) -> dict[str, ChannelEvidence]:
    """Return how the channels moved during the scored pulse, or during the whole episode."""
    start = episode["pulse_onset" if pulse else "onset"]
    before = episode["before_pulse" if pulse else "baseline"].copy()
    if pulse:  # Particles may already have been rising before the pulse.
        before[FINE] = episode["pulse_base"]
    later = episode["highest_at"] >= start
    top = np.where(later, episode["highest"], episode["at_peak"])
    when = np.where(later, episode["highest_at"], episode["peak_at"])
    half = float(episode["half_s"])
    evidence: dict[str, ChannelEvidence] = {}
    known = ~np.isnan(before) & ~np.isnan(top)
    fine = next((column for column in _FINE_COLUMNS if known[column]), None)
    gas = next((column for column in VOC if known[column]), None)
    for column in (fine, gas, _RH):
        if column is None or not known[column]:
            continue
        sign = -1.0 if CHANNELS[column] == "voc_raw" else 1.0
        evidence[CHANNELS[column]] = ChannelEvidence(
            baseline=round(sign * float(before[column]), 3),
            peak_excess=round(sign * float(top[column] - before[column]), 3),
            rise_s=round(float(when[column] - start), 3),
            decay_s=None if column != fine or np.isnan(half) else round(half, 3),
        )
    return evidence


def is_alerted_vaping(episodes: Episodes) -> Flags:
    """Return whether vaping is alerted now."""
    return np.asarray((episodes["phase"] == ALERTED) & (episodes["kind"] == VAPE))


def count_stages(age: Floats) -> Floats:
    """Return how many times an episode of this age has been classified.

    It is classified at 30 s, then each time its age doubles.
    """
    return np.asarray(np.floor(np.log2(np.maximum(age, 15.0) / 15.0)))


def count_moments(age: Floats) -> Floats:
    """Return how many times a pulse of this age has been scored.

    A young pulse is scored at almost every reading. Later it is scored about eight times per
    doubling of its age, whatever the sensor's interval.
    """
    return np.asarray(np.floor(8.0 * np.log2(np.maximum(age, 0.0) / 8.0 + 1.0)))


BUDGET: Final = 1.0
"""Default budget: false alarms per sensor per week. With ten restrooms, that is two wasted trips
per school day. After more than two a day, people soon stop trusting alerts."""
LOWER: Final = 3.0
UPPER: Final = 1.5
"""How far, in log-odds, a threshold may be below (`LOWER`) or above (`UPPER`) the model's."""
TAIL: Final = 1.5
"""How fast false alarms become rarer as the score rises, measured in simulations not used in
training."""
CLUSTER_S: Final = 120.0
WEEK_S: Final = 7 * 86_400.0
MEMORY_S: Final = 4 * WEEK_S
LEARN_S: Final = 86_400.0
"""Until a sensor has reported for this long, expected false alarms are unknown."""
_LONGEST_STEP_S: Final = 300.0
"""A longer silence counts only as this much reporting time."""
_STEP: Final = 0.125
_OFFSETS: Final = np.arange(-LOWER, UPPER + _STEP / 2, _STEP)
"""Lower ends of the score bins, relative to the model's level, in log-odds."""


@dataclass(frozen=True, slots=True)
class _State:
    """State of `n` sensors. `false` is the last rows of `block`; each other field is one row."""

    block: Floats
    read_s: Floats
    """How long the sensor has reported, in seconds."""
    hour: Floats
    """Hour in which the threshold was last set."""
    phase_s: Floats
    """Seconds past the full hour at which the threshold is set."""
    first: Floats
    last: Floats
    """Event times of the first and the last reading in the running cluster, Unix seconds."""
    highest: Floats
    """Highest score of the running cluster."""
    faded_at: Floats
    """`read_s` when `false` last decayed."""
    offset: Floats
    by_people: Floats
    """Current offset, and the offset set by people, in log-odds."""
    budget: Floats
    false: Floats
    """Decayed counts of false alarms by highest score, one row for each of `_OFFSETS`. The last row
    includes corrections from staff answers."""

    @classmethod
    def from_block(cls, block: Floats) -> _State:
        """Return the state stored in a block."""
        rows = [*block[:_NAMED], block[_NAMED:]]
        return cls(block, *rows)

    @classmethod
    def make_initial(cls, n: int) -> _State:
        """Return the state of sensors that have not reported."""
        state = cls.from_block(np.zeros((_WIDTH, n)))
        for unknown in (state.hour, state.phase_s, state.first, state.last, state.highest):
            unknown[:] = np.nan
        return state


_NAMED: Final = len(fields(_State)) - 2
_WIDTH: Final = _NAMED + _OFFSETS.size


@dataclass(frozen=True, slots=True)
class ThresholdReport:
    """A sensor's threshold, and the false alarms to expect from it.

    Attributes
    ----------
    level : float
        Log-odds at which vaping alerts.
    budget, expected : float
        Tolerable and expected false alarms a week; `expected` is None until there is enough data.
    feedback : float
        Offset from room tests and answers, in log-odds.
    weeks : float
        How long the sensor has reported, in weeks.
    """

    level: float
    budget: float
    expected: float | None
    feedback: float
    weeks: float


class AlertThresholds:
    """Sets the alert thresholds of many sensors, one row per sensor.

    Parameters
    ----------
    model_level : float
        The model's own threshold, log-odds.

    Attributes
    ----------
    budget : float
        Budget of newly added sensors, in false alarms a week.

    Examples
    --------
    >>> thresholds = AlertThresholds(1.8)
    >>> thresholds.add()
    0
    >>> thresholds.get_offsets(np.array([0]))
    array([0.])
    """

    def __init__(self, model_level: float) -> None:
        self.model_level = model_level
        self.budget = BUDGET
        self._n = 0
        self._state = _State.make_initial(0)

    def __len__(self) -> int:
        """Return the number of sensors."""
        return self._n

    def add(self) -> int:
        """Append a sensor and return its row."""
        have = self._state.block.shape[1]
        if self._n == have:
            more = max(16, have)
            block = [self._state.block, _State.make_initial(more).block]
            self._state = _State.from_block(np.concatenate(block, axis=1))
        row = self._n
        self._n += 1
        self._state.budget[row] = self.budget
        self._set_offsets(np.array([row]))
        return row

    def to_array(self) -> Floats:
        """Return the state for a snapshot, one row per sensor."""
        return self._state.block[:, : self._n].T.copy()

    @classmethod
    def from_array(cls, stored: NDArray[Any], model_level: float) -> AlertThresholds:
        """Restore thresholds from `to_array`'s result; raises `ValueError` for another format."""
        n = stored.shape[0]
        if stored.shape != (n, _WIDTH):
            raise ValueError(f"thresholds of shape {stored.shape}")
        thresholds = cls(model_level)
        thresholds._n = n
        thresholds._state = _State.from_block(np.array(stored.T, np.float64, order="C"))
        return thresholds

    def advance(self, rows: NDArray[np.int32], time: Floats, dt: Floats) -> None:
        """Advance time, and set the threshold of each sensor whose next hour has begun.

        Call this before `observe`.

        Parameters
        ----------
        rows : ndarray of int32, shape (n,)
            Distinct sensors, ascending, one reading each.
        time, dt : ndarray of float64, shape (n,)
            Event time in Unix seconds, and seconds since each sensor's last reading.
        """
        if not rows.size:
            return
        state = self._state
        first, last = int(rows[0]), int(rows[-1])
        here = slice(first, last + 1) if last - first == rows.size - 1 else rows
        state.read_s[here] += np.minimum(np.maximum(dt, 0.0), _LONGEST_STEP_S)
        hour = time - state.phase_s[here]
        hour /= 3600.0
        np.floor(hour, out=hour)
        due = hour != state.hour[here]  # NaN is unequal to everything: true at a first reading
        if not np.count_nonzero(due):
            return
        rows, time, hour = rows[due], time[due], hour[due]
        new = np.isnan(hour)
        if new.any():
            state.phase_s[rows[new]] = (time[new] * 617.0) % 3600.0
            hour = np.floor((time - state.phase_s[rows]) / 3600.0)
        self._end_clusters(rows[(time - state.last[rows]) >= CLUSTER_S])
        state.hour[rows] = hour
        self._set_offsets(rows[~new])

    def observe(self, rows: NDArray[np.int32], time: Floats, score: Floats) -> None:
        """Record the log-odds of readings that could have alerted, at most one per sensor."""
        state = self._state
        fresh = ~(time - state.last[rows] < CLUSTER_S)
        if np.count_nonzero(fresh):
            self._end_clusters(rows[fresh])
            state.first[rows[fresh]] = time[fresh]
            state.highest[rows[fresh]] = -np.inf
        state.last[rows] = time
        state.highest[rows] = np.fmax(state.highest[rows], score)

    def get_offsets(self, rows: NDArray[np.int32]) -> Floats:
        """Return the offsets from the model's threshold, in log-odds: -`LOWER` to `UPPER`."""
        offset: Floats = self._state.offset[rows]
        return offset

    def set_budget(self, row: int, budget: float) -> None:
        """Set a sensor's budget, in false alarms a week, and update its threshold if it changed."""
        if budget != self._state.budget[row]:
            self._state.budget[row] = budget
            self._set_offsets(np.array([row]))

    def set_feedback(self, row: int, moved: float) -> None:
        """Set the offset from room tests and answers, in log-odds, clipped to the bounds."""
        self._state.by_people[row] = min(max(moved, -LOWER), UPPER)
        self._set_offsets(np.array([row]))

    def count_answer(self, row: int, *, is_false: bool, undone: bool = False) -> None:
        """Count an answered alert as one false alarm or none, not by its probability.

        `undone` reverses an earlier call.
        """
        stated = 1.0 - float(expit(self.model_level))
        change = (float(is_false) - stated) * (-1.0 if undone else 1.0)
        self._state.false[-1, self._decay_counts(np.array([row]))] += change

    def explain(self, row: int) -> ThresholdReport:
        """Return a sensor's threshold and the false alarms to expect."""
        state = self._state
        offset, read_s = float(state.offset[row]), float(state.read_s[row])
        a_week = self._compute_log_rates(np.array([row]))[:, 0]
        expected = float(np.exp(np.interp(offset, _OFFSETS, a_week)))
        return ThresholdReport(
            level=self.model_level + offset,
            budget=float(state.budget[row]),
            expected=expected if read_s >= LEARN_S else None,
            feedback=float(state.by_people[row]),
            weeks=read_s / WEEK_S,
        )

    def _end_clusters(self, rows: NDArray[np.int32]) -> None:
        """End the running clusters of distinct sensors; sensors without one are skipped."""
        state = self._state
        rows = rows[~np.isnan(state.first[rows])]
        if not rows.size:
            return
        score = state.highest[rows]
        place = np.floor((score - self.model_level + LOWER) / _STEP)
        place = np.minimum(place, _OFFSETS.size - 1.0)
        near = place >= 0.0
        counted = self._decay_counts(rows[near])
        state.false[place[near].astype(np.intp), counted] += 1.0 - expit(score[near])
        state.first[rows] = state.highest[rows] = np.nan

    def _decay_counts(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Decay the false-alarm counts of distinct sensors; return `rows`."""
        self._state.false[:, rows] = self._compute_decayed_counts(rows)
        self._state.faded_at[rows] = self._state.read_s[rows]
        return rows

    def _compute_decayed_counts(self, rows: NDArray[Any]) -> Floats:
        """Return the decayed false-alarm counts of sensors, by score."""
        state = self._state
        faded: Floats = np.exp((state.faded_at[rows] - state.read_s[rows]) / MEMORY_S)
        return state.false[:, rows] * faded

    def _compute_log_rates(self, rows: NDArray[Any]) -> Floats:
        """Return the logarithm of the expected false alarms a week at each of `_OFFSETS`."""
        state = self._state
        weeks = (MEMORY_S / WEEK_S) * -np.expm1(-state.read_s[rows] / MEMORY_S)
        ordinary = BUDGET * np.exp(TAIL * (state.by_people[rows] - _OFFSETS[:, None]))
        above = np.maximum(self._compute_decayed_counts(rows)[::-1].cumsum(axis=0)[::-1], 0.0)
        a_week: Floats = np.log((above + ordinary) / (weeks + 1.0))
        return a_week

    def _set_offsets(self, rows: NDArray[Any]) -> None:
        """Set the thresholds of distinct sensors from clusters, budgets, and adjustments."""
        state = self._state
        over = self._compute_log_rates(rows) - np.log(state.budget[rows])
        # Expected false alarms fall as the offset rises. Choose the offset where they cross the
        # budget.
        last = np.minimum((over > 0.0).sum(axis=0), _OFFSETS.size - 1)
        first = np.maximum(last - 1, 0)
        at = np.arange(last.size)
        fall = np.maximum(over[first, at] - over[last, at], 1e-9)
        share = np.clip(over[first, at] / fall, 0.0, 1.0)
        tolerable = _OFFSETS[first] + share * (_OFFSETS[last] - _OFFSETS[first])
        people = np.maximum(state.by_people[rows], 0.0)
        most = np.clip(people + np.log(BUDGET / state.budget[rows]) / TAIL, -LOWER, UPPER)
        state.offset[rows] = np.minimum(tolerable, most)


@dataclass(frozen=True, slots=True)
class AlertBudgets:
    """Tolerable false alarms a week.

    Attributes
    ----------
    default : float
        Budget of sensors that have none of their own.
    own : mapping of str to float
        Budgets by sensor.
    offsets : mapping of str to float
        Initial offset by sensor, in log-odds. A replay uses it to apply the thresholds that were
        in effect at the time. In the service it is empty, because feedback adjusts thresholds.
    """

    default: float = BUDGET
    own: Mapping[str, float] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)

    def apply_to(self, thresholds: AlertThresholds, row: int, sensor: str) -> None:
        """Apply a sensor's budget, and its offset if it has one; repeating it changes nothing."""
        thresholds.set_budget(row, self.own.get(sensor, self.default))
        if sensor in self.offsets:
            thresholds.set_feedback(row, self.offsets[sensor])
