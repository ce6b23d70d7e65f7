"""Errors of the simulator.

Only `BrokerUnreachableError` is transient.
"""

from __future__ import annotations


class SimulationError(Exception):
    """Base of all errors of the simulator; the message is one sentence for the user."""


class BrokerAddressError(SimulationError):
    """The address of the broker cannot be parsed."""


class BrokerRefusedError(SimulationError):
    """The broker answered and rejected the login."""


class BrokerUnreachableError(SimulationError):
    """No broker answers at the address, or the connection was lost; a retry may work."""
