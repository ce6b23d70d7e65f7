"""The five minutes of a commissioning test, and what a sensor showed in each of them; pure.

A step is judged by each quantity against the air right before it. The noise is the scatter of the
quiet minute (median absolute deviation times 1.4826, that of a normal distribution; Rousseeuw and
Croux 1993). Seen is what rises above `SEEN` times it, above three steps of the quantity's
resolution, and half as much again as quiet air itself moved; the last is for a sensor that still
warms up. This is coarse on purpose: it says whether the sensor reacts and how late; what it reacts
*to* is the detector's judgement, asked beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from detection.quantities import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from storage.reading import Reading

SEEN: Final = 5.0
"""Times the noise from which a rise counts as seen."""
_MOVED: Final = 1.5
_BEFORE_S: Final = 30.0
_E_FOLD: Final = float(np.exp(-1.0))


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a person does.

    Attributes
    ----------
    instruction : str
        What they are told.
    seconds : float
        How long it and its trace take.
    vaping : bool
        Whether the detector should say vaping.
    """

    name: str
    instruction: str
    seconds: float
    vaping: bool = False


STEPS: Final = (
    Step("quiet", "Leave the room alone: door shut, nobody inside, the fan as it usually is.", 60),
    Step("fan", "Switch the fan or hand dryer on; at the next step off again.", 40),
    Step("water", "Three strokes of a hand spray with water, a metre from the sensor.", 50),
    Step(
        "puff",
        "In the stall farthest from the sensor: a one-second puff of theatrical glycol fog, or a"
        " smoke-detector tester.",
        90,
        vaping=True,
    ),
    Step("deodorant", "One second of deodorant or hair spray in the middle of the room.", 60),
)
"""Five minutes. What clears fast comes first: deodorant hangs for minutes, glycol does not."""


class Timing(NamedTuple):
    """When a step was begun and ended, Unix seconds."""

    step: Step
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Response:
    """How one quantity of one sensor answered to one step.

    Attributes
    ----------
    baseline, peak : float
        In the quantity's unit: median of the half minute before, and highest excess over it.
    noise : float
        Scatter of quiet air, same unit.
    delay_s : float or None
        From the beginning of the step to the first reading that was above; None if none was.
    fall_s : float or None
        From the peak to a third (1/e) of it; None if it did not fall so far in the step.
    """

    quantity: str
    baseline: float
    peak: float
    noise: float
    seen: bool
    delay_s: float | None
    fall_s: float | None


def responses(readings: Sequence[Reading], timings: Sequence[Timing]) -> dict[str, list[Response]]:
    """Judge what one sensor showed.

    Parameters
    ----------
    readings : sequence of Reading
        Of one sensor, by event time.
    timings : sequence of Timing
        The first is the quiet one.

    Returns
    -------
    dict of str to list of Response
        By the name of the step, without the quiet one; a quantity that was not measured before and
        during a step is left out.
    """
    series = _series(readings)
    quiet = timings[0]
    found: dict[str, list[Response]] = {}
    for timing in timings[1:]:
        answers = [
            response
            for quantity, (times, values) in series.items()
            if (response := _response(quantity, times, values, quiet, timing)) is not None
        ]
        found[timing.step.name] = answers
    return found


def interval_of(readings: Sequence[Reading]) -> float | None:
    """Seconds between readings, the median; None if there are too few."""
    times = sorted({reading.time for reading in readings if reading.values})
    return float(np.median([b - a for a, b in pairwise(times)])) if len(times) > 1 else None


def _series(
    readings: Sequence[Reading],
) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    times: dict[str, list[float]] = {}
    values: dict[str, list[float]] = {}
    for reading in readings:
        for quantity, value in reading.values.items():
            times.setdefault(quantity, []).append(reading.time)
            values.setdefault(quantity, []).append(value)
    return {
        key: (np.array(times[key]), np.array(values[key])) for key in QUANTITIES if key in times
    }


def _response(
    quantity: str,
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    quiet: Timing,
    timing: Timing,
) -> Response | None:
    rest = values[(times >= quiet.start) & (times < quiet.end)]
    before = values[(times >= timing.start - _BEFORE_S) & (times < timing.start)]
    during = (times >= timing.start) & (times < timing.end)
    if rest.size < 2 or before.size == 0 or not during.any():
        return None
    noise = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    baseline = float(np.median(before))
    excess, at = values[during] - baseline, times[during]
    low, high = np.percentile(rest, (5, 95))
    threshold = max(SEEN * noise, 3 * QUANTITIES[quantity].resolution, _MOVED * float(high - low))
    top = int(np.argmax(excess))
    above = np.flatnonzero(excess > threshold)
    fallen = np.flatnonzero(excess[top:] <= excess[top] * _E_FOLD)
    seen = above.size > 0
    return Response(
        quantity=quantity,
        baseline=baseline,
        peak=float(excess[top]),
        noise=noise,
        seen=seen,
        delay_s=float(at[above[0]] - timing.start) if seen else None,
        fall_s=float(at[top + fallen[0]] - at[top]) if seen and fallen.size else None,
    )
