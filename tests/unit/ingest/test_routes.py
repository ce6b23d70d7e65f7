"""Test which decoder reads a topic: the sensor's, a mapping's, a route's, or the table's."""

import json

import pytest

from ingest.decoders import Routes, list_filters
from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig, OutcomeKind, find_likely_decoders
from ingest.mapping.decoder import compile_mapping
from ingest.mapping.schema import MappingConfig
from ingest.validation import Message
from storage.registry import Registry, Room, Sensor
from tests.support.memory import entries_of

NOW = 1_790_000_000.0


def mapping(name, topic, **more):
    return compile_mapping(
        MappingConfig.model_validate(
            {
                "version": 1,
                "name": name,
                "topic": topic,
                "sensor": {"capture": "id"},
                "field": [{"quantity": "pm25", "unit": "ug/m3", "path": ["pm"]}],
                "example": [{"topic": topic, "payload": "{}", "rejected": "no_measurement"}],
                **more,
            }
        )
    )


def registry(*sensors):
    return Registry.build([Room("r", "Room", "2", "North", "Site")], sensors)


def names(routes, topic):
    return [decoder.name for decoder in routes.find_decoders(topic)]


@pytest.mark.parametrize("topic", ["mystery/n9/up", "n9", "up/x/n9"])
def test_a_route_to_generic_names_a_registered_sensor_by_its_level(topic):
    config = {
        "context": Context(registry=registry(Sensor("n9", "r"))),
        "routes": ((topic, "generic"),),
    }
    outcome = Intake(IntakeConfig(**config)).on_message(Message(topic, b'{"pm25": 7}', NOW))
    assert [reading.sensor for reading in outcome.readings] == ["n9"]


@pytest.mark.parametrize(
    ("topic", "named", "outcome"),
    [
        ("air/gateway", "hall", "accepted"),
        ("air/hall", "HALL", "accepted"),
        ("air/Hall-1", "hall", "accepted"),
        ("air/hall", "n9", "rejected"),
        ("air/hall-1", "n9", "rejected"),
        ("air/hall/n9", "n9", "rejected"),
        ("air/north/2", "n9", "rejected"),
        ("air/hall", "hall:2", "accepted"),
        ("air/hall", "new", "accepted"),
    ],
)
def test_a_topic_that_names_a_sensor_is_for_this_sensor_only(topic, named, outcome):
    sensors = registry(*(Sensor(name, "r") for name in ("hall", "n9", "hall:2", "north:2")))
    config = IntakeConfig(
        Context(registry=sensors), aliases={"hall-1": "hall"}, routes=(("air/#", "generic"),)
    )
    message = Message(topic, json.dumps({"sensor": named, "pm25": 7}).encode(), NOW)
    assert Intake(config).on_message(message).kind == outcome
    posted = Intake(config).on_message(message, permits=lambda *_: True)
    assert posted.kind == "accepted", "its source may report for all of them"


def test_the_order():
    routes = Routes(
        [("tele/+/SENSOR", "generic"), ("tele/#", "influx")],
        [mapping("one", "tele/{id}/SENSOR"), mapping("two", "tele/{id}/SENSOR")],
        registry(Sensor("b2", "r", decoder="milesight")),
    )
    rest = ["mapping:one", "mapping:two", "generic", "tasmota"]
    assert names(routes, "tele/b2/SENSOR") == ["milesight", *rest]
    assert names(routes, "tele/other/SENSOR") == rest
    assert names(routes, "nothing/here") == []


@pytest.mark.parametrize(
    ("sensor", "topic"),
    [
        ("b2", "lora/b2/up"),
        ("b2", "lora/B2/up"),
        ("24:e1:24:00", "lora/24E12400/up"),
        ("north:b2", "lora/north/b2/up"),
        ("lora:north:b2:up", "lora/north/b2/up"),
        ("etage_2", "lora/étage 2/up"),
    ],
)
def test_a_topic_is_a_sensors_if_its_levels_name_it(sensor, topic):
    routes = Routes(registry=registry(Sensor(sensor, "r", decoder="milesight")))
    assert names(routes, topic) == ["milesight"]


@pytest.mark.parametrize("topic", ["lora/b22/up", "lora/b/2/up", "lora/up", "b2x"])
def test_and_not_if_they_do_not(topic):
    routes = Routes(registry=registry(Sensor("b2", "r", decoder="milesight")))
    assert names(routes, topic) == []


def test_an_alias_is_a_name_too():
    config = IntakeConfig(
        Context(registry=registry(Sensor("b2", "r", decoder="milesight"))), aliases={"24E1": "b2"}
    )
    assert names(Intake(config), "lora/24e1/up") == ["milesight"]


def test_the_decoder_of_a_sensor_claims_no_topic_of_another_decoder():
    sensors = registry(Sensor("b2", "r", decoder="esphome"), Sensor("c3", "r", decoder="milesight"))
    routes = Routes(registry=sensors)
    assert names(routes, "b2/status") == ["esphome"]
    assert names(routes, "homeassistant/sensor/b2/pm25/config") == ["ha_discovery"]
    assert names(routes, "homeassistant/sensor/c3/pm25/config") == ["ha_discovery"]
    assert names(routes, "tele/b2/SENSOR") == ["tasmota"]
    assert names(routes, "odd/b2/place") == ["esphome"]


