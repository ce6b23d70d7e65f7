"""Test docs/start.md: its broker starts and lets the sensor write, its configuration is accepted,
its puff alerts."""

import asyncio
import json
import re
import shlex
import socket
import subprocess
import tomllib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import aiomqtt
import pytest
from typer.testing import CliRunner

from ingest.decoding import Context
from ingest.intake import decode_message
from ingest.validation import Message
from plumewatch.cli.main import app
from plumewatch.cli.setup.site_files import STARTER
from plumewatch.config.load import parse
from tests.support.broker import free_port
from tests.support.needs import need
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/start.md").read_text(encoding="utf-8")


def block(language, holds):
    (found,) = [b for b in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if holds in b]
    return found


def test_the_configuration_differs_from_the_starter_as_described(tmp_path):
    shown = tomllib.loads(block("toml", "[broker]"))
    starter = tomllib.loads(STARTER)
    assert shown["broker"].items() - starter["broker"].items() == {
        ("port", 18830),
        ("username", "plumewatch"),
        ("password_file", "secrets/broker-password"),
    }
    (person,) = [p for p in starter["staff"] if p["id"] == "ap-north"]
    person |= tomllib.loads(block("toml", "notify"))
    config = parse(starter | shown, base=tmp_path)
    assert config.staff[0].notify[0].url_file == tmp_path / "secrets/phone"
    for line in shown["broker"]:
        assert re.search(rf"^#? ?{line} = ", STARTER, re.MULTILINE)


def listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
        return True
    return False


@pytest.fixture
def broker(tmp_path):
    """Run Mosquitto as set up on the page, on a free port, and return the port."""
    need("mosquitto", "openssl")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    port = free_port()
    script = block("sh", "mosquitto_passwd").replace("18830", str(port))
    script, started = script.rstrip().rsplit("\n", 1)
    assert started == "/usr/sbin/mosquitto -c broker/mosquitto.conf &"
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True)
    school = tmp_path / "school"
    with (school / "broker/mosquitto.conf").open("a") as file:
        file.write("user root\n")  # only root needs this, as the page explains
    command = ["mosquitto", "-c", "broker/mosquitto.conf"]
    with subprocess.Popen(command, cwd=school, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: listens(port), "the broker")
            yield school, port
        finally:
            process.terminate()


async def test_the_sensor_may_publish_and_the_service_receives_it(broker):
    school, port = broker
    words = block("sh", "plumewatch status").split("\nplumewatch")[0].replace("\\\n", "")
    options = dict(pairwise(shlex.split(words)))
    password = (school / "secrets/broker-password").read_text().strip()
    service = aiomqtt.Client("127.0.0.1", port, username="plumewatch", password=password)
    sensor = aiomqtt.Client("127.0.0.1", port, username=options["-u"], password=options["-P"])
    async with asyncio.timeout(60), service, sensor:
        await service.subscribe("#", qos=1)
        await sensor.publish(options["-t"], options["-m"], qos=int(options["-q"]))
        received = await anext(aiter(service.messages))
    assert received.topic.value == options["-t"]
    message = Message(received.topic.value, received.payload, 1_790_000_000.0)
    (reading,) = decode_message(message, Context(), "tasmota")
    assert reading.sensor in STARTER
    assert reading.values == {"pm1": 3.0, "pm25": 4.0, "pm10": 5.0, "voc_index": 100.0}


def test_the_puff_alerts(tmp_path):
    script = block("sh", "seq").replace("sleep 2", ":")
    script = re.sub(r"\| mosquitto_pub .*", "", script)
    printed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    rows = ["time,sensor,pm1,pm25,pm10,voc_index,rh"]
    for k, line in enumerate(printed.splitlines()):
        content = json.loads(line)
        sen, climate = content["SEN5X"], content["SHT3X"]
        values = (sen["PM1"], sen["PM2.5"], sen["PM10"], sen["VOC"], climate["Humidity"])
        rows.append(f"{1_790_000_000 + 2 * k},n2-boys-1,{','.join(map(str, values))}")
    assert len(rows) == 122
    readings, alerts = tmp_path / "readings.csv", tmp_path / "alerts.csv"
    readings.write_text("\n".join(rows) + "\n")
    result = CliRunner().invoke(app, ["replay", str(readings), "--alerts", str(alerts)])
    assert result.exit_code == 0, result.output
    (alert,) = alerts.read_text().splitlines()[1:]
    assert ",vape," in alert
