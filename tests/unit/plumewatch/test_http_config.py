"""Test HTTP ingest in the configuration: off by default, all faults at once, secrets hidden."""

from pathlib import Path

import pytest

from ingest.intake import Intake
from ingest.validation import Message
from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import (
    build_intake_config,
    read_http_sources,
    read_polled_sensors,
)
from plumewatch.config.load import parse
from plumewatch.config.settings import check_settings
from tests.support.broker import free_port
from tests.support.command import plumewatch
from tests.support.config_entries import entry, one_room

TREE = {
    "site": "S",
    "timezone": "UTC",
    "room": [{"id": "r", "name": "Boys", "building": "North"}],
    "sensor": [
        {"id": "b2", "room": "r", "decoder": "halo"},
        {"id": "b3", "room": "r"},
        {"id": "b4", "room": "r", "decoder": "halo"},
    ],
}


def tree(*sources, **http):
    return TREE | {"ingest": {"source": list(sources), "http": http}}


def faults_of(*sources, **http):
    with pytest.raises(ConfigError) as refused:
        parse(tree(*sources, **http), base=Path("/srv"))
    return {fault.path: (fault.value, fault.allowed) for fault in refused.value.faults}


@pytest.fixture
def secret(tmp_path):
    def secret(name, text="0123456789abcdef"):
        (tmp_path / name).write_text(text + "\n")
        return name

    return secret


def test_all_faults_at_once():
    faults = faults_of(
        {"name": "one", "decoder": "tasmota", "token_file": "t"},
        {"name": "one", "decoder": "halo"},
        {"name": "3", "decoder": "halo", "token_file": "t", "signature_file": "s"},
        {"name": "5", "decoder": "generic", "token_file": "t", "sensors": ["b2", "b9"]},
        {"name": "6 7", "decoder": "generic", "token": "hunter2-hunter2-"},
        {"name": "8", "decoder": "generic", "token_file": "t", "rate_per_s": 0},
        "no table",
        port=8420,
        color="red",
    )
    assert sorted(faults) == [
        "ingest.http.color",
        "ingest.http.port",
        "ingest.source.0.decoder",
        "ingest.source.1.name",
        "ingest.source.1.token_file",
        "ingest.source.2.signature_file",
        "ingest.source.3.sensors.1",
        "ingest.source.4.name",
        "ingest.source.4.token",
        "ingest.source.4.token_file",
        "ingest.source.5.rate_per_s",
        "ingest.source.6",
    ]
    assert "hunter2" not in str(faults)
    assert "halo" in faults["ingest.source.0.decoder"][1]


def test_sources(tmp_path, secret):
    config = parse(
        tree(
            {"name": "halo", "decoder": "halo", "token_file": secret("t")},
            {
                "name": "diy",
                "decoder": "native",
                "token_file": secret("d", "fedcba9876543210"),
                "sensors": ["b3"],
            },
            {"name": "cloud", "decoder": "verkada", "signature_file": secret("s", "x" * 20)},
        ),
        base=tmp_path,
    )
    halo, diy, cloud = read_http_sources(config)
    assert halo.token.matches("0123456789abcdef")
    assert (halo.sensors, halo.accepts_unregistered) == (frozenset({"b2", "b4"}), True)
    assert diy.token.matches("fedcba9876543210")
    assert (diy.sensors, diy.accepts_unregistered) == (frozenset({"b3"}), False)
    assert cloud.token is None
    assert cloud.signature.matches("x" * 20)
    assert "0123456789abcdef" not in repr((halo, diy, cloud)) + repr(config)


def test_unusable_secrets(tmp_path, secret):
    config = parse(
        tree(
            {"name": "1", "decoder": "halo", "token_file": secret("short", "hunter2")},
            {"name": "2", "decoder": "halo", "token_file": "none"},
            {"name": "3", "decoder": "halo", "token_file": secret("a")},
            {"name": "4", "decoder": "native", "token_file": secret("b")},
        ),
        base=tmp_path,
    )
    with pytest.raises(ConfigError) as refused:
        check_settings(config)
    faults = {f.path: f for f in refused.value.faults}
    assert sorted(faults) == [
        "ingest.source.0.token_file",
        "ingest.source.1.token_file",
        "ingest.source.3",
    ]
    assert faults["ingest.source.0.token_file"].value == "7 characters"
    assert "ingest.source.2" in faults["ingest.source.3"].allowed
    text = str(refused.value)
    assert "hunter2" not in text
    assert "0123456789abcdef" not in text


def checked(tmp_path, host, **ports):
    path = tmp_path / "plumewatch.toml"
    top = TOP.format(host=host, **ports) + "".join(SOURCES)
    path.write_text(one_room("b2", top=top, decoder="halo"))
    lines = plumewatch("check", "--config", path).out.splitlines()
    return [line for line in lines if "http" in line.split(":")[0]]


