"""Test the command line: an exit code and one message for every error."""

import json
import re

import pytest

from plumewatch.config.load import load
from tests.unit.plumewatch.test_replay import recording

NATIVE = "plumewatch/v1/b2/reading"


@pytest.fixture
def puffs(tmp_path):
    return recording(tmp_path / "puffs.csv")


def one_line(text):
    (line,) = text.splitlines()
    return line


def test_version(call):
    assert re.fullmatch(r"plumewatch [0-9.]+ \(detector model .+\)\n", call("--version").stdout)


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["replay"], ["decode"], ["run", "--color", "red"]]
)
def test_bad_usage(call, arguments):
    assert call(*arguments).exit_code == 2


def test_init_then_refuses_to_overwrite(call, tmp_path):
    path = tmp_path / "plumewatch.toml"
    first = call("init", path, "--public-url", "https://p.example")
    assert (first.exit_code, first.stderr) == (0, "")
    assert load(path).web.public_url == "https://p.example"
    before = path.read_bytes()
    again = call("init", path)
    assert again.exit_code == 2
    advice = "exists already: edit it, or name another file"
    assert one_line(again.stderr) == f"{path}: {advice}"
    assert path.read_bytes() == before
    lost = call("init", tmp_path / "none/plumewatch.toml")
    assert lost.exit_code == 2
    assert "No such file" in one_line(lost.stderr)


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("America/NewYork", "America/New_York"),
        ("EST5", "America/New_York"),
        ("PDT", "America/Los_Angeles"),
        ("central", "America/Chicago"),
    ],
)
def test_init_refuses_a_time_zone_that_does_not_exist(call, tmp_path, zone, meant):
    path = tmp_path / "plumewatch.toml"
    ran = call("init", path, "--timezone", zone)
    assert ran.exit_code == 2
    assert one_line(ran.stderr).startswith(f"--timezone: {zone!r}: must be a time zone")
    assert one_line(ran.stderr).endswith(f"; did you mean {meant!r}?")
    assert not path.exists()


def test_init_refuses_an_address_that_is_none(call, tmp_path):
    ran = call("init", tmp_path / "plumewatch.toml", "--public-url", "plumewatch.example")
    assert (ran.exit_code, [*tmp_path.iterdir()]) == (2, [])
    assert one_line(ran.stderr).startswith("--public-url: 'plumewatch.example': must be")


def test_decode_names_the_unknown_keys_of_the_native_format(call):
    payload = '{"pm1": 3, "pm2_5": 4, "temperature": 21, "sketch": 7}'
    ran = call("decode", "--topic", NATIVE, "--flags", input=payload)
    assert (ran.exit_code, json.loads(ran.stdout)["values"]) == (0, {"pm1": 3.0})
    assert ran.stderr == "b2: unknown keys pm2_5, temperature: use pm25, temp\n"


class TestReplay:
    def test_done(self, call, tmp_path, puffs):
        result = call(
            "replay", puffs, "--alerts", tmp_path / "a.csv", "--events", tmp_path / "e.csv"
        )
        assert result.exit_code == 0
        assert result.stdout == ""
        assert one_line(result.stderr) == "300 readings, 2 events, 2 alerts"
        assert len((tmp_path / "a.csv").read_text().splitlines()) == 3
        assert len((tmp_path / "e.csv").read_text().splitlines()) == 3

    def test_without_particles(self, call, tmp_path):
        blind = recording(tmp_path / "blind.csv", columns=("voc_index", "rh"))
        result = call("replay", blind, "--alerts", tmp_path / "a.csv")
        said = (
            "no particles in these files (pm25, pm1, pm4, pm10, n03), so vaping cannot be detected"
        )
        assert said in result.stderr.splitlines()

    def test_missing_files_are_all_named(self, call, tmp_path, puffs):
        result = call(
            "replay", tmp_path / "x.csv", puffs, tmp_path / "y.csv", "--alerts", tmp_path / "a.csv"
        )
        assert result.exit_code == 2
        assert result.stderr == f"{tmp_path}/x.csv: no such file\n{tmp_path}/y.csv: no such file\n"
