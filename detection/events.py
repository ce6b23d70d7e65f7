"""What the detector says: events with evidence, in phases."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping  # noqa: TC003 - msgspec reads it
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final

from detection.channels import CHANNEL_INDEX, RISE
from detection.details import details_text, format_span
from detection.quantities import QUANTITIES, QUANTITY_WORDS
from language.facts import Fact  # noqa: TC001 - msgspec reads it
from language.messages import Words, _, listed, mark, mark_plural, plural

if TYPE_CHECKING:
    from collections.abc import Iterable


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
    SERVICE = "service"


class EventPhase(StrEnum):
    """Where in its life an event is when the detector speaks of it.

    `ALERTED` comes once, at the decision; then any number of `UPDATED`; last `ENDED`.
    """

    ALERTED = "alerted"
    UPDATED = "updated"
    ENDED = "ended"


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
class Evidence:
    """What an event is based on; `details` is what a detector adds."""

    probabilities: dict[str, float]
    channels: dict[str, ChannelEvidence]
    details: tuple[Fact, ...] = ()

    def sentence(self) -> str:
        """Say how likely it is and why, in the reader's language (`evidence_sentence`)."""
        why = _why(self.channels, self.details)
        ranked = sorted(self.probabilities.items(), key=lambda kv: -kv[1])[:2]
        odds = [(f"{100 * p:.0f}", KIND_NAMES.get(kind, kind)) for kind, p in ranked if p >= 0.005]
        if not odds or (why and not self.channels):
            return f"{why[:1].upper()}{why[1:]}"
        (percent, kind), *others = odds
        likely = _("%(percent)s %% likely %(kind)s", percent=percent, kind=kind)
        if others:
            percent, kind = others[0]
            second = _("%(percent)s %% %(kind)s", percent=percent, kind=kind)
            likely = f"{likely} ({second})"
        return _("%(likely)s. Why: %(why)s", likely=likely, why=why) if why else likely


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
    details: tuple[Fact, ...] = ()
    explained_by: str = ""
    time: float = math.nan
    id: str = ""

    def __post_init__(self) -> None:
        """Derive the identity from sensor, onset, kind and model version."""
        if math.isnan(self.time):
            object.__setattr__(self, "time", self.alerted if self.end is None else self.end)
        if not self.id:
            text = f"{self.sensor}\x1f{self.onset:.3f}\x1f{self.kind}\x1f{self.model_version}"
            digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
            object.__setattr__(self, "id", digest)


KIND_NAMES: Final = Words(
    {
        "vape": mark("vaping"),
        "smoke": mark("smoke"),
        "spray": mark("spray"),
        "steam": mark("steam"),
        "voc": mark("cleaner or solvent"),
        "dust": mark("dust"),
        "ambient": mark("building-wide air change"),
        "tamper": mark("tampering"),
        "sensor_fault": mark("sensor fault"),
        "offline": mark("sensor offline"),
        "integrity": mark("forged or flooded messages"),
        "service": mark("service fault"),
    }
)
"""Nouns of kinds, as after a probability: 90 % likely vaping. Titles: `notice.KIND_WORDS`."""
_LABELS: Final = Words(
    {
        "pm1": mark("finest particles"),
        "pm25": mark("fine particles"),
        "pm4": mark("particles"),
        "pm10": mark("coarse particles"),
        "tvoc_ppb": mark("VOC"),
        "tvoc_ugm3": mark("VOC"),
        "voc_index": mark("VOC"),
        "voc_raw": mark("VOC"),
        "rh": mark("humidity"),
    }
)
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
    return Evidence(dict(event.probabilities), dict(event.evidence), event.details).sentence()


def _why(evidence: Mapping[str, ChannelEvidence], details: Iterable[Fact]) -> str:
    """Say what moved, then what did not, then the details."""
    moved, still = [], dict[_Still, list[str]]()
    said = set[str]()
    for key, channel in evidence.items():
        label, movement = _LABELS.get(key) or QUANTITY_WORDS[key], _movement(key, channel)
        if isinstance(movement, _Still):
            still.setdefault(movement, []).append(label)
        else:
            said.add(label)
            moved.append(_("%(quantity)s %(moved)s", quantity=label, moved=movement))
    for movement, labels in still.items():
        names = [label for label in dict.fromkeys(labels) if label not in said]
        said.update(names)
        if names:
            words = plural(*_STILL[movement], len(names))
            moved.append(words % {"quantities": listed(names)})
    return ", ".join([*moved, *filter(None, [details_text(details)])])


class _Still(Enum):
    """How a channel did not move."""

    STEADY = auto()
    HARDLY = auto()


_STILL: Final = {
    _Still.STEADY: mark_plural("%(quantities)s steady", "%(quantities)s steady"),
    _Still.HARDLY: mark_plural("%(quantities)s hardly moved", "%(quantities)s hardly moved"),
}


def _movement(key: str, evidence: ChannelEvidence) -> str | _Still:
    """Say how one channel moved."""
    q = QUANTITIES[key]
    size = abs(evidence.peak_excess)
    if size < 3 * q.resolution:
        return _Still.STEADY
    if key in CHANNEL_INDEX and size < RISE[CHANNEL_INDEX[key]] < math.inf:
        return _Still.HARDLY
    base, top = evidence.baseline, evidence.baseline + evidence.peak_excess
    digits = 1 if q.resolution < 1 and size < 5 else 0
    values = {
        "base": f"{base:.{digits}f}",
        "top": f"{top:.{digits}f}",
        "rise": format_span(evidence.rise_s),
    }
    rose, at_once = evidence.peak_excess > 0, evidence.rise_s < 0.5
    if at_once:
        text = (
            _("rose from %(base)s to %(top)s at once", **values)
            if rose
            else _("fell from %(base)s to %(top)s at once", **values)
        )
    else:
        text = (
            _("rose from %(base)s to %(top)s in %(rise)s", **values)
            if rose
            else _("fell from %(base)s to %(top)s in %(rise)s", **values)
        )
    if evidence.decay_s is None:
        return text
    return _("%(moved)s and halved in %(time)s", moved=text, time=format_span(evidence.decay_s))
