"""Episodes: what is remembered of a plume while it lasts, and the facts drawn from it.

An *episode* opens when a channel rises clearly and ends when all are back; a *pulse* is one rise of
fine particles inside it, a puff or a spray. Facts are causal: they use nothing that comes after
the reading they are drawn at. Those not known yet, or whose channel the sensor lacks, are NaN.

Everything here is arithmetic on whole arrays, row by row the same whatever other rows are in the
batch, so that any split of a stream gives the same facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from detection.channels import BANK, BANK_TAU_S, CHANNEL_INDEX, CHANNELS, FINE, voc_strength

if TYPE_CHECKING:
    from numpy.typing import NDArray

K: Final = len(CHANNELS)
_RH, _TEMP, _CO2 = (CHANNEL_INDEX[k] for k in ("rh", "temp", "co2"))
_PM1, _PM10 = CHANNEL_INDEX["pm1"], CHANNEL_INDEX["pm10"]
_N03, _N05, _N10, _N25 = (CHANNEL_INDEX[k] for k in ("n03", "n05", "n10", "n25"))

SESSION_S: Final = 120.0
"""Puffs further apart than this are two sessions."""
_FALLEN: Final = np.array([0.5, 0.2, 0.1])
"""Shares of a peak of which it is remembered when they were reached."""
_DIRTY_UG_M3: Final = 60.0
"""How much dirtier than this the air is, says nothing of what is added to it."""


class EpisodeColumn:
    """Columns of the episode matrix: scalars first, then one block a channel set."""

    PHASE, KIND, ONSET, ALERTED, CONFIDENCE, SAID_PULSE, QUIET_SINCE = range(7)
    PULSES, PULSE_ONSET, PULSE_BASE, PEAK, PEAK_AT, HALF_AT, FIFTH_AT = range(7, 14)
    TROUGH, AREA, ROUGH, RISEN, LAST_FINE, LAST_AT, EARLIER_PEAK, EARLIER_AT = range(14, 22)
    VOC_MAX, VOC_MAX_AT, VOC_AT_PEAK, STEEPEST, FIRST_PULSE_AT, SCORE = range(22, 28)
    FAST_PULSES, LEAST_HALF, UP, DOWN, MEAN_GAP, HIGHEST_PULSE = range(28, 34)
    LOW, BARRED, MASKED, LAST_VAPE, TENTH_AT, EARLIER_LEFT, READINGS, THC = range(34, 42)
    SESSION_AT, SAID_ONSET = range(42, 44)
    """Least share of the highest fine excess, from a while after vaping was said on; 1 once it was
    shown to stay as no vapour would; 1 if another kind had been said before;
    when the odds of vaping last passed the level; seconds from peak to a tenth; least share of the
    pulse before; readings of the pulse; log-odds that the vaping was of THC; onset of the first of
    the pulses that follow each other closely; onset of the vaping that was said."""
    N_SCALARS = 44
    BEFORE = slice(N_SCALARS, N_SCALARS + K)
    """Every channel just before the pulse."""
    AT_PEAK = slice(N_SCALARS + K, N_SCALARS + 2 * K)
    """Every channel at the pulse's peak."""
    CALM = slice(N_SCALARS + 2 * K, N_SCALARS + 3 * K)
    """Baseline of every channel when the episode opened."""
    HIGHEST = slice(N_SCALARS + 3 * K, N_SCALARS + 4 * K)
    """Largest value of every channel in the episode."""
    HIGHEST_AT = slice(N_SCALARS + 4 * K, N_SCALARS + 5 * K)
    """When that was."""
    CHANCES = slice(N_SCALARS + 5 * K, N_SCALARS + 5 * K + 6)
    """Probabilities of the kinds when it was said."""
    WIDTH = N_SCALARS + 5 * K + 6


E = EpisodeColumn
_FALLEN_AT: Final = [E.HALF_AT, E.FIFTH_AT, E.TENTH_AT]

