"""Run a simulated school: its messages and the truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from sensor_sim.simulate import simulate
from sensor_sim.wire import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor_sim.schedule import Activity
    from sensor_sim.school import School
    from sensor_sim.truth_stream import TruthStream
    from sensor_sim.wire import WireMessage

_CHUNK_S: Final = 60.0


def live_start(duration_s: float, speed: float, now: float) -> float:
    """Return the latest start, in whole seconds, at which no reading is in the future.

    At speed 1 or less, the first reading is now. In a faster run, the last reading is published at
    its own time, and the first readings are up to ``duration_s * (1 - 1 / speed)`` late.

    >>> live_start(600.0, 1.0, now=5000.0), live_start(600.0, 60.0, now=5000.0)
    (5000.0, 4410.0)
    """
    late = duration_s * (1 - 1 / speed) if speed > 1 else 0.0
    return float(math.floor(now - late))


def messages(
    school: School,
    *,
    seed: int,
    start: float,
    duration_s: float,
    activity: Activity = "ordinary",
    truth: TruthStream | None = None,
) -> Iterator[WireMessage]:
    """Yield the messages of a school's sensors; write the truth to `truth`."""
    fleet = Fleet()
    for chunk in simulate(
        school,
        seed=seed,
        start=start,
        duration_s=duration_s,
        chunk_s=_CHUNK_S,
        activity=activity,
    ):
        if truth is not None:
            truth.add(chunk.truths)
        yield from fleet.encode(chunk.traces)
