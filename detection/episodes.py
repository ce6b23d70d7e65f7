"""Episodes: the state of a plume while it lasts, and the features that the model scores.

An *episode* opens when a channel rises clearly and ends when all channels are back to normal. A
*pulse* is one rise of fine particles inside an episode, such as a puff or a spray.

Features are causal: they use no reading later than their own. A feature is NaN if it is not known
yet, or if the sensor lacks the channel.

Everything here is arithmetic on whole arrays, and no row affects another. Any split of a stream
therefore gives the same episodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from detection.channels import (
    BANK,
    BANK_TAU_S,
    CHANNEL_INDEX,
    CHANNELS,
    FINE,
    OPENERS,
    RISE,
    measure_voc_rise,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from detection.channels import Change

    Floats = NDArray[np.float64]
    Episodes = NDArray[np.void]
    """Array of `EPISODE`, one row per sensor."""

SESSION_S: Final = 60.0
"""Puffs farther apart than this belong to separate sessions."""
SCORED_S: Final = 240.0
"""How long a pulse is scored; its cause is clear within minutes."""
LONGEST_S: Final = 3600.0
QUIET_S: Final = 45.0
"""An episode ends when all channels that can open one have been back to normal for this long."""
N_KINDS: Final = 6
IDLE: Final = 0
OPEN: Final = 1
ALERTED: Final = 2
"""Phases of an episode, as plain numbers: numpy compares arrays with them five times as fast as
with an `IntEnum`."""

_K: Final = len(CHANNELS)
EPISODE: Final = np.dtype(
    [
        ("phase", np.int8),
        ("kind", np.int8),  # index of the alerted kind; -1 before the alert
        ("onset", np.float64),
        ("alerted", np.float64),  # time of the alert
        ("confidence", np.float64),
        ("alerted_pulse", np.float64),  # number of the pulse that was alerted
        ("answered_at", np.float64),  # time of the last reading before people answered
        ("back_since", np.float64),  # when all channels returned to normal; NaN otherwise
        ("pulses", np.float64),
        ("pulse_onset", np.float64),
        ("pulse_base", np.float64),  # level the pulse rises from
        ("peak", np.float64),  # peak of the pulse above its base
        ("peak_at", np.float64),
        ("half_s", np.float64),  # seconds from the peak until half remains
        ("fifth_s", np.float64),
        ("trough", np.float64),  # lowest excess since the peak
        ("area", np.float64),
        ("path", np.float64),  # sum of the sizes of all steps
        ("rises", np.float64),  # number of steps that rise clearly
        ("last_fine", np.float64),
        ("last_at", np.float64),
        ("previous_peak", np.float64),
        ("previous_onset", np.float64),
        ("voc_max", np.float64),
        ("voc_max_at", np.float64),
        ("voc_at_peak", np.float64),
        ("steepest", np.float64),
        ("first_pulse_onset", np.float64),
        ("log_odds", np.float64),  # log-odds of vaping
        ("fast_pulses", np.float64),
        ("shortest_half_s", np.float64),
        ("total_rise", np.float64),  # rise of fine particles, summed over all pulses
        ("total_fall", np.float64),
        ("mean_gap_s", np.float64),
        ("highest_pulse", np.float64),
        ("is_masked", np.bool_),  # another kind was alerted before vaping, or is likely
        ("last_vape_at", np.float64),  # when the log-odds last passed the threshold
        ("tenth_s", np.float64),
        ("previous_left", np.float64),  # lowest share of the previous pulse that was left
        ("readings", np.float64),  # number of readings in the pulse
        ("thc_log_odds", np.float64),
        ("session_onset", np.float64),  # onset of the session's first pulse
        ("alerted_onset", np.float64),
        ("possible_at", np.float64),  # when possible vaping was reported; NaN otherwise
        ("possible_onset", np.float64),  # onset of that pulse; kept when the next episode opens
        ("possible_why", np.int8),  # why vaping was reported as possible
        ("possible_probabilities", np.float64, (N_KINDS,)),
        ("before_pulse", np.float64, (_K,)),  # every channel just before the pulse
        ("at_peak", np.float64, (_K,)),
        ("baseline", np.float64, (_K,)),  # each channel's baseline when the episode opened
        ("highest", np.float64, (_K,)),
        ("highest_at", np.float64, (_K,)),
        ("probabilities", np.float64, (N_KINDS,)),  # probability of each kind at the alert
    ],
    align=True,
)
"""State of one episode. Times are in Unix seconds, and levels in the unit of their channel."""
TIMES: Final = (
    "onset", "alerted", "back_since", "pulse_onset", "peak_at", "last_at", "previous_onset",
    "voc_max_at", "first_pulse_onset", "last_vape_at", "session_onset", "alerted_onset",
    "possible_at", "possible_onset", "highest_at", "answered_at",
)  # fmt: skip
"""Fields that are points in time."""
_BYTES: Final = np.dtype((np.void, EPISODE.itemsize))
_FALLS: Final = ("half_s", "fifth_s", "tenth_s")
_FALL_SHARES: Final = np.array([[0.5], [0.2], [0.1]])


def take(episodes: Episodes, at: NDArray[np.integer]) -> Episodes:
    """Return a copy of the rows at the given positions.

    Here and in `put`, numpy copies whole rows as bytes: copying fields takes ten times as long.
    """
    return episodes.view(_BYTES).take(at).view(EPISODE)


def put(episodes: Episodes, at: NDArray[np.integer], rows: Episodes) -> None:
    """Write rows to the given positions."""
    episodes.view(_BYTES)[at] = rows.view(_BYTES)


def make_idle(n: int) -> Episodes:
    """Return the state of sensors that have had no episode."""
    opened: Episodes = np.zeros(n, EPISODE)
    for name in EPISODE.names or ():
        if EPISODE[name].base.kind == "f":
            opened[name] = np.nan
    for name in ("pulses", "fast_pulses", "total_rise", "total_fall", "highest_pulse"):
        opened[name] = 0.0
    opened["kind"] = -1
    opened["log_odds"] = -20.0
    return opened


_IDLE: Final = make_idle(1)


def open_episodes(
    episode: Episodes, time: Floats, dt: Floats, x: Floats, last: Floats, base: Floats
) -> None:
    """Begin an episode in each row, in place."""
    possible_onset = episode["possible_onset"].copy()
    episode[:] = _IDLE
    episode["possible_onset"] = possible_onset
    episode["phase"] = OPEN
    episode["onset"] = time - dt
    episode["baseline"] = base
    episode["highest"] = x
    episode["highest_at"] = np.where(np.isnan(x), np.nan, time[:, None])
    episode["before_pulse"] = np.where(np.isnan(last), base, last)


def begin_pulses(episode: Episodes, time: Floats, dt: Floats, x: Floats, change: Change) -> None:
    """Begin a pulse in each row where fine particles begin to rise, in place."""
    fine = x[:, FINE]
    peak, low, pulses = episode["peak"], episode["trough"], episode["pulses"]
    first = change.has_pulse & (pulses == 0)
    trough = low + episode["pulse_base"]
    # After a deep fall, even a small rise is a new puff. After a shallow fall, it must be larger.
    # For a pulse that is no longer scored, only what is left of it counts, not its peak.
    least = np.where(low < 0.25 * peak, 0.1, 0.3) * peak
    least = np.where(time - episode["pulse_onset"] > SCORED_S, 0.3 * low, least)
    least = np.maximum(np.maximum(4.0, 5.0 * change.fine_noise), least)
    again = (pulses > 0) & (low < 0.6 * peak) & (fine - trough > least)
    begin = (first | again).nonzero()[0]
    if not begin.size:
        return
    floor = np.where(first, np.minimum(change.local, change.last[:, FINE]), trough)
    floor = np.where(np.isnan(floor), change.local, floor)
    part = take(episode, begin)
    _begin(part, time[begin], dt[begin], x[begin], change.last[begin], floor[begin])
    put(episode, begin, part)


def _begin(
    episode: Episodes, time: Floats, dt: Floats, x: Floats, last: Floats, floor: Floats
) -> None:
    """Begin a pulse in each row, in place; `floor` is the level it rises from."""
    had = episode["pulses"] > 0
    earlier = np.where(had, episode["peak"], np.nan)
    episode["previous_peak"] = earlier
    left = episode["trough"] / np.maximum(earlier, 1e-6)
    episode["previous_left"] = np.where(np.isinf(left), 1.0, left)
    episode["previous_onset"] = np.where(had, episode["pulse_onset"], np.nan)
    first = episode["first_pulse_onset"]
    episode["first_pulse_onset"] = np.where(np.isnan(first), time - dt, first)
    gap = time - dt - episode["previous_onset"]
    follows = (gap <= SESSION_S) & ~(episode["pulse_onset"] < episode["answered_at"])
    episode["session_onset"] = np.where(follows, episode["session_onset"], time - dt)
    mean = episode["mean_gap_s"]
    episode["mean_gap_s"] = np.where(np.isnan(mean), gap, mean + 0.4 * (gap - mean))
    episode["pulses"] += 1.0
    episode["pulse_onset"] = time - dt
    episode["pulse_base"] = floor
    episode["peak"] = 0.0
    episode["peak_at"] = time
    for name in ("half_s", "fifth_s", "tenth_s", "voc_max_at", "voc_at_peak"):
        episode[name] = np.nan
    for name in ("area", "path", "rises", "steepest", "readings"):
        episode[name] = 0.0
    episode["voc_max"] = -np.inf
    episode["last_fine"] = floor
    episode["last_at"] = time - dt
    episode["trough"] = np.inf
    episode["before_pulse"] = np.where(np.isnan(last), x, last)
    episode["log_odds"] = -20.0


def find_ended(episode: Episodes, time: Floats, x: Floats) -> NDArray[np.bool_]:
    """Return whether episodes are over: all channels normal for `QUIET_S`, or after `LONGEST_S`.

    Update `back_since` in place. If the sensor sends particles, only a reading with particles can
    show that they are normal.
    """
    baseline = episode["baseline"][:, OPENERS]
    highest = episode["highest"][:, OPENERS] - baseline
    out = x[:, OPENERS] - baseline > np.maximum(RISE[OPENERS], 0.25 * highest)
    since = episode["back_since"]
    unknown = np.isnan(x[:, FINE]) & ~np.isnan(episode["baseline"][:, FINE])
    since = np.where(out.any(axis=1), np.nan, np.where(np.isnan(since) & ~unknown, time, since))
    episode["back_since"] = since
    over: NDArray[np.bool_] = (time - since >= QUIET_S) & ~unknown
    over |= time - episode["onset"] > LONGEST_S
    return over


def follow(episode: Episodes, time: Floats, x: Floats) -> None:
    """Advance each row by one reading, in place."""
    highest = episode["highest"]
    higher = ~(x <= highest)
    higher &= ~np.isnan(x)
    np.copyto(highest, x, where=higher)
    np.copyto(episode["highest_at"], time[:, None], where=higher)
    _advance_at(episode["pulses"] > 0, _follow_pulses, episode, time, x)


def _advance_at(
    chosen: NDArray[np.bool_], advance: Callable[..., None], episode: Episodes, *given: Floats
) -> None:
    """Advance the `chosen` rows with `advance`, in place."""
    at = chosen.nonzero()[0]
    if at.size == chosen.size:
        advance(episode, *given)
    elif at.size:
        part = take(episode, at)
        advance(part, *(values[at] for values in given))
        put(episode, at, part)


def _follow_pulses(pulse: Episodes, time: Floats, x: Floats) -> None:
    """Advance rows that are in a pulse by one reading, in place."""
    voc, _ = measure_voc_rise(x, pulse["before_pulse"])
    _advance_at(~np.isnan(x[:, FINE]), _follow_particles, pulse, time, x, voc)
    more = voc > pulse["voc_max"]
    pulse["voc_max"][more] = voc[more]
    pulse["voc_max_at"][more] = time[more]


def _follow_particles(pulse: Episodes, time: Floats, x: Floats, voc: Floats) -> None:
    """Advance the rows with a value for fine particles, in place."""
    fine = x[:, FINE]
    excess = fine - pulse["pulse_base"]
    top = (excess > pulse["peak"]).nonzero()[0]
    low = np.minimum(pulse["trough"], excess)
    if top.size:
        pulse["peak"][top] = excess[top]
        pulse["peak_at"][top] = time[top]
        pulse["at_peak"][top] = x[top]
        pulse["voc_at_peak"][top] = voc[top]
        for name in _FALLS:
            pulse[name][top] = np.nan
        low[top] = np.inf
    pulse["trough"] = low
    peak, fallen = pulse["peak"], time - pulse["peak_at"]
    pulse["readings"] += 1.0
    reached = excess <= _FALL_SHARES * peak
    reached &= np.isnan([pulse[name] for name in _FALLS])
    if np.count_nonzero(reached):
        for name, now in zip(_FALLS, reached, strict=True):
            pulse[name][now] = fallen[now]
        half = reached[0]
        pulse["fast_pulses"] += half & (fallen <= 30.0)
        shortest = pulse["shortest_half_s"]
        shortest[half] = np.fmin(shortest[half], fallen[half])
    step, dt = fine - pulse["last_fine"], time - pulse["last_at"]
    pulse["area"] += np.maximum(excess, 0.0) * dt
    pulse["path"] += np.abs(step)
    pulse["total_rise"] += np.maximum(step, 0.0)
    pulse["total_fall"] += np.maximum(-step, 0.0)
    pulse["highest_pulse"] = np.maximum(pulse["highest_pulse"], peak)
    pulse["rises"] += step > 0.05 * np.maximum(peak, 1e-9)
    steep = np.divide(step, dt, out=np.zeros(dt.size), where=dt > 0)
    pulse["steepest"] = np.maximum(pulse["steepest"], steep)
    pulse["last_fine"] = fine
    pulse["last_at"] = time


_RH, _TEMP, _CO2 = (CHANNEL_INDEX[k] for k in ("rh", "temp", "co2"))
_PM1, _PM10 = CHANNEL_INDEX["pm1"], CHANNEL_INDEX["pm10"]
_N03, _N05, _N10, _N25 = (CHANNEL_INDEX[k] for k in ("n03", "n05", "n10", "n25"))
_DIRTY_UG_M3: Final = 60.0
"""Above this level, dirtier air makes no difference to the features of a pulse."""


def compute_features(
    e: Episodes,
    time: Floats,
    x: Floats,
    noise: Floats,
    interval: Floats,
    previous_fine: Floats,
    dt: Floats,
    over_bank: Floats,
) -> Floats:
    """Return the features of each row's pulse as known at this reading.

    Parameters
    ----------
    e : ndarray of EPISODE, shape (n,)
        Episodes after this reading.
    time, dt : ndarray of float64, shape (n,)
        Event time, and seconds since the sensor's last reading.
    noise, interval, previous_fine : ndarray of float64, shape (n,)
        Noise scale of the fine signal, smoothed reporting interval, and previous fine value.
    over_bank : ndarray of float64, shape (n, len(BANK) * len(BANK_TAU_S))
        Each signal minus its smoothed past.

    Returns
    -------
    ndarray of float64, shape (n, len(FEATURES))
        NaN where not known.
    """
    own = _compute_pulse_features(e, time, x, noise, interval, previous_fine, dt).values()
    return np.concatenate([*own, over_bank.ravel(order="F")]).reshape(len(FEATURES), -1).T


def _compute_pulse_features(
    e: Episodes,
    time: Floats,
    x: Floats,
    noise: Floats,
    interval: Floats,
    previous_fine: Floats,
    dt: Floats,
) -> dict[str, Floats]:
    """Return all features by name, except for the features of the filter bank."""
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
    # In numpy, a few rows cost as much as many, so identical operations are combined.
    strength, kinds = measure_voc_rise(
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


def _list_names() -> tuple[str, ...]:
    row, channels = np.zeros(1), np.zeros((1, len(CHANNELS)))
    own = _compute_pulse_features(np.zeros(1, EPISODE), row, channels, row, row, row, row)
    return (*own, *(f"{signal}_over_{tau:g}s" for signal in BANK for tau in BANK_TAU_S))


FEATURES: Final = _list_names()
"""Names of the features, in column order."""
