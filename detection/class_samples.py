"""Class probabilities while something is in the air, sampled for charts, not for decisions.

The probability of vaping is the one by which the detector decides; the other kinds share the rest
by their own scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from detection.alert_rules import possible, probabilities
from detection.model import KINDS, Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from detection.episodes import Episodes

EVERY_S: Final = 10.0


class ClassSample(NamedTuple):
    """What the air of one sensor looked like at one moment.

    Attributes
    ----------
    time, onset : float
        Event time of the reading, and onset of the episode, Unix seconds.
    score : float
        Log-odds of vaping.
    probabilities : mapping of str to float
        By kind; they sum to 1.
    """

    sensor: str
    time: float
    onset: float
    score: float
    probabilities: Mapping[str, float]


class ClassSampler:
    """Observe a detector and keep at most one sample of a sensor in `every_s` of event time."""

    def __init__(self, model: Model | None = None, every_s: float = EVERY_S) -> None:
        self._model = model or Model.shipped()
        self._every_s = every_s
        self._last: dict[str, float] = {}
        self._samples: list[ClassSample] = []

    def drain(self) -> list[ClassSample]:
        """Return what was sampled since the last call, in the order of the readings."""
        drained, self._samples = self._samples, []
        return drained

    def reset(self) -> None:
        """Forget all samples: the detector was replaced."""
        self._last.clear()
        self._samples.clear()

    def on_facts(
        self,
        names: Sequence[str],
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        episodes: Episodes,
        facts: NDArray[np.float64],
        is_pulse: NDArray[np.bool_],
        is_asked: NDArray[np.bool_],  # noqa: ARG002 - samples are of pulses
    ) -> None:
        """Sample the pulses that are due."""
        due = [
            i
            for i in np.flatnonzero(is_pulse).tolist()
            if time[i] - self._last.get(names[rows[i]], -np.inf) >= self._every_s
        ]
        if not due:
            return
        score = episodes["log_odds"][due]
        kinds = possible(self._model.kind_probabilities(facts[due]), episodes[due])
        found = probabilities(score, kinds)
        for k, (i, chances) in enumerate(zip(due, found, strict=True)):
            name = names[rows[i]]
            self._last[name] = float(time[i])
            self._samples.append(
                ClassSample(
                    name,
                    float(time[i]),
                    float(episodes["onset"][i]),
                    float(score[k]),
                    {kind.value: float(p) for kind, p in zip(KINDS, chances, strict=True)},
                )
            )
