"""Figures of the benchmark: recall against false alarms, latency, reliability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.detection_bench.run import ANOMALY, BOOSTED, METHODS, OURS
from benchmarks.detection_bench.scoring import calibrate, summarise

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.detection_bench.run import Outcome

__all__ = ["write_figures"]

COLOURS: Final = {OURS: "#b3261e", BOOSTED: "#1f5a99", ANOMALY: "#5c8a3a"}
SHORT: Final = {
    OURS: "Plumewatch",
    BOOSTED: "boosted trees",
    ANOMALY: "half-space trees",
    "halo": "HALO",
    "gs601": "GS601",
    "verkada": "Verkada-like",
    "ipvideo": "IPVideo",
    "vaciam": "VaCiam",
    "vaciam20": "VaCiam 20 s",
    "fukidzon": "fukidzon",
    "hobby": "PM2.5 > 100",
}
LEAST: Final = 0.02
"""Left edge of the logarithmic axis of false alarms; zero is drawn there."""


def _figure(width: float = 7.5, height: float = 5.0) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _recall(outcome: Outcome, path: Path) -> None:
    figure, axis = _figure()
    for method, curve in outcome.curves.items():
        points = [c for _, c in sorted(curve.items()) if c.visible and c.days]
        axis.plot(
            [max(c.false / c.days, LEAST) for c in points],
            [c.found / c.visible for c in points],
            color=COLOURS.get(method),
            lw=1.2,
            marker=".",
            label=f"{METHODS[method]}, by decision level",
        )
    for method, scores in outcome.scores.items():
        s = summarise(scores)
        at = max(s.false_per_day, LEAST), s.recall
        axis.plot(*at, "o", color=COLOURS.get(method, "#444444"), ms=7)
        axis.annotate(SHORT[method], at, xytext=(6, -9), textcoords="offset points", fontsize=8)
    axis.axvline(0.5, color="k", lw=0.8, ls=":")
    axis.set_xscale("log")
    axis.set_ylim(0, 1)
    axis.set_xlabel("false alarms a sensor-day (dotted: the goal, 0.5)")
    axis.set_ylabel("share of visible sessions found")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def _latency(outcome: Outcome, path: Path) -> None:
    figure, axis = _figure(7.5, 4.2)
    for method, scores in outcome.scores.items():
        fast = [f for s in scores if s.interval_s <= 5 for f in s.sessions]
        times = np.sort([f.latency_s for f in fast if not f.missed])
        if times.size:
            share = np.arange(1, times.size + 1) / len(fast)
            mine = method in COLOURS
            axis.step(
                times,
                share,
                where="post",
                label=SHORT[method],
                color=COLOURS.get(method),
                lw=2 if mine else 0.8,
                alpha=1 if mine else 0.7,
            )
    axis.axvline(10, color="k", lw=0.8, ls=":")
    axis.set_xlim(0, 150)
    axis.set_ylim(0, 1)
    axis.set_xlabel("s from arrival at the sensor to the alert (reporting interval up to 5 s)")
    axis.set_ylabel("share of visible sessions")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=110)


def _reliability(outcome: Outcome, path: Path) -> None:
    figure, axis = _figure(5, 4.6)
    axis.plot([0, 1], [0, 1], "k:", lw=0.8)
    for method in (OURS, BOOSTED):
        incidents = [i for s in outcome.scores.get(method, []) for i in s.incidents]
        if not incidents:
            continue
        c = calibrate(
            np.array([i.confidence for i in incidents]), np.array([i.right for i in incidents])
        )
        rows = [(p, o, n) for p, o, n in zip(c.stated, c.observed, c.count, strict=True) if n]
        stated, observed, count = zip(*rows, strict=True)
        axis.plot(
            stated,
            observed,
            marker="o",
            color=COLOURS[method],
            label=f"{SHORT[method]}, Brier {c.brier:.3f}",
        )
        for p, o, n in rows:
            axis.annotate(str(n), (p, o), fontsize=7, xytext=(4, -9), textcoords="offset points")
        del count
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("probability said with the alert")
    axis.set_ylabel("share that was vaping")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper left")
    figure.savefig(path, dpi=110)


def write_figures(outcome: Outcome, folder: Path) -> dict[str, Path]:
    """Draw all figures; return their files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, draw in (("recall", _recall), ("latency", _latency), ("reliability", _reliability)):
        paths[name] = folder / f"detection-{name}.png"
        draw(outcome, paths[name])
    return paths
