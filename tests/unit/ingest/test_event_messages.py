"""Test that other detectors' events are accepted whole or refused, and alert once if repeated."""

import json
import time
from types import SimpleNamespace

import msgspec
import pytest

from detection.events import ChannelEvidence, Detail, Event, EventKind, EventPhase
from ingest.event_messages import EVENT_TOPIC, EventIntake, publish_events, read_event
from ingest.intake import OutcomeKind
from ingest.validation import Limits, Message
from language.messages import build_fact
from plumewatch.config.load import parse
from plumewatch.config.settings import read_broker_settings
from storage.registry import Registry, Room, Sensor
from tests.support.alert_records import events, incidents
from tests.support.broker import Mosquitto
from tests.support.in_process import one_room, running, state_database
from tests.support.waiting import until

REGISTRY = Registry.build([Room("r", "Boys", "2", "North", "S")], [Sensor("n2-boys-1", "r")])
DETAILS = (build_fact(Detail.SEVERAL_SILENT, n=7, sensors="ü, b", more=5),)
AT = 1_789_387_200.0


def event(at=AT, phase=EventPhase.ALERTED, **more):
    fields = {
        "sensor": "n2-boys-1",
        "kind": EventKind.VAPE,
        "onset": at,
        "alerted": at + 6.0,
        "peak_time": at + 5.0,
        "end": None if phase is EventPhase.ALERTED else at + 90.0,
        "confidence": 0.93,
        "probabilities": {"vape": 0.93, "spray": 0.07},
        "evidence": {"pm25": ChannelEvidence(4.0, 80.0, 5.0, None)},
        "model_version": "plume-9",
    }
    return Event(phase=phase, **{**fields, **more})


def encoded(written, **changes):
    tree = json.loads(msgspec.json.encode(written))
    return json.dumps({**tree, **changes}).encode()


def test_a_written_event_is_read_back_unchanged():
    for written in (event(), event(phase=EventPhase.ENDED, masked=True, details=DETAILS)):
        assert read_event(msgspec.json.encode(written)) == written


@pytest.mark.parametrize("end", [None, AT + 90.0])
def test_an_event_that_is_withdrawn_ends(end):
    found = read_event(encoded(event(), phase="withdrawn", end=end, time=AT + 60.0))
    assert (found.phase, found.end) == (EventPhase.ENDED, end or AT + 60.0)
    assert found.id == event().id


def test_what_is_accepted_waits_to_be_taken():
    intake = EventIntake(REGISTRY, Limits())
    outcome = intake.on_message(Message(EVENT_TOPIC + "n2-boys-1", encoded(event()), AT))
    assert (outcome.kind, outcome.readings) == (OutcomeKind.ACCEPTED, ())
    assert intake.take() == [event()]
    assert intake.take() == []
    assert (intake.on_time(AT), intake.get_waiting_since()) == ((), None)


@pytest.mark.parametrize(
    ("topic", "payload", "more", "reason"),
    [
        ("n2-boys-1", b"{", {}, "malformed"),
        ("n2-boys-1", b"[]", {}, "malformed"),
        ("n2-boys-1", b"[" * 100_000, {}, "too_large"),
        ("n2-boys-1", encoded(event(), confidence=2.0), {}, "malformed"),
        ("n2-boys-1", encoded(event(), kind="party"), {}, "malformed"),
        ("n2-boys-1", encoded(event(), person="x"), {}, "malformed"),
        ("n2-boys-1", encoded(event(), id="0000"), {}, "id_mismatch"),
        ("n2-boys-1", encoded(event()).replace(b"1789387206.0", b"1e999"), {}, "malformed"),
        ("n2-boys-2", encoded(event()), {}, "id_mismatch"),
        ("unregistered", encoded(event(sensor="unregistered")), {}, "unknown_device"),
        ("n2-boys-1", encoded(event()), {"retained": True}, "not_allowed"),
    ],
)
def test_what_is_no_event_is_refused_and_kept(topic, payload, more, reason):
    intake = EventIntake(REGISTRY, Limits())
    outcome = intake.on_message(Message(EVENT_TOPIC + topic, payload, AT, **more))
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.dead_letter.reason == reason
    assert outcome.dead_letter.size == len(payload)
    assert intake.take() == []


async def test_an_event_that_comes_again_is_one_incident(tmp_path):
    with Mosquitto() as broker:
        tree = one_room(tmp_path).model_dump(mode="json")
        tree["broker"]["port"] = broker.port
        tree["ingest"]["events"] = True
        config = parse({k: v for k, v in tree.items() if v}, base=tmp_path)
        async with running(config) as service:
            now = time.time()
            await until(lambda: service.ingestion.event_source.state.connected)
            first = event(now - 8.0)
            ended = event(now - 8.0, EventPhase.ENDED)
            words = [first, first, ended, first, event(now - 8.0, sensor="unregistered"), ended]
            written = [
                SimpleNamespace(sensor=w.sensor, event=msgspec.json.encode(w)) for w in words
            ]
            await publish_events(read_broker_settings(config), written)
            await until(lambda: service.ingestion.event_source.state.acknowledged == len(words))
            with state_database(service) as db:
                assert events(db, "id", "phase") == [(first.id, "ended")]
                assert len(incidents(db)) == 1
            assert service.detection.counts.alerts == 1
            assert service.journal.count_dead_letters() == {"unknown_device": 1}
