"""The output of detectors: events with evidence and details, in phases.

A detail is a reason that probabilities and channels don't show. To define a new one, add a member
of `Detail` with its sentence here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping  # noqa: TC003 - msgspec reads it
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Any, Final

from detection.channels import CHANNEL_INDEX, RISE
from detection.quantities import QUANTITIES, QUANTITY_WORDS
from language.messages import (
    Coded,
    Fact,
    Sentences,
    Words,
    _,
    join_words,
    mark,
    mark_plural,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class Detail(Coded):
    """A detail of an event."""

    # reported by the device itself
    TAMPERED = "tampered", mark("the sensor reports tampering")
    VENDOR_VAPE = "vendor_vape", mark("%(device)s's own vape alarm")
    VENDOR_BURNING = "vendor_burning", mark("%(device)s's own burning alarm")
    VENDOR_INTERFERENCE = "vendor_interference", mark("%(device)s reports interference")
    BATTERY_LOW = "battery_low", mark("the battery is low")
    BATTERY_AT = "battery_at", mark("the battery is at %(percent).0f%%")
    NO_VALID_VALUE = (
        "no_valid_value",
        mark("the sensor's %(quantity)s channel reports no valid value"),
    )
    CLOCK_STANDS = (
        "clock_stands",
        mark("the sensor's clock has stopped: its readings are dated on arrival"),
    )
    # messages under a sensor's name
    TWO_SENDERS = (
        "two_senders",
        mark("a second sender is using its name: the room is not monitored reliably"),
    )
    REPEATED = "repeated", mark("recorded readings are being replayed under its name")
    REFUSED = "refused", mark("many messages under its name are not readings")
    FLOODED = (
        "flooded",
        mark("far too many messages arrive under its name: the room is not monitored reliably"),
    )
    # the service itself
    UNREGISTERED = "strangers", mark("many unregistered sensors")  # the stored name is older
    SESSION_LOST = (
        "session_lost",
        mark("the broker lost the service's session: readings queued in it may be missing"),
    )
    SESSION_CONTENDED = (
        "session_contended",
        mark(
            "the connection keeps dropping: the network is bad, or another client uses the same id"
        ),
    )
    QUOTA_USED_UP = (
        "quota_used_up",
        mark(
            "the daily quota is used up: notices go to people's next addresses until midnight UTC"
        ),
    )
    # a sensor's readings
    FROZEN = "frozen", mark("%(quantity)s has been exactly %(amount)s for %(time)s")
    ALL_FROZEN = "all_frozen", mark("every value has been exactly the same for %(time)s")
    MISSING = (
        "missing",
        mark("%(quantity)s has not been reported for %(time)s, though other values are"),
    )
    SATURATED = (
        "saturated",
        mark("%(quantity)s has been at %(amount)s, the end of its scale, for %(time)s"),
    )
    NOISY = (
        "noisy",
        mark("%(quantity)s has been %(times).0f times noisier than ever before for %(time)s"),
    )
    COVERED = (
        "covered",
        mark(
            "for %(time)s no particles have entered and no value has changed: the sensor"
            " may be covered or its inlet blocked"
        ),
    )
    BLOWN = (
        "blown",
        mark(
            "dust and moist air came and went within %(time)s: someone blew or sprayed"
            " into the sensor"
        ),
    )
    SPRAYED = (
        "sprayed",
        mark("%(quantity)s reached %(amount)s: something was sprayed into the sensor"),
    )
    DRIFT = (
        "drift",
        mark(
            "on %(days)d days the lowest value was %(amount)s, up from %(before)s: the"
            " sensor may be dusty"
        ),
    )
    # silent sensors
    SILENT = "silent", mark("no reading for %(time)s (normally every %(interval)s)")
    SAYS_OFFLINE = "says_offline", mark("the sensor or its gateway reports that it is offline")
    NEVER_SEEN = (
        "never_seen",
        mark(
            "no reading since it was registered %(time)s ago: is it installed, and does its id"
            " match the one it publishes under?"
        ),
    )
    SEVERAL_SILENT = "several_silent", mark("%(n)d sensors fell silent together: %(sensors)s")
    SEVERAL_NEVER_SEEN = (
        "several_never_seen",
        mark(
            "%(n)d registered sensors have never sent a reading: %(sensors)s; are they installed,"
            " and do their ids match the ones they publish under?"
        ),
    )
    BROKER_AWAY = "broker_away", mark("the broker cannot be reached")
    BACK = "back", mark("back after %(time)s")
    PARTLY_BACK = (
        "partly_back",
        mark_plural(
            "%(n)d of %(all)d back after %(time)s, %(away)d still silent",
            "%(n)d of %(all)d back after %(time)s, %(away)d still silent",
        ),
    )
    STATE_LOST = "state_lost", mark("its state was lost; the sensor is being checked again")
    # a plume
    LARGE_PLUME = "large_plume", mark("a large plume, vaping or spray")
    RARE_READINGS = (
        "rare_readings",
        mark("vaping or spray: this sensor reports too rarely to tell them apart"),
    )
    # a building
    ROSE_TOGETHER = "rose_together", mark("particles rose together in %(risen)d of %(n)d rooms")


INTEGRITY: Final = (Detail.TWO_SENDERS, Detail.REPEATED, Detail.REFUSED, Detail.FLOODED)
"""Ingest findings about a sensor's messages. They are reported with the prefix ``integrity:``."""
UNRELIABLE: Final = frozenset({Detail.TWO_SENDERS, Detail.FLOODED})
"""Findings that also notify the people on duty, because vaping may go undetected."""
BATTERY: Final = frozenset({Detail.BATTERY_LOW, Detail.BATTERY_AT})
UNSETTLED: Final = frozenset({Detail.PARTLY_BACK, Detail.STATE_LOST})
"""Details of outages that ended while sensors may still be silent."""


