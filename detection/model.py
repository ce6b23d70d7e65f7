"""The model: forests that weigh an episode's facts, and the levels at which to speak.

A small versioned file made by ``make train`` from simulated training seeds. Every event names the
version. The forests are gradient-boosted trees; what makes them work is in the facts
(`detection.episodes`), which are the physics of plumes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

from detection.episodes import FACTS
from detection.events import EventKind
from detection.forest import Forest

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS: Final = (
    EventKind.VAPE,
    EventKind.SMOKE,
    EventKind.SPRAY,
    EventKind.STEAM,
    EventKind.VOC,
    EventKind.DUST,
)
"""Kinds of episode, in the order of their codes."""

_FILE: Final = "model.npz"
_INTERVAL, _SIZES = FACTS.index("interval_s"), FACTS.index("pm1_highest")
_SINCE_PEAK = FACTS.index("since_peak_s")
SETTLED_S: Final = 20.0
"""After the peak of a pulse; until then little of its fall is known."""


class ModelError(ValueError):
    """A model file is not one, or does not fit the facts of this program."""


@dataclass(frozen=True, slots=True)
class Model:
    """Parameters of the detector.

    Attributes
    ----------
    level : float
        Log-odds from which vaping is said.
    withdraw_level : float
        Log-odds below which it is taken back.
    plain : Forest or None
        A small forest whose log-odds of vaping are taken where they are below `plain_level`: most
        readings are plainly of something else. None leaves all to `vape`.
    vape : Forest or None
        Log-odds of vaping; None says nothing, ever.
    kinds : tuple of Forest
        One score for each of `KINDS`; their softmax are the kinds' probabilities. Empty for none.
    thc : Forest or None
        Log-odds that vaping was of a THC cartridge; None never says so.
    by_interval : ndarray of float64, shape (n, 4)
        Reporting interval, s, ascending, and what is added to the log-odds of vaping there: where
        the sensor tells PM1 from PM2.5, where it does not, and, to either, until `SETTLED_S` after
        the peak of a pulse. In between by the logarithm of the interval. Empty adds nothing.
    """

    version: str
    level: float = 0.0
    withdraw_level: float = -2.0
    vape: Forest | None = None
    kinds: tuple[Forest, ...] = ()
    thc: Forest | None = None
    by_interval: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    plain: Forest | None = None
    plain_level: float = -np.inf

    def vape_score(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of vaping for each row of facts.

        The trees judge one reading; what passes a level is the highest of all answers about a
        plume. A sensor of 1 s asks ten times as often as one of 10 s, and answers move more where
        there are sizes to judge by, so that a doubtful plume passes the same level more easily
        there. And while a plume rises it looks more like a puff than when it has been seen to fall:
        where readings are so far apart that nobody hurries, less is said of it until then.
        `by_interval` makes up for it.
        """
        if self.vape is None:
            return np.full(facts.shape[0], -20.0)
        if self.plain is None:
            return self._doubtful_score(self.vape, facts)
        score = self.plain.score(facts)
        doubtful = (score >= self.plain_level).nonzero()[0]
        if doubtful.size:
            score[doubtful] = self._doubtful_score(self.vape, facts[doubtful])
        return score

    def _doubtful_score(self, vape: Forest, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        score = vape.score(facts)
        if self.by_interval.size:
            interval, sized, unsized, early = self.by_interval.T
            # An unknown interval counts as a short one.
            at, known = np.log(np.fmax(facts[:, _INTERVAL], 1.0)), np.log(interval)
            bare = np.isnan(facts[:, _SIZES])
            settled = facts[:, _SINCE_PEAK] >= SETTLED_S
            score += np.where(bare, np.interp(at, known, unsized), np.interp(at, known, sized))
            score += np.where(settled, 0.0, np.interp(at, known, early))
        return score

    def thc_score(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of a THC cartridge, where it is vaping, for each row of facts."""
        return np.full(facts.shape[0], -20.0) if self.thc is None else self.thc.score(facts)

    def kind_probabilities(self, facts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each of `KINDS` for each row of facts, shape (n, len(KINDS))."""
        if not self.kinds:
            return np.full((facts.shape[0], len(KINDS)), 1.0 / len(KINDS))
        score = np.stack([forest.score(facts) for forest in self.kinds], axis=1)
        weight = np.exp(score - score.max(axis=1, keepdims=True))
        result: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
        return result

    def to_bytes(self) -> bytes:
        """Bytes of the model file; the same for the same parameters."""
        out = io.BytesIO()
        arrays: dict[str, Any] = {} if self.vape is None else self.vape.arrays("vape")
        if self.plain is not None:
            arrays |= self.plain.arrays("plain")
        if self.thc is not None:
            arrays |= self.thc.arrays("thc")
        for kind, forest in zip(KINDS, self.kinds, strict=False):
            arrays |= forest.arrays(kind.value + "_kind")
        np.savez_compressed(
            out,
            version=np.array(self.version),
            facts=np.array(FACTS),
            levels=np.array([self.level, self.withdraw_level, self.plain_level]),
            by_interval=self.by_interval,
            **arrays,
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> Model:
        """Model of a file.

        Raises
        ------
        ModelError
            If it is none, or was trained on other facts.
        """
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, OSError, EOFError, BadZipFile) as error:
            raise ModelError(f"no model file: {error}") from error
        if tuple(arrays.get("facts", ())) != FACTS:
            raise ModelError("the model was trained on other facts; run `make train`")
        forest = Forest.from_arrays("vape", arrays) if "vape_offset" in arrays else None
        kinds = tuple(
            Forest.from_arrays(kind.value + "_kind", arrays)
            for kind in KINDS
            if f"{kind.value}_kind_offset" in arrays
        )
        thc = Forest.from_arrays("thc", arrays) if "thc_offset" in arrays else None
        try:
            level, withdraw, plain_level = map(float, arrays["levels"])
            by_interval = arrays["by_interval"]
            version = str(arrays["version"])
        except (KeyError, ValueError) as error:
            raise ModelError(f"the model is of another format: {error}") from error
        plain = Forest.from_arrays("plain", arrays) if "plain_offset" in arrays else None
        return cls(version, level, withdraw, forest, kinds, thc, by_interval, plain, plain_level)

    @classmethod
    def shipped(cls) -> Model:
        """Model that comes with the program."""
        return _shipped()


@lru_cache(maxsize=1)
def _shipped() -> Model:
    return Model.from_bytes((resources.files("detection") / _FILE).read_bytes())
