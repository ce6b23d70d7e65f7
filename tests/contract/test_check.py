"""Test that `plumewatch check` finds each problem and suggests a remedy."""

from __future__ import annotations

import gc
import json
import re
import shlex
import socket
import subprocess
import time
import warnings
from contextlib import closing

import pytest

from alerts.access import own_channels
from ingest.mqtt.examine import BrokerFacts
from plumewatch.check import people
from plumewatch.check.broker import check_certificates, check_queue
from plumewatch.check.check import check
from plumewatch.check.machine import check_clock
from plumewatch.check.people import check_page
from plumewatch.check.result import State
from plumewatch.check.sensors import check_intervals
from plumewatch.cli.run import run_check
from plumewatch.config.load import load
from plumewatch.config.sections.broker import BrokerConfig
from plumewatch.service.data_folder import prepare_state
from storage import audit
from storage.files import FolderLock, find_service_start
from storage.journal import Journal
from storage.reading import Reading
from storage.sqlite import connect, transaction
from tests.support.broker import Mosquitto, free_port
from tests.support.certificates import certificate
from tests.support.needs import need

NOW = 1_790_000_000.0
SITE = """\
site = "S"
timezone = "UTC"
{top}
[broker]
port = {port}
{broker}
[web]
port = {web}
[alerts]
allow_private_targets = true
{more}
[[room]]
id = "r"
name = "R"
building = "B"
[[sensor]]
id = "s1"
room = "r"
interval_s = {interval}
[[staff]]
id = "ap"
name = "AP"
notify = [{{ url_file = "ap-url" }}]
"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "ap-url").write_text(f"json://127.0.0.1:{free_port()}/")
    (tmp_path / "ap-url").chmod(0o600)

    def site(broker="", more="", top="", interval=5, port=None):
        path = tmp_path / "plumewatch.toml"
        port = port or free_port()
        text = SITE.format(
            port=port, broker=broker, web=free_port(), more=more, top=top, interval=interval
        )
        path.write_text(text)
        return path

    return site


@pytest.fixture
def checked(site, capsys):
    def checked(now=None, **options):
        code = run_check(site(**options), now, as_json=True)
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert all(f["remedy"] for f in found if f["state"] != "ok")
        return code, found

    return checked


def state_database(folder):
    """Return a new state database of the site in a folder."""
    (folder / "plumewatch-data").mkdir(exist_ok=True)
    db = connect(folder / "plumewatch-data/state.db")
    prepare_state(db)
    return db


def problems(found, part):
    return [f for f in found if f["part"] == part and f["state"] != "ok"]


def test_files_of_secrets_that_others_may_read(checked, tmp_path):
    modes = {"broker": 0o644, "phone": 0o604, "scraper": 0o640, "hook": 0o600, "ping": 0o644}
    for name, mode in modes.items():
        (tmp_path / name).write_text("https://hook.example/0123456789abcdef")
        (tmp_path / name).chmod(mode)
    code, found = checked(
        broker='username = "u"\npassword_file = "broker"',
        more='[metrics]\ntoken_file = "scraper"\n[[staff]]\nid = "fm"\nname = "FM"\n'
        'notify = [{ url_file = "phone" }, { url_file = "hook" }]\n'
        '[watchdog]\nping_url_file = "ping"',
    )
    (result,) = problems(found, "secrets")
    assert (code, result["state"]) == (3, "warn")  # because there is no broker
    for name in ("broker", "phone", "ping"):
        path = tmp_path / name
        assert f"{path} (mode {modes[name]:o})" in result["sentence"]
        assert shlex.quote(str(path)) in result["remedy"]
    assert "scraper" not in result["sentence"]
    assert result["remedy"].startswith("chmod 600 ")
    subprocess.run(result["remedy"].partition("; ")[0], shell=True, check=True)  # noqa: S602
    assert problems(checked(broker='username = "u"\npassword_file = "broker"')[1], "secrets") == []


def test_a_file_of_a_secret_at_which_this_account_may_not_look(checked):
    code, found = checked(
        more=f'[reports]\nweekly_file = "{"x" * 300}"'
    )  # refused for lack of permission
    assert code == 3  # because there is no broker
    assert problems(found, "secrets") == []


class TestBroker:
    def test_one_that_loses_messages(self, site):
        (trial,) = check_queue(load(site()), BrokerFacts(keeps_for_absent=False))
        assert trial.state is State.FAULT
        assert "was lost" in trial.sentence
        assert "per_listener_settings" in trial.remedy

    def test_one_that_keeps_messages(self, checked):
        with Mosquitto() as broker:
            _, found = checked(port=broker.port)
        output = {f["part"]: f["sentence"] for f in found}
        assert "Mosquitto 2" in output["broker"]
        assert output["broker queue"] == "a message was kept for a disconnected session"

    @pytest.mark.parametrize("anonymous", [True, False])
    def test_one_that_needs_no_account(self, checked, tmp_path, anonymous):
        """The check tries to connect, even if the broker's configuration cannot be read."""
        passwords = tmp_path / "passwords"
        need("mosquitto")
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", passwords, "plumewatch", "of-the-service"], check=True
        )
        passwords.chmod(0o644)
        (tmp_path / "password").write_text("of-the-service")
        lines = f"allow_anonymous {str(anonymous).lower()}\npassword_file {passwords}"
        account = f'username = "plumewatch"\npassword_file = "{tmp_path}/password"'
        with Mosquitto(lines) as broker:
            _, found = checked(port=broker.port, broker=account)
        output = " ".join(f["sentence"] for f in problems(found, "broker accounts"))
        assert ("without an account" in output) == anonymous

    def test_one_that_forbids_the_trial(self, checked, tmp_path):
        (tmp_path / "acl").write_text("topic read #\n")
        (tmp_path / "acl").chmod(0o600)
        with Mosquitto(f"acl_file {tmp_path}/acl") as broker:
            _code, found = checked(port=broker.port)
        (trial,) = problems(found, "broker queue")
        assert trial["state"] == "warn"
        assert "plumewatch/canary/#" in trial["remedy"]


