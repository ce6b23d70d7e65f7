"""Events that were detected elsewhere, from MQTT: one message is one word on one event.

A cluster that detects for many schools publishes what it says to ``plumewatch/events/SENSOR``; the
alert engine takes it as if its own detectors had found it. The topic lies outside those that a
sensor may write to. The id of an event is made of its sensor, onset, kind and model version, so a
word that comes again, in any order, is known, and it may be published again and again. One that
its detector withdraws has ended.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from detection.details import details_text
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from ingest.errors import DecodeError, MessageRefusedError, Reason
from ingest.intake import Outcome, OutcomeKind, rejected
from ingest.mqtt.connection import connected, new_client
from ingest.validation import check_json, check_size, check_topic
from language.facts import Fact  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.mqtt.connection import BrokerSettings
    from ingest.validation import Limits, Message
    from storage.reading import Reading
    from storage.registry import Registry

EVENT_TOPIC: Final = "plumewatch/events/"
EVENT_TOPICS: Final = (f"{EVENT_TOPIC}+",)
_NAME: Final = "event"
_KEPT_BYTES: Final = 4096
_PUBLISH_S: Final = 30.0
_Text = Annotated[str, msgspec.Meta(max_length=500)]
_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class _Evidence(msgspec.Struct, forbid_unknown_fields=True):
    baseline: float
    peak_excess: float
    rise_s: float
    decay_s: float | None = None


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    sensor: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    kind: EventKind
    phase: Literal["alerted", "updated", "ended", "withdrawn"]
    onset: float
    alerted: float
    peak_time: float
    end: float | None
    confidence: _Share
    probabilities: dict[_Text, _Share]
    evidence: dict[_Text, _Evidence]
    model_version: _Text
    id: Annotated[str, msgspec.Meta(max_length=64)]
    time: float
    masked: bool = False
    thc_likely: bool = False
    details: tuple[Fact, ...] = ()
    explained_by: _Text = ""


def read_event(payload: bytes) -> Event:
    """Read one word on an event; `MessageRefusedError` if it is none or has another's id."""
    try:
        read = msgspec.json.decode(payload, type=_Event)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MessageRefusedError(Reason.MALFORMED, str(error)) from error
    times = (read.onset, read.alerted, read.peak_time, read.time, read.end or 0.0)
    if not all(math.isfinite(time) for time in times):
        raise MessageRefusedError(Reason.BAD_TIME, "a time is not finite")
    fields = {name: getattr(read, name) for name in read.__struct_fields__ if name != "id"}
    fields["evidence"] = {
        key: ChannelEvidence(found.baseline, found.peak_excess, found.rise_s, found.decay_s)
        for key, found in read.evidence.items()
    }
    if read.phase == "withdrawn":
        fields |= {"phase": "ended", "end": read.time if read.end is None else read.end}
    fields["phase"] = EventPhase(fields["phase"])
    try:
        details_text(read.details)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageRefusedError(Reason.MALFORMED, f"an unknown detail: {error}") from error
    event = Event(**fields)
    if event.id != read.id:
        raise MessageRefusedError(Reason.ID_MISMATCH, f"id {read.id!r}, should be {event.id!r}")
    return event


class EventIntake:
    """Decide each message's one outcome, as `ingest.intake.Intake` does for readings."""

    def __init__(self, registry: Registry, limits: Limits) -> None:
        self._registry = registry
        self._limits = limits
        self._taken: list[Event] = []

    def on_message(self, message: Message) -> Outcome:
        """Return what becomes of a message; what is accepted waits for `take`."""
        try:
            self._taken.append(self._read(message))
        except DecodeError as error:
            return rejected(message, error.reason, error.detail, _NAME, _KEPT_BYTES)
        return Outcome(OutcomeKind.ACCEPTED, _NAME)

    def take(self) -> list[Event]:
        """Return what was accepted since the last call, in order."""
        taken, self._taken = self._taken, []
        return taken

    def on_new_session(self) -> None:
        """Nothing is known by packet ids: events have ids of their own."""

    def on_time(self, _now: float) -> tuple[Reading, ...]:
        """Nothing waits for a time."""
        return ()

    def waiting_since(self) -> float | None:
        """Nothing is held."""
        return None

    def _read(self, message: Message) -> Event:
        check_topic(message.topic, self._limits)
        check_size(message.payload, self._limits.payload_bytes)
        check_json(message.payload, self._limits)
        if message.retained:
            raise MessageRefusedError(Reason.NOT_ALLOWED, "a retained event is no news")
        event = read_event(message.payload)
        if message.topic != EVENT_TOPIC + event.sensor:
            raise MessageRefusedError(
                Reason.ID_MISMATCH, f"topic of another sensor, {event.sensor}"
            )
        if event.sensor not in self._registry.sensors:
            raise MessageRefusedError(Reason.UNKNOWN_DEVICE, f"no sensor {event.sensor!r}")
        return event


async def publish_events(settings: BrokerSettings, events: Sequence[Any]) -> None:
    """Publish rows (`sensor`, `event` as JSON) at QoS 1, in order, until the broker has all."""
    if not events:
        return
    client = new_client(settings, f"{settings.client_id}-stream", clean=True)
    async with connected(client, settings):
        for message in events:
            topic = EVENT_TOPIC + message.sensor
            await client.publish(topic, message.event, qos=1, timeout=_PUBLISH_S)
