"""A school's own correction of the model, fitted from its answers.

The model knows restrooms in general. What a school's own air adds, such as one brand of spray, it
learns from the alerts that people called right or false and from plumes in hours in which nobody
had a reason to look. The correction is a linear function of a few facts that tell a source and of
the opinions of the forests of single worlds, one of which may know this air better than the others;
it is added to the log-odds of vaping.

Fit
    Logistic regression with the model's log-odds as offset, regularized to small weights. An answer
    may be wrong (`WRONG`), so that no plume, however unlikely its answer, moves the weights far.
    A constant says how often alerts are right in this school: where most are, more plumes are
    alerted, down to those of probability `ALERT_FROM`; where few are, fewer. For that, as much is
    added to all scores; the probability that an event states is without it (`stated`).
Bounds
    Facts count within `_EXTREME` deviations of their median, unknown ones as it; the whole
    correction within `limit`. A score that always alerts (`detection.alert_thresholds.UPPER` above
    the model's level) stays so high.
Format
    JSON with `format`, names and numbers; a file of another format is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import expit, logit

from detection.alert_thresholds import CLUSTER_S
from detection.errors import ModelError
from detection.facts import FACTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from detection.episodes import Episodes

    Floats = NDArray[np.float64]

SOURCE_FACTS: Final = (
    *("log_peak", "rise_s", "least_half_s", "decay_rate", "left", "width_s"),
    *("pm1_share", "coarse_share", "n10_share", "pm1_highest", "coarse_highest"),
    *("voc_max", "voc_per_pm", "voc_lag_s", "rh_rise", "rh_level"),
    *("pulses", "earlier_ratio", "interval_s"),
)
"""Facts that tell a source: size shares, decay, VOC, humidity, pattern of pulses, interval."""
OPINIONS: Final = tuple(f"opinion{k}" for k in range(16))
"""Names of the opinions of a model's forests, beside those of the facts."""
LIMIT: Final = 1.5
"""Largest correction either way, log-odds."""
WRONG: Final = 0.1
"""Share of answers that may be wrong."""
ALERT_FROM: Final = 0.4
"""Probability of vaping that is worth an alert. F1 is highest where the least likely alert is right
half as often as F1 says: at 0.4 for 0.8."""
NEAR: Final = 3.0
"""Plumes are recorded from so far below the model's level, log-odds."""
_EXTREME: Final = 3.0
_DEVIATION: Final = 0.4
_DEVIATION_OF_OPINION: Final = 0.2
"""Expected size of a weight, log-odds a standard deviation of its fact or opinion."""
_DEVIATION_OF_CONSTANT: Final = 1.0
_DECILES: Final = 2.563
"""Deviations of a normal distribution between its first and last decile."""
_CONSTANT: Final = 1e-3
_EVIDENCE: Final = (*FACTS, *OPINIONS)
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Correction:
    """What is added to the log-odds of vaping.

    Attributes
    ----------
    names : tuple of str
        Facts, of `detection.facts.FACTS`, and `OPINIONS`.
    mean, scale, weights : tuple of float
        Middle and spread of each fact; weights in log-odds a `scale`.
    bias, limit : float
        Constant part, and the largest correction either way, log-odds.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float = 0.0
    limit: float = LIMIT
    _columns: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the columns of the facts.

        Raises
        ------
        ModelError
            If the numbers do not fit each other, or a fact is not known.
        """
        numbers = (self.mean, self.scale, self.weights)
        finite = np.isfinite([*self.mean, *self.scale, *self.weights, self.bias, self.limit]).all()
        if any(len(one) != len(self.names) for one in numbers) or not finite:
            raise ModelError("a correction needs three finite numbers for each fact")
        if min(self.scale, default=1.0) <= 0.0 or self.limit < 0.0:
            raise ModelError("scales and limit of a correction must be positive")
        unknown = sorted(set(self.names) - set(_EVIDENCE))
        if unknown:
            raise ModelError(f"the correction is of other facts: {', '.join(unknown)}")
        object.__setattr__(self, "_columns", tuple(map(_EVIDENCE.index, self.names)))

    def score(self, evidence: Floats) -> Floats:
        """Return the correction of each row, log-odds within `limit`.

        Parameters
        ----------
        evidence : ndarray of float64, shape (n, len(FACTS) or more)
            Of `detection.model.Model.evidence`; NaN where not known.
        """
        x = _standardized(evidence[:, self._columns], np.array(self.mean), np.array(self.scale))
        # Summed fact by fact, so that a row does not depend on how many are scored with it.
        total = np.full(evidence.shape[0], self.bias)
        for column, weight in zip(x.T, self.weights, strict=True):
            total += weight * column
        bounded: Floats = np.clip(total, -self.limit, self.limit)
        return bounded

    def stated(self, log_odds: Floats) -> Floats:
        """Return log-odds of being right: without what lowers the threshold to `ALERT_FROM`.

        >>> nothing = Correction((), (), (), ())
        >>> expit(nothing.stated(logit(np.array([0.5, 0.9])))).round(3).tolist()
        [0.4, 0.857]
        """
        right: Floats = log_odds + logit(ALERT_FROM)
        return right

    def to_json(self) -> str:
        """Return the text from which `from_json` makes an equal correction."""
        found = asdict(self)
        del found["_columns"]
        return json.dumps({"format": _FORMAT, **found})

    @classmethod
    def from_json(cls, text: str) -> Correction:
        """Return the correction of a text.

        Raises
        ------
        ModelError
            If it is none, of another format, or of facts that are not known.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            if found.pop("format") != _FORMAT:
                raise ModelError("the correction is of another format; fit it again")
            series = {k: tuple(found.pop(k)) for k in ("names", "mean", "scale", "weights")}
            return cls(**series, bias=float(found.pop("bias")), limit=float(found.pop("limit")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"no correction: {error}") from error


@dataclass(slots=True)
class Plume:
    """Judged readings of one sensor less than `CLUSTER_S` apart that came near the model's level.

    Attributes
    ----------
    start, end : float
        Event times of its first and last reading, Unix seconds.
    scores, facts : list
        Log-odds of vaping and facts at its first reading from the model's level on, and at its
        highest score.
    """

    sensor: str
    start: float
    end: float
    scores: list[float]
    facts: list[Floats]

    @property
    def highest(self) -> float:
        """Highest log-odds of vaping."""
        return self.scores[-1]


class PlumeRecorder:
    """Observe a detector and record the plumes near the level of its model."""

    def __init__(self, level: float) -> None:
        self._level = level
        self._running: dict[str, Plume] = {}
        self.plumes: list[Plume] = []

    def on_facts(
        self,
        names: Sequence[str],
        rows: NDArray[np.int32],
        time: Floats,
        episodes: Episodes,
        facts: Floats,
        is_pulse: NDArray[np.bool_],
        is_asked: NDArray[np.bool_],  # noqa: ARG002 - only pulses are scored
    ) -> None:
        """Record the pulses that were scored."""
        score = episodes["log_odds"]
        for i in np.flatnonzero(is_pulse & (score >= self._level - NEAR)).tolist():
            name, at, s = names[rows[i]], float(time[i]), float(score[i])
            plume = self._running.get(name)
            if plume is None or at - plume.end >= CLUSTER_S:
                plume = Plume(name, at, at, [s], [facts[i].copy()])
                self._running[name] = plume
                self.plumes.append(plume)
                continue
            plume.end = at
            if s <= plume.highest:
                continue
            if plume.scores[0] >= self._level and len(plume.scores) == 1:
                plume.scores.append(s)
                plume.facts.append(facts[i].copy())
            else:
                plume.scores[-1], plume.facts[-1] = s, facts[i].copy()


def fit(
    plumes: Sequence[Plume],
    labels: Sequence[bool],
    weights: Sequence[float],
    as_evidence: Callable[[Floats], Floats],
) -> Correction:
    """Fit a correction to labeled plumes, each of a weight that its readings share.

    `as_evidence` is that of the model, `detection.model.Model.evidence`.

    Raises
    ------
    ValueError
        If not both labels occur.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - slow to load, and for this alone

    if len(set(labels)) != 2:
        raise ValueError("both right and false alerts are needed")
    evidence = as_evidence(np.concatenate([plume.facts for plume in plumes]))
    names = (*SOURCE_FACTS, *OPINIONS[: evidence.shape[1] - len(FACTS)])
    raw = evidence[:, list(map(_EVIDENCE.index, names))]
    offset = np.concatenate([plume.scores for plume in plumes])
    counts = [len(plume.scores) for plume in plumes]
    sign = np.repeat(np.where(labels, 1.0, -1.0), counts)
    weight = np.repeat(np.array(weights) / counts, counts)
    mean, scale = _center_and_scale(raw)
    x = np.column_stack([_standardized(raw, mean, scale), np.ones(offset.size)])
    penalty = np.full(x.shape[1], _DEVIATION_OF_OPINION**-2)
    penalty[: len(SOURCE_FACTS)] = _DEVIATION**-2
    penalty[-1] = _DEVIATION_OF_CONSTANT**-2

    def loss(w: Floats) -> tuple[float, Floats]:
        right = expit(sign * (offset + x @ w))
        likelihood = WRONG + (1.0 - 2.0 * WRONG) * right
        slope = -weight * (1.0 - 2.0 * WRONG) * right * (1.0 - right) / likelihood * sign
        value = -(weight * np.log(likelihood)).sum() + 0.5 * (penalty * w * w).sum()
        return float(value), x.T @ slope + penalty * w

    found: Floats = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return Correction(
        names,
        tuple(mean.tolist()),
        tuple(scale.tolist()),
        tuple(found[:-1].tolist()),
        float(found[-1] - logit(ALERT_FROM)),
    )


def _standardized(raw: Floats, mean: Floats, scale: Floats) -> Floats:
    """Return facts in deviations from their mean, bounded; unknown ones at the middle."""
    x = np.clip((raw - mean) / scale, -_EXTREME, _EXTREME)
    return np.where(np.isnan(x), 0.0, x)


def _center_and_scale(raw: Floats) -> tuple[Floats, Floats]:
    """Return median and spread of each fact, which no single plume moves; 0 and 1 if unknown.

    The spread is the deviation of a normal distribution with the same deciles.
    """
    center, scale = np.zeros(raw.shape[1]), np.ones(raw.shape[1])
    for k, column in enumerate(raw.T):
        known = column[np.isfinite(column)]
        if known.size:
            low, center[k], high = np.quantile(known, (0.1, 0.5, 0.9))
            spread = (high - low) / _DECILES
            scale[k] = spread if spread > _CONSTANT else max(float(known.std()), _CONSTANT)
    return center, scale
