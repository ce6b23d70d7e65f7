"""Test join windows, bounded tables and snapshots, and the intake that uses them."""

import json

import pytest

from ingest.decoding import Context, Joiner, States
from ingest.intake import Intake, IntakeConfig, OutcomeKind
from ingest.validation import Limits, Message, SensorNames
from storage.registry import Registry, Room, Sensor

NOW = 1_790_000_000.0
LIMITS = Limits()


def add(joiner, at=0.0, sensor="s", stamp=None, retained=False, **raw):
    message = Message("t", b"", NOW + at, retained)
    return joiner.add(sensor, stamp, message, LIMITS, raw)


def test_a_later_message_of_any_sensor_closes_it():
    j = Joiner(1.0)
    add(j, pm25=1)
    (reading,) = add(j, 1.5, sensor="other", pm25=2)
    assert reading.sensor == "s"


def test_a_quantity_that_comes_again_or_another_stamp_begins_a_new_one():
    j = Joiner(10.0)
    add(j, pm25=1)
    (first,) = add(j, 0.1, pm25=2)
    assert first.values == {"pm25": 1.0}
    add(j, 0.2, sensor="m", stamp=NOW, pm25=1)
    (second,) = add(j, 0.3, sensor="m", stamp=NOW + 0.1, rh=2)
    assert (second.time, second.values) == (NOW, {"pm25": 1.0})


def test_retained_and_live_values_do_not_mix():
    j = Joiner(10.0)
    add(j, retained=True, pm25=900)
    (old,) = add(j, 0.1, rh=40)
    assert old.flags == ("no_time", "retained")
    (live,) = j.close(LIMITS)
    assert live.flags == ("no_time",)


def test_open_windows_are_bounded():
    j = Joiner(10.0, sensors=3)
    done = [r for n in range(10) for r in add(j, sensor=f"s{n}", pm25=n)]
    assert [r.sensor for r in done] == [f"s{n}" for n in range(7)]
    assert len(j.close(LIMITS)) == 3


def test_snapshot_carries_all_tables():
    states = States()
    states.units["a"] = {"voc": "ppb", "nodes": 2}
    states.remember_child("g", "s")
    states.last["z"] = {"raw": {"pm25": 1.5}, "seen": None, "fresh": True}
    other = States()
    other.restore(states.snapshot())
    assert other.snapshot() == states.snapshot()
    assert other.units["a"] == {"voc": "ppb", "nodes": 2}
    assert other.last["z"]["raw"] == {"pm25": 1.5}


@pytest.fixture
def intake():
    registry = Registry.build([Room("r", "R", "", "N", "S")], [Sensor("B2", "r")])
    return Intake(IntakeConfig(context=Context(registry=registry)))


def esphome(name, text, at=0.0):
    return Message(f"b2/sensor/{name}/state", text, NOW + at)


def test_intake_joins_and_resolves(intake):
    out = intake.on_message(esphome("pm_2_5", b"7"))
    assert (out.kind, out.readings) == (OutcomeKind.ACCEPTED, ())
    intake.on_message(esphome("humidity", b"44", 0.2))
    assert intake.next_deadline() == NOW + 1
    assert intake.on_time(NOW + 0.5) == ()
    (reading,) = intake.on_time(NOW + 1)
    assert (reading.sensor, reading.flags) == ("B2", ("no_time",))
    assert reading.values == {"pm25": 7.0, "rh": 44.0}
    assert sum(intake.counters.values()) == 2


def test_described_devices_displace_nothing_known_of_a_registered_sensor(intake):
    content = {"nodes": {"air": {"properties": {"pm25": {"unit": "mg/m³"}}}}}
    intake.on_message(Message("homie/5/b2/$description", json.dumps(content).encode(), NOW))
    unit = {"stat_t": "b2/sensor/pm_2_5/state", "unit_of_meas": "mg/m³"}
    topic = "homeassistant/sensor/b2/pm_2_5/config"
    intake.on_message(Message(topic, json.dumps(unit).encode(), NOW, retained=True))
    for n in range(4):
        devices = json.dumps([{"friendly_name": f"{n}-{k}"} for k in range(2_000)]).encode()
        intake.on_message(Message("zigbee2mqtt/n2/bridge/devices", devices, NOW))
    states = intake.config.context.states
    assert len(states.units) == states.units.size
    readings = [*intake.on_message(Message("homie/5/b2/air/pm25", b"0.18", NOW)).readings]
    readings += intake.on_message(esphome("pm_2_5", b"0.18", 9)).readings
    assert [r.values for r in (*readings, *intake.flush())] == [{"pm25": 180.0}] * 2


def test_any_spelling_of_registered_names_is_dropped_in_turn(monkeypatch):
    looked = []
    states = States()
    states.names = SensorNames(["hall:2", *(f"n{k}" for k in range(4_500))])
    is_registered = states.names.is_registered
    monkeypatch.setattr(
        states.names, "is_registered", lambda name: looked.append(name) or is_registered(name)
    )
    for k in range(4_500):
        states.units[f"esphome n{k}"] = {}
    spellings = (f"{k:b}".replace("0", "-").replace("1", ":") for k in range(9_000))
    for spelling in spellings:
        states.units[f"zigbee2mqtt hall:{spelling}"] = {}
    assert len(states.units) < 4_500 + states.units.size
    assert all(f"esphome n{k}" in states.units for k in range(4_500))
    assert len(looked) <= 8 * 13_500


@pytest.mark.parametrize("topic", ["spBv1.0/g/DDATA/s1/d/x", "spBv1.0/G/NDATA/S1/d", "g/s1/d"])
def test_the_sender_is_found_whatever_the_form_of_the_topic(topic):
    registry = Registry.build([Room("r", "R", "", "N", "S")], [Sensor("G:s1:d", "r")])
    assert Intake(IntakeConfig(context=Context(registry=registry))).find_sender(topic) == "G:s1:d"


@pytest.mark.attack
def test_a_topic_that_names_no_sensor_belongs_to_the_only_one_it_reports_for():
    """Otherwise, one account could use up the budget of all topics that begin like its own."""
    rooms = [Room("r", "R", "", "N", "S")]
    registry = Registry.build(rooms, [Sensor(f"as-{n}", "r") for n in range(4)])
    intake = Intake(
        IntakeConfig(context=Context(registry=registry), routes=(("plant/#", "generic"),))
    )
    sent = [("1/up", 1), ("2/up", 2), ("1/x", 1), ("1/up", 2), ("both", 3), ("both", 0)]
    for k, (place, n) in enumerate(sent):
        payload = json.dumps({"sensor": f"as-{n}", "pm25": 4.0 + k}).encode()
        assert intake.on_message(Message(f"plant/{place}", payload, NOW + k, live=True)).readings
    found = [intake.find_sender(f"plant/{place}") for place in ("1/up", "2/up", "1/x", "both")]
    assert found == ["as-1", "as-2", None, None]


def test_unknown_joined_sensor_keeps_its_topic_in_quarantine():
    intake = Intake()
    intake.on_message(esphome("pm_2_5", b"7"))
    (reading,) = intake.flush()
    assert "unknown_sensor" in reading.flags
    entry = intake.quarantine["b2"]
    assert (entry.topic, entry.decoder) == ("b2/sensor/pm_2_5/state", "esphome")
