"""The reference devices: what their configurations publish becomes readings, and an alert."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerts.policy import AlertPolicy
from ingest.intake import Intake, IntakeConfig
from ingest.validation import Message
from plumewatch.cli.setup.discovery import discover
from plumewatch.replay import replay
from tests.support.esphome_config import entities, merged
from tests.support.plumes import START, readings_of_puff

HARDWARE = Path(__file__).parents[2] / "hardware"
DEVICES = sorted(HARDWARE.glob("*.yaml"))
DEVICES.remove(HARDWARE / "secrets.example.yaml")
SECRETS = {
    "wifi_ssid": "school",
    "wifi_password": "secret-of-wifi",
    "mqtt_password": "secret-of-mqtt",
    "ota_password": "secret-of-ota",
    "fallback_password": "secret-of-access-point",
}
QUANTITIES = {"pm1", "pm25", "pm10", "n03", "n05", "n10", "n25", "voc_index", "voc_raw"}
QUANTITIES |= {"nox_index", "temp", "rh"}
OBJECTS = {
    "pm_1_0": "pm1", "pm_2_5": "pm25", "pm_4_0": "pm4", "pm_10_0": "pm10", "pm_0_3um": "n03",
    "pm_0_5um": "n05", "pm_1_0um": "n10", "pm_2_5um": "n25", "voc_index": "voc_index",
    "voc_raw": "voc_raw", "nox_index": "nox_index", "temperature": "temp", "humidity": "rh",
}  # fmt: skip


@pytest.fixture(params=DEVICES, ids=lambda path: path.stem)
def device(request):
    return merged(request.param, SECRETS)


def published(device, readings, start=0):
    """All messages of a device, topic by topic as ESPHome documents them, in its own order."""
    prefix = device["mqtt"]["topic_prefix"]
    names = [e for e in entities(device) if e.object_id in OBJECTS]
    birth = device["mqtt"]["birth_message"]
    yield Message(birth["topic"], birth["payload"].encode(), START, retained=birth["retain"])
    for number, reading in enumerate(readings, start):
        values = {"voc_raw": 31_500.0, "n03": 12.5, "n05": 4.0, "n10": 0.5, "n25": 0.1}
        values |= {"pm4": 4.5, "nox_index": 1.0, **reading.values}
        at = reading.received
        yield Message(f"{prefix}/text_sensor/device_time/state", b"%.3f" % reading.time, at)
        yield Message(f"{prefix}/sensor/sequence/state", b"%d" % number, at)
        for k, entity in enumerate(names):
            value = values[OBJECTS[entity.object_id]]
            text = f"{value * (100 if entity.unit == '/dL' else 1):.1f}".encode()
            topic = f"{prefix}/{entity.component}/{entity.object_id}/state"
            yield Message(topic, text, at + 0.01 * k)


def received(messages):
    intake = Intake(IntakeConfig(accept_unknown=True))
    readings = [r for message in messages for r in intake.on_message(message).readings]
    refused = {key: n for key, n in intake.counters.items() if key[1]}
    assert refused == {}
    return [*readings, *intake.flush()]


def test_a_device_measures_all_that_distinguishes_vaping(device):
    objects = {e.object_id for e in entities(device)}
    assert {OBJECTS.get(name) for name in objects} >= QUANTITIES
    assert objects >= {"device_time", "sequence", "tamper"}


def test_a_device_reports_that_it_is_gone(device):
    will = device["mqtt"]["will_message"]
    assert (will["payload"], will["retain"]) == ("offline", True)
    assert will["topic"] == f"{device['mqtt']['topic_prefix']}/status"
    (reading,) = received([Message(will["topic"], b"offline", START)])
    assert reading.events == ("offline",)


def test_a_device_reports_every_two_seconds_unaveraged_and_begins_with_its_time(device):
    (interval,) = device["interval"]
    assert interval["interval"] == "2s"
    first = ["device_time", "sequence", "measure"]
    assert [next(iter(step.values())) for step in interval["then"]] == first
    measured = [b for b in device["sensor"] if b.get("id") in {"air", "climate_sensor", "gas"}]
    assert measured
    assert {block["update_interval"] for block in measured} == {"never"}
    assert "average" not in str(device)


def test_nobody_installs_firmware_or_joins_without_a_password(device):
    (ota,) = device["ota"]
    assert ota["password"] == SECRETS["ota_password"]
    assert "api" not in device
    assert "web_server" not in device
    if "wifi" in device:
        assert device["wifi"]["ap"]["password"] == SECRETS["fallback_password"]


def test_no_secret_is_in_a_file_that_is_shared():
    for path in HARDWARE.rglob("*.yaml"):
        for line in path.read_text().splitlines():
            key, colon, value = line.strip().partition(": ")
            if colon and key.endswith("password") and path.name != "secrets.example.yaml":
                assert value.startswith(("!secret ", "${")), f"{path.name}: {line}"


def test_a_puff_becomes_one_reading_an_interval_and_an_alert(device):
    puff = readings_of_puff(device["mqtt"]["topic_prefix"])
    readings = received(published(device, puff))
    values = [r for r in readings if r.values]
    assert len(values) == len(puff)
    assert [r.seq for r in values] == list(range(len(puff)))
    assert [r.time for r in values] == pytest.approx([r.time for r in puff], abs=0.001)
    assert {r.flags for r in values} == {()}
    assert values[0].values.keys() >= QUANTITIES
    assert values[0].values["n03"] == pytest.approx(12.5)
    result = replay(iter(values), policy=AlertPolicy())
    assert [a.kind for a in result.alerts if a.kind == "vape"] == ["vape"]


def test_setup_recognizes_a_device(device):
    prefix = device["mqtt"]["topic_prefix"]
    puff = readings_of_puff(prefix, seconds=20)
    sensor = discover(list(published(device, puff)), ZoneInfo("UTC")).sensors[prefix]
    assert sensor.decoder == "esphome"
    assert sensor.interval_s == pytest.approx(2.0, abs=0.1)


def test_an_open_cover_is_tampering(device):
    prefix = device["mqtt"]["topic_prefix"]
    (reading,) = received([Message(f"{prefix}/binary_sensor/tamper/state", b"ON", START)])
    assert reading.events == ("tamper",)
