"""Compute the truth: what a perfect observer at each sensor would measure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor_sim.physics.plume import CO2, GAS, WATER
from sensor_sim.trace import Truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensor_sim.devices.faults import Fault
    from sensor_sim.devices.models import Device
    from sensor_sim.physics.emission import Session
    from sensor_sim.physics.plume import Plume
    from sensor_sim.schedule import Ambient

SEEN_UG_M3: Final = 2.0
"""PM2.5 excess above which a sensor could see a plume, µg/m³."""
SEEN_GAS_PPB: Final = 30.0
SEEN_WATER_G_M3: Final = 0.2


@dataclass(slots=True)
class Seen:
    """A session at one sensor, while its truth is incomplete.

    The baseline is all PM2.5 at time `at` except its `own`. The truth is complete after `done`.
    """

    truth: Truth
    at: float
    own: float
    done: float


@dataclass(slots=True)
class AmbientTrack:
    """One building-wide event, tracked in each room: when it arrived, and the background then."""

    arrival: NDArray[np.float64]
    baseline: NDArray[np.float64]

    @classmethod
    def create(cls, rooms: int) -> AmbientTrack:
        """Return the state before anything has arrived."""
        return cls(np.full(rooms, np.nan), np.zeros(rooms))

    def add(
        self, room: int, begin: float, excess: NDArray[np.float64], fine: NDArray[np.float64]
    ) -> None:
        """Add the minutes of a tile."""
        passed = np.flatnonzero(excess > SEEN_UG_M3)
        if passed.size and math.isnan(self.arrival[room]):
            self.arrival[room] = begin + 60.0 * passed[0]
            self.baseline[room] = fine[passed[0]]

    def make_truth(self, event: Ambient, room: int, device: Device) -> Truth:
        """Return the truth for a device in a room."""
        arrival, baseline = float(self.arrival[room]), float(self.baseline[room])
        names = event.id, device.id, device.room, event.source
        return Truth(*names, "ambient", event.start, event.end, arrival, baseline=baseline)


def observe_session(session: Session, device: Device, plume: Plume | None, start: float) -> Seen:
    """Return a session as a perfect observer at a sensor would measure it, without baseline."""
    arrival = peak_time = math.nan
    peak = own = 0.0
    if plume is not None:
        begin = start + plume.first
        pm25 = plume.pm25
        peak = float(pm25.max())
        other = (plume.rows[GAS:CO2].sum(axis=0) > SEEN_GAS_PPB) | (
            np.abs(plume.rows[WATER]) > SEEN_WATER_G_M3
        )
        # Vaping arrives with its particles; other sources also with their gas or humidity.
        passed = pm25 > SEEN_UG_M3
        if session.kind != "vape":
            passed = passed | other
        if passed.any():
            i = int(np.argmax(passed))
            arrival = begin + i
            own = float(pm25[i])
        if peak > 0.1 or session.kind == "vape":
            peak_time = begin + int(np.argmax(pm25))
        elif not math.isnan(arrival):
            peak_time = begin + int(np.argmax(plume.rows[GAS : WATER + 1].sum(axis=0)))
    at = session.start if math.isnan(arrival) else arrival
    known = [t for t in (session.end, arrival, peak_time) if not math.isnan(t)]
    span = session.start, session.end
    truth = Truth(
        session.id, device.id, device.room, session.source, session.kind, *span, arrival, peak
    )
    return Seen(truth, at, own, max(known))


def drop_unknown(truth: Truth, finish: float) -> Truth:
    """Remove the parts of a truth that are not known yet at `finish`."""
    if truth.arrival >= finish:
        return replace(truth, arrival=math.nan, peak_excess=0.0)
    return truth


def make_fault_truth(device: Device, fault: Fault) -> Truth:
    """Return the truth about a device's fault."""
    name = f"{fault.kind}:{fault.channel}" if fault.channel else fault.kind
    session = f"{device.id}/fault/{fault.start:.0f}"
    at = fault.start
    return Truth(
        session, device.id, device.room, name, "sensor_fault", at, fault.end, at, baseline=0.0
    )
