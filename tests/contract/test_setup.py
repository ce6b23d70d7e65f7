"""Test `plumewatch setup` with a real Mosquitto and devices from several manufacturers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import queue
import re
import select
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import paho.mqtt.client as mqtt
import pytest

from ingest.mqtt.connection import BrokerSettings
from plumewatch.cli.setup.discovery import listen
from plumewatch.config.load import load
from tests.support.broker import Mosquitto, free_port
from tests.support.certificates import certificate
from tests.support.command import plumewatch
from tests.support.provider import Provider

SHIPPED = Path(__file__).parents[2] / "deploy/mosquitto.conf"
UNKNOWN = "site/s1/air/state"


def messages(step):
    """Return the messages that devices from five manufacturers send in two seconds."""
    at = datetime.fromtimestamp(time.time() // 1 - 86_400 + 2 * step, UTC)
    pm25 = 3.0 + step % 7 / 10
    native = {"time": at.isoformat(), "seq": step, "pm25": pm25, "rh": 46.7, "voc_index": 97}
    yield "plumewatch/v1/n2-boys-1/reading", json.dumps(native)
    if step % 5 == 0:
        sps30 = {"PM1_0": 3.15, "PM2_5": pm25, "PM10": 3.77, "NCPM2_5": 12.47, "TYPSIZ": 0.8}
        tasmota = {"Time": at.isoformat()[:19], "SPS30": sps30}
        yield "tele/n2-girls-1/SENSOR", json.dumps(tasmota)
        yield "gym-locker/sensor/pm_2_5/state", f"{pm25:.1f}"
        airgradient = {"wifi": -62, "serialno": "179567c194e3", "pm02": pm25, "rhum": 42.45}
        airgradient |= {"tvocIndex": 98, "boot": step // 5, "model": "I-9PSL", "firmware": "3.6.0"}
        yield "airgradient/readings/179567c194e3", json.dumps(airgradient)
        zigbee = {"pm25": round(pm25), "voc_index": 120, "humidity": 41.2, "linkquality": 90}
        yield "zigbee2mqtt/zigbee-1", json.dumps(zigbee)


@contextmanager
def publishing(broker):
    """Publish for devices of five manufacturers and an unknown one until the context ends."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish(UNKNOWN, json.dumps({"pm2_5_ugm3": 4.2, "hum": 41}), retain=True)
    discovery = {"dev_cla": "pm25", "unit_of_meas": "µg/m³", "name": "PM 2.5"}
    discovery["stat_t"] = "gym-locker/sensor/pm_2_5/state"
    topic = "homeassistant/sensor/gym-locker/pm_2_5/config"
    client.publish(topic, json.dumps(discovery), retain=True)
    ended = threading.Event()

    def publish():
        for step in count():
            for topic, payload in messages(step):
                client.publish(topic, payload)
            if ended.wait(1 / 30):
                return

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        client.disconnect()
        client.loop_stop()


def set_up(folder, answers, *words):
    return plumewatch("setup", "--folder", folder, "--answers", answers, *words)


def test_from_answers_to_a_green_check(tmp_path, capsys):
    provider, folder = Provider(), tmp_path / "site"
    try:
        with Mosquitto() as broker:
            (tmp_path / "answers.toml").write_text(
                f'site = "Lincoln High"\ntimezone = "America/New_York"\n'
                f'broker = "127.0.0.1:{broker.port}"\nlisten_s = 5\n'
                f'broker_folder = "{broker.directory}"\n'
                'rooms = { 179567c194e3 = "Gym/1st floor/Staff restroom" }\n'
                "[[staff]]\n"
                f'name = "Assistant principal"\nurl = "json://127.0.0.1:{provider.port}/ap"\n'
            )
            with publishing(broker):
                ran = set_up(folder, tmp_path / "answers.toml")
            assert ran.code == 0, ran
            config = load(folder / "plumewatch.toml")
            check_discovered(ran.out, config)
            assert "address 1: delivered" in ran.out
            assert b"This is a test" in provider.requests[0][2]
            closed_to_others(broker, folder, config)
    finally:
        provider.close()