FACTS: Final = (
    "age_s",
    "since_peak_s",
    "rise_s",
    "log_peak",
    "log_now",
    "left",
    "left_min",
    "half_s",
    "fifth_s",
    "tenth_s",
    "decay_rate",
    "slope_now",
    "log_snr",
    "log_base",
    "log_calm",
    "pm1_share",
    "coarse_share",
    "pm1_share_now",
    "pm1_share_calm",
    "coarse_share_calm",
    "n05_share",
    "n10_share",
    "n25_share",
    "voc_kind",
    "voc_now",
    "voc_max",
    "voc_calm",
    "voc_per_pm",
    "voc_lag_s",
    "voc_before",
    "rh_rise",
    "rh_calm_rise",
    "rh_level",
    "rh_before",
    "temp_rise",
    "co2_rise",
    "interval_s",
    "pulses",
    "since_first_pulse_s",
    "since_earlier_s",
    "earlier_ratio",
    "earlier_left",
    "readings",
    "width_s",
    "roughness",
    "risen",
    "steepest",
    "calm_excess",
    "episode_age_s",
    "fast_pulses",
    "least_half_s",
    "down_up",
    "excess_up",
    "log_up",
    "mean_gap_s",
    "log_highest_pulse",
    "voc_highest",
    "voc_pm_highest",
    "rh_highest",
    "temp_highest",
    "pm1_highest",
    "coarse_highest",
    *(f"{signal}_over_{tau:g}s" for signal in BANK for tau in BANK_TAU_S),
)
"""Names of the facts, in column order."""


def open_episodes(
    episode: NDArray[np.float64],
    time: NDArray[np.float64],
    dt: NDArray[np.float64],
    x: NDArray[np.float64],
    last: NDArray[np.float64],
    base: NDArray[np.float64],
) -> None:
    """Begin an episode in each row of `episode`, shape (n, WIDTH), in place."""
    episode[:] = np.nan
    episode[:, E.PHASE] = 1.0
    episode[:, E.KIND] = -1.0
    episode[:, E.ONSET] = time - dt
    for column in (E.PULSES, E.FAST_PULSES, E.UP, E.DOWN, E.HIGHEST_PULSE):
        episode[:, column] = 0.0
    episode[:, E.LEAST_HALF] = np.nan
    episode[:, E.BARRED] = 0.0
    episode[:, E.MASKED] = 0.0
    episode[:, E.LOW] = np.inf
    episode[:, E.SCORE] = -20.0
    episode[:, E.CALM] = base
    episode[:, E.HIGHEST] = x
    episode[:, E.HIGHEST_AT] = np.where(np.isnan(x), np.nan, time[:, None])
    episode[:, E.BEFORE] = np.where(np.isnan(last), base, last)