def test_a_mapping_named_for_a_sensor_is_asked_first_under_its_own_topics_only():
    one, two = mapping("one", "a/{id}/state"), mapping("two", "a/{id}/state")
    routes = Routes(mappings=[one, two], registry=registry(Sensor("b2", "r", "", "mapping:two")))
    assert names(routes, "a/b2/state") == ["mapping:two", "mapping:one"]
    assert names(routes, "a/c3/state") == ["mapping:one", "mapping:two"]
    assert names(routes, "tele/b2/SENSOR") == ["tasmota"]


def test_memory_of_topics_is_bounded():
    intake = Intake()
    for n in range(20_000):
        intake.on_message(Message(f"tele/{n}/SENSOR", b"{}", 0.0))
    assert entries_of(intake) < 20_000


class TestIntake:
    guarded = (
        mapping("old", "acme/{id}", when=[{"path": ["fw"], "equals": 1}]),
        mapping("new", "acme/{id}", when=[{"path": ["fw"], "equals": 2}]),
    )

    def intake(self, **more):
        more.setdefault("mappings", self.guarded)
        sensors = registry(Sensor("b2", "r"))
        return Intake(IntakeConfig(context=Context(registry=sensors), **more))

    def send(self, intake, topic="acme/b2", decoder="", **content):
        return intake.on_message(Message(topic, json.dumps(content).encode(), NOW), decoder)

    def test_the_first_whose_conditions_hold_reads_it(self):
        intake = self.intake()
        assert self.send(intake, fw=1, pm=3).decoder == "mapping:old"
        outcome = self.send(intake, fw=2, pm=4)
        assert outcome.decoder == "mapping:new"
        assert outcome.readings[0].values == {"pm25": 4.0}
        assert intake.counters == {
            ("accepted", "", "mapping:old"): 1,
            ("accepted", "", "mapping:new"): 1,
        }

    def test_no_route_matches(self):
        intake = self.intake()
        outcome = self.send(intake, fw=3, pm=4)
        assert outcome.kind is OutcomeKind.REJECTED
        assert outcome.dead_letter.reason == "guard_not_met"
        assert outcome.dead_letter.decoder == "mapping:new"
        assert intake.unmatched["acme/b2"].sample == b'{"fw": 3, "pm": 4}'

    def test_the_table_is_asked_last(self):
        shadow = mapping("s", "tele/{id}/SENSOR", when=[{"path": ["pm"], "present": True}])
        intake = self.intake(mappings=(shadow,))
        assert self.send(intake, "tele/b2/SENSOR", pm=3).decoder == "mapping:s"
        outcome = self.send(intake, "tele/b2/SENSOR", PMS5003={"PM2.5": 4})
        assert outcome.decoder == "tasmota"
        assert not intake.unmatched

    def test_another_error_does_not_pass_on(self):
        first = mapping("first", "tele/{id}/SENSOR")
        intake = self.intake(mappings=(first,))
        outcome = self.send(intake, "tele/b2/SENSOR", PMS5003={"PM2.5": 4})
        assert outcome.dead_letter.reason == "no_measurement"
        assert outcome.dead_letter.decoder == "mapping:first"

    def test_a_mapping_is_named_like_a_decoder(self):
        intake = self.intake(routes=(("any/#", "mapping:new"),))
        assert self.send(intake, fw=2, pm=4, decoder="mapping:new").kind is OutcomeKind.ACCEPTED
        outcome = self.send(intake, "any/where", fw=2, pm=4)
        assert outcome.dead_letter.reason == "bad_id"
        assert self.send(intake, decoder="mapping:gone").dead_letter.reason == "unknown_topic"


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (("site/#/state", "site/+/x/state"), ["site/#"]),
        (("a/+", "a/b"), ["a/+"]),
        (("a/b", "a/+"), ["a/+"]),
        (("a/+", "a/#"), ["a/#"]),
        (("a/+/c", "a/b/+"), ["a/+/c", "a/b/+"]),
        (("a/#", "b"), ["a/#", "b"]),
        (("a/b", "a/b"), ["a/b"]),
    ],
)
def test_a_filter_that_another_covers_is_left_out(more, kept):
    assert list(list_filters(("airgradient",), more)) == ["airgradient/readings/+", *kept]


def test_subscriptions_are_mqtt_filters():
    tele = ("SENSOR", "STATE", "LWT", "INFO1")
    assert list_filters(("tasmota",)) == ("tele/#", "stat/#", *(f"+/tele/{t}" for t in tele))
    assert len(list_filters()) == len(set(list_filters()))


@pytest.mark.parametrize(
    ("payload", "likely"),
    [
        (b'{"rssi": -60, "battery": 90}', ()),
        (b'{"wifi": -60, "rco2": 600, "atmp": 21}', ("airgradient",)),
        (b'{"rssi": -60, "pm25": 7}', ("generic",)),
        (b'{"humidity": 41}', ("generic",)),
        (b'{"gw_mac": "AA:CC:EE:00:11:22", "ts": 1790000000, "humidity": 41}', ("ruuvi",)),
        (b'{"state": "online"}', ()),
        (b'{"sensor": "a", "pms1_0_atm": 4, "pms2_5_atm": 6}', ("generic",)),
    ],
)
def test_what_a_board_says_of_itself_identifies_no_format(payload, likely):
    assert find_likely_decoders(Message("x/a", payload, NOW), Context()) == likely
