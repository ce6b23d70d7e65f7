"""Test the configuration: all faults at once, each with path, value and allowed values."""

import copy
import math
import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from language.value_errors import describe_allowed
from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import load, parse
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.settings import build_alert_policy, read_broker_settings

GOOD = {
    "site": "Northfield High School",
    "timezone": "America/New_York",
    "room": [{"id": "N2-boys", "name": "Boys' restroom", "building": "North", "floor": "2"}],
    "sensor": [{"id": "n2-boys-1", "room": "N2-boys"}],
    "staff": [{"id": "ap", "name": "AP North", "notify": [{"url_file": "ap-url"}]}],
}


def faults_of(change=None, **more):
    tree = copy.deepcopy(GOOD) | more
    if change is not None:
        change(tree)
    with pytest.raises(ConfigError) as refused:
        parse(tree, base=Path("/srv"))
    return {fault.path: fault for fault in refused.value.faults}


TWICE = """
[[sensor]]
id = "n2-boys-1"
room = "N2-boys"
[[staff]]
id = "ap2"
name = "Other"
email = "ap@example.org"
[[staff]]
id = "ap3"
name = "Third"
email = "ap@example.org"
[[staff]]
id = "AP3"
name = "Fourth"
[[zone]]
id = "north"
building = "North"
[[zone]]
id = "again"
building = "North"
[[bells]]
id = "usual"
days = ["mon"]
periods = [{ name = "1", start = "08:00", end = "09:00" }]
[[bells]]
id = "other"
days = ["mon"]
periods = [{ name = "1", start = "09:00", end = "10:00" }]
[[term]]
name = "Fall"
first = 2026-09-01
last = 2026-12-01
[[term]]
name = "Fall"
first = 2026-11-01
last = 2027-01-01
[[mapping]]
version = 1
name = "any"
topic = "a/{id}"
sensor = { capture = "id" }
example = [{ topic = "a/x", payload = '{"pm": 7}', sensor = "x", values = { pm25 = 7 } }]
field = [{ path = ["pm"], quantity = "pm25", unit = "ug/m3" }]
[[mapping]]
version = 1
name = "never"
topic = "a/{id}"
sensor = { capture = "id" }
example = [{ topic = "a/x", payload = '{"pm": 7}', sensor = "x", values = { pm25 = 7 } }]
field = [{ path = ["pm"], quantity = "pm25", unit = "ug/m3" }]
[ingest]
decoders = ["morse"]
"""


def test_faults_name_another_entry_by_its_id_or_number_as_the_file_has_it():
    found = tomllib.loads(TWICE)
    found["sensor"] = [*GOOD["sensor"], *found["sensor"]]
    with pytest.raises(ConfigError) as refused:
        parse(GOOD | found, base=Path("/srv"))
    text = str(refused.value)
    for fault in (
        "[[sensor]] n2-boys-1: id: 'n2-boys-1' is already used by [[sensor]] number 1",
        "[[staff]] ap3: email: 'ap@example.org' is already used by [[staff]] ap2: email",
        "id: 'AP3' is already used by [[staff]]",
        "[[zone]] again: 'North': must not be the same place as [[zone]] north",
        "[[bells]] other: periods: '1' is on mon in [[bells]] usual too",
        "[[term]] Fall: name: 'Fall': must not be that of [[term]] number 1: name",
        "must not overlap [[term]] Fall",
        "[[mapping]] never: topic: 'a/{id}' is never reached: [[mapping]] any has no `when`",
        "[ingest] decoders number 1: 'morse'",
    ):
        assert fault in text
    assert re.findall(r"[a-z]\.\d+", text) == []


def test_good():
    config = parse(GOOD, base=Path("/srv"))
    assert config.data_dir == Path("/srv/plumewatch-data")
    assert config.get_zone().key == "America/New_York"
    registry = config.build_registry()
    room = registry.find_room("n2-boys-1")
    assert (room.name, room.floor, room.building) == ("Boys' restroom", "2", "North")
    assert room.site == "Northfield High School"


