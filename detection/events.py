"""What the detector says: events with evidence, in phases."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from detection.channels import CHANNEL_INDEX, RISE
from detection.quantities import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping


ADAPTED: Final = "+adapted-"
"""Between the version of a model and the number of a school's correction of it."""


class EventKind(StrEnum):
    """What happened in the air, or to the sensor."""

    VAPE = "vape"
    SMOKE = "smoke"
    SPRAY = "spray"
    STEAM = "steam"
    VOC = "voc"
    DUST = "dust"
    AMBIENT = "ambient"
    TAMPER = "tamper"
    SENSOR_FAULT = "sensor_fault"
    OFFLINE = "offline"
    INTEGRITY = "integrity"


class EventPhase(StrEnum):
    """Where in its life an event is when the detector speaks of it.

    `ALERTED` comes once, at the decision; then any number of `UPDATED`; last either `ENDED`
    or, when what followed contradicts the decision, `WITHDRAWN`.
    """

    ALERTED = "alerted"
    UPDATED = "updated"
    ENDED = "ended"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class ChannelEvidence:
    """How one channel moved during an event.

    Attributes
    ----------
    baseline : float
        Level before the onset, in the quantity's unit.
    peak_excess : float
        Largest rise above the baseline so far, in the quantity's unit.
    rise_s : float
        Seconds from onset to that peak.
    decay_s : float or None
        Seconds from the peak until half the excess was gone; None while it is not.
    """

    baseline: float
    peak_excess: float
    rise_s: float
    decay_s: float | None


@dataclass(frozen=True, slots=True)
class Event:
    """One event on one sensor, as known at `phase`.

    All times are event time in Unix seconds. `time` is when this phase was emitted: the time of the
    reading that decided it. `probabilities` is over event kinds and sums to one. `explained_by`
    says what else accounts for it; such an event is recorded and alerts nobody.
    """

    sensor: str
    kind: EventKind
    phase: EventPhase
    onset: float
    alerted: float
    peak_time: float
    end: float | None
    confidence: float
    probabilities: Mapping[str, float]
    evidence: Mapping[str, ChannelEvidence]
    model_version: str
    masked: bool = False
    thc_likely: bool = False
    detail: str = ""
    explained_by: str = ""
    time: float = math.nan
    id: str = ""

    def __post_init__(self) -> None:
        """Derive the identity from sensor, onset, kind and model version."""
        if math.isnan(self.time):
            object.__setattr__(self, "time", self.alerted if self.end is None else self.end)
        if not self.id:
            # Without the school's correction, which may change while an event lasts.
            model = base_version(self.model_version)
            text = f"{self.sensor}\x1f{self.onset:.3f}\x1f{self.kind}\x1f{model}"
            digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
            object.__setattr__(self, "id", digest)


def base_version(version: str) -> str:
    """Return the version of a model without a school's correction.

    >>> base_version("plume-6+adapted-3")
    'plume-6'
    """
    return version.partition(ADAPTED)[0]


KIND_NAMES: Final = {
    "vape": "vaping",
    "smoke": "smoke",
    "spray": "spray",
    "steam": "steam",
    "voc": "cleaner or solvent",
    "dust": "dust",
    "ambient": "building-wide air change",
    "tamper": "tampering",
    "sensor_fault": "sensor fault",
    "offline": "sensor offline",
    "integrity": "forged or flooded messages",
}
"""Nouns of kinds, as after a probability: 90 % likely vaping. Titles: `notice.KIND_WORDS`."""
_STEADY: Final = "steady"
_HARDLY: Final = "hardly moved"
_LABELS: Final = {
    "pm1": "finest particles",
    "pm25": "fine particles",
    "pm4": "particles",
    "pm10": "coarse particles",
    "tvoc_ppb": "VOC",
    "tvoc_ugm3": "VOC",
    "voc_index": "VOC",
    "voc_raw": "VOC",
    "rh": "humidity",
}
"""Quantities in the words of people who do not measure air."""


def evidence_sentence(event: Event) -> str:
    """Say how likely it is and why, for a lock screen.

    A channel that moved less than what opens an episode by itself (`channels.RISE`) has "hardly
    moved"; one that moved less than its sensor can tell is "steady". Their levels are left out:
    what did not happen needs few words. Units are in the table of the staff page.

    Examples
    --------
    >>> e = Event("s1", EventKind.VAPE, EventPhase.ALERTED, 0.0, 6.0, 6.0, None, 0.97,
    ...           {"vape": 0.97, "spray": 0.02}, {"pm25": ChannelEvidence(4, 176, 6, 14.0)}, "m1")
    >>> print(evidence_sentence(e))
    97 % likely vaping (2 % spray). Why: fine particles rose from 4 to 180 in 6 s and halved in 14 s
    """
    why = _why(event)
    ranked = sorted(event.probabilities.items(), key=lambda kv: -kv[1])[:2]
    odds = [f"{100 * p:.0f} % {KIND_NAMES.get(kind, kind)}" for kind, p in ranked if p >= 0.005]
    if not odds or (why and not event.evidence):
        return f"{why[:1].upper()}{why[1:]}"
    second = f" ({odds[1]})" if len(odds) > 1 else ""
    likely = f"{odds[0].replace(' % ', ' % likely ', 1)}{second}"
    return f"{likely}. Why: {why}" if why else likely


def _why(event: Event) -> str:
    """Say what moved, then what did not, then the detail."""
    moved, still = [], dict[str, list[str]]()
    for key, evidence in event.evidence.items():
        label, movement = _LABELS.get(key, QUANTITIES[key].label), _movement(key, evidence)
        if movement in (_STEADY, _HARDLY):
            still.setdefault(movement, []).append(label)
        else:
            moved.append(f"{label} {movement}")
    said = {label for text in moved for label in _LABELS.values() if text.startswith(f"{label} ")}
    for movement, labels in still.items():
        names = [label for label in dict.fromkeys(labels) if label not in said]
        said.update(names)
        if names:
            *others, last = names
            listed = f"{', '.join(others)} and {last}" if others else last
            moved.append(f"{listed} {movement}")
    return ", ".join([*moved, *filter(None, [event.detail])])


def _movement(key: str, evidence: ChannelEvidence) -> str:
    """Say how one channel moved."""
    q = QUANTITIES[key]
    size = abs(evidence.peak_excess)
    if size < 3 * q.resolution:
        return _STEADY
    if key in CHANNEL_INDEX and size < RISE[CHANNEL_INDEX[key]] < math.inf:
        return _HARDLY
    base, top = evidence.baseline, evidence.baseline + evidence.peak_excess
    digits = 1 if q.resolution < 1 and size < 5 else 0
    verb = "rose" if evidence.peak_excess > 0 else "fell"
    took = "at once" if evidence.rise_s < 0.5 else f"in {format_span(evidence.rise_s)}"
    text = f"{verb} from {base:.{digits}f} to {top:.{digits}f} {took}"
    if evidence.decay_s is not None:
        text += f" and halved in {format_span(evidence.decay_s)}"
    return text


def format_span(seconds: float) -> str:
    """Format a duration.

    >>> format_span(5.0), format_span(90.0), format_span(300.0), format_span(7200.0)
    ('5 s', '90 s', '5 min', '2 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
