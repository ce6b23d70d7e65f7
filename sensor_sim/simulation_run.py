"""Run a simulated school: its messages and the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor_sim.simulate import simulate
from sensor_sim.wire import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor_sim.schedule import Activity
    from sensor_sim.school import School
    from sensor_sim.truth_stream import TruthStream
    from sensor_sim.wire import WireMessage


def generate_messages(
    school: School,
    *,
    seed: int,
    start: float,
    duration_s: float,
    activity: Activity = "ordinary",
    truth: TruthStream | None = None,
) -> Iterator[WireMessage]:
    """Yield the messages of a school's sensors; write the truth about each event to `truth`."""
    fleet = Fleet()
    for chunk in simulate(school, seed=seed, start=start, duration_s=duration_s, activity=activity):
        coming = sorted(chunk.truths, key=lambda event: event.end, reverse=True)
        for message in fleet.encode(chunk.traces):
            while truth is not None and coming and coming[-1].end <= message.sent:
                truth.add([coming.pop()])
            yield message
        if truth is not None:
            truth.add(reversed(coming))