def test_a_broker_with_tls_to_which_anybody_publishes(tmp_path, capsys):
    """A device id that equals another id or the service's account gets a different account name."""
    cert, key = certificate(tmp_path)
    pair = f"certfile {cert}\nkeyfile {key}\n"
    folder, names = tmp_path / "site", ("n2-boys-1", "a-b", "a:b", "plumewatch")
    provider = Provider()
    with contextlib.closing(provider), Mosquitto(pair) as broker:
        (tmp_path / "answers.toml").write_text(
            f'site = "S"\ntimezone = "UTC"\nlisten_s = 3\nca_file = "{cert}"\n'
            f'broker = "mqtts://127.0.0.1:{broker.port}"\n'
            + 2
            * f'[[staff]]\nname = "AP"\nurl = "json://127.0.0.1:{provider.port}/ap"\n'
        )
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.tls_set(str(cert))
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        for name in names:
            client.publish(f"plumewatch/v1/{name}/reading", b'{"pm25":4.2}', 1, retain=True)
        client.publish("plumewatch/v1/n9-9/reading", b" " * 5_000_000, 1, retain=True)
        client.publish("$bombs", b"x").wait_for_publish(10)
        printed = set_up(folder, tmp_path / "answers.toml")
        client.disconnect()
        client.loop_stop()
        assert printed.code == 0, printed.out
        assert "certfile and keyfile" in printed.out
        config = load(folder / "plumewatch.toml")
        assert {sensor.id for sensor in config.sensor} == set(names)
        assert len({room.id for room in config.room}) == 4
        assert [person.id for person in config.staff] == ["ap", "ap-2"]
        rows = (folder / "secrets/device-passwords.csv").read_text().splitlines()[1:]
        assert {tuple(row.split(",")[:2]) for row in rows} == {
            ("n2-boys-1", "n2-boys-1"), ("a-b", "a-b"), ("a:b", "a-b-2"),
            ("plumewatch", "plumewatch-2"),
        }  # fmt: skip
        users = (folder / "broker/plumewatch-passwords").read_text().splitlines()
        assert len({user.partition(":")[0] for user in users}) == len(users) == 5
        conf = folder / "broker/mosquitto.conf"
        assert conf.read_text().count("\nuse_username_as_clientid true\n") == 1
        assert conf.read_text().count("\nmax_connections ") == 2
        assert f"\nlistener {config.broker.port} 127.0.0.1\n" in conf.read_text()
        assert (config.broker.host, config.broker.port) == ("127.0.0.1", broker.port + 1)
        assert "firewall" not in conf.read_text() + printed.out
        conf.write_text(re.sub(r"certfile .*\nkeyfile .*\n", pair, conf.read_text()))
        installed(broker, folder)
        check = plumewatch("check", "--config", folder / "plumewatch.toml")
        assert check.code == 0, check.out


def test_what_would_not_stay_one_word_in_the_files_of_the_broker(tmp_path):
    """Mosquitto refuses control characters in topics, but other brokers may not."""

    class Broker:
        def __init__(self, *topics):
            self.messages = self._all(topics)

        async def _all(self, topics):
            for topic in topics:
                yield SimpleNamespace(topic=topic, payload=b'{"pm25":1}', retain=False)

        async def subscribe(self, *_args, **_more):
            pass

    @asynccontextmanager
    async def connected(*_args):
        yield

    client = Broker("plumewatch/v1/a/reading", "x\nuser mallory\ntopic readwrite #", "b\u202e/c")
    with (
        mock.patch("plumewatch.cli.setup.discovery.make_client", return_value=client),
        mock.patch("plumewatch.cli.setup.discovery.open_connection", connected),
    ):
        found = asyncio.run(listen(BrokerSettings(), 5))
    assert [message.topic for message in found] == ["plumewatch/v1/a/reading"]


