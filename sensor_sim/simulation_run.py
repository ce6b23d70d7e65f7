"""One run of a school: its readings, its messages and the truth, on one clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sensor_sim.simulate import simulate
from sensor_sim.wire import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor_sim.export import TruthCsv
    from sensor_sim.schedule import Activity
    from sensor_sim.school import School
    from sensor_sim.simulate import Chunk
    from sensor_sim.trace import DeviceTrace, Truth
    from sensor_sim.wire import WireMessage


def live_offset(start: float, duration_s: float, speed: float, now: float) -> float:
    """Return the seconds to add to simulated times for the wall clock, none in the future.

    At speed 1 or less the first reading is now. A faster run cannot keep its shape and avoid the
    future, so it ends now: the last reading leaves at its own time, the first ones are up to
    ``duration_s * (1 - 1 / speed)`` late.

    >>> live_offset(1000.0, 600.0, 1.0, now=5000.0)
    4000.0
    >>> live_offset(1000.0, 600.0, 60.0, now=5000.0)
    3410.0
    """
    late = duration_s * (1 - 1 / speed) if speed > 1 else 0.0
    return now - start - late


@dataclass(frozen=True, slots=True)
class SimulationRun:
    """A school with a seed and a time; `offset_s` is added to what is written or published."""

    school: School
    seed: int
    start: float
    duration_s: float
    offset_s: float = 0.0
    activity: Activity = "ordinary"

    def chunks(self, chunk_s: float, truth: TruthCsv | None = None) -> Iterator[Chunk]:
        """Yield the readings; the truth goes to its file."""
        for chunk in simulate(
            self.school,
            seed=self.seed,
            start=self.start,
            duration_s=self.duration_s,
            chunk_s=chunk_s,
            activity=self.activity,
        ):
            if truth is not None:
                truth.add(_shifted_truth(one, self.offset_s) for one in chunk.truths)
            yield chunk

    def messages(self, chunk_s: float, truth: TruthCsv | None = None) -> Iterator[WireMessage]:
        """Yield the messages on the wire."""
        fleet = Fleet()
        for chunk in self.chunks(chunk_s, truth):
            yield from fleet.encode(_shifted_trace(trace, self.offset_s) for trace in chunk.traces)


def _shifted_trace(trace: DeviceTrace, offset_s: float) -> DeviceTrace:
    if not offset_s:
        return trace
    return replace(
        trace,
        time=trace.time + offset_s,
        sent=trace.sent + offset_s,
        events=tuple((at + offset_s, event) for at, event in trace.events),
    )


def _shifted_truth(truth: Truth, offset_s: float) -> Truth:
    if not offset_s:
        return truth
    return replace(
        truth,
        start=truth.start + offset_s,
        end=truth.end + offset_s,
        arrival=truth.arrival + offset_s,
        peak_time=truth.peak_time + offset_s,
    )
