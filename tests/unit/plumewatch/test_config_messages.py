"""Test messages about a wrong configuration: where, what, and what was probably meant."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import load
from plumewatch.config.settings import check_settings
from storage.audit import find_account
from tests.support.command import plumewatch

SHIFT = """
[[shift]]
id = "day"
receiver = "nobody"
people = ["no one"]
start = "8:00"
end = "9:00"
[[room]]
"""


def message(tmp_path, *changes):
    text = STARTER
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    (tmp_path / "plumewatch.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        check_settings(load(tmp_path / "plumewatch.toml"))
    return str(raised.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ('# username = "plumewatch"', 'password_file = "none"'),
            "[broker] password_file: unreadable",
        ),
        (('room = "N2-boys"', 'room = "N2-boy"'), "[[sensor]] n2-boys-1: room: 'N2-boy'"),
        (('room = "N2-boys"', 'room = "N2-boy"'), "did you mean 'N2-boys'?"),
        (("port = 8420", "prot = 8420"), "[web] prot: unknown key"),
        (("port = 8420", "prot = 8420"), "did you mean 'port'?"),
        (('model = "sen55"', 'modell = "sen55"'), "did you mean 'model'?"),
        (("port = 8420", 'port = "a while"'), "[web] port: 'a while'"),
        (("port = 8420", 'port = "18850"'), "[web] port: '18850' is not a whole number"),
        (("= 5", '= "5"'), "interval_s: '5' is not a number; did you mean 5?"),
        (("= 5", '= "5 s"'), "interval_s: '5 s' is not a number; did you mean 5?"),
        (("= 5", '= "five"'), "[[sensor]] n2-boys-1: interval_s: 'five' is not a number"),
        (("= 5", "= true"), "interval_s: True: must be a number"),
        (("[web]", "[alerts]\nstorm_rooms = 3.5\n[web]"), "3.5: must be a whole number"),
        (("[web]", 'tls = "yes"\n[web]'), "[broker] tls: 'yes': must be true or false"),
        (("port = 8420", 'port 8420 # "hunter2"'), "line 18"),
        (("port = 8420", "port hunter2"), "port ..."),
        (("[web]", "[web]\npublic_url = “hunter2”"), "public_url ...; put text in straight"),
        (("[web]", "[web]\npublic_url = 'hunter2"), "public_url ...; put text in straight"),
        (("[[staff]]", "[staff]"), "begin each with [[staff]] if they are entries"),
        (("[[room]]", "[shift]\n[[room]]"), "did you mean [[shift]]?"),
        (
            ('id = "n2-girls-1"', 'id = "n2-boys-1"'),
            "used by [[sensor]] number 1 (this is [[sensor]] number 2)",
        ),
        (("notify = []", 'notify = "hunter2"'), "must be a list, such as notify = [{ url_file ="),
        (("notify = []", 'notify = ["hunter2"]'), "must be a list of tables, such as notify ="),
        (("notify = []", 'notify = [{ url = "hunter2" }]'), "name the file: url_file"),
        (("[web]", "[web]\nport=1"), "port is set twice, in lines 17 and 19: remove one"),
        (("[web]", "[web]\n[web] # hunter2"), "[web] appears twice, in lines 16 and 17: join"),
        (("[[room]]", "[room]\n[room]"), "begin each with [[room]] if they are entries of a list"),
        (("notify = []", 'quiet_hours = "22-6"'), 'quiet_hours = [{ start = "22:00"'),
        (("[[room]]", SHIFT), "with two digits: 08:00"),
        (("[[room]]", SHIFT), "receiver: 'nobody'"),
        (("[[room]]", SHIFT), "people: 'no one'"),
    ],
)
def test_where_it_is_and_what_was_meant(tmp_path, change, expected):
    found = message(tmp_path, change)
    assert expected in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(FileNotFoundError, "do: create "), (PermissionError, f"let {find_account()} read it")],
)
def test_a_secret_that_cannot_be_read_is_no_fault_of_the_key(tmp_path, error, remedy):
    path = tmp_path / "plumewatch.toml"
    path.write_text(STARTER.replace("[broker]", '[broker]\npassword_file = "none"'))
    (tmp_path / "none").touch()
    files = Path.open

    def refuse(file, *mode, **more):
        if file.name == "none":
            raise error(2, "no")
        return files(file, *mode, **more)

    with mock.patch.object(Path, "open", refuse):
        ran = plumewatch("check", "-c", path)
    assert remedy in ran.out
    assert "do: change [broker]" not in ran.out


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (('timezone = "', 'zone = "'), "do: add timezone to {}"),
        (("[web]", "[alert]\n[web]"), "do: change alert in {}, line 16"),
        (("[web]", "[web"), "do: correct {}, then"),
    ],
)
def test_what_to_do_is_an_action(tmp_path, change, remedy):
    path = tmp_path / "plumewatch.toml"
    path.write_text(STARTER.replace(*change, 1))
    assert remedy.format(path) in plumewatch("check", "-c", path).out


def test_a_check_without_a_file_names_the_command_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = plumewatch("check")
    assert ran.code == 2
    assert "plumewatch.toml: No such file or directory" in ran.out
    assert "plumewatch setup" in ran.out
    assert "--config FILE" in ran.out
    assert "change plumewatch.toml in" not in ran.out
