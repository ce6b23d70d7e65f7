"""Test `plumewatch setup` with InfluxDB: a real 1.x with and without users, and stand-ins."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest

from ingest.validation import Message
from plumewatch.cli.setup import influx as setup_influx
from plumewatch.config.load import load
from plumewatch.config.settings import read_influx_settings
from storage.errors import StorageUnavailableError
from storage.timeseries.influx_http import InfluxHttp
from tests.support.broker import free_port
from tests.support.command import plumewatch
from tests.support.fake_server import FakeServer
from tests.support.influx import Influxd, influxql
from tests.support.influx_standin import InfluxDb2, InfluxDb3

READING = Message("plumewatch/v1/n2-boys-1/reading", b'{"pm25":4.2}', 1_790_000_000.0)
ADMIN = "the administrator's"


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd-auth"), auth=True) as server:
        influxql(server.url, f"CREATE USER root WITH PASSWORD {quoted(ADMIN)} WITH ALL PRIVILEGES")
        influxql(server.url, "CREATE USER guest WITH PASSWORD 'guest'", u="root", p=ADMIN)
        yield server


def quoted(text):
    return "'" + text.replace("'", "\\'") + "'"


@pytest.fixture
def set_up(tmp_path):
    """Run `plumewatch setup` with these answers about the InfluxDB."""

    def run(token="", **answers):
        (tmp_path / "admin").write_text(f"{token}\n")
        (tmp_path / "admin").chmod(0o600)
        if token:
            answers["token_file"] = "admin"
        lines = "".join(f'{key} = "{value}"\n' for key, value in answers.items())
        (tmp_path / "answers.toml").write_text(
            f'site = "S"\nbroker = "127.0.0.1:{free_port()}"\ntest_notice = false\n'
            f"[influx]\n{lines}"
        )
        with mock.patch("plumewatch.cli.setup.site._listen", return_value=[READING]):
            words = ("--folder", tmp_path / "site", "--answers", tmp_path / "answers.toml")
            return plumewatch("setup", *words)

    run.folder = tmp_path / "site"
    return run


def files(folder):
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def service_and_reader(folder):
    """Connect with the service's configuration and with the dashboards' secret; return both."""
    service = read_influx_settings(load(folder / "plumewatch.toml"))
    path = folder / "secrets/influx-reader"
    assert {p.stat().st_mode & 0o777 for p in (folder / "secrets").glob("influx-*")} == {0o600}
    name = service.username.replace("_service", "_reader")
    return service, replace(service, username=name, secret=path.read_text().strip())


def check_accounts(ran, folder):
    """Check the service's and dashboards' permissions, and that no admin secret is kept."""
    assert "everything can be written and read" in ran.out
    assert ADMIN not in ran.out + ran.err + "".join(files(folder).values())
    service, reader = service_and_reader(folder)
    http = InfluxHttp(service)
    assert "accepts readings and answers queries" in http.check_connection()
    http.write(b"reading,sensor=s received=1")
    assert InfluxHttp(reader).query('SELECT "received" FROM "reading"')
    with pytest.raises(StorageUnavailableError, match="no permission to write"):
        InfluxHttp(reader).write(b"reading,sensor=s received=2")


def test_a_1x_with_users(set_up, closed_server):
    ran = set_up(ADMIN, url=closed_server.url, username="root", database="users")
    check_accounts(ran, set_up.folder)
    assert "user 'users_service' can read and write 'users' and nothing else" in ran.out
    service, _ = service_and_reader(set_up.folder)
    with pytest.raises(StorageUnavailableError, match="no permission"):
        InfluxHttp(service).query("CREATE DATABASE other", change=True)


def test_a_1x_that_asks_nobody(set_up, influxd):
    ran = set_up(url=influxd.url, database="open")
    assert "requires no password" in ran.out
    assert "everything can be written and read" in ran.out
    settings = read_influx_settings(load(set_up.folder / "plumewatch.toml"))
    assert (settings.url, settings.database, settings.secret) == (influxd.url, "open", "")
    assert not list((set_up.folder / "secrets").glob("influx-*"))
    InfluxHttp(settings).check_connection()


def test_a_2x_gets_its_organization_buckets_and_two_tokens(set_up, influxd):
    standin = InfluxDb2(influxd.url, orgs=["others"])
    standin.tokens = {ADMIN: None}
    with FakeServer(standin) as stub:
        ran = set_up(ADMIN, url=stub.url, org="Lincoln High", database="two")
        check_accounts(ran, set_up.folder)
    assert standin.orgs == ["others", "Lincoln High"]
    assert len(standin.tokens) == 3


def test_a_3_keeps_the_token_and_says_so(set_up, influxd):
    with FakeServer(InfluxDb3(influxd.url)) as stub:
        ran = set_up("secret", url=stub.url, database="three")
        assert "the service keeps this one" in ran.out
        settings = read_influx_settings(load(set_up.folder / "plumewatch.toml"))
        assert settings.secret == "secret"
        assert "InfluxDB 3" in InfluxHttp(settings).check_connection()


def nothing_is_done(server, folder, ran, sentence, before):
    assert ran.code in (2, 3), ran.err
    assert sentence in ran.err, ran.err
    assert "Traceback" not in ran.err
    assert not folder.exists()
    assert influxql(server.url, "SHOW DATABASES", u="root", p=ADMIN) == before


@pytest.mark.parametrize(
    ("username", "password", "sentence"),
    [
        ("root", "wrong", "does not accept the token or password"),
        ("guest", "guest", "has no permission"),
        ("", "", "needs the name and password of an administrator"),
    ],
)
def test_who_is_no_administrator_of_a_1x(set_up, closed_server, username, password, sentence):
    before = influxql(closed_server.url, "SHOW DATABASES", u="root", p=ADMIN)
    ran = set_up(password, url=closed_server.url, username=username, database="none")
    nothing_is_done(closed_server, set_up.folder, ran, sentence, before)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [("wrong", "does not accept the token"), ("limited", "shows no organization to this token")],
)
def test_who_is_no_administrator_of_a_2x(set_up, influxd, token, sentence):
    before = influxql(influxd.url, "SHOW DATABASES")
    standin = InfluxDb2(influxd.url)
    standin.tokens["limited"] = set()
    with FakeServer(standin) as stub:
        ran = set_up(token, url=stub.url, org="school", database="none")
    nothing_is_done(influxd, set_up.folder, ran, sentence, before)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(b"<html>hello", "is not an InfluxDB 1, 2 or 3"), (None, "does not answer")],
)
def test_another_server_and_none(set_up, influxd, body, sentence):
    before = influxql(influxd.url, "SHOW DATABASES")
    with FakeServer(lambda *_: (200, {}, body)) as other:
        url = other.url if body else f"http://127.0.0.1:{free_port()}"
        ran = set_up("x", url=url, org="school")
    nothing_is_done(influxd, set_up.folder, ran, sentence, before)


def test_files_that_are_there_are_found_before_the_server_is_changed(set_up, influxd):
    set_up.folder.mkdir()
    (set_up.folder / "plumewatch.toml").write_text("x")
    before = influxql(influxd.url, "SHOW DATABASES")
    ran = set_up(url=influxd.url, database="late")
    assert "must be valid TOML" in ran.err
    assert influxql(influxd.url, "SHOW DATABASES") == before


class TestQuestions:
    """Tests that setup asks a person, and explains failures before asking again."""

    @pytest.fixture
    def ask(self, monkeypatch):
        def ask(answers, nearby=()):
            monkeypatch.setattr(setup_influx, "_USUAL", nearby)
            asked, given = [], iter(answers)

            def question(text, default="", *, hidden=False):
                asked.append((text.partition(",")[0].partition(";")[0], hidden))
                answer = next(given)
                return default if answer is None else answer

            monkeypatch.setattr(setup_influx, "ask_person", question)
            return setup_influx.ask_influx(), asked

        return ask

    def test_without_one(self, ask):
        assert ask([None])[0] is None

    def test_one_that_is_found_on_this_machine(self, ask, influxd):
        found, asked = ask([None], (f"http://127.0.0.1:{free_port()}", influxd.url))
        assert found.build_settings()["url"] == influxd.url
        assert len(asked) == 1

    def test_a_password_until_it_is_right(self, ask, closed_server, capsys):
        found, asked = ask([closed_server.url, "root", "x", closed_server.url, "root", ADMIN])
        assert found.wanted == [True, False]
        assert [hidden for _, hidden in asked] == [False, False, True] * 2
        assert "does not accept the token or password" in capsys.readouterr().err
