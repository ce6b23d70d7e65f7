"""Facts of a pulse, from which the model judges it.

Facts are causal: they use nothing that comes after the reading they are drawn at. Those not known
yet, or whose channel the sensor lacks, are NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from detection.channels import BANK, BANK_TAU_S, CHANNEL_INDEX, CHANNELS, FINE, voc_strength
from detection.episodes import EPISODE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detection.episodes import Episodes

    Floats = NDArray[np.float64]

_RH, _TEMP, _CO2 = (CHANNEL_INDEX[k] for k in ("rh", "temp", "co2"))
_PM1, _PM10 = CHANNEL_INDEX["pm1"], CHANNEL_INDEX["pm10"]
_N03, _N05, _N10, _N25 = (CHANNEL_INDEX[k] for k in ("n03", "n05", "n10", "n25"))
_DIRTY_UG_M3: Final = 60.0
"""How much dirtier than this the air is does not matter to what is added to it."""


def facts(
    e: Episodes,
    time: Floats,
    x: Floats,
    noise: Floats,
    interval: Floats,
    previous_fine: Floats,
    dt: Floats,
    over_bank: Floats,
) -> Floats:
    """Return the facts of each row's pulse as known at this reading.

    Parameters
    ----------
    e : ndarray of EPISODE, shape (n,)
        Episodes after this reading.
    time, dt : ndarray of float64, shape (n,)
        Event time, and seconds since the sensor's last reading.
    noise, interval, previous_fine : ndarray of float64, shape (n,)
        Noise scale of the fine signal, smoothed reporting interval, last fine value.
    over_bank : ndarray of float64, shape (n, len(BANK) * len(BANK_TAU_S))
        Each signal minus its smoothed past.

    Returns
    -------
    ndarray of float64, shape (n, len(FACTS))
        NaN where not known.
    """
    own = _pulse_facts(e, time, x, noise, interval, previous_fine, dt).values()
    return np.concatenate([*own, over_bank.ravel(order="F")]).reshape(len(FACTS), -1).T


def _pulse_facts(
    e: Episodes,
    time: Floats,
    x: Floats,
    noise: Floats,
    interval: Floats,
    previous_fine: Floats,
    dt: Floats,
) -> dict[str, Floats]:
    """Return the facts by name, except those of the filter bank."""
    peak = np.maximum(e["peak"], 1e-6)
    fine = x[:, FINE]
    now = np.where(np.isnan(fine), e["last_fine"], fine) - e["pulse_base"]
    since_peak = time - e["peak_at"]
    left = now / peak
    before, at_peak, baseline = e["before_pulse"], e["at_peak"], e["baseline"]
    top_rise = at_peak - before
    fine_rise = np.maximum(top_rise[:, FINE], 0.5)
    present = x - before
    fine_now = np.where(present[:, FINE] > np.maximum(2.0, 0.1 * peak), present[:, FINE], np.nan)
    counted = np.where(np.isnan(top_rise[:, _N03]), top_rise[:, _N05], top_rise[:, _N03])
    counted = np.maximum(counted, 0.3)
    baseline_fine = np.where(baseline[:, FINE] >= 2.0, baseline[:, FINE], np.nan)
    pm1_share = top_rise[:, _PM1] / fine_rise
    coarse_share = (top_rise[:, _PM10] - top_rise[:, FINE]) / fine_rise
    highest = e["highest"]
    highest_rise = highest - baseline
    highest_fine = np.maximum(highest_rise[:, FINE], 1.0)
    # An operation on few rows costs as much as on many: what needs the same is done together.
    strength, kinds = voc_strength(
        np.concatenate([x, x, before, highest]),
        np.concatenate([before, baseline, baseline, baseline]),
    )
    voc_now, voc_calm, voc_before, voc_highest = strength.reshape(4, -1)
    voc_max = np.where(e["voc_max"] == -np.inf, np.nan, e["voc_max"])
    doublings = np.minimum(np.maximum(np.array([voc_max, voc_highest]), 0.0), 12.0)
    log_ppb, log_ppb_highest = np.log(400.0 * (np.exp2(doublings) - 1.0) + 3.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        decay = np.log(1.0 / np.minimum(np.maximum(left, 0.02), 1.0)) / np.maximum(since_peak, 1.0)
        slope = (fine - previous_fine) / np.maximum(dt, 0.5) / peak
    up = np.maximum(e["total_rise"], 1.0)
    dirt = np.array([e["pulse_base"], baseline[:, FINE]])
    (
        log_peak,
        log_now,
        log_snr,
        log_steepest,
        log_added,
        log_highest_pulse,
        log_base,
        log_baseline,
    ) = np.log1p(
        np.array(
            [
                peak,
                np.maximum(now, 0.0),
                peak / np.maximum(noise, 0.3),
                e["steepest"],
                np.maximum(e["pulse_base"] - baseline[:, FINE], 0.0),
                e["highest_pulse"],
                *np.minimum(np.maximum(dirt, 0.0), _DIRTY_UG_M3),
            ]
        )
    )
    return {
        "age_s": time - e["pulse_onset"],
        "since_peak_s": since_peak,
        "rise_s": e["peak_at"] - e["pulse_onset"],
        "log_peak": log_peak,
        "log_now": log_now,
        "left": left,
        "left_min": np.where(np.isinf(e["trough"]), 1.0, e["trough"] / peak),
        "half_s": e["half_s"],
        "fifth_s": e["fifth_s"],
        "tenth_s": e["tenth_s"],
        "decay_rate": np.where(since_peak > 0, decay, np.nan),
        "slope_now": slope,
        "log_snr": log_snr,
        "log_base": log_base,
        "log_calm": log_baseline,
        "pm1_share": pm1_share,
        "coarse_share": coarse_share,
        "pm1_share_now": present[:, _PM1] / fine_now,
        "pm1_share_calm": pm1_share - baseline[:, _PM1] / baseline_fine,
        "coarse_share_calm": coarse_share
        - (baseline[:, _PM10] - baseline[:, FINE]) / baseline_fine,
        "n05_share": top_rise[:, _N05] / np.maximum(top_rise[:, _N03], 0.3),
        "n10_share": top_rise[:, _N10] / counted,
        "n25_share": top_rise[:, _N25] / counted,
        "voc_kind": kinds[: peak.size],
        "voc_now": voc_now,
        "voc_max": voc_max,
        "voc_calm": voc_calm,
        "voc_per_pm": log_ppb - log_peak,
        "voc_lag_s": e["voc_max_at"] - e["peak_at"],
        "voc_before": voc_before,
        "rh_rise": present[:, _RH],
        "rh_calm_rise": x[:, _RH] - baseline[:, _RH],
        "rh_level": x[:, _RH],
        "rh_before": before[:, _RH] - baseline[:, _RH],
        "temp_rise": x[:, _TEMP] - baseline[:, _TEMP],
        "co2_rise": x[:, _CO2] - baseline[:, _CO2],
        "interval_s": interval,
        "pulses": e["pulses"],
        "since_first_pulse_s": time - e["first_pulse_onset"],
        "since_earlier_s": e["pulse_onset"] - e["previous_onset"],
        "earlier_ratio": np.log(np.maximum(e["previous_peak"], 0.1) / peak),
        "earlier_left": e["previous_left"],
        "readings": e["readings"],
        "width_s": e["area"] / peak,
        "roughness": e["path"] / peak,
        "risen": e["rises"],
        "steepest": log_steepest,
        "calm_excess": log_added,
        "episode_age_s": time - e["onset"],
        "fast_pulses": e["fast_pulses"],
        "least_half_s": e["shortest_half_s"],
        "down_up": e["total_fall"] / up,
        "excess_up": (fine - baseline[:, FINE]) / up,
        "log_up": np.log(up),
        "mean_gap_s": e["mean_gap_s"],
        "log_highest_pulse": log_highest_pulse,
        "voc_highest": voc_highest,
        "voc_pm_highest": log_ppb_highest - np.log(highest_fine),
        "rh_highest": highest_rise[:, _RH],
        "temp_highest": highest_rise[:, _TEMP],
        "pm1_highest": highest_rise[:, _PM1] / highest_fine,
        "coarse_highest": (highest_rise[:, _PM10] - highest_rise[:, FINE]) / highest_fine,
    }


def _names() -> tuple[str, ...]:
    row, channels = np.zeros(1), np.zeros((1, len(CHANNELS)))
    own = _pulse_facts(np.zeros(1, EPISODE), row, channels, row, row, row, row)
    return (*own, *(f"{signal}_over_{tau:g}s" for signal in BANK for tau in BANK_TAU_S))


FACTS: Final = _names()
"""Names of the facts, in column order."""