def check_discovered(printed, config):
    """Check that decoders read the five known formats, and a mapping reads the unknown one."""
    rows = (line.split() for line in printed.splitlines())
    decoders = {row[0]: row[1] for row in rows if len(row) > 2}
    assert decoders["n2-boys-1"] == "native"
    assert decoders["n2-girls-1"] == "tasmota"
    assert decoders["gym-locker"] == "esphome"
    assert set(decoders.values()) >= {"airgradient", "zigbee2mqtt"}
    intervals = {s.id: s.interval_s for s in config.sensor}
    assert intervals["n2-boys-1"] == pytest.approx(2, abs=0.5)
    assert intervals["n2-girls-1"] == pytest.approx(10, abs=2)
    rooms = {r.id: r for r in config.room}
    room = rooms[next(s.room for s in config.sensor if s.id == "n2-boys-1")]
    assert (room.building, room.floor, room.name) == ("North", "2nd floor", "Boys' restroom")
    assert any(m.name for m in config.mapping) or f"nothing reads {UNKNOWN}" in printed


def closed_to_others(broker, folder, config):
    """Check the broker with its new files: no faults, and accounts write only their own topics."""
    installed(broker, folder)
    result = plumewatch("check", "--json", "--config", folder / "plumewatch.toml")
    found = result.objects
    assert result.code == 0, found
    assert not [f for f in found if f["part"].startswith("broker") and f["state"] == "warn"]
    rows = (folder / "secrets/device-passwords.csv").read_text().splitlines()[1:]
    accounts = {name: (user, its) for name, user, its in (row.split(",") for row in rows)}
    service = ("plumewatch", (folder / "secrets/broker-password").read_text().strip())
    assert set(accounts) == {s.id for s in config.sensor}
    own, other = "plumewatch/v1/n2-boys-1/reading", "plumewatch/v1/n2-girls-1/reading"
    assert arrives(broker, service, accounts["n2-boys-1"], own)
    assert not arrives(broker, service, accounts["n2-boys-1"], other)
    assert arrives(broker, service, accounts["n2-girls-1"], "tele/n2-girls-1/SENSOR")
    assert not arrives(broker, service, service, own)
    assert not arrives(broker, service, ("n2-boys-1", "guessed"), own)


def installed(broker, folder):
    """Apply the next steps that `plumewatch setup` prints to this broker."""
    home = broker.directory
    for file in (folder / "broker").iterdir():
        text = file.read_text().replace("/var/lib/mosquitto/", f"{home}/")
        text = text.replace("/etc/mosquitto/plumewatch", f"{home}/plumewatch")
        (home / file.name).write_text(text + ("user root\n" if file.suffix == ".conf" else ""))
        (home / file.name).chmod(0o600)
        assert file.suffix == ".conf" or stat.S_IMODE(file.stat().st_mode) == 0o600
    broker.config = home / "mosquitto.conf"
    broker.restart()


def arrives(broker, reader, writer, topic):
    """Return whether the broker delivers one account's messages to another."""
    got, said = [], (queue.SimpleQueue(), queue.SimpleQueue())
    clients = [mqtt.Client(mqtt.CallbackAPIVersion.VERSION2) for _ in said]
    listening, publishing = clients
    listening.on_message = lambda *a: got.append(a[2].topic)
    for client, (user, password), answers in zip(clients, (reader, writer), said, strict=True):
        client.username_pw_set(user, password)
        client.on_connect = lambda *a, to=answers: to.put(not a[3].is_failure)
        client.on_subscribe = client.on_unsubscribe = lambda *a, to=answers: to.put(bool(a))
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
    try:
        if not all(answers.get(timeout=60) for answers in said):
            return False
        listening.subscribe("#", 1)
        said[0].get(timeout=60)
        publishing.publish(topic, "{}", 1).wait_for_publish(60)
        listening.unsubscribe("#")  # the UNSUBACK arrives after all earlier messages
        said[0].get(timeout=60)
        return topic in got
    finally:
        for client in clients:
            client.disconnect()
            client.loop_stop()


