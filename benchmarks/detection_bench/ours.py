"""The product's detector, fed as production feeds it: readings in order of arrival, small batches.

Sensors of families that are held out are judged by a model that was made without them: by what the
shipped one would be worth on a sensor nobody trained on. Only the first word of an event counts as
an alert; what is withdrawn later stays an alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.detection_bench.worlds import HELD_OUT
from detection.batch import ReadingBatch
from detection.detector import Detector
from detection.events import EventKind, EventPhase
from detection.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from benchmarks.detection_bench.worlds import Series
    from detection.events import Event

__all__ = ["Alerts", "run_detector", "vape_alerts"]

BATCH: Final = 4000
HELD_OUT_MODEL: Final = Path(__file__).with_name("held_out.npz")
"""Made by ``make train`` beside the shipped model, without the families in `HELD_OUT`."""


@dataclass(frozen=True, slots=True)
class Alerts:
    """Alerts of one method on one sensor.

    Attributes
    ----------
    time : ndarray of float64, shape (n,)
        True time.
    confidence : ndarray of float64, shape (n,)
        NaN where the method has none.
    """

    time: NDArray[np.float64]
    confidence: NDArray[np.float64]


def run_detector(series: Sequence[Series]) -> list[Event]:
    """Everything the detector says about a school, in order.

    Parameters
    ----------
    series : sequence of Series
        One for each sensor.

    Returns
    -------
    list of Event
        All phases; event times are by the devices' own clocks.
    """
    known = [s for s in series if s.family not in HELD_OUT]
    unknown = [s for s in series if s.family in HELD_OUT]
    events = _run(Detector(), known) if known else []
    if unknown:
        events += _run(Detector(Model.from_bytes(HELD_OUT_MODEL.read_bytes())), unknown)
    return events


def _run(detector: Detector, series: Sequence[Series]) -> list[Event]:
    rows = np.array([detector.sensor_row(s.sensor) for s in series], np.int32)
    sensor = np.concatenate(
        [np.full(s.time.size, r, np.int32) for s, r in zip(series, rows, strict=True)]
    )
    time = np.concatenate([s.time for s in series])
    order = np.argsort(np.concatenate([s.sent for s in series]), kind="stable")
    values = np.concatenate([s.values() for s in series])
    events: list[Event] = []
    for begin in range(0, order.size, BATCH):
        part = order[begin : begin + BATCH]
        events += detector.step(ReadingBatch(sensor[part], time[part], values[part]))
    return events


def vape_alerts(events: Sequence[Event], series: Series) -> Alerts:
    """First words of vaping events on one sensor, at the time their reading was published."""
    mine = [
        e
        for e in events
        if e.sensor == series.sensor and e.kind is EventKind.VAPE and e.phase is EventPhase.ALERTED
    ]
    at = series.true_time(np.array([e.time for e in mine], float))
    return Alerts(at, np.array([e.confidence for e in mine], float))
