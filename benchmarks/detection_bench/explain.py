"""Plots of the worst misses and the worst false alarms of our detector, to see what it lacks.

A miss is the worse the further the plume stood over what it had to beat; a false alarm is the worse
the surer it was. Each plot has the channels around it, what really happened, and what was said.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.detection_bench import learned, worlds
from benchmarks.detection_bench.run import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.detection_bench.run import Outcome, Said
    from benchmarks.detection_bench.scoring import SensorScore
    from benchmarks.detection_bench.worlds import Series, WorldSpec
    from sensor_sim.trace import Truth

__all__ = ["worst", "write_plots"]

BEFORE_S: Final = 420.0
AFTER_S: Final = 600.0
PANELS: Final = (
    ("particles, µg/m³", ("pm1", "pm25", "pm10")),
    ("VOC", ("tvoc_ppb", "tvoc_ugm3", "voc_index")),
    ("relative humidity, %", ("rh",)),
)
COLOURS: Final = {"vape": "#b3261e", "spray": "#7b4fa3", "steam": "#2a7ab0", "voc": "#a06a00"}


def worst(
    scores: Sequence[SensorScore], n: int
) -> tuple[list[tuple[SensorScore, Truth]], list[tuple[SensorScore, float, str]]]:
    """Rank the worst misses, and the worst false alarms (time, cause), of a method."""
    misses = [(s, f.truth) for s in scores for f in s.sessions if f.missed]
    misses.sort(key=lambda m: -m[1].peak_excess / max(8.0, m[1].baseline))
    false = [(s, i) for s in scores for i in s.incidents if not i.right]
    false.sort(key=lambda f: (-np.nan_to_num(f[1].confidence), f[0].seed, f[1].time))
    return misses[:n], [(s, i.time, i.cause) for s, i in false[:n]]


def write_plots(
    outcome: Outcome,
    specs: Sequence[WorldSpec],
    n: int,
    folder: Path,
    on_done: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Plot the `n` worst of each kind into `folder`; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    misses, false = worst(outcome.scores[OURS], n)
    cases = [
        (score, truth.arrival, "miss", f"{truth.source} {truth.peak_excess:.0f} µg/m³")
        for score, truth in misses
    ]
    cases += [(score, time, "false", cause) for score, time, cause in false]
    by_seed = {spec.seed: spec for spec in specs}
    ranks = {"miss": 0, "false": 0}
    names = []
    for _, _, what, _ in cases:
        ranks[what] += 1
        names.append(f"{what}-{ranks[what]:02d}.png")
    written = []
    for seed in sorted({c[0].seed for c in cases}):
        world = worlds.load_world(by_seed[seed])
        truths = learned.truths_by_sensor(world)
        series = {s.sensor: s for s in world.series}
        for name, (score, at, what, text) in zip(names, cases, strict=True):
            if score.seed == seed:
                said = outcome.said.get((seed, score.sensor), [])
                title = (
                    f"{'missed' if what == 'miss' else 'false alarm'}: {text} · {score.model} every"
                    f" {score.interval_s} s · seed {seed}, {score.sensor}"
                )
                path = folder / name
                _plot(path, title, series[score.sensor], truths[score.sensor], said, at)
                written.append(path)
                on_done()
    return sorted(written)


def _plot(
    path: Path, title: str, series: Series, truths: list[Truth], said: list[Said], at: float
) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    rows = (series.sent >= at - BEFORE_S) & (series.sent <= at + AFTER_S)
    t = series.sent[rows] - at
    figure = Figure(figsize=(11, 9), layout="constrained")
    axes: Any = figure.subplots(5, 1, sharex=True, height_ratios=[3, 2, 2, 2, 2])
    for axis, (label, keys) in zip(axes, PANELS, strict=False):
        for key in keys:
            values = series.column(key)
            if values is not None:
                marker = "." if series.interval_s > 2 else None
                axis.plot(t, values[rows], label=key, lw=1, marker=marker, ms=4)
        axis.set_ylabel(label)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper right", fontsize=8)
    axes[0].set_yscale("symlog", linthresh=10)
    axes[0].set_title(title, fontsize=10)
    _draw_truths(axes[3], truths, at)
    _draw_said(axes[4], said, at)
    for axis in axes:
        axis.axvline(0, color="k", lw=0.8, ls=":")
        axis.set_xlim(-BEFORE_S, AFTER_S)
        axis.grid(alpha=0.3)
    axes[4].set_xlabel("s from the arrival or the alarm")
    figure.savefig(path, dpi=90)


def _draw_truths(axis: Any, truths: list[Truth], at: float) -> None:
    near = [
        t
        for t in truths
        if t.start < at + AFTER_S
        and max(x for x in (t.end, t.peak_time, t.start) if math.isfinite(x)) > at - BEFORE_S
        and (math.isfinite(t.arrival) or t.kind == "vape")
    ]
    for level, t in enumerate(near):
        colour = COLOURS.get(t.kind, "#607080")
        end = max(t.end, t.start + 3)
        axis.barh(level, end - t.start, left=t.start - at, color=colour, alpha=0.7, height=0.7)
        if math.isfinite(t.peak_time):
            axis.plot(t.peak_time - at, level, "k|", ms=9)
        left = min(max(t.start - at, -BEFORE_S), AFTER_S - 150)
        hidden = f" under {t.masked_by}" if t.masked_by else ""
        axis.text(left, level, f" {t.source} {t.peak_excess:.0f}{hidden}", fontsize=7, va="center")
    axis.set_yticks([])
    axis.set_ylabel("truth, µg/m³")


def _draw_said(axis: Any, said: list[Said], at: float) -> None:
    near = [s for s in said if -BEFORE_S <= s.time - at <= AFTER_S]
    axis.step([s.time - at for s in near], [s.vape for s in near], where="post", marker=".", lw=0.8)
    for s in near:
        if s.phase in {"alerted", "withdrawn"}:
            axis.annotate(
                f"{s.kind} {s.phase} {s.confidence:.2f}",
                (s.time - at, s.vape if math.isfinite(s.vape) else 0.5),
                fontsize=7,
                rotation=25,
            )
    axis.set_ylim(-0.05, 1.05)
    axis.set_ylabel("P(vape) said")