def format_span(seconds: float) -> str:
    """Format a duration.

    >>> format_span(5.0), format_span(90.0), format_span(300.0), format_span(7200.0)
    ('5 s', '90 s', '5 min', '2 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _format_amount(value: float, params: Mapping[str, Any]) -> str:
    """Format a value of a quantity.

    >>> [_format_amount(v, {"quantity": q}) for v, q in ((3.0, "pm25"), (500.0, "voc_index"))]
    ['3.0 µg/m³', '500']
    """
    quantity = QUANTITIES[params["quantity"]]
    digits = {1.0: 0, 0.1: 1}.get(quantity.resolution, 2)
    return f"{value:.{digits}f} {quantity.unit}".rstrip()


def _format_sensors(names: str, params: Mapping[str, Any]) -> str:
    more = params["more"]
    return _("%(sensors)s and %(more)d more", sensors=names, more=more) if more else names


_SENTENCES: Final = Sentences(
    Detail.list_texts(),
    {
        "device": lambda name, _params: name or _("the sensor"),
        "quantity": lambda key, _params: QUANTITY_WORDS.get(key, key),
        "amount": _format_amount,
        "before": _format_amount,
        "time": lambda seconds, _params: format_span(seconds),
        "interval": lambda seconds, _params: format_span(seconds),
        "sensors": _format_sensors,
    },
)


def join_details(details: Iterable[Fact]) -> str:
    """Join the details' sentences."""
    return "; ".join(map(_SENTENCES.write, details))


class EventKind(Coded):
    """What happened in the air, or to the sensor."""

    VAPE = "vape", mark("vaping")
    POSSIBLE = "possible", mark("possible vaping")
    """Vaping that is not likely enough to alert, or a large plume without a clear cause."""
    SMOKE = "smoke", mark("smoke")
    SPRAY = "spray", mark("spray")
    STEAM = "steam", mark("steam")
    VOC = "voc", mark("cleaner or solvent")
    DUST = "dust", mark("dust")
    AMBIENT = "ambient", mark("building-wide air change")
    TAMPER = "tamper", mark("tampering")
    SENSOR_FAULT = "sensor_fault", mark("sensor fault")
    OFFLINE = "offline", mark("sensor offline")
    INTEGRITY = "integrity", mark("forged or flooded messages")
    SERVICE = "service", mark("service fault")


