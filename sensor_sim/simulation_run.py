"""Run a simulated school: its messages and the truth."""

from __future__ import annotations

import csv
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, TextIO

from sensor_sim.simulate import simulate
from sensor_sim.trace import Truth
from sensor_sim.wire import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sensor_sim.schedule import Activity
    from sensor_sim.school import School
    from sensor_sim.wire import WireMessage


def generate_messages(
    school: School,
    *,
    seed: int,
    start: float,
    duration_s: float,
    activity: Activity = "ordinary",
    on_truth: Callable[[Truth], None] = lambda _: None,
) -> Iterator[WireMessage]:
    """Yield the messages of a school's sensors; call `on_truth` at the end of each event."""
    fleet = Fleet()
    for chunk in simulate(school, seed=seed, start=start, duration_s=duration_s, activity=activity):
        coming = sorted(chunk.truths, key=lambda event: event.end, reverse=True)
        for message in fleet.encode(chunk.traces):
            while coming and coming[-1].end <= message.sent:
                on_truth(coming.pop())
            yield message
        while coming:
            on_truth(coming.pop())


def start_truths(stream: TextIO) -> Callable[[Truth], None]:
    """Write the header of a CSV file, and return a function that adds a row for a truth."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([field.name for field in fields(Truth)])

    def add(truth: Truth) -> None:
        writer.writerow(astuple(truth))
        stream.flush()

    return add
