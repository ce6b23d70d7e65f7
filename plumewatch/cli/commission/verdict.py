"""What the detector says of a test at one level or another, and which level the test asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from detection.alert_thresholds import FEEDBACK
from detection.events import EventKind
from plumewatch.cli.replay_command import replay_policy
from plumewatch.config.settings import alert_budgets
from plumewatch.replay import judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detection.events import Event
    from plumewatch.cli.commission.trial import Timing
    from plumewatch.config.model import PlumewatchConfig
    from storage.reading import Reading

_STEP: Final = 0.25
"""As far as one answer moves a level, log-odds."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event that the detector told during a step.

    Attributes
    ----------
    late_s : float
        From the beginning of the step to the alert.
    withdrawn : bool
        Whether it was taken back later in the test.
    """

    kind: str
    late_s: float
    confidence: float
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The level that a test asks for.

    Attributes
    ----------
    moved : float
        Part of the level that people move, log-odds; as it was if nothing has to move.
    right : bool
        Whether at this level vaping was said of the puff and of nothing else.
    said : mapping of str to tuple of Said
        What the detector says at this level, by step.
    """

    moved: float
    right: bool
    said: Mapping[str, tuple[Said, ...]]


def said_of(
    config: PlumewatchConfig,
    readings: Sequence[Reading],
    timings: Sequence[Timing],
    moved: Mapping[str, float],
) -> dict[str, tuple[Said, ...]]:
    """Judge recorded readings through the production path.

    Parameters
    ----------
    readings : sequence of Reading
        Of one sensor with the hour before the test, by time.
    moved : mapping of str to float
        Part of the sensor's level that people moved.
    """
    result = judged(
        iter(readings),
        policy=replay_policy(config),
        registry=config.registry(),
        budgets=replace(alert_budgets(config), moved=moved),
    )
    found: dict[str, list[Said]] = {timing.step.name: [] for timing in timings}
    for event in sorted(result.events.values(), key=lambda e: e.alerted):
        timing = next((t for t in timings if t.start <= event.onset < t.end), None)
        if timing is not None:
            found[timing.step.name].append(_said(event, timing, result.withdrawn))
    return {name: tuple(events) for name, events in found.items()}


def _said(event: Event, timing: Timing, withdrawn: set[str]) -> Said:
    late = event.alerted - timing.start
    return Said(event.kind.value, late, event.confidence, event.id in withdrawn)


def asked_level(
    config: PlumewatchConfig,
    sensor: str,
    readings: Sequence[Reading],
    timings: Sequence[Timing],
    moved: float,
) -> Asked:
    """Find the smallest move of a level at which the test comes out right.

    A puff that was missed asks for a lower level, something else taken for vaping for a higher one.
    Where both happen, or no level within the bounds helps, the level stays: no level can tell the
    two apart on this sensor.
    """
    now = said_of(config, readings, timings, {sensor: moved})
    first = _wrong(now, timings)
    if first == (False, False):
        return Asked(moved, right=True, said=now)
    missed, false = first
    if missed != false:
        way = -_STEP if missed else _STEP
        to = moved + way
        while abs(to) <= FEEDBACK + 1e-9:
            said = said_of(config, readings, timings, {sensor: to})
            if _wrong(said, timings) == (False, False):
                return Asked(to, right=True, said=said)
            to += way
    return Asked(moved, right=False, said=now)


def _wrong(said: Mapping[str, tuple[Said, ...]], timings: Sequence[Timing]) -> tuple[bool, bool]:
    """Whether the puff was missed, and whether anything else was taken for vaping for good."""
    vape = {
        name: any(s.kind == EventKind.VAPE.value and not s.withdrawn for s in events)
        for name, events in said.items()
    }
    missed = any(timing.step.vaping and not vape[timing.step.name] for timing in timings)
    false = any(vape[timing.step.name] for timing in timings if not timing.step.vaping)
    return missed, false
