"""Test messages about a wrong configuration: where, what, and what was probably meant."""

from __future__ import annotations

import pytest

from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import load
from plumewatch.config.settings import check_settings
from tests.support.command import plumewatch


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
        (("port = 8420", 'port 8420 # "hunter2"'), "line 18"),
        (("port = 8420", "port hunter2"), "port ..."),
    ],
)
def test_where_it_is_and_what_was_meant(tmp_path, change, expected):
    found = message(tmp_path, change)
    assert expected in found
    assert "hunter2" not in found


def test_a_check_without_a_file_names_the_command_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = plumewatch("check")
    assert ran.code == 2
    assert "plumewatch.toml: No such file or directory" in ran.out
    assert "plumewatch setup" in ran.out
    assert "--config FILE" in ran.out
    assert "change plumewatch.toml in" not in ran.out