def test_all_faults_at_once():
    faults = faults_of(
        timezone="Mars/Olympus",
        color="red",
        broker={"port": 70_000, "password": "hunter2"},
        room=[{"id": "a b", "name": "", "building": "North"}, {"id": "r2", "building": "North"}],
        sensor=[
            {"id": "s", "room": "r3", "interval_s": 0},
            {"id": "s", "room": "r2", "decoder": "morse"},
            "not a table",
        ],
        staff=[{"id": "x", "name": "X", "role": "principal", "notify": [{}]}],
        metrics={"token_file": "t", "token": "T"},
    )
    assert sorted(faults) == [
        "broker.password",
        "broker.port",
        "color",
        "metrics.token",
        "room.0.id",
        "room.0.name",
        "room.1.name",
        "sensor.0.interval_s",
        "sensor.0.room",
        "sensor.1.decoder",
        "sensor.1.id",
        "sensor.2",
        "staff.0.notify.0.url_file",
        "staff.0.role",
        "timezone",
    ]
    assert "hunter2" not in str(faults)
    for fault in faults.values():
        assert fault.value
        assert fault.allowed
        assert str(fault).count("\n") == 0


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf/plumewatch.toml"
    path.write_text(STARTER.replace("# password_file", "password_file"))
    config = load(path)
    assert config.data_dir == tmp_path / "conf/plumewatch-data"
    assert config.broker.password_file == tmp_path / "conf/secrets/broker-password"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"site = ", "valid TOML"),
        (b"site = 'x'\n# \xe9", "line 2 is not UTF-8"),
        (b"\xef\xbb\xbfsite = 1", "without BOM"),
        (b"#" * 4_000_001, "at most 4 MB"),
        (b"", "required"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, raw, message):
    path = tmp_path / "plumewatch.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path)


class TestSecrets:
    def test_every_unreadable_secret_is_reported(self, tmp_path):
        tree = GOOD | {
            "staff": [
                GOOD["staff"][0],
                {"id": "b", "name": "B", "notify": [{"url_file": "missing"}]},
            ]
        }
        with pytest.raises(ConfigError) as refused:
            build_alert_policy(parse(tree, base=tmp_path))
        first, second = refused.value.faults
        assert "staff.0.notify.0" in first.path
        assert "No such file" in first.allowed
        assert "staff.1.notify.0" in second.path

    def test_bad_certificate(self, tmp_path):
        config = parse(GOOD | {"broker": {"tls": True, "ca_file": "ca.pem"}}, base=tmp_path)
        with pytest.raises(ConfigError, match=r"broker\.ca_file"):
            read_broker_settings(config)


def test_page_url():
    config = parse(GOOD, base=Path("/srv"))
    assert config.web.url == "http://127.0.0.1:8420"
    config = parse(GOOD | {"web": {"public_url": "https://x.example/p/"}}, base=Path("/srv"))
    assert config.web.url == "https://x.example/p"
    assert "web.public_url" in faults_of(web={"public_url": "ftp://x"})


WRONG = ("", "a b", "x" * 5000, -5, 0, 1.5, 10**9, math.inf, True, [], ["x"] * 20_000, {}, {"x": 1})


def models(model):
    found = {model}
    for field in model.model_fields.values():
        inner = field.annotation
        todo = [inner]
        while todo:
            each = todo.pop()
            todo += get_args(each)
            if isinstance(each, type) and issubclass(each, BaseModel) and each not in found:
                found |= models(each)
    return found


def test_no_fault_is_in_the_words_of_the_library(tmp_path):
    strange = re.compile(r"\b(Input|String|List|Dictionary|valid|should|pydantic|pattern)\b")
    kinds = set()
    for model in models(PlumewatchConfig):
        for value in (*WRONG, None, date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), object()):
            table = {f.alias or key: value for key, f in model.model_fields.items()}
            with pytest.raises(ValidationError) as found:
                model.model_validate({**table, "no such key": value}, context=tmp_path)
            for error in found.value.errors(include_url=False):
                kinds.add(error["type"])
                if error["type"] != "extra_forbidden":
                    assert not strange.search(str(describe_allowed(error))), (model, error)
    assert len(kinds) > 20
