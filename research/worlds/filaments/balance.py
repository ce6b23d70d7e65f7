"""Compute a room's well-mixed background, which is exchanged with the corridor.

Each quantity x follows dx/dt = source + a c - (a + k) x, where a(t) is the air change rate, c(t)
the concentration in the corridor and k the loss. The solution is exact if sources are constant
within a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP_S: Final = 5
_BLOCK: Final = 360


def mix(
    source: NDArray[np.float64],
    rate: NDArray[np.float64],
    loss: NDArray[np.float64] | float,
    outside: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the concentration at each step of `STEP_S` seconds.

    Parameters
    ----------
    source : ndarray, shape (steps, quantities)
        Concentration added during each step.
    rate : ndarray, shape (steps,)
        Air changes, 1/s.
    loss : ndarray of shape (quantities,)
        Other losses, 1/s.
    outside : ndarray, shape (steps, quantities)
        Concentration in the incoming air.
    """
    total = (rate[:, None] + loss) * STEP_S
    gain = source + outside * rate[:, None] * (-np.expm1(-total) / (rate[:, None] + loss))
    out = np.empty_like(gain)
    state = outside[0] * rate[0] / (rate[0] + loss)
    for first in range(0, len(gain), _BLOCK):
        block = slice(first, first + _BLOCK)
        gone = np.cumsum(total[block], axis=0)
        # `gain` already includes the loss during its own step
        out[block] = np.exp(-gone) * (state + np.cumsum(gain[block] * np.exp(gone), axis=0))
        state = out[block][-1]
    return out


def water_full(temp: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the water content of saturated air, g/m³ (Magnus)."""
    return np.asarray(2.1667 * 611.2 / (273.15 + temp) * np.exp(17.62 * temp / (243.12 + temp)))
