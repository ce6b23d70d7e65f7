"""Plan a unit's faults: gaps, restarts, dead and frozen channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensor_sim.streams import draw_log, make_stream

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: a ``gap``, a ``restart``, or ``dead`` or ``frozen`` values of a `channel`."""

    kind: str
    channel: str
    start: float
    end: float


def plan_faults(
    seed: int, sensor: str, channels: Sequence[str], block: int, start: float, length_s: float
) -> tuple[Fault, ...]:
    """Draw the faults that begin in one stretch of time.

    The rates are priors, because no figures are published: a network gap (10 s to 20 min) about
    every 3 days, a restart every 10 days, a frozen channel every 40 days, and a dead channel every
    80 days. Rates of units differ by a factor of four.
    """
    unit = make_stream(seed, "reliability", sensor).lognormal(0, 0.7)
    rng = make_stream(seed, "faults", sensor, block)
    days = length_s / 86_400 * unit
    out: list[Fault] = []
    for kind, per_day in (("gap", 0.35), ("restart", 0.1), ("frozen", 0.025), ("dead", 0.0125)):
        for _ in range(int(rng.poisson(per_day * days))):
            at = start + rng.uniform(0, length_s)
            channel = ""
            if kind == "gap":
                length = draw_log(rng, 10, 1200)
            elif kind == "restart":
                length = draw_log(rng, 3, 40)
            else:
                channel = str(rng.choice(list(channels)))
                length = draw_log(rng, 600, 40_000)
            out.append(Fault(kind, channel, at, at + length))
    return tuple(sorted(out, key=lambda f: f.start))