@pytest.mark.parametrize(
    ("days", "state", "message"),
    [(1, "warn", "expires in 1 day"), (90, "ok", "valid for 90 days")],
)
def test_certificates_of_a_broker(checked, tmp_path, days, state, message):
    cert, key = certificate(tmp_path, days=days)
    lines = f"certfile {cert}\nkeyfile {key}\nallow_anonymous true"
    with Mosquitto(lines) as broker:
        trusted = f'tls = true\nca_file = "{cert}"'
        _, found = checked(port=broker.port, broker=trusted)
    for part in ("broker certificate", "broker ca_file"):
        (line,) = [f for f in found if f["part"] == part]
        assert line["state"] == state
        assert message in line["sentence"]
    assert next(f for f in found if f["part"] == "broker")["state"] == "ok"


def test_a_certificate_that_is_over_and_one_that_is_none(tmp_path):
    cert, _ = certificate(tmp_path, days=100)
    broker = BrokerConfig(port=free_port(), tls=True, ca_file=cert)
    unreachable, over = check_certificates(broker, time.time() + 104 * 86_400)
    assert (over.state, over.sentence) == (State.FAULT, "expired 4 days ago")
    assert unreachable.state is State.WARNING
    cert.write_text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
    assert [*check_certificates(broker, NOW)][1].state is State.WARNING


def test_a_certificate_that_is_not_trusted(checked, tmp_path):
    cert, key = certificate(tmp_path)
    lines = f"certfile {cert}\nkeyfile {key}\nallow_anonymous true"
    with Mosquitto(lines) as broker, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _, found = checked(port=broker.port, broker="tls = true")
        gc.collect()  # paho leaves a failed handshake's socket to the garbage collector
    (line,) = problems(found, "broker")
    assert "broker.ca_file" in line["remedy"]


def stored(folder, readings):
    (folder / "plumewatch-data").mkdir(exist_ok=True)
    with closing(Journal(folder / "plumewatch-data/journal.db")) as journal:
        journal.open()
        journal.commit(readings)


def test_a_time_zone_without_daylight_saving_is_warned_of(site, capsys):
    path = site()
    path.write_text(re.sub("timezone = .*", 'timezone = "EST"', path.read_text()))
    run_check(path)
    printed = capsys.readouterr().out
    assert "warn  time zone: EST has no daylight saving\n" in printed
    assert "do: use America/New_York\n" in printed


