"""Test that `plumewatch staff` reads passwords from a file or keyboard, and never shows them."""

import io
import json
from types import SimpleNamespace

import pyotp
import pytest

from alerts.access import second_factor, sessions
from alerts.access.passwords import Hasher, load_hash
from plumewatch.check.people import find_without_password
from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.load import load
from storage import audit
from storage.sqlite import connect, transaction
from tests.support.command import plumewatch
from tests.support.provider import Provider

PASSWORD = "seven blue kettles"
NOW = 1_788_789_900.0


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(STARTER)
    return path


@pytest.fixture
def state(config):
    (config.parent / "plumewatch-data").mkdir()
    opened = connect(config.parent / "plumewatch-data/state.db")
    yield opened
    opened.close()


def set_it(config, person="ap-north", typed=f"{PASSWORD}\n", *words):
    ran = plumewatch("staff", "password", person, "-c", config, *words, now=NOW, stdin=typed)
    return ran.code, ran.out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_from_standard_input_and_signed_out_everywhere(config, state):
    assert set_it(config) == (0, "password of ap-north set\n")
    assert Hasher().verify(load_hash(state, "ap-north"), PASSWORD)
    with transaction(state) as tx:
        identity = sessions.start(tx, "ap-north", NOW, 100.0)
    assert set_it(config) == (0, "password of ap-north set; 1 session ended\n")
    assert sessions.find(state, identity, NOW) is None


def test_asked_twice_on_a_terminal(config, state, capsys, monkeypatch):
    answers = iter((PASSWORD, PASSWORD, PASSWORD, "other"))
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    monkeypatch.setattr("plumewatch.cli.people.sys", SimpleNamespace(stdin=Terminal()))
    assert set_it(config)[0] == 0
    assert set_it(config)[0] == 1
    assert "the two passwords differ" in capsys.readouterr().err
    assert Hasher().verify(load_hash(state, "ap-north"), PASSWORD)


@pytest.mark.parametrize("own", ["", "en"])
def test_a_test_notice_has_the_language_of_the_person_else_of_the_school(config, own):
    kim = '[[staff]]\nid = "kim"\nname = "Kim"\nnotify = [{ url_file = "kim" }]\n'
    kim += f'language = "{own}"\n' if own else ""
    config.write_text(f'language = "es"\n{STARTER}\n{kim}[alerts]\nallow_private_targets = true\n')
    provider = Provider()
    (config.parent / "kim").write_text(f"json://127.0.0.1:{provider.port}/kim")
    ran = plumewatch("staff", "test", "kim", "-c", config)
    provider.close()
    assert ran.code == 0
    title = json.loads(provider.requests[0][2])["title"]
    assert title.startswith("Test notice, " if own else "Aviso de prueba, ")


def test_one_is_made(config, state):
    code, output = set_it(config, "ap-north", "", "--generate")
    first, made = output.splitlines()
    assert (code, first) == (0, "password of ap-north set")
    assert Hasher().verify(load_hash(state, "ap-north"), made)


@pytest.mark.parametrize(
    ("person", "typed", "code", "message"),
    [
        ("ap-north", "short\n", 1, "at least 12"),
        ("ap-north", "", 1, "at least 12"),
        ("ap-north", "northfield-2026\n", 1, "northfield"),
        ("nobody", "x\n", 2, "the ids are: admin, ap-north, facilities"),
    ],
)
def test_what_is_refused(config, capsys, person, typed, code, message):
    assert set_it(config, person, typed) == (code, "")
    assert message in capsys.readouterr().err
    assert find_without_password(load(config)) == [member.id for member in load(config).staff]


def test_a_data_folder_that_cannot_be(config, capsys):
    (config.parent / "plumewatch-data").write_text("a file")
    assert set_it(config)[0] == 3
    assert "plumewatch-data" in capsys.readouterr().err


def test_a_lost_second_factor_is_removed_and_the_audit_log_knows(config, state):
    def remove():
        words = ("staff", "remove-second-factor", "ap-north", "-c", config)
        ran = plumewatch(*words, now=NOW)
        return ran.code, ran.out

    assert remove()[0] == 1
    with transaction(state) as tx:
        secret = second_factor.make_secret()
        assert second_factor.confirm(tx, "ap-north", secret, pyotp.TOTP(secret).at(NOW), NOW)
    assert remove() == (0, "second factor of ap-north removed\n")
    assert second_factor.list_enrolled(state) == {}
    assert next(audit.read_entries(state)).kind == "second_factor"
