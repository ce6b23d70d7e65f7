"""Errors of the simulator.

Only `BrokerUnreachableError` is transient.
"""

from __future__ import annotations

from dataclasses import dataclass


class SimulationError(Exception):
    """Base of all errors of the simulator; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class ScenarioFault:
    """One fault of a scenario file: its path, such as ``buildings[0].id``, and what is allowed."""

    path: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """Return the fault in one line."""
        return f"{self.path}: {self.value} (allowed: {self.allowed})"


class ScenarioError(SimulationError):
    """A scenario file has faults."""

    def __init__(self, source: str, faults: tuple[ScenarioFault, ...]) -> None:
        self.source = source
        self.faults = faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {f}" for f in faults)]))


class BrokerAddressError(SimulationError):
    """The address of the broker cannot be read."""


class BrokerRefusedError(SimulationError):
    """The broker answers and rejects the login."""


class BrokerUnreachableError(SimulationError):
    """No broker answers at the address, or it went away; may work later."""
