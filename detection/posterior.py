"""Class probabilities of an episode from the shape of its plume.

A log-linear model over a few physical facts of the episode so far. Facts that are not known yet, or
whose channel the sensor lacks, contribute nothing: a missing channel is integrated out, never taken
as zero. Sources of the numbers: e-fold of the fine excess of exhaled nicotine aerosol 15-24 s
measured on an optical counter, smoke and salt minutes to an hour; a puff about 10-50 ppb of VOC in
the plume, a spray 14-18 ppm; steam +5 %RH and more; dust coarse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.events import EventKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KINDS", "MODEL_VERSION", "Shape", "probabilities"]

MODEL_VERSION: Final = "shape-1"

KINDS: Final = (
    EventKind.VAPE,
    EventKind.SMOKE,
    EventKind.SPRAY,
    EventKind.STEAM,
    EventKind.VOC,
    EventKind.DUST,
)
_VAPE, _SMOKE, _SPRAY, _STEAM, _GAS, _DUST = range(len(KINDS))

_FAST_HALF_S: Final = 45.0
_SLOW_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of an episode.

    Attributes
    ----------
    age_s, since_peak_s, rise_s : float
        Seconds since onset, since the particle peak, from onset to that peak.
    half_s : float
        Seconds from the particle peak to half its excess; NaN while not reached.
    left : float
        Share of the peak excess still there.
    fine, base, noise : float
        Peak particle excess, baseline and noise scale, µg/m³.
    coarse_share : float
        Mass above 2.5 µm per fine excess at the peak.
    voc : float
        Peak VOC excess in multiples of the least rise of that quantity; NaN without a channel.
    humidity : float
        Peak rise of relative humidity, %; not finite without a channel.
    interval_s : float
        Reporting interval.
    samples : int
        Readings with a clear particle excess.
    """

    age_s: float
    since_peak_s: float
    rise_s: float
    half_s: float
    left: float
    fine: float
    base: float
    noise: float
    coarse_share: float
    voc: float
    humidity: float
    interval_s: float
    samples: int

    @property
    def has_particles(self) -> bool:
        """Whether particles rose clearly."""
        return self.fine > max(8.0, 6.0 * self.noise, 0.5 * self.base)

    @property
    def decided(self) -> bool:
        """Whether the plume has shown enough of itself to be judged.

        With particles: it must have begun to fall, or have stayed too long to be vapour. One
        sample that is gone in the next is no plume on a slow sensor: it cannot be told from a
        passer-by or a sensor's own artefact.
        """
        if not self.has_particles:
            return self.age_s >= 20.0
        if self.half_s == self.half_s:
            return self.samples >= 2
        return self.since_peak_s >= _SLOW_S


def probabilities(shape: Shape) -> NDArray[np.float64]:
    """Probability of each of `KINDS`, shape (6,), summing to one."""
    score = np.zeros(len(KINDS))
    if shape.has_particles:
        score[_GAS] -= 6.0
        _weigh_decay(shape, score)
        # A puff arrives at once; smoke and dust build up.
        score[_VAPE] += float(np.clip(1.0 - shape.rise_s / 30.0, -2.0, 1.0))
        score[_DUST] += float(np.clip(3.0 * (shape.coarse_share - 0.6), -2.0, 4.0))
        score[_SPRAY] += float(np.clip(2.0 * (shape.coarse_share - 0.5), -1.0, 2.0))
        if shape.interval_s > 30.0:
            score[_VAPE] -= 3.0
    else:
        score[[_VAPE, _SMOKE, _DUST]] -= 6.0
        score[_SPRAY] -= 2.0
    if math.isfinite(shape.voc):
        strong = math.log(max(shape.voc, 0.1))
        score[_SPRAY] += float(np.clip(1.5 * strong, -3.0, 4.0))
        score[_GAS] += float(np.clip(1.5 * strong, -3.0, 3.0))
        score[_VAPE] -= float(np.clip(strong - 0.5, 0.0, 4.0))
        score[[_STEAM, _DUST]] -= float(np.clip(strong, 0.0, 2.0))
    else:
        score[_GAS] -= 4.0
        score[_SPRAY] -= 1.0
    if math.isfinite(shape.humidity):
        wet = shape.humidity - 4.0
        score[_STEAM] += float(np.clip(wet, -3.0, 4.0))
        score[_VAPE] -= float(np.clip(wet / 2.0, 0.0, 2.0))
    else:
        score[_STEAM] -= 2.0
    weight = np.exp(score - score.max())
    result: NDArray[np.float64] = weight / weight.sum()
    return result


def _half_life(shape: Shape) -> float:
    """Half-life of the excess over the whole fall so far, s; 0 once too little is left to tell."""
    if not 0.1 < shape.left < 1.0 or shape.fine < 20.0:
        return 0.0
    return shape.since_peak_s * math.log(2.0) / -math.log(shape.left)


def _weigh_decay(shape: Shape, score: NDArray[np.float64]) -> None:
    """Weigh how fast the fine excess went: vapour in seconds, smoke and salt in minutes."""
    if math.isfinite(shape.half_s):
        fast = math.log(_FAST_HALF_S / max(shape.half_s, _half_life(shape), 1.0))
        score[_VAPE] += float(np.clip(3.0 * fast, -5.0, 4.0))
        score[_SMOKE] -= float(np.clip(3.0 * fast, -4.0, 4.0))
        score[_STEAM] -= float(np.clip(fast, -2.0, 2.0))
        score[_DUST] += float(np.clip(fast, -1.0, 1.0)) - 1.0
        return
    slow = shape.since_peak_s / _SLOW_S * shape.left
    score[_VAPE] -= float(np.clip(6.0 * slow, 0.0, 8.0))
    score[_SMOKE] += float(np.clip(3.0 * slow - 1.0, -1.0, 4.0))