TOP = """\
[broker]
port = {broker}
[web]
port = {web}
[ingest.http]
host = "{host}"
port = {port}
"""
SOURCES = (
    entry("ingest.source", name="halo", decoder="halo", token_file="t"),
    entry("ingest.source", name="other", decoder="awair", token_file="u"),
)


def test_check_covers_http_ingest(tmp_path, secret):
    secret("t")
    secret("u", "u" * 16)
    port = free_port()
    ports = {"broker": free_port(), "web": free_port(), "port": port}
    output = checked(tmp_path, "127.0.0.1", **ports)
    assert output == [
        f"ok    http ingest: 127.0.0.1:{port} is free",
        "ok    http source: halo: POST /ingest/halo, readings of b2",
        (
            "ok    http source: other: POST /ingest/awair, readings of no sensor yet:"
            " add decoder = 'awair' to a [[sensor]]"
        ),
    ]
    output = checked(tmp_path, "0.0.0.0", **ports)
    assert output[0].startswith("warn  http ingest: ")
    assert output[0].endswith("is free; without TLS, so tokens can be read on the network")


def mapping(name, **more):
    return {
        "version": 1,
        "name": name,
        "topic": f"{name}/{{id}}/state",
        "sensor": {"capture": "id"},
        "field": [{"quantity": "pm25", "unit": "ug/m3", "path": ["dust"]}],
        "example": [
            {
                "topic": f"{name}/b7/state",
                "payload": '{"dust": 4}',
                "sensor": "b7",
                "values": {"pm25": 4},
            },
        ],
    } | more


def test_a_mapping_is_a_decoder_of_http_ingest_too(tmp_path, secret):
    written = tree({"name": "1", "decoder": "mapping:acme", "token_file": secret("t")})
    own = {"id": "b7", "room": "r", "decoder": "mapping:acme"}
    written |= {"mapping": [mapping("acme")], "sensor": [*TREE["sensor"], own]}
    config = parse(written, base=tmp_path)
    (source,) = read_http_sources(config)
    assert source.sensors == {"b7"}
    intake = Intake(build_intake_config(config, dedupe_window=10))
    message = Message(source.build_topic("b7"), b'{"dust": 7.5}', 1_790_000_000.0)
    (reading,) = intake.on_message(message, source.decoder, source.permits).readings
    assert (reading.sensor, reading.values) == ("b7", {"pm25": 7.5})


def test_a_mapping_that_joins_messages_has_no_answer(tmp_path):
    joining = mapping("slow", join_s=1.0)
    written = tree(
        {"name": "1", "decoder": "mapping:slow", "token_file": "t"},
        {"name": "2", "decoder": "mapping:none", "token_file": "t"},
    )
    with pytest.raises(ConfigError) as refused:
        parse(written | {"mapping": [joining, mapping("acme")]}, base=tmp_path)
    faults = {f.path: f for f in refused.value.faults}
    assert sorted(faults) == ["ingest.source.0.decoder", "ingest.source.1.decoder"]
    assert "mapping:acme" in faults["ingest.source.0.decoder"].allowed


def poll(**poll):
    return TREE | {"ingest": {"poll": [{"sensor": "b2", "url": "http://192.0.2.7/x", **poll}]}}


def test_a_sensor_that_is_asked(tmp_path, secret):
    file = secret("halo-password", "of the device")
    config = parse(poll(user="admin", password_file=file), base=tmp_path)
    (polled,) = read_polled_sensors(config)
    assert (polled.sensor, polled.decoder, polled.every_s) == ("b2", "halo", 5.0)
    assert polled.build_headers() == {"Authorization": "Basic YWRtaW46b2YgdGhlIGRldmljZQ=="}
    assert "of the device" not in repr(polled)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"sensor": "b9"}, "ingest.poll.0.sensor"),
        ({"sensor": "b3"}, "ingest.poll.0.sensor"),
        ({"url": "http://admin:pw@192.0.2.7/"}, "ingest.poll.0.url"),
        ({"url": "ftp://192.0.2.7/"}, "ingest.poll.0.url"),
        ({"every_s": 0.1}, "ingest.poll.0.every_s"),
        ({"user": "admin"}, "ingest.poll.0.user"),
        ({"header": "X Y"}, "ingest.poll.0.header"),
    ],
)
def test_faults_of_a_sensor_that_is_asked(wrong, path):
    with pytest.raises(ConfigError) as refused:
        parse(poll(**wrong), base=Path("/srv"))
    assert [fault.path for fault in refused.value.faults] == [path]
