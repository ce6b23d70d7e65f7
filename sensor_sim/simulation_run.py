"""Run a simulated school: its messages and the truth."""

from __future__ import annotations

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


def generate_messages(
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
