"""`plumewatch staff`: passwords come in by a file or a keyboard, and never out again."""

import io
import json
from types import SimpleNamespace

import pyotp
import pytest

from alerts.access import languages, second_factor, sessions
from alerts.access.passwords import Hasher, password_hash
from alerts.incidents import schema
from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.load import load
from plumewatch.doctor.people import without_password
from storage import audit
from storage.sqlite import connect, migrate, transaction
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
    assert Hasher().verifies(password_hash(state, "ap-north"), PASSWORD)
    with transaction(state) as tx:
        identity = sessions.start(tx, "ap-north", NOW, 100.0)
    assert set_it(config) == (0, "password of ap-north set; 1 of their sessions ended\n")
    assert sessions.find(state, identity, NOW) is None


def test_asked_twice_on_a_terminal(config, state, capsys, monkeypatch):
    answers = iter((PASSWORD, PASSWORD, PASSWORD, "other"))
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    monkeypatch.setattr("plumewatch.cli.people.sys", SimpleNamespace(stdin=Terminal()))
    assert set_it(config)[0] == 0
    assert set_it(config)[0] == 1
    assert "the two passwords differ" in capsys.readouterr().err
    assert Hasher().verifies(password_hash(state, "ap-north"), PASSWORD)


@pytest.mark.parametrize("chosen", ["", "en"])
def test_a_test_notice_has_the_language_of_the_person_else_of_the_school(config, state, chosen):
    migrate(state, schema.COMPONENT, schema.SCRIPTS)
    with transaction(state) as tx:
        languages.choose(tx, "kim", chosen)
    kim = '[[staff]]\nid = "kim"\nname = "Kim"\nnotify = [{ url_env = "KIM" }]\n'
    starter = STARTER.replace("[alerts]\n", "[alerts]\nallow_private_targets = true\n")
    config.write_text(f'language = "es"\n{starter}\n{kim}')
    provider = Provider()
    url = f"json://127.0.0.1:{provider.port}/kim"
    ran = plumewatch("staff", "test", "kim", "-c", config, env={"KIM": url})
    provider.close()
    assert ran.code == 0
    title = json.loads(provider.requests[0][2])["title"]
    assert title.startswith("Test notice, " if chosen else "Aviso de prueba, ")


def test_one_is_made(config, state):
    code, output = set_it(config, "ap-north", "", "--generate")
    first, made = output.splitlines()
    assert (code, first) == (0, "password of ap-north set")
    assert Hasher().verifies(password_hash(state, "ap-north"), made)


@pytest.mark.parametrize(
    ("person", "typed", "code", "message"),
    [
        ("ap-north", "short\n", 1, "at least 12"),
        ("ap-north", "", 1, "at least 12"),
        ("ap-north", "northfield-2026\n", 1, "northfield"),
        ("nobody", "x\n", 2, "there is: ap-north, monitor-1, monitor-2, facilities"),
    ],
)
def test_what_is_refused(config, capsys, person, typed, code, message):
    assert set_it(config, person, typed) == (code, "")
    assert message in capsys.readouterr().err
    assert without_password(load(config)) == [member.id for member in load(config).staff]


def test_a_configuration_with_faults(tmp_path, capsys):
    path = tmp_path / "plumewatch.toml"
    path.write_text("site = 1")
    assert set_it(path)[0] == 2
    assert plumewatch("staff", "sign-out", "ap-north", "-c", path).code == 2
    assert plumewatch("staff", "list", "--json", "-c", path).code == 2
    assert "site" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be(config, capsys):
    (config.parent / "plumewatch-data").write_text("a file")
    assert set_it(config)[0] == 3
    assert "plumewatch-data" in capsys.readouterr().err


def test_list_and_sign_out(config, state):
    assert set_it(config)[0] == 0
    with transaction(state) as tx:
        sessions.start(tx, "ap-north", NOW, 100.0)
        sessions.start(tx, "gone", NOW, 100.0)
    first, *others = plumewatch("staff", "list", "--json", "-c", config, now=NOW).objects
    assert (first["id"], first["password_set"], first["sessions"]) == ("ap-north", NOW, 1)
    assert [other["id"] for other in others] == ["monitor-1", "monitor-2", "facilities"]
    assert {(other["password_set"], other["sessions"]) for other in others} == {(None, 0)}
    assert "none" in plumewatch("staff", "list", "-c", config, now=NOW).out
    for person in ("ap-north", "gone"):
        ended = plumewatch("staff", "sign-out", person, "-c", config, now=NOW)
        assert (ended.code, ended.out) == (0, "1 sessions ended\n")
    assert without_password(load(config)) == ["monitor-1", "monitor-2", "facilities"]


def test_tokens_are_made_listed_and_revoked(config, state):
    words = ("token", "add", "Grafana", "--person", "facilities", "--scope", "readings")
    (made,) = plumewatch(*words, "--json", "-c", config, now=NOW).objects
    assert made["token"].startswith("plumewatch_")
    (listed,) = plumewatch("token", "list", "--json", "-c", config, now=NOW).objects
    assert (listed["name"], listed["scopes"]) == ("Grafana", ["readings"])
    assert listed["expires_at"] == NOW + 90 * 86_400
    ran = plumewatch("token", "list", "-c", config, now=NOW)
    assert "never" in ran.out
    assert made["token"] not in ran.out
    number = str(listed["id"])
    assert plumewatch("token", "revoke", number, "-c", config, now=NOW).code == 0
    assert plumewatch("token", "revoke", number, "-c", config, now=NOW).code == 1
    audit = plumewatch("audit", "list", "--json", "-c", config, now=NOW)
    assert [e["detail"]["what"] for e in audit.objects] == ["revoked", "made"]
    assert made["token"] not in audit.out


@pytest.mark.parametrize(
    "more", [("--person", "nobody"), ("--person", "facilities", "--scope", "x")]
)
def test_a_token_for_nobody_or_nothing_is_refused(config, state, more):
    assert plumewatch("token", "add", "Grafana", *more, "-c", config, now=NOW).code == 2


def test_a_token_with_scopes_that_the_role_cannot_use_is_refused(config, state):
    words = ("token", "add", "sync", "--person", "facilities", "--scope", "reports")
    ran = plumewatch(*words, "--scope", "read", "-c", config, now=NOW)
    assert (ran.code, ran.out) == (2, "")
    assert "reports: 'facilities' has the role facilities, which allows read, respond, read" in (
        ran.err.replace("\n", " ")
    )


def test_a_lost_second_factor_is_removed_and_the_audit_log_knows(config, state):
    def remove():
        words = ("staff", "remove-second-factor", "ap-north", "-c", config)
        ran = plumewatch(*words, now=NOW)
        return ran.code, ran.out

    assert remove()[0] == 1
    with transaction(state) as tx:
        secret = second_factor.new_secret()
        assert second_factor.confirm(tx, "ap-north", secret, pyotp.TOTP(secret).at(NOW), NOW)
    assert remove() == (0, "second factor of ap-north removed\n")
    assert second_factor.everybody(state) == {}
    assert next(audit.entries(state)).kind == "second_factor"
