"""Prepare real recordings for training, with and without simulated puffs.

None of the recordings contains vaping. They contain patterns that no world has: single-sample
artifacts, and the onsets and plateaus of cooking, fog and smoke. The puffs are random curves, not
physics: a rise, a fast and a slow decay, turbulence, and the sensor's lag.

Only parts of each recording are used; the rest is for benchmarks.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from scipy.signal import lfilter

from research.air_cleaner import convert_cadr
from research.worlds.world import COLUMNS, Happening, Readings
from sensor_sim.streams import draw_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FILES: Final = (
    "gym_pms5003_61s.csv.gz",
    "awair_gym_60s.csv.gz",
    "openhap_60s.csv.gz",
    "cadr_runs_1s.csv.gz",
)
GYM_DAYS: Final = 9.0
AWAIR_DAYS: Final = 5.0
AWAIR_PERIOD_DAYS: Final = 12.0
AWAIR_PARTS: Final = 10
"""The recording is divided into this many periods; the first days of each are for training."""
WINDOW_S: Final = 900
"""Length of a session with its decay, s."""
CLOSED_S: Final = 420.0
"""Minimum time between the starts of sessions, s."""
_DAY_S: Final = 86_400.0
_STYLES: Final = ("pod", "disposable", "mod", "thc", "stealth")
_STYLE_SHARES: Final = (0.4, 0.3, 0.12, 0.1, 0.08)
_AMPLITUDE: Final = {"mod": 3.0, "stealth": 0.4}
_AT: Final = {name: number for number, name in enumerate(COLUMNS)}
_MASS: Final = [_AT[name] for name in ("pm1", "pm25", "pm10")]


@dataclass(frozen=True, slots=True)
class _Recording:
    """One sensor's readings; `values` has the shape (n, len(COLUMNS))."""

    name: str
    time: Floats
    values: Floats

    def between(self, begin: float, end: float, name: str) -> _Recording:
        """Return the part from `begin` up to, but not including, `end`."""
        rows = (self.time >= begin) & (self.time < end)
        return _Recording(name, self.time[rows], self.values[rows])


@dataclass(frozen=True, slots=True)
class _Session:
    """PM2.5 excess at an inlet by second, µg/m³, and when the vaping ends, s."""

    excess: Floats
    style: str
    end: float


def missing(folder: Path) -> list[str]:
    """Return the recordings that are missing in a folder."""
    return [name for name in FILES if not (folder / name).is_file()]


def prepared(
    folder: Path, seed: int, sessions_a_day: float, *, is_test: bool = False
) -> tuple[Readings, list[Happening]]:
    """Return the recordings with simulated sessions added to each.

    The air-cleaner runs get none, because they begin in aerosol and last only minutes. With
    `is_test`, the parts that training does not use are returned.
    """
    rooms = _rooms(folder, is_test=is_test)
    draw = np.random.default_rng([seed, 17])
    used: list[_Recording] = []
    truth: list[Happening] = []
    if sessions_a_day:
        for recording in rooms:
            with_puffs, sessions = _with_sessions(recording, sessions_a_day, draw)
            used.append(with_puffs)
            truth += sessions
    else:
        used = rooms + _cleaner_runs(folder)[int(is_test) :: 2]
    sensor = np.concatenate([np.full(r.time.size, k, np.int32) for k, r in enumerate(used)])
    time = np.concatenate([r.time for r in used])
    order = np.argsort(time, kind="stable")
    values = np.concatenate([r.values for r in used])[order]
    return Readings(tuple(r.name for r in used), sensor[order], time[order], values), truth


def _rooms(folder: Path, *, is_test: bool) -> list[_Recording]:
    """Return the parts of occupied-room recordings for training, or the parts for tests."""
    gym, awair, kitchens, _ = (folder / name for name in FILES)
    (a_gym,), (an_awair,) = _read(gym), _read(awair)
    rooms = [_part(a_gym, "gym", 0.0, GYM_DAYS, np.inf, is_test=is_test)]
    for k in range(AWAIR_PARTS):
        begin = k * AWAIR_PERIOD_DAYS
        cuts = (begin, begin + AWAIR_DAYS, begin + AWAIR_PERIOD_DAYS)
        rooms.append(_part(an_awair, f"awair-{k}", *cuts, is_test=is_test))
    first, *others = _read(kitchens)
    return [*rooms, *(others if is_test else [first])]


def _cleaner_runs(folder: Path) -> list[_Recording]:
    with tempfile.TemporaryDirectory() as scratch:
        converted = Path(scratch) / "runs.csv.gz"
        convert_cadr(folder / FILES[-1], converted)
        return [run for recording in _read(converted) for run in _runs(recording)]


def _part(
    recording: _Recording, name: str, begin: float, until: float, end: float, *, is_test: bool
) -> _Recording:
    cuts = (until, end) if is_test else (begin, until)
    return recording.between(*(recording.time[0] + _DAY_S * day for day in cuts), name)


def _read(path: Path) -> list[_Recording]:
    """Read a recording in the format of `plumewatch replay`; return one `_Recording` per sensor."""
    table = pl.read_csv(path, infer_schema_length=None)
    found = []
    for (sensor,), rows in table.group_by(["sensor"], maintain_order=True):
        time = rows["time"].cast(pl.Float64).to_numpy()
        values = np.full((time.size, len(COLUMNS)), np.nan)
        for name in set(rows.columns) & set(COLUMNS):
            values[:, _AT[name]] = rows[name].cast(pl.Float64).to_numpy()
        later = np.r_[True, np.diff(time) > 0]
        found.append(_Recording(str(sensor), time[later], values[later]))
    return found


