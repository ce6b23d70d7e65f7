"""Errors of the simulator.

::

    SimulationError
    +-- ScenarioError            permanent: the scenario file has faults, all of them listed
    +-- BrokerAddressError       permanent: the address of the broker can't be read
    +-- BrokerRefusedError       permanent: the broker answers and refuses (password, rights)
    +-- BrokerUnreachableError   transient: no broker answers, or it went away
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SimulationReason(StrEnum):
    """Closed set of reasons, for log fields."""

    SCENARIO = "scenario"
    BROKER_ADDRESS = "broker_address"
    BROKER_REFUSED = "broker_refused"
    BROKER_UNREACHABLE = "broker_unreachable"


class SimulationError(Exception):
    """Base of all errors of the simulator; the text is one sentence for the user."""

    reason: SimulationReason


@dataclass(frozen=True, slots=True)
class ScenarioFault:
    """One fault of a scenario file.

    - `path`: where, such as ``buildings[0].floors[1].rooms[0].volume_m3``.
    - `value`: what stands there.
    - `allowed`: what may stand there.
    """

    path: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """Return the fault in one line."""
        return f"{self.path}: {self.value} (allowed: {self.allowed})"


class ScenarioError(SimulationError):
    """A scenario file has faults.

    - `source`: the file.
    - `faults`: all of them.
    """

    reason = SimulationReason.SCENARIO

    def __init__(self, source: str, faults: tuple[ScenarioFault, ...]) -> None:
        self.source = source
        self.faults = faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {f}" for f in faults)]))


class BrokerAddressError(SimulationError):
    """The address of the broker can't be read."""

    reason = SimulationReason.BROKER_ADDRESS


class BrokerRefusedError(SimulationError):
    """The broker answers and refuses."""

    reason = SimulationReason.BROKER_REFUSED


class BrokerUnreachableError(SimulationError):
    """No broker answers at the address, or it went away; may work later."""

    reason = SimulationReason.BROKER_UNREACHABLE
    retry_after = 5.0
