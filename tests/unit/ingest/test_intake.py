"""Test the intake: one outcome per message, registry, quarantine, counters."""

import json

from ingest.decoding import Context, Decoder
from ingest.intake import Intake, IntakeConfig, OutcomeKind
from ingest.validation import Message
from storage.registry import Registry, Room, Sensor

NOW = 1_790_000_000.0
REGISTRY = Registry.build(
    [Room("r", "Room", "2", "North", "Site")],
    [Sensor("b2", "r"), Sensor("E3:75:CF:37:4E:23", "r")],
)


def intake(**more):
    return Intake(IntakeConfig(context=Context(registry=REGISTRY), **more))


def native(sensor="b2", received=NOW, duplicate=False, retained=False, **content):
    content = content or {"pm25": 7.1}
    content.setdefault("time", received)
    return Message(
        f"plumewatch/v1/{sensor}/reading",
        json.dumps(content).encode(),
        received,
        retained=retained,
        duplicate=duplicate,
    )


def test_duplicate_and_counters_add_up():
    i = intake()
    for message in (
        native(seq=1, pm25=1),
        native(seq=1, pm25=1),
        native(seq=2, pm25=1),
        Message("nothing/here", b"{}", NOW),
        native(pm25="7"),
        Message("plumewatch/v1/b2/reading", b"\xff\x00", NOW),
    ):
        i.on_message(message)
    assert i.counters == {
        ("accepted", "", "native"): 3,
        ("duplicate", "", "native"): 1,
        ("rejected", "unknown_topic", ""): 1,
        ("rejected", "malformed", "native"): 1,
    }


def test_restart_restores_the_window():
    first = intake()
    accepted = [r for s in range(5) for r in first.on_message(native(seq=s, pm25=1)).readings]
    second = intake()
    second.restore(accepted)
    assert {second.on_message(native(seq=s, pm25=1)).kind for s in range(5)} == {
        OutcomeKind.DUPLICATE
    }


def test_registry_ignores_case_and_separators_and_knows_aliases():
    i = intake(aliases={"old-name": "b2"})
    assert i.on_message(native("e375cf374e23")).readings[0].sensor == "E3:75:CF:37:4E:23"
    assert i.on_message(native("B2")).readings[0].sensor == "b2"
    assert i.on_message(native("old-name", NOW + 1)).readings[0].sensor == "b2"
    assert not i.quarantine


def test_a_part_of_a_sensor_is_not_another_sensor_of_almost_its_name():
    i = intake(aliases={"hall": "b2", "hall-2": "E3:75:CF:37:4E:23", "hall:1": "b2"})
    assert i.on_message(native("hall:2")).readings[0].flags == ("unknown_sensor",)
    assert i.on_message(native("hall:1")).readings[0].sensor == "b2"
    assert i.on_message(native("Hall-2", NOW + 1)).readings[0].sensor == "E3:75:CF:37:4E:23"


def test_unknown_sensor_is_stored_flagged_and_listed():
    i = intake()
    (reading,) = i.on_message(native("unregistered")).readings
    assert reading.flags == ("unknown_sensor",)
    i.on_message(native("unregistered", NOW + 5))
    entry = i.quarantine["unregistered"]
    assert (entry.first_seen, entry.last_seen, entry.count) == (NOW, NOW + 5, 2)
    assert entry.topic == "plumewatch/v1/unregistered/reading"
    assert entry.decoder == "native"
    assert entry.sample.startswith(b'{"pm25"')


def test_quarantine_is_bounded_and_forgets_the_longest_silent():
    i = intake()
    i.quarantine.size = i.unmatched.size = 3
    for n in range(10):
        i.on_message(native(f"x{n}", NOW + n))
        i.on_message(native("chatty", NOW + n))
    assert list(i.quarantine) == ["x8", "x9", "chatty"]
    for n in range(10):
        i.on_message(Message(f"who/{n}", b"?", NOW + n))
    assert list(i.unmatched) == ["who/7", "who/8", "who/9"]


def test_a_window_that_another_message_closes_is_not_of_its_topic():
    i = intake()
    i.on_message(Message("unregistered/sensor/pm_2_5/state", b"7", NOW))
    outcome = i.on_message(Message("plumewatch/v1/other/reading", b'{"pm25": 1}', NOW + 5))
    assert [r.sensor for r in outcome.readings] == ["other"]
    i.on_message(Message("third/sensor/pm_2_5/state", b"7", NOW + 6))
    assert {name: (q.topic, q.decoder) for name, q in i.quarantine.items()} == {
        "other": ("plumewatch/v1/other/reading", "native"),
        "unregistered": ("unregistered/sensor/pm_2_5/state", "esphome"),
    }


def test_dead_letter_is_truncated_and_printable():
    i = intake()
    letter = i.on_message(Message("plumewatch/v1/b2/reading", b"x" * 5_000, NOW)).dead_letter
    assert letter.payload == b"x" * 4_096
    letter = i.on_message(Message("evil\r\nLOG " + "y" * 900, b"", NOW)).dead_letter
    assert letter.topic.isprintable()
    assert len(letter.topic) <= 256
    assert letter.detail.isprintable()


def test_a_decoder_that_fails_costs_one_message():
    def explode(message, context):
        raise KeyError("surprise\n")

    i = intake(mappings=(Decoder("broken", ("broken/+",), explode, "test"),))
    out = i.on_message(Message("broken/1", b"", NOW), decoder="broken")
    assert out.dead_letter.reason == "decoder_failed"
    assert "KeyError" in out.dead_letter.detail
    assert i.on_message(native()).kind is OutcomeKind.ACCEPTED


def test_a_sender_speaks_for_its_own_sensors_only():
    asked = []

    def permits(named, known):
        asked.append((named, known))
        return known == "b2"

    i = intake()
    assert i.on_message(native(), permits=permits).kind is OutcomeKind.ACCEPTED
    other = native("e375cf374e23")
    out = i.on_message(other, permits=permits)
    assert out.dead_letter.reason == "not_allowed"
    assert "'e375cf374e23'" in out.dead_letter.detail
    assert i.on_message(native("unregistered"), permits=permits).dead_letter.reason == "not_allowed"
    assert asked == [
        ("b2", "b2"),
        ("e375cf374e23", "E3:75:CF:37:4E:23"),
        ("unregistered", None),
    ]
    assert i.quarantine == {}
    # a refused reading is not remembered as accepted
    assert i.on_message(other).kind is OutcomeKind.ACCEPTED