def begin_pulses(
    episode: NDArray[np.float64],
    time: NDArray[np.float64],
    dt: NDArray[np.float64],
    x: NDArray[np.float64],
    last: NDArray[np.float64],
    floor: NDArray[np.float64],
) -> None:
    """Begin a pulse of fine particles in each row, in place; `floor` is the level it rises from."""
    had = episode[:, E.PULSES] > 0
    earlier = np.where(had, episode[:, E.PEAK], np.nan)
    episode[:, E.EARLIER_PEAK] = earlier
    left = episode[:, E.TROUGH] / np.maximum(earlier, 1e-6)
    episode[:, E.EARLIER_LEFT] = np.where(np.isinf(left), 1.0, left)
    episode[:, E.EARLIER_AT] = np.where(had, episode[:, E.PULSE_ONSET], np.nan)
    first = episode[:, E.FIRST_PULSE_AT]
    episode[:, E.FIRST_PULSE_AT] = np.where(np.isnan(first), time - dt, first)
    gap = time - dt - episode[:, E.EARLIER_AT]
    follows = gap <= SESSION_S
    episode[:, E.SESSION_AT] = np.where(follows, episode[:, E.SESSION_AT], time - dt)
    mean = episode[:, E.MEAN_GAP]
    episode[:, E.MEAN_GAP] = np.where(np.isnan(mean), gap, mean + 0.4 * (gap - mean))
    episode[:, E.PULSES] += 1.0
    episode[:, E.PULSE_ONSET] = time - dt
    episode[:, E.PULSE_BASE] = floor
    episode[:, E.PEAK] = 0.0
    episode[:, E.PEAK_AT] = time
    for column in (E.HALF_AT, E.FIFTH_AT, E.TENTH_AT, E.VOC_MAX_AT, E.VOC_AT_PEAK):
        episode[:, column] = np.nan
    for column in (E.AREA, E.ROUGH, E.RISEN, E.STEEPEST, E.READINGS):
        episode[:, column] = 0.0
    episode[:, E.VOC_MAX] = -np.inf
    episode[:, E.LAST_FINE] = floor
    episode[:, E.LAST_AT] = time - dt
    episode[:, E.TROUGH] = np.inf
    episode[:, E.BEFORE] = np.where(np.isnan(last), x, last)
    episode[:, E.SCORE] = -20.0


def follow(episode: NDArray[np.float64], time: NDArray[np.float64], x: NDArray[np.float64]) -> None:
    """Move each row on by one reading, in place."""
    highest = episode[:, E.HIGHEST]
    higher = ~(x <= highest)
    higher &= ~np.isnan(x)
    np.copyto(highest, x, where=higher)
    np.copyto(episode[:, E.HIGHEST_AT], time[:, None], where=higher)
    rising = episode[:, E.PULSES] > 0
    in_pulse = rising.nonzero()[0]
    if in_pulse.size < rising.size:
        if not in_pulse.size:
            return
        pulse = episode[in_pulse]
        _follow_pulses(pulse, time[in_pulse], x[in_pulse])
        episode[in_pulse] = pulse
    else:
        _follow_pulses(episode, time, x)


def _follow_pulses(
    pulse: NDArray[np.float64], time: NDArray[np.float64], x: NDArray[np.float64]
) -> None:
    """Move rows that are in a pulse on by one reading, in place."""
    voc, _ = voc_strength(x, pulse[:, E.BEFORE])
    known = (~np.isnan(x[:, FINE])).nonzero()[0]
    if known.size < time.size:
        part = pulse[known]
        _follow_particles(part, time[known], x[known], voc[known])
        pulse[known] = part
    else:
        _follow_particles(pulse, time, x, voc)
    more = voc > pulse[:, E.VOC_MAX]
    pulse[more, E.VOC_MAX] = voc[more]
    pulse[more, E.VOC_MAX_AT] = time[more]


