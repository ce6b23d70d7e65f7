"""Test the counts of anomalies in a sensor's readings."""

import json

import msgspec
import pytest

from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.integrity import ReadingCounts
from ingest.validation import SILENT_FLAGS, Message
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor

NOW = 1_790_000_000.0
REGISTRY = Registry.build([Room("r", "R", "", "B", "S")], [Sensor("s1", "r"), Sensor("s2", "r")])


@pytest.fixture
def intake():
    return Intake(IntakeConfig(context=Context(registry=REGISTRY)))


def send(intake, content, sensor="s1", received=NOW, **more):
    topic = f"plumewatch/v1/{sensor}/reading"
    outcome = intake.on_message(Message(topic, json.dumps(content).encode(), received, **more))
    intake.on_stored(outcome.readings)
    return outcome


@pytest.mark.parametrize(
    ("content", "more", "noted"),
    [
        ({"time": "2099-01-01T00:00:00Z", "pm25": 4.0}, {}, "clock"),
        ({"time": 12.0, "pm25": 4.0}, {}, "clock"),
        ({"time": NOW - 3 * 86_400, "pm25": 4.0}, {}, "late"),
        ({"time": NOW, "pm25": 4.0}, {"retained": True}, "retained"),
        ({"time": NOW, "pm25": 1e9, "rh": 40.0}, {}, "fault"),
    ],
)
def test_noteworthy(intake, content, more, noted):
    send(intake, content, **more)
    assert intake.reading_counts.get_counts("s1") == {"readings": 1, noted: 1}


def test_duplicates_are_no_readings(intake):
    for _ in range(3):
        send(intake, {"time": NOW, "pm25": 4.0})
    assert intake.reading_counts.get_counts("s1") == {"readings": 1, "duplicate": 2}


@pytest.mark.parametrize("flag", [*sorted(SILENT_FLAGS), "clock_skew", "codec_error"])
def test_every_flag_that_silences_or_signals_trouble_is_counted(flag):
    tally = ReadingCounts()
    tally.add(Reading("s1", NOW, NOW, {"pm25": 1.0}, flags=(flag,)))
    counted = {k for k in tally.get_counts("s1") if k != "readings"}
    assert len(counted) == (0 if flag == "unknown_sensor" else 1)


def test_strangers_are_not_counted(intake):
    send(intake, {"time": NOW, "pm25": 4.0}, sensor="unregistered")
    assert intake.reading_counts.get_counts("unregistered") == {}
    assert json.loads(intake.reading_counts.snapshot()) == [{}, {}, {}]


def test_counts_go_on_after_a_restart(intake):
    send(intake, {"time": NOW, "pm25": 4.0})
    send(intake, {"time": NOW, "pm25": 4.0}, sensor="s2")
    following = ReadingCounts()
    following.restore(intake.reading_counts.snapshot(), {"s1": None})
    assert following.get_counts("s1") == {"readings": 1}
    assert following.get_counts("s2") == {}
    with pytest.raises(msgspec.MsgspecError):
        following.restore(b"x", {})


@pytest.mark.parametrize(
    ("more", "readings"),
    [
        ({"values": {"rssi": -60.0, "battery": 80.0}}, 0),
        ({"events": ("online",)}, 0),
        ({"values": {"rssi": -60.0, "pm25": 4.0}}, 1),
        ({"faults": ("pm25",)}, 1),
        ({"events": ("tamper",)}, 1),
    ],
)
def test_the_telemetry_of_a_board_is_no_reading(more, readings):
    tally = ReadingCounts()
    tally.add(Reading("s1", NOW, NOW, **more))
    assert tally.get_counts("s1").get("readings", 0) == readings


def test_since_when_a_sensor_has_sent_no_particles_goes_on_after_a_restart():
    """The device's own vape alarm counts as particles. Messages about its board don't count."""
    tally = ReadingCounts()
    gas, alarm = {"values": {"tvoc_ppb": 90.0}}, {"events": ("vendor_vape",)}
    steps = [({"values": {"rssi": -60.0}}, None), (gas, NOW + 1), (gas, NOW + 1)]
    steps += [({"values": {"pm10": 4.0, "rh": 41.0}}, None), (gas, NOW + 4), (alarm, None)]
    for at, (more, since) in enumerate([*steps, (gas, NOW + 6)]):
        tally.add(Reading("s1", NOW + at, NOW + at, **more))
        assert tally.get_particles_stopped_at("s1") == since, at
    following = ReadingCounts()
    following.restore(tally.snapshot(), {"s1": None})
    assert following.get_particles_stopped_at("s1") == NOW + 6
    assert following.get_counts("s1") == tally.get_counts("s1")