class EventPhase(StrEnum):
    """The phase of an event.

    A detector reports an event once as `ALERTED`, then any number of times as `UPDATED`, and
    finally as `ENDED`.
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
        Seconds from the peak until half the excess was gone; None until then.
    """

    baseline: float
    peak_excess: float
    rise_s: float
    decay_s: float | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence for an event."""

    probabilities: dict[str, float]
    channels: dict[str, ChannelEvidence]
    details: tuple[Fact, ...] = ()

    def describe(self, kind: str) -> str:
        """Write how likely a kind is and why, in the reader's language (`describe_evidence`).

        If another kind is likelier, give the evidence, then the likelier kind.
        """
        why = _explain(self.channels, self.details)
        ranked = sorted(self.probabilities.items(), key=lambda kv: -kv[1])[:2]
        odds = [(f"{100 * p:.0f}", KIND_NAMES.get(kind, kind)) for kind, p in ranked if p >= 0.005]
        if not odds or (why and not self.channels):
            return f"{why[:1].upper()}{why[1:]}"
        (percent, first), *others = odds
        own = EventKind.VAPE if kind == EventKind.POSSIBLE else kind
        if own in self.probabilities and own != ranked[0][0]:
            intro = f"{why[:1].upper()}{why[1:]}. " if why else ""
            return intro + _("Could also be %(kind)s", kind=first)
        likely = _("%(percent)s%% likely %(kind)s", percent=percent, kind=first)
        if others:
            percent, other = others[0]
            second = _("%(percent)s%% %(kind)s", percent=percent, kind=other)
            likely = f"{likely} ({second})"
        return _("%(likely)s. Why: %(why)s", likely=likely, why=why) if why else likely


@dataclass(frozen=True, slots=True)
class Event:
    """One event on one sensor, as known at `phase`.

    All times are event time in Unix seconds; `time` is that of this phase. `probabilities` maps
    event kinds to probabilities; the model's sum to one. If `explained_by` names another cause, the
    event is recorded but alerts nobody.
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
        """Fill in time and identity."""
        if math.isnan(self.time):
            object.__setattr__(self, "time", self.alerted if self.end is None else self.end)
        if not self.id:
            own = make_event_id(self.sensor, self.onset, self.kind, self.model_version)
            object.__setattr__(self, "id", own)


def make_event_id(sensor: str, onset: float, kind: EventKind, model_version: str) -> str:
    """Return an event's identity."""
    text = f"{sensor}\x1f{onset:.3f}\x1f{kind}\x1f{model_version}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


KIND_NAMES: Final = Words(EventKind.list_texts())
"""Names of kinds, as used after a probability (90% likely vaping); `notice.KIND_WORDS` has
titles."""
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


def describe_evidence(event: Event) -> str:
    """Write how likely the event's kind is and why, for a lock screen.

    A channel that moved too little to open an episode (`channels.RISE`) has "barely changed". A
    channel that moved less than its sensor can measure is "steady". For brevity, the sentence omits
    the levels of both and all units; the table on the staff page shows the units.

    Examples
    --------
    >>> e = Event("s1", EventKind.VAPE, EventPhase.ALERTED, 0.0, 6.0, 6.0, None, 0.97,
    ...           {"vape": 0.97, "spray": 0.02}, {"pm25": ChannelEvidence(4, 176, 6, 14.0)}, "m1")
    >>> print(describe_evidence(e))
    97% likely vaping (2% spray). Why: fine particles rose from 4 to 180 in 6 s and halved in 14 s
    """
    return Evidence(dict(event.probabilities), dict(event.evidence), event.details).describe(
        event.kind
    )


def _explain(evidence: Mapping[str, ChannelEvidence], details: Iterable[Fact]) -> str:
    """Describe the channels that moved, then those that did not, then the details."""
    moved, still = [], dict[_Still, list[str]]()
    mentioned = set[str]()
    for key, channel in evidence.items():
        label, movement = _LABELS.get(key) or QUANTITY_WORDS[key], _describe_movement(key, channel)
        if isinstance(movement, _Still):
            still.setdefault(movement, []).append(label)
        else:
            mentioned.add(label)
            moved.append(_("%(quantity)s %(moved)s", quantity=label, moved=movement))
    for movement, labels in still.items():
        names = [label for label in dict.fromkeys(labels) if label not in mentioned]
        mentioned.update(names)
        if names:
            words = plural(*_STILL_WORDS[movement], len(names))
            moved.append(words % {"quantities": join_words(names)})
    return ", ".join([*moved, *filter(None, [join_details(details)])])


class _Still(Enum):
    """How still a channel was."""

    STEADY = auto()
    HARDLY = auto()


_STILL_WORDS: Final = {
    _Still.STEADY: mark_plural("%(quantities)s steady", "%(quantities)s steady"),
    _Still.HARDLY: mark_plural("%(quantities)s barely changed", "%(quantities)s barely changed"),
}


def _describe_movement(key: str, evidence: ChannelEvidence) -> str | _Still:
    """Describe how one channel moved."""
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


DEVICE_VERSION: Final = "device-1"
"""Model version of events that devices report themselves."""


def is_device_alarm(model_version: str) -> bool:
    """Return whether an event is a device's own alarm rather than our detection.

    >>> is_device_alarm("device-1-vendor_vape"), is_device_alarm("plume-6")
    (True, False)
    """
    return model_version.startswith(f"{DEVICE_VERSION}-vendor_")