def _follow_particles(
    pulse: NDArray[np.float64],
    time: NDArray[np.float64],
    x: NDArray[np.float64],
    voc: NDArray[np.float64],
) -> None:
    """Move rows on whose fine particles are known, in place."""
    fine = x[:, FINE]
    excess = fine - pulse[:, E.PULSE_BASE]
    top = (excess > pulse[:, E.PEAK]).nonzero()[0]
    low = np.minimum(pulse[:, E.TROUGH], excess)
    if top.size:
        pulse[top, E.PEAK] = excess[top]
        pulse[top, E.PEAK_AT] = time[top]
        pulse[top, E.AT_PEAK] = x[top]
        pulse[top, E.VOC_AT_PEAK] = voc[top]
        pulse[top[:, None], _FALLEN_AT] = np.nan
        low[top] = np.inf
    pulse[:, E.TROUGH] = low
    peak, fallen = pulse[:, E.PEAK], time - pulse[:, E.PEAK_AT]
    pulse[:, E.READINGS] += 1.0
    at = pulse[:, _FALLEN_AT]
    reached = np.isnan(at)
    reached &= excess[:, None] <= _FALLEN * peak[:, None]
    if np.count_nonzero(reached):
        pulse[:, _FALLEN_AT] = np.where(reached, fallen[:, None], at)
        half = reached[:, 0]
        pulse[:, E.FAST_PULSES] += half & (fallen <= 30.0)
        pulse[half, E.LEAST_HALF] = np.fmin(pulse[half, E.LEAST_HALF], fallen[half])
    step, dt = fine - pulse[:, E.LAST_FINE], time - pulse[:, E.LAST_AT]
    pulse[:, E.AREA] += np.maximum(excess, 0.0) * dt
    pulse[:, E.ROUGH] += np.abs(step)
    pulse[:, E.UP] += np.maximum(step, 0.0)
    pulse[:, E.DOWN] += np.maximum(-step, 0.0)
    pulse[:, E.HIGHEST_PULSE] = np.maximum(pulse[:, E.HIGHEST_PULSE], peak)
    pulse[:, E.RISEN] += step > 0.05 * np.maximum(peak, 1e-9)
    steep = np.divide(step, dt, out=np.zeros_like(dt), where=dt > 0)
    pulse[:, E.STEEPEST] = np.maximum(pulse[:, E.STEEPEST], steep)
    pulse[:, E.LAST_FINE] = fine
    pulse[:, E.LAST_AT] = time


