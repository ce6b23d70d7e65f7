"""Rules of alerting: when a pulse is judged, what is said of it, and which evidence goes with it.

Functions of episodes and facts alone; the detector applies them to its sensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import expit

from detection.channels import CHANNEL_INDEX, CHANNELS, FINE, VOC
from detection.episodes import ALERTED, FACTS
from detection.events import ChannelEvidence, EventKind
from detection.model import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detection.episodes import Episodes

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

VAPE, SMOKE = KINDS.index(EventKind.VAPE), KINDS.index(EventKind.SMOKE)
PERSISTS_SHARE: Final = 0.6
"""A session goes on while so much of its highest excess is still in the air."""
_RH = CHANNEL_INDEX["rh"]
_FINE_COLUMNS = tuple(CHANNEL_INDEX[k] for k in ("pm25", "pm1", "pm10", "n03"))
MASK_PROBABILITY: Final = 0.6
"""Probability of another kind from which vaping beside it counts as masked."""
THC_FROM_S: Final = 20.0
"""Seconds since the peak from which an aerosol shows whether it persists."""
THC_LOG_ODDS: Final = 0.85
_OFTEN_S, _RARE_S = 3.0, 20.0
"""Intervals at which readings are frequent, and rare."""
_READINGS_OFTEN, _READINGS = 3.0, 2.0
"""Readings of a pulse from which it is alerted: one alone may be an artifact or a first lobe."""
_AGREES_VOC, _AGREES_RH = 0.06, 1.0
"""Rise with it from which another channel agrees: doublings of VOC, percent of humidity."""
_INTERVAL, _VOC_MAX, _RH_RISE = (FACTS.index(k) for k in ("interval_s", "voc_max", "rh_rise"))
FAINT_UG_M3: Final = 8.0
"""A pulse that has brought less is not alerted. In an ordinary room most plumes are that small, and
what vaping left of them, two readings do not tell."""
FAINT_SHARE: Final = 0.2
"""Nor one of a smaller share of what was in the air before: particle sensors err in proportion."""
CLEAR: Final = dict.fromkeys(range(len(KINDS)), 0.7) | {SMOKE: 0.85}
"""Probability from which another kind is clear, and seconds an episode must have lasted."""
CLEAR_AFTER_S: Final = dict.fromkeys(range(len(KINDS)), 60.0) | {SMOKE: 120.0}


def share_left(episodes: Episodes, x: Floats) -> Floats:
    """Return the share of the highest excess of an episode that is still in the air."""
    baseline = episodes["baseline"][:, FINE]
    highest = np.maximum(episodes["highest"][:, FINE] - baseline, 4.0)
    share: Floats = (x[:, FINE] - baseline) / highest
    return share


def is_early(episodes: Episodes, f: Floats) -> Flags:
    """Return whether too few readings of a pulse are known, and no other channel agrees.

    Where readings are rare another channel stands in for the next one.
    """
    interval = f[:, _INTERVAL]
    enough = np.where(interval <= _OFTEN_S, _READINGS_OFTEN, _READINGS)
    agrees = (f[:, _VOC_MAX] > _AGREES_VOC) | (f[:, _RH_RISE] > _AGREES_RH)
    flags: Flags = (episodes["readings"] < enough) & ~(agrees & (interval >= _RARE_S))
    return flags


def is_faint(episodes: Episodes) -> Flags:
    """Return whether a pulse brings too little to be alerted."""
    least = np.maximum(FAINT_UG_M3, FAINT_SHARE * episodes["pulse_base"])
    flags: Flags = episodes["peak"] < least
    return flags


def possible(chances: Floats, episodes: Episodes) -> Floats:
    """Set the probabilities of kinds to zero that the sensor could not have seen.

    The others stay as they are, so that a kind is not called clear for lack of channels alone.
    """
    baseline = episodes["baseline"]
    chances = chances.copy()
    chances[np.isnan(baseline[:, VOC]).all(axis=1), KINDS.index(EventKind.VOC)] = 0.0
    chances[np.isnan(baseline[:, _RH]), KINDS.index(EventKind.STEAM)] = 0.0
    return chances


def probabilities(log_odds: Floats, kinds: Floats) -> Floats:
    """Return the probability of each kind: of vaping by its log-odds, the others share the rest."""
    vape = expit(log_odds)
    others = kinds[:, 1:]
    total = others.sum(axis=1)
    share = others / np.where(total > 0.0, total, 1.0)[:, None]
    share[total <= 0.0] = 1.0 / others.shape[1]
    return np.column_stack([vape, (1.0 - vape)[:, None] * share])


def evidence_of(episode: np.void, *, pulse: bool) -> dict[str, ChannelEvidence]:
    """Return how the channels moved: over the pulse that was judged, or the whole episode."""
    start = episode["pulse_onset" if pulse else "onset"]
    before = episode["before_pulse" if pulse else "baseline"].copy()
    if pulse:  # What came before may already have been on its way up.
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


def alerted_vaping(episode: Episodes) -> NDArray[np.intp]:
    """Return the rows in which vaping is alerted now."""
    alerted = (episode["phase"] == ALERTED) & (episode["kind"] == VAPE)
    rows: NDArray[np.intp] = alerted.nonzero()[0]
    return rows


def stage(age: Floats) -> Floats:
    """Return how often an episode has been asked what it is: at 30 s, and at each doubling."""
    asked: Floats = np.floor(np.log2(np.maximum(age, 15.0) / 15.0))
    return asked


def moment(age: Floats) -> Floats:
    """Return how often a pulse has been judged: each reading at first, ever more seldom later.

    About eight times a doubling of its age, whatever the interval of the sensor.
    """
    judged: Floats = np.floor(8.0 * np.log2(np.maximum(age, 0.0) / 8.0 + 1.0))
    return judged