@pytest.mark.parametrize(
    ("offsets", "now", "kept", "state", "sentence"),
    [
        ([0], NOW, True, State.OK, "synchronized by NTP"),
        ([0], NOW - 86_400, True, State.FAULT, "a reading was received at"),  # clock was set back
        ([-3000, -3000, -3000, 0], NOW, True, State.FAULT, "3 of 4 sensors"),
        ([-3600, 0], NOW, True, State.WARNING, "s0: readings are stamped up to 60 min behind"),
        ([0, 240, 300, 0, 0], NOW, True, State.WARNING, "s1, s2: readings are stamped up to 300 s"),
        ([], NOW, False, State.WARNING, "not synchronized"),
    ],
)
def test_the_clock_by_what_readings_say(site, tmp_path, offsets, now, kept, state, sentence):
    path = site()
    if offsets:
        stored(
            tmp_path,
            [Reading(f"s{k}", NOW + s, NOW - 0.5, {"pm25": 4.0}) for k, s in enumerate(offsets)],
        )
    (found,) = check_clock(load(path), now, lambda: kept)
    assert (found.state, found.part) == (state, "clock")
    assert sentence in found.sentence


def test_readings_that_arrive_during_a_check_are_not_of_the_future(site, tmp_path, monkeypatch):
    path, times = site(), iter(range(0, 999, 9))
    monkeypatch.setattr("plumewatch.check.check.time.monotonic", lambda: next(times))
    stored(tmp_path, [Reading("s1", NOW + 12, NOW + 12, {"pm25": 4.0})])
    assert not [f for f in check(path, NOW) if f.part == "clock" and f.state is State.FAULT]


class TestSensors:
    def test_silence_is_said_once(self, checked, tmp_path):
        more = "".join(f'[[sensor]]\nid = "x{k}"\nroom = "r"\ninterval_s = 5\n' for k in range(12))
        stored(
            tmp_path,
            [Reading(x, t, t, {"pm25": 4.0}) for x, t in (("x0", NOW - 900), ("x1", NOW - 800))]
            + [Reading("s1", NOW, NOW, {"pm25": 4.0})],
        )
        state_database(tmp_path).close()
        _, found = checked(more=more)
        silent, never = problems(found, "sensors")
        assert silent["sentence"] == "x0, x1: silent, longest for 15 min"
        listed = ", ".join(f"x{k}" for k in range(2, 10))
        assert never["sentence"] == f"{listed}, ... (10 in all): never heard from"
        assert "broker's log" in never["remedy"]
        assert "password or topic is wrong" in never["remedy"]

    def test_a_service_that_has_just_started(self, checked, tmp_path):
        state_database(tmp_path).close()
        lock = FolderLock(tmp_path / "plumewatch-data/service.lock")
        lock.take()
        started = find_service_start(tmp_path / "plumewatch-data/service.lock")
        for seconds, count in ((45, 0), (61, 1)):
            _, found = checked(started + seconds)
            assert len(problems(found, "sensors")) == count
        lock.release()

    @pytest.mark.parametrize(("every", "message"), [(5, 0), (10, 0), (20, "many"), (60, "most")])
    def test_intervals(self, every, message):
        found = list(check_intervals({"s1": every}))
        assert bool(found) is bool(message)
        assert all(message in f.sentence for f in found)

    def test_interval_of_the_configuration(self, checked):
        _, found = checked(interval=60)
        (line,) = problems(found, "interval")
        assert "s1: a reading every 60 s" in line["sentence"]