def facts(
    episode: NDArray[np.float64],
    time: NDArray[np.float64],
    x: NDArray[np.float64],
    noise: NDArray[np.float64],
    interval: NDArray[np.float64],
    previous_fine: NDArray[np.float64],
    dt: NDArray[np.float64],
    over_bank: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Facts of each row's pulse as known at this reading.

    Parameters
    ----------
    episode : ndarray of float64, shape (n, WIDTH)
        After `follow`.
    time, dt : ndarray of float64, shape (n,)
        Event time and seconds since the sensor's last reading.
    noise, interval, previous_fine : ndarray of float64, shape (n,)
        Noise scale of the fine signal, smoothed reporting interval, last fine value.
    over_bank : ndarray of float64, shape (n, len(BANK) * len(BANK_TAU_S))
        Each signal less its smoothed past.

    Returns
    -------
    ndarray of float64, shape (n, len(FACTS))
        NaN where not known.
    """
    e = episode
    peak = np.maximum(e[:, E.PEAK], 1e-6)
    fine = x[:, FINE]
    now = np.where(np.isnan(fine), e[:, E.LAST_FINE], fine) - e[:, E.PULSE_BASE]
    since_peak = time - e[:, E.PEAK_AT]
    left = now / peak
    before, at_peak, calm = e[:, E.BEFORE], e[:, E.AT_PEAK], e[:, E.CALM]
    top_rise = at_peak - before
    fine_rise = np.maximum(top_rise[:, FINE], 0.5)
    present = x - before
    fine_now = np.where(present[:, FINE] > np.maximum(2.0, 0.1 * peak), present[:, FINE], np.nan)
    counted = np.where(np.isnan(top_rise[:, _N03]), top_rise[:, _N05], top_rise[:, _N03])
    counted = np.maximum(counted, 0.3)
    calm_fine = np.where(calm[:, FINE] >= 2.0, calm[:, FINE], np.nan)
    pm1_share = top_rise[:, _PM1] / fine_rise
    coarse_share = (top_rise[:, _PM10] - top_rise[:, FINE]) / fine_rise
    highest = e[:, E.HIGHEST]
    highest_rise = highest - calm
    highest_fine = np.maximum(highest_rise[:, FINE], 1.0)
    # An operation on few rows costs as much as on many: what needs the same is done together.
    strength, kinds = voc_strength(
        np.concatenate([x, x, before, highest]), np.concatenate([before, calm, calm, calm])
    )
    voc_now, voc_calm, voc_before, voc_highest = strength.reshape(4, -1)
    voc_max = np.where(np.isneginf(e[:, E.VOC_MAX]), np.nan, e[:, E.VOC_MAX])
    doublings = np.minimum(np.maximum(np.array([voc_max, voc_highest]), 0.0), 12.0)
    log_ppb, log_ppb_highest = np.log(400.0 * (np.exp2(doublings) - 1.0) + 3.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        decay = np.log(1.0 / np.minimum(np.maximum(left, 0.02), 1.0)) / np.maximum(since_peak, 1.0)
        slope = (fine - previous_fine) / np.maximum(dt, 0.5) / peak
    up = np.maximum(e[:, E.UP], 1.0)
    dirt = np.array([e[:, E.PULSE_BASE], calm[:, FINE]])
    log_peak, log_now, log_snr, log_steepest, log_added, log_highest_pulse, log_base, log_calm = (
        np.log1p(
            np.array(
                [
                    peak,
                    np.maximum(now, 0.0),
                    peak / np.maximum(noise, 0.3),
                    e[:, E.STEEPEST],
                    np.maximum(e[:, E.PULSE_BASE] - calm[:, FINE], 0.0),
                    e[:, E.HIGHEST_PULSE],
                    *np.minimum(np.maximum(dirt, 0.0), _DIRTY_UG_M3),
                ]
            )
        )
    )
    own = (
        time - e[:, E.PULSE_ONSET],
        since_peak,
        e[:, E.PEAK_AT] - e[:, E.PULSE_ONSET],
        log_peak,
        log_now,
        left,
        np.where(np.isinf(e[:, E.TROUGH]), 1.0, e[:, E.TROUGH] / peak),
        e[:, E.HALF_AT],
        e[:, E.FIFTH_AT],
        e[:, E.TENTH_AT],
        np.where(since_peak > 0, decay, np.nan),
        slope,
        log_snr,
        log_base,
        log_calm,
        pm1_share,
        coarse_share,
        present[:, _PM1] / fine_now,
        pm1_share - calm[:, _PM1] / calm_fine,
        coarse_share - (calm[:, _PM10] - calm[:, FINE]) / calm_fine,
        top_rise[:, _N05] / np.maximum(top_rise[:, _N03], 0.3),
        top_rise[:, _N10] / counted,
        top_rise[:, _N25] / counted,
        kinds[: peak.size],
        voc_now,
        voc_max,
        voc_calm,
        log_ppb - log_peak,
        e[:, E.VOC_MAX_AT] - e[:, E.PEAK_AT],
        voc_before,
        present[:, _RH],
        x[:, _RH] - calm[:, _RH],
        x[:, _RH],
        before[:, _RH] - calm[:, _RH],
        x[:, _TEMP] - calm[:, _TEMP],
        x[:, _CO2] - calm[:, _CO2],
        interval,
        e[:, E.PULSES],
        time - e[:, E.FIRST_PULSE_AT],
        e[:, E.PULSE_ONSET] - e[:, E.EARLIER_AT],
        np.log(np.maximum(e[:, E.EARLIER_PEAK], 0.1) / peak),
        e[:, E.EARLIER_LEFT],
        e[:, E.READINGS],
        e[:, E.AREA] / peak,
        e[:, E.ROUGH] / peak,
        e[:, E.RISEN],
        log_steepest,
        log_added,
        time - e[:, E.ONSET],
        e[:, E.FAST_PULSES],
        e[:, E.LEAST_HALF],
        e[:, E.DOWN] / up,
        (fine - calm[:, FINE]) / up,
        np.log(up),
        e[:, E.MEAN_GAP],
        log_highest_pulse,
        voc_highest,
        log_ppb_highest - np.log(highest_fine),
        highest_rise[:, _RH],
        highest_rise[:, _TEMP],
        highest_rise[:, _PM1] / highest_fine,
        (highest_rise[:, _PM10] - highest_rise[:, FINE]) / highest_fine,
    )
    return np.concatenate([*own, over_bank.ravel(order="F")]).reshape(len(FACTS), -1).T
