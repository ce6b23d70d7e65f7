"""One run of a scenario: readings, messages and truth, with its attacks applied."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sensor_sim.faults.at_sensor import apply_to_trace
from sensor_sim.faults.on_wire import apply_to_messages
from sensor_sim.publish import shift_trace
from sensor_sim.simulate import simulate
from sensor_sim.wire import Fleet, WireNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor_sim.export import TruthCsv
    from sensor_sim.scenarios.scenario import Scenario
    from sensor_sim.simulate import Chunk
    from sensor_sim.trace import Truth
    from sensor_sim.wire import WireMessage


@dataclass(frozen=True, slots=True)
class SimulationRun:
    """A scenario with its seed and its time."""

    scenario: Scenario
    seed: int
    start: float
    duration_s: float
    offset_s: float = 0.0

    def chunks(self, chunk_s: float, truth: TruthCsv | None = None) -> Iterator[Chunk]:
        """Yield the readings after attacks at the sensors; their truth goes to its file."""
        attacks = self.scenario.trace_attacks(self.start, self.seed)
        rooms = {device.id: device.room for device in self.scenario.school.devices}
        end = self.start + self.duration_s
        attack_truths = [attack.truth(rooms[attack.sensor]) for attack in attacks]
        waiting = [replace(t, end=min(t.end, end)) for t in attack_truths if t.start < end]
        for chunk in simulate(
            self.scenario.school,
            seed=self.seed,
            start=self.start,
            duration_s=self.duration_s,
            chunk_s=chunk_s,
            vape_rate=self.scenario.vape_rate,
            nuisance_rate=self.scenario.nuisance_rate,
            activity=self.scenario.activity,
        ):
            started = [t for t in waiting if t.start < chunk.end]
            waiting = [t for t in waiting if t.start >= chunk.end]
            if truth is not None:
                truths = sorted(
                    (*chunk.truths, *started), key=lambda t: (t.start, t.session, t.sensor)
                )
                truth.add(self._shifted(one) for one in truths)
            traces = tuple(apply_to_trace(trace, attacks) for trace in chunk.traces)
            yield replace(chunk, traces=traces)

    def messages(self, chunk_s: float, truth: TruthCsv | None = None) -> Iterator[WireMessage]:
        """Yield the messages on the wire, after the attacks there."""
        fleet = Fleet(WireNetwork(zone=self.scenario.zone))

        def genuine() -> Iterator[WireMessage]:
            for chunk in self.chunks(chunk_s, truth):
                yield from fleet.encode(
                    shift_trace(trace, self.offset_s) if self.offset_s else trace
                    for trace in chunk.traces
                )

        attacks = self.scenario.message_attacks(self.start, self.seed, self.offset_s)
        return apply_to_messages(genuine(), attacks)

    def _shifted(self, truth: Truth) -> Truth:
        if not self.offset_s:
            return truth
        return replace(
            truth,
            start=truth.start + self.offset_s,
            end=truth.end + self.offset_s,
            arrival=truth.arrival + self.offset_s,
            peak_time=truth.peak_time + self.offset_s,
        )