class TestStore:
    def test_written_by_a_newer_program(self, checked, tmp_path):
        with closing(state_database(tmp_path)) as db:
            db.execute("UPDATE component_version SET version = 99 WHERE component = 'alerts'")
        code, found = checked()
        assert code == 3
        (line,) = problems(found, "store")
        assert "newer version" in line["sentence"]
        assert "alerts 99" in line["sentence"]

    def test_a_damaged_value(self, checked, tmp_path):
        with closing(state_database(tmp_path)) as db:
            db.execute("INSERT INTO directory_person VALUES ('ada', 'Ada', '5', 1, NULL)")
        _, found = checked()
        (line,) = problems(found, "store")
        assert line["sentence"].endswith("directory_person.provider_groups of id ada")

    def test_a_database_of_another_program(self, checked, tmp_path):
        folder = tmp_path / "plumewatch-data"
        folder.mkdir()
        with closing(connect(folder / "state.db")) as db:
            db.execute("CREATE TABLE holidays (day TEXT)")
        code, found = checked()
        assert code == 3
        (line,) = problems(found, "store")
        assert line["sentence"].startswith(f"{folder}/state.db: ")
        assert "plumewatch restore BACKUP" in line["remedy"]

    def test_nothing_recovers_damaged_files(self, checked, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", f"{tmp_path}")
        _, found = checked()
        (line,) = problems(found, "damaged files")
        assert line["state"] == "warn"
        assert "apt-get install sqlite3" in line["remedy"]

    def test_too_small_a_disk(self, checked, monkeypatch):
        class Space:
            f_bavail, f_frsize = 5_000_000, 1000

        monkeypatch.setattr("os.statvfs", lambda _: Space)
        more = "\n".join(f'[[sensor]]\nid = "x{k}"\nroom = "r"\ninterval_s = 1' for k in range(200))
        _, found = checked(more=more)
        (line,) = problems(found, "store")
        assert "201 sensors need" in line["sentence"]
        assert line["state"] == "warn"
        Space.f_bavail = 100
        _code, found = checked()
        (line,) = problems(found, "store")
        assert line["state"] == "FAULT"
        assert "timeseries.raw_days" in line["remedy"]


class TestPeople:
    def test_a_notifier_that_does_not_answer(self, checked):
        code, found = checked()
        assert code == 3
        (line,) = problems(found, "notifiers")
        assert "Connection refused" in line["sentence"]

    def test_a_channel_that_a_person_set_up_on_the_page_counts(self, site):
        path = site()
        path.write_text(path.read_text().replace("notify =", "# notify ="))
        config = load(path)
        (nobody,) = people.check_notifiers(config, NOW)
        assert "no staff member has an address or a channel" in nobody.sentence
        config.data_dir.mkdir()
        address = ("https://push.example/x", "key", "auth")
        with closing(connect(config.data_dir / "state.db")) as db:
            prepare_state(db)
            with transaction(db) as tx:
                own_channels.add(
                    tx, config.staff[0].id, own_channels.ChannelKind.BROWSER, address, "", NOW
                )
        assert list(people.check_notifiers(config, NOW)) == []

    def test_people_of_one_fault_are_one_line(self, checked):
        more = "".join(
            f'[[staff]]\nid = "p{k}"\nname = "P{k}"\nnotify = [{{ url_file = "ap-url" }}]\n'
            for k in range(9)
        )
        _, found = checked(more=more)
        (line,) = problems(found, "notifiers")
        assert line["sentence"].startswith("ap, p0, p1, p2, p3, p4, p5, p6, ... (10 in all): ")

    @pytest.mark.parametrize(
        ("address", "hint"),
        [
            ("ntfy://127.0.0.1/topic", "allow_private_targets = true in [alerts]"),
            ("jsn://h.example", "did you mean 'json'?"),
        ],
    )
    def test_what_was_meant(self, site, address, hint):
        path = site()
        (path.parent / "ap-url").write_text(address)
        text = path.read_text().replace("allow_private_targets = true", "")
        path.write_text(text)
        (line,) = people.check_notifiers(load(path), NOW)
        assert "ap-url: " in line.sentence
        assert hint in line.sentence + line.remedy

    @pytest.mark.parametrize(
        ("kind", "url", "fault"),
        [
            ("email", "mailtos://h.example?to={to}", "not a complete mailtos address"),
            ("phone", "twilo://sid:token@from/{to}", "did you mean 'twilio'?"),
            ("email", "mailto://127.0.0.1:9/?from=a@b.example&to={to}", "refused"),
            ("weekly", "mailtos://h.example?to=marked", "not a complete mailtos address"),
            (
                "weekly",
                "mailto://127.0.0.1:9/?from=a@b.example&to=a@b.example,c@b.example",
                "refused",
            ),
        ],
    )
    def test_a_sender_that_can_never_be_used(self, checked, tmp_path, kind, url, fault):
        (tmp_path / "sender").write_text(url)
        section = '[reports]\nweekly_file = "sender"'
        code, found = checked(more=section if kind == "weekly" else f'{kind}_url_file = "sender"')
        assert code == 3
        part = "weekly summary" if kind == "weekly" else "notifiers"
        assert any(fault in line["sentence"] for line in problems(found, part))
        assert "marked" not in str(found)

    def test_gaps(self, checked):
        more = (
            '[routing]\nreceiver = "hall"\n'
            '[[receiver]]\nid = "hall"\ncatch_all = ["ap"]\n'
            '[[zone]]\nid = "z"\nbuilding = "B"\n'
            '[[bells]]\nid = "b"\ndays = ["mon", "tue"]\n'
            'periods = [{ name = "1", start = "08:00", end = "09:00" },'
            ' { name = "2", start = "09:00", end = "10:00" }]\n'
            '[[shift]]\nid = "s"\nreceiver = "hall"\npeople = ["ap"]\nzones = ["z"]\n'
            'periods = ["*"]\n'
            '[[override]]\nshift = "s"\nremove = "ap"\n'
            "start = 2026-09-22T08:00:00\nend = 2026-09-22T10:00:00\n"
        )
        _, found = checked(NOW, more=more)
        (line,) = problems(found, "duty")
        assert "notified in 2 class periods (Tue, Sep 22, 8:00 AM; Tue" in line["sentence"]


@pytest.mark.parametrize(
    ("web", "is_open"),
    [
        ('host = "0.0.0.0"', True),
        ('host = "::"', True),
        ('host = "0.0.0.0"\npublic_url = "http://school.example"', True),
        ('host = "0.0.0.0"\npublic_url = "http://127.0.0.1:8420"', False),
        ('host = "0.0.0.0"\npublic_url = "https://school.example"', False),
        ('host = "127.0.0.1"\npublic_url = "https://school.example"', False),
    ],
)
def test_a_page_whose_passwords_can_be_read_on_the_network(site, web, is_open):
    path = site()
    path.write_text(path.read_text().replace("[web]\n", f"[web]\n{web}\n"))
    found = list(check_page(load(path), NOW))
    assert any("without TLS" in f.sentence for f in found) == is_open
    assert all(f.state is State.WARNING for f in found if "without TLS" in f.sentence)


@pytest.mark.parametrize("url", ["", 'public_url = "https://school.example"\n'])
def test_a_proxy_in_front_of_a_page_without_an_address_is_a_warning(site, url, monkeypatch):
    path = site()
    web = f'[web]\ntrusted_proxies = ["10.0.0.9"]\n{url}'
    path.write_text(path.read_text().replace("[web]\n", web))
    (found,) = check_page(load(path), NOW)
    assert (found.state is State.WARNING) == ("a proxy is in front of it" in found.sentence)
    assert ("a proxy is in front of it" in found.sentence) == (not url)
    with socket.create_server(("127.0.0.1", load(path).web.port)):  # the service runs
        monkeypatch.setattr(people, "find_service_start", lambda _lock: NOW)
        (running,) = check_page(load(path), NOW)
    assert ("a proxy is in front of it" in running.sentence) == (not url)


def test_a_proxy_that_the_page_has_seen_is_a_warning(site):
    config = load(site())
    config.data_dir.mkdir()
    with closing(connect(config.data_dir / "state.db")) as db:
        prepare_state(db)
        first = [found.sentence for found in check_page(config, NOW)]
        assert not any("a proxy is in front of it" in sentence for sentence in first)
        with transaction(db) as tx:
            audit.append(tx, audit.AuditKind.PROXY, "service", {}, NOW)
    (found,) = check_page(config, NOW)
    assert "a proxy is in front of it" in found.sentence


def test_text_has_the_remedy_below(site, capsys):
    assert run_check(site()) == 3
    lines = capsys.readouterr().out.splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("FAULT broker:"))
    assert lines[at + 1].startswith("      do: ")
