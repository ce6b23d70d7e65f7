"""Events detected elsewhere and received over MQTT; each message carries one event update.

A cluster that runs detection for many schools publishes its events to ``plumewatch/events/SENSOR``.
The alert engine treats them like events of its own detectors. Sensors must not publish to this
topic. An event's id is derived from its sensor, onset, kind and model version, so the updates of an
event are recognized in any order. An event that the detector withdraws counts as ended.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import msgspec

from detection.events import Event, join_details
from ingest.errors import DecodeError, MessageRefusedError, PayloadError, Reason
from ingest.intake import Outcome, OutcomeKind, make_rejection
from ingest.mqtt.connection import make_client, open_connection
from ingest.validation import check_json, check_size, check_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.mqtt.connection import BrokerSettings
    from ingest.validation import Limits, Message
    from storage.reading import Reading
    from storage.registry import Registry

EVENT_TOPIC: Final = "plumewatch/events/"
EVENT_TOPICS: Final = (f"{EVENT_TOPIC}+",)
_NAME: Final = "event"
_PUBLISH_S: Final = 30.0
_FIELDS: Final = frozenset(field.name for field in dataclasses.fields(Event))


def read_event(payload: bytes) -> Event:
    """Return the event in a message; raises `PayloadError` if it or its id is invalid."""
    try:
        tree = msgspec.json.decode(payload, type=dict[str, Any])
        if tree.get("phase") == "withdrawn":
            tree |= {"phase": "ended", "end": tree.get("end") or tree.get("time")}
        event = msgspec.convert(tree, Event)
        join_details(event.details)
    except (msgspec.MsgspecError, RecursionError, KeyError, TypeError, ValueError) as error:
        raise PayloadError(Reason.MALFORMED, str(error)) from error
    if unknown := tree.keys() - _FIELDS:
        raise PayloadError(Reason.MALFORMED, f"unknown keys: {sorted(unknown)}")
    if not all(0 <= share <= 1 for share in (event.confidence, *event.probabilities.values())):
        raise PayloadError(Reason.MALFORMED, "a probability outside 0 to 1")
    expected = dataclasses.replace(event, id="").id
    if event.id != expected:
        raise PayloadError(Reason.ID_MISMATCH, f"id {event.id!r}, should be {expected!r}")
    return event


class EventIntake:
    """Decide the outcome of each message, as `ingest.intake.Intake` does for readings."""

    def __init__(self, registry: Registry, limits: Limits) -> None:
        self._registry = registry
        self._limits = limits
        self._taken: list[Event] = []

    def on_message(self, message: Message) -> Outcome:
        """Decide the outcome of a message, and keep an accepted event until `take` is called."""
        try:
            self._taken.append(self._read(message))
        except DecodeError as error:
            return make_rejection(message, error.reason, error.detail, _NAME)
        return Outcome(OutcomeKind.ACCEPTED, _NAME)

    def take(self) -> list[Event]:
        """Return the events accepted since the last call, in order."""
        taken, self._taken = self._taken, []
        return taken

    def find_sender(self, topic: str) -> str | None:
        """Return the sensor that a topic names."""
        return topic.removeprefix(EVENT_TOPIC)

    def on_new_session(self) -> None:
        """Do nothing, because events are identified by their own ids."""

    def on_time(self, _now: float) -> tuple[Reading, ...]:
        """Return no readings, because events never wait."""
        return ()

    def get_waiting_since(self) -> float | None:
        """Return None, because events never wait."""
        return None

    def _read(self, message: Message) -> Event:
        check_topic(message.topic, self._limits)
        check_size(message.payload, self._limits.payload_bytes)
        check_json(message.payload, self._limits)
        if message.retained:
            raise MessageRefusedError(Reason.NOT_ALLOWED, "a retained event is not new")
        event = read_event(message.payload)
        if message.topic != EVENT_TOPIC + event.sensor:
            raise MessageRefusedError(
                Reason.ID_MISMATCH, f"the topic belongs to another sensor than {event.sensor}"
            )
        if event.sensor not in self._registry.sensors:
            raise MessageRefusedError(Reason.UNKNOWN_DEVICE, f"no sensor {event.sensor!r}")
        return event


async def publish_events(settings: BrokerSettings, events: Sequence[Any]) -> None:
    """Publish rows (`sensor`, and `event` as JSON) in order at QoS 1.

    Return once the broker has acknowledged all of them.
    """
    if not events:
        return
    client = make_client(settings, f"{settings.client_id}-stream", clean=True)
    async with open_connection(client, settings):
        for message in events:
            topic = EVENT_TOPIC + message.sensor
            await client.publish(topic, message.event, qos=1, timeout=_PUBLISH_S)
