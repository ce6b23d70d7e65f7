"""Test the configuration: all faults at once, each with path, value and allowed values."""

import copy
import math
import re
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
        staff=[
            {"id": "x", "name": "X", "role": "principal", "notify": [{}]},
            {"id": "ap", "name": "AP", "email": "ap@example.org"},
            {"id": "AP", "name": "Other", "email": "ap@example.org"},
        ],
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
        "staff.2.email",
        "staff.2.id",
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
