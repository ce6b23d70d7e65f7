"""The reference devices: what their configurations publish becomes readings, and an alert."""

import stat
from base64 import b64decode
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from alerts.policy import AlertPolicy
from ingest.intake import Intake, IntakeConfig
from ingest.message import Message
from plumewatch.cli.setup.broker_files import hashed
from plumewatch.cli.setup.discovery import discover
from plumewatch.config.load import load
from plumewatch.replay import judged
from tests.support.command import plumewatch
from tests.support.esphome_config import entities, merged
from tests.support.plumes import START, readings_of_puff
from tests.support.school_year import config_text

HARDWARE = Path(__file__).parents[2] / "hardware"
DEVICES = sorted(HARDWARE.glob("*.yaml"))
DEVICES.remove(HARDWARE / "secrets.example.yaml")
DEVICE_MODELS = {f"{path.stem}-1": path.stem for path in DEVICES}
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
    yield Message(f"{prefix}/text_sensor/firmware/state", b"plumewatch-x 1.0.0", START)
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


def test_there_are_three_devices():
    assert {path.stem for path in DEVICES} == {"pms5003-sgp41", "sen55", "sen55-poe"}


def test_a_device_measures_all_that_distinguishes_vaping(device):
    objects = {e.object_id for e in entities(device)}
    assert {OBJECTS.get(name) for name in objects} >= QUANTITIES
    assert objects >= {"device_time", "firmware", "sequence", "tamper"}


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
    result = judged(iter(values), policy=AlertPolicy())
    assert [alert.kind for alert in result.not_withdrawn("vape")] == ["vape"]


def test_setup_recognizes_a_device(device):
    prefix = device["mqtt"]["topic_prefix"]
    puff = readings_of_puff(prefix, seconds=20)
    model = DEVICE_MODELS[prefix]
    firmware = f"plumewatch-{model} 1.0.0".encode()
    topic = f"{prefix}/text_sensor/firmware/state"
    messages = [Message(topic, firmware, START, retained=True), *published(device, puff)]
    found = discover([m for m in messages if m.payload != b"plumewatch-x 1.0.0"], ZoneInfo("UTC"))
    sensor = found.sensors[prefix]
    assert (sensor.decoder, sensor.model) == ("esphome", model)
    assert sensor.interval_s == pytest.approx(2.0, abs=0.1)


def test_an_open_cover_is_tampering(device):
    prefix = device["mqtt"]["topic_prefix"]
    (reading,) = received([Message(f"{prefix}/binary_sensor/tamper/state", b"ON", START)])
    assert reading.events == ("tamper",)


@pytest.fixture
def school(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(config_text(2))
    return path


def new_device(school, *options):
    return plumewatch("device", "new", "--config", school, "--json", *options)


@pytest.mark.parametrize("model", sorted(path.stem for path in DEVICES))
def test_a_new_device_has_its_file_account_and_entry(school, model):
    result = new_device(school, "--model", model, "--room", "r0", "--broker", "192.0.2.7:8883")
    assert result.code == 0, result.err
    (made,) = result.objects
    folder = school.parent
    secrets = yaml.safe_load((folder / "devices/secrets.yaml").read_text())
    device = merged(folder / "devices/r0-1.yaml", secrets)
    mqtt = device["mqtt"]
    assert (made["sensor"], device["esphome"]["name"]) == ("r0-1", "r0-1")
    assert (mqtt["broker"], mqtt["port"], mqtt["username"]) == ("192.0.2.7", "8883", "r0-1")
    (ota,) = device["ota"]
    assert len({mqtt["password"], ota["password"], secrets["r0-1_fallback_password"]}) == 3
    (line,) = (folder / "broker/plumewatch-passwords").read_text().splitlines()
    account, _, made_hash = line.partition(":")
    salt = b64decode(made_hash.split("$")[3])
    assert (account, made_hash) == ("r0-1", hashed(mqtt["password"], salt))
    rights = (folder / "broker/plumewatch-acl").read_text()
    assert "user r0-1\ntopic write r0-1/#\n" in rights
    for private in ("devices/secrets.yaml", "broker/plumewatch-passwords", "broker/plumewatch-acl"):
        assert stat.S_IMODE((folder / private).stat().st_mode) == 0o600
    (entry,) = [s for s in load(school).sensor if s.id == "r0-1"]
    assert (entry.room, entry.model, entry.interval_s) == ("r0", model, 2.0)
    assert mqtt["password"] not in result.out + result.err


def test_a_second_device_keeps_the_secrets_of_the_first(school):
    assert new_device(school, "--model", "sen55", "--room", "r0", "--broker", "b.test").code == 0
    secrets = school.parent / "devices/secrets.yaml"
    secrets.write_text(secrets.read_text().replace("FILL IN", "school"))
    before = yaml.safe_load(secrets.read_text())
    assert new_device(school, "--model", "sen55", "--room", "r0", "--broker", "b.test").code == 0
    after = yaml.safe_load(secrets.read_text())
    assert after.items() > before.items()
    assert {s.id for s in load(school).sensor} >= {"r0-1", "r0-2"}


@pytest.mark.parametrize(
    "name", ["kiosk", "intake", "plumewatch", "homeassistant", "zigbee2mqtt", "tele"]
)
def test_a_device_gets_no_account_of_others_and_no_topics_of_a_whole_format(school, name):
    school.write_text(school.read_text() + '\n[broker]\nusername = "intake"\n')
    assert load(school).broker.username == "intake"
    passwords = school.parent / "broker/plumewatch-passwords"
    passwords.parent.mkdir()
    passwords.write_text("kiosk:$7$101$AA$AA\n")
    result = new_device(
        school, "--model", "sen55", "--room", "r0", "--broker", "b.test", "--id", name
    )
    assert result.code == 2
    assert "--id" in result.err
    assert passwords.read_text() == "kiosk:$7$101$AA$AA\n"
    assert not (school.parent / "devices").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--model", "sen99", "--room", "r0"), "--model"),
        (("--model", "sen55", "--room", "attic"), "--room"),
        (("--model", "sen55", "--room", "r0", "--id", "PW 0"), "--id"),
        (("--model", "sen55", "--room", "r0", "--id", "pw-0"), "--id"),
        *(
            (("--model", "sen55", "--room", "r0", "--broker", broker), "--broker")
            for broker in ("b:x", "b:0", "b:65536", ":1883", "two words")
        ),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(school, options, named):
    before = school.read_text()
    result = new_device(school, *options)
    assert result.code == 2
    assert named in result.err
    assert school.read_text() == before
    assert [p.name for p in school.parent.iterdir()] == ["plumewatch.toml"]