def _runs(recording: _Recording) -> list[_Recording]:
    cuts = np.flatnonzero(np.diff(recording.time) > 3600.0) + 1
    bounds = [0, *cuts.tolist(), recording.time.size]
    return [
        _Recording(f"{recording.name}#{k}", recording.time[a:b], recording.values[a:b])
        for k, (a, b) in enumerate(pairwise(bounds))
    ]


def _with_sessions(
    recording: _Recording, sessions_a_day: float, draw: np.random.Generator
) -> tuple[_Recording, list[Happening]]:
    time, values = recording.time, recording.values.copy()
    interval = float(np.median(np.diff(time)))
    n = draw.poisson(sessions_a_day * (time[-1] - time[0]) / _DAY_S)
    starts = np.sort(draw.uniform(time[0] + 600.0, max(time[-1] - 900.0, time[0] + 601.0), n))
    starts = starts[np.diff(starts, prepend=-np.inf) > CLOSED_S]
    mass = values[:, _MASS]
    resolution = 0.1 if (mass[np.isfinite(mass)] % 1).any() else 1.0
    truth = []
    for start in starts.tolist():
        first = int(np.searchsorted(time, start))
        if time[min(first, time.size - 1)] - start > 5 * interval:
            continue
        session = _session(draw)
        background = float(np.nanmedian(values[max(first - 30, 0) : first + 1, _AT["pm25"]]))
        rows = np.arange(first, np.searchsorted(time, start + WINDOW_S))
        _add(values, rows, (time[rows] - start).astype(int), session, interval, resolution, draw)
        over = np.flatnonzero(session.excess > 5.0)
        truth.append(
            Happening(
                recording.name,
                "vape",
                session.style,
                start,
                start + session.end,
                "",
                interval,
                np.nan,
                np.nan,
                float(session.excess[: int(session.end + 90.0)].max()),
                background,
                start + float(over[0]) if over.size else np.nan,
            )
        )
    return replace(recording, values=values), truth


def _session(draw: np.random.Generator) -> _Session:
    style = str(draw.choice(_STYLES, p=_STYLE_SHARES))
    puffs = int(draw.integers(1, 9) if draw.random() < 0.7 else draw.integers(1, 3))
    amplitude = draw_log(draw, 8, 400) * _AMPLITUDE.get(style, 1.0)
    slow_s = draw_log(draw, 12, 150) * (2.5 if style == "thc" else 1.0)
    fast_s, fast_share = draw_log(draw, 4.5, 18), draw.uniform(0.3, 0.9)
    rise_s, arrival = draw_log(draw, 1.5, 12), draw_log(draw, 2, 30)
    gap_s = draw_log(draw, 8, 60)
    age = np.arange(WINDOW_S)
    decay = fast_share * np.exp(-age / fast_s) + (1 - fast_share) * np.exp(-age / slow_s)
    shape = (1 - np.exp(-age / rise_s)) * decay
    excess = np.zeros(WINDOW_S)
    at = last = arrival
    for _ in range(puffs):
        second = int(at)
        if second >= WINDOW_S:
            break
        strength = amplitude * np.exp(draw.normal(0, 0.6))
        excess[second:] += strength * shape[: WINDOW_S - second]
        last = at
        at += gap_s * np.exp(draw.normal(0, 0.4))
    kept = np.exp(-1 / draw_log(draw, 2, 8))
    gusts = lfilter([np.sqrt(1 - kept**2)], [1, -kept], draw.normal(size=WINDOW_S))
    excess *= np.exp(draw.uniform(0.1, 0.5) * gusts)
    return _Session(excess, style, last)


def _add(
    values: Floats,
    rows: NDArray[np.intp],
    second: NDArray[np.intp],
    session: _Session,
    interval: float,
    resolution: float,
    draw: np.random.Generator,
) -> None:
    """Add a session to readings as a device with these channels would report it."""
    lag_s = draw_log(draw, 1, 8) if interval < 20 else draw_log(draw, 2, 15)
    follows = 1 / (lag_s + 0.5)
    shown = lfilter([follows], [1, follows - 1], session.excess)
    if interval > 20 and draw.random() < 0.5:
        # some devices report the mean over their interval
        summed = np.r_[0.0, np.cumsum(shown)]
        since = np.maximum(second - int(interval) + 1, 0)
        added = (summed[second + 1] - summed[since]) / (second + 1 - since)
    else:
        added = shown[second]
    added *= np.exp(draw.normal(0, 0.05, rows.size))
    pm1 = np.clip(draw.normal(0.72, 0.12), 0.35, 0.95)
    pm10 = np.clip(draw.normal(1.03, 0.03), 1.0, 1.2)
    for name, gain in (("pm1", pm1), ("pm25", 1.0), ("pm10", pm10)):
        mass = values[rows, _AT[name]] + added * gain
        values[rows, _AT[name]] = np.round(mass / resolution) * resolution
    for name, gain in (("n03", 25 * pm1), ("n05", 8 * pm1), ("n10", 1.2), ("n25", 0.1)):
        values[rows, _AT[name]] += added * gain
    highest = session.excess.max()
    spread = np.convolve(session.excess, np.exp(-np.arange(300) / 120) / 120)[:WINDOW_S]
    doublings = draw_log(draw, 0.01, 0.8) * min(1.0, highest / 100) * spread / highest
    gas = values[rows, _AT["tvoc_ppb"]] + 400
    values[rows, _AT["tvoc_ppb"]] = np.round(gas * 2 ** doublings[second] - 400)
    damp = draw_log(draw, 0.02, 1.5) * draw.random()
    values[rows, _AT["rh"]] += damp * shown[second] / max(shown.max(), 1e-9)
