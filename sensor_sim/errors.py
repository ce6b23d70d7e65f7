"""Errors of the simulator.

Only `BrokerUnreachableError` is transient.
"""

from __future__ import annotations


class SimulationError(Exception):
    """Base of all errors of the simulator; the text is one sentence for the user."""


class BrokerAddressError(SimulationError):
    """The address of the broker cannot be read."""


class BrokerRefusedError(SimulationError):
    """The broker answers and rejects the login."""


class BrokerUnreachableError(SimulationError):
    """No broker answers at the address, or it went away; may work later."""
