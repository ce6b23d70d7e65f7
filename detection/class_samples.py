"""Class probabilities while something is in the air, thinned: for charts, not for decisions.

The detector hands out the facts of every pulse it weighs (`Detector.collect`). Of each sensor, at
most one in `EVERY_S` of event time is weighed here against all kinds, by the same model, and kept
until it is taken. The detector is not touched: with or without this its events are the same.

The probability of vaping is that by which the detector decides; the other kinds share the rest by
their own scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from detection.detector import possible
from detection.episodes import EpisodeColumn as E
from detection.model import KINDS, Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from detection.detector import Detector

EVERY_S: Final = 10.0


class ClassSample(NamedTuple):
    """What the air of one sensor looked like at one moment.

    Attributes
    ----------
    time : float
        Event time of the reading, Unix seconds.
    onset : float
        Beginning of the episode, Unix seconds.
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
    """Takes samples of one detector after another.

    Parameters
    ----------
    model : Model, optional
        That of the detector; the shipped one by default.
    every_s : float
        Least time between two samples of a sensor, seconds.
    """

    def __init__(self, model: Model | None = None, every_s: float = EVERY_S) -> None:
        self._model = model or Model.shipped()
        self._every_s = every_s
        self._names: list[str] = []
        self._last: dict[int, float] = {}
        self._samples: list[ClassSample] = []

    def adopt(self, detector: Detector) -> None:
        """Listen to a new or restored detector instead of the one before."""
        self._names = detector.names
        self._last.clear()
        self._samples.clear()
        detector.collect = self._collect

    def drain(self) -> list[ClassSample]:
        """Return what was taken since the last call, in the order of the readings."""
        taken, self._samples = self._samples, []
        return taken

    def _collect(
        self,
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        episode: NDArray[np.float64],
        facts: NDArray[np.float64],
        weighed: NDArray[np.bool_],
        _asked: NDArray[np.bool_],
    ) -> None:
        due = [
            i
            for i in np.flatnonzero(weighed).tolist()
            if time[i] - self._last.get(int(rows[i]), -np.inf) >= self._every_s
        ]
        if not due:
            return
        score = self._model.vape_score(facts[due])
        chances = possible(self._model.kind_probabilities(facts[due]), episode[due])
        vape = 1.0 / (1.0 + np.exp(-score))
        rest = chances[:, 1:]
        total = rest.sum(axis=1)
        share = rest / np.where(total > 0.0, total, 1.0)[:, None]
        share[total <= 0.0] = 1.0 / rest.shape[1]
        chances = np.column_stack([vape, (1.0 - vape)[:, None] * share])
        for k, i in enumerate(due):
            self._last[int(rows[i])] = float(time[i])
            self._samples.append(
                ClassSample(
                    self._names[int(rows[i])],
                    float(time[i]),
                    float(episode[i, E.ONSET]),
                    float(score[k]),
                    {kind.value: float(p) for kind, p in zip(KINDS, chances[k], strict=True)},
                )
            )