def test_a_person_is_asked_on_a_terminal(tmp_path):
    """Setup asks at most twelve questions, and repeats a question after an invalid answer."""
    provider, folder = Provider(), tmp_path / "site"
    with Mosquitto() as broker, publishing(broker):
        answers = [
            ("Name of the school", "Lincoln High"),
            ("Time zone", "Nowhere/City"),
            ("Time zone", "America/New_York"),
            ("MQTT broker", f"127.0.0.1:{free_port()}"),
            ("Broker account", ""),
            ("MQTT broker", f"127.0.0.1:{broker.port}"),
            ("Broker account", ""),
            ("InfluxDB for the readings", f"http://127.0.0.1:{broker.port}"),
            ("InfluxDB for the readings", "-"),
            ("Rooms to correct", "n2-boys-1=South/3rd floor/Boys"),
            ("Who is notified", f"AP = json://127.0.0.1:{provider.port}/ap; Fix, facilities = "),
            ("Address at which", ""),
            ("Send each of them a test", "yes"),
        ]
        code, screen = conversation(tmp_path, answers, folder)
    provider.close()
    assert "a time zone of the IANA list" in screen
    assert "is not reachable" in screen
    assert "does not answer" in screen
    assert "test notice to ap, address 1: delivered" in screen
    assert code == 0, screen
    config = load(folder / "plumewatch.toml")
    assert {(p.name, p.role) for p in config.staff} == {("AP", "staff"), ("Fix", "facilities")}
    assert any(r.building == "South" and r.floor == "3rd floor" for r in config.room)
    assert str(provider.port) not in (folder / "plumewatch.toml").read_text()


LISTEN_BRIEFLY = """
import sys
from plumewatch.cli.main import app
from plumewatch.cli.setup.answers import Answers
Answers.model_fields["listen_s"].default = 4.0
Answers.model_rebuild(force=True)
app(sys.argv[1:])
"""
"""Variant of `plumewatch` that listens to the broker for 4 s instead of 20 s, interactively."""


def conversation(home, answers, folder):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        command = [sys.executable, "-c", LISTEN_BRIEFLY, "setup", "--folder", str(folder)]
        os.execv(sys.executable, command)  # noqa: S606
    screen, waiting, deadline = "", list(answers), time.monotonic() + 90
    at = 0
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                screen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                break
        if waiting and waiting[0][0] in screen[at:]:
            at = len(screen)
            os.write(terminal, (waiting.pop(0)[1] + "\n").encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert not waiting, screen
    return os.waitstatus_to_exitcode(status), screen


def test_test_notices_again(tmp_path, capsys):
    """Every address of every person is tried, even if others fail."""
    provider = Provider()
    (tmp_path / "good").write_text(f"json://127.0.0.1:{provider.port}/x")
    (tmp_path / "gone").write_text(f"json://127.0.0.1:{free_port()}/x")
    path = tmp_path / "plumewatch.toml"
    path.write_text(
        'site = "S"\ntimezone = "UTC"\n[alerts]\nallow_private_targets = true\n'
        '[[room]]\nid = "r"\nname = "R"\nbuilding = "B"\n[[sensor]]\nid = "s"\nroom = "r"\n'
        '[[staff]]\nid = "ap"\nname = "AP"\n'
        'notify = [{ url_file = "gone" }, { url_file = "good" }]\n'
        '[[staff]]\nid = "fix"\nname = "F"\nnotify = [{ url_file = "good" }]\n'
    )
    try:
        ran = plumewatch("staff", "test", "-c", path)
        assert ran.code == 3
        first, *others = ran.out.splitlines()
        assert first.startswith("test notice to ap, address 1: ")
        assert not first.endswith("delivered")
        assert others == [
            "test notice to ap, address 2: delivered",
            "test notice to fix, address 1: delivered",
        ]
        assert plumewatch("staff", "test", "fix", "-c", path).code == 0
        assert len(provider.requests) == 3
        assert plumewatch("staff", "test", "nobody", "-c", path).code == 2
        assert "the ids are: ap, fix" in capsys.readouterr().err
    finally:
        provider.close()


class TestWhatCannotBe:
    def go(self, tmp_path, text):
        path = tmp_path / "answers.toml"
        path.write_text(text)
        ran = set_up(tmp_path / "site", path)
        return ran.code, ran.err

    def test_no_broker(self, tmp_path):
        code, message = self.go(tmp_path, f'site = "S"\nbroker = "127.0.0.1:{free_port()}"')
        assert code == 3
        assert "is not reachable" in message
        assert not (tmp_path / "site").exists()

    def test_no_sensor(self, tmp_path):
        with Mosquitto() as broker:
            text = f'site = "S"\nlisten_s = 1\nbroker = "127.0.0.1:{broker.port}"'
            code, message = self.go(tmp_path, text)
        assert code == 1
        assert "particles or VOC was found" in message

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "site: missing"),
            ('site = "S"\ntimezone = "Mars"', "timezone: not valid: must be a time zone"),
            ('site = "S"\nbroker = "http://x"', "broker: not valid: must be [mqtts://]host[:port]"),
            ('site = "S"\nbrokr = "x"', "; did you mean 'broker'?"),
            ('site = "S"\npublic_url = "p"', "public_url: not valid: must be an address"),
            (
                'site = "S"\n[[staff]]\nname = "AP"\nurl = "ntfyz://secret"',
                "[[staff]] AP: url: not valid: must be an Apprise address, such as ntfys://",
            ),
            ("site = ", "TOML"),
            ('site = "S"\npassword_file = "none"', "password_file: unreadable"),
        ],
    )
    def test_bad_answers(self, tmp_path, text, message):
        code, err = self.go(tmp_path, text)
        assert code == 2
        assert message in err
        assert "secret" not in err

    def test_a_folder_that_cannot_be_written_is_reported_at_once(self, tmp_path):
        (tmp_path / "site").write_text("a file")
        code, message = self.go(tmp_path, 'site = "S"\nbroker = "127.0.0.1:1"')
        assert code == 2
        assert "is not writable" in message

    def test_nobody_to_ask(self, tmp_path, capsys):
        assert plumewatch("setup", "--folder", tmp_path).code == 2
        assert "--answers" in capsys.readouterr().err


def test_the_shipped_settings_are_those_that_are_written():
    from plumewatch.cli.setup.broker_files import build_mosquitto_conf

    def settings(text):
        lines = (line.strip().partition(" ") for line in text.splitlines())
        return {name: value for name, _, value in lines if name and not name.startswith("#")}

    made = settings(build_mosquitto_conf("/etc/mosquitto", 1883, 1_000_000))
    shipped = settings(SHIPPED.read_text())
    made["max_queued_bytes"] = shipped["max_queued_bytes"]
    assert made == shipped
    remote = build_mosquitto_conf("/etc/mosquitto", 8883, 1_000_000, tls=True, local=False)
    assert "--dport 8884 ! -s ADDRESS-OF-THE-SERVICE -j REJECT\nlistener 8884\n" in remote


@pytest.mark.needs("openssl")
def test_the_tls_template_works_with_the_keys_its_commands_make(tmp_path):
    """A device with the CA certificate can connect; a device without it can't."""
    text = (SHIPPED.parent / "broker-tls.conf").read_text()
    lines = text.split("to give to devices:\n")[1].split("#   install")[0].splitlines()
    script = "\n".join(line.removeprefix("#   ") for line in lines)
    script = script.replace("192.0.2.10", "127.0.0.1")
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    listener = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    port = free_port()
    listener = listener.replace("8883", f"{port} 127.0.0.1")
    with Mosquitto(listener.replace("/etc/mosquitto/certs", str(tmp_path))):
        handshakes = []
        for ca in (tmp_path / "ca.pem", None):
            context = ssl.create_default_context(cafile=ca)
            with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
                try:
                    with context.wrap_socket(plain, server_hostname="127.0.0.1") as link:
                        handshakes.append(link.version())
                except ssl.SSLCertVerificationError:
                    handshakes.append("not trusted")
    assert handshakes[0] in ("TLSv1.2", "TLSv1.3")
    assert handshakes[1] == "not trusted"
