from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from tests.support.broker import Mosquitto, free_port
from tests.support.command import plumewatch

MONDAY = 1_789_344_000.0  # 2026-09-14, 0:00 UTC
CONFIG = """
site = "Lincoln"
timezone = "America/New_York"
[[room]]
id = "r"
name = "Boys"
building = "North"
[[sensor]]
id = "s"
room = "r"
model = "SEN55"
interval_s = 2
[[sensor]]
id = "u"
room = "r"
model = "of a maker nobody knows"
decoder = "halo"
"""


def run(**options):
    """Run the command with its options, of which those that are True are flags."""
    words = []
    for name, value in {"days": 0.01, "activity": "demo", **options}.items():
        if value is None:
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    ran = plumewatch("simulate", *words)
    return ran.code, ran.out + ran.err


def rows(path):
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.name.endswith(".gz") else raw
    return list(csv.DictReader(io.StringIO(text.decode())))


class Subscriber:
    """Keeps what comes in; a thread of the client library."""

    def __init__(self, broker, topic="#"):
        self.got = []
        self._subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _c, _u, message: self.got.append(message)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(60)

    def wait_for(self, count):
        deadline = time.monotonic() + 60
        while len(self.got) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.got

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._client.disconnect()
        self._client.loop_stop()


def test_a_file_of_readings_and_one_of_truth(tmp_path):
    out, truth = tmp_path / "readings.csv.gz", tmp_path / "truth.csv"
    code, output = run(out=out, truth=truth)
    assert code == 0
    readings = rows(out)
    assert f"{len(readings):,} readings in" in output
    assert {r["sensor"] for r in readings} >= {"main-1-boys-a", "gym-1-locker-b"}
    times = [float(r["time"]) for r in readings]
    assert times == sorted(times)
    assert abs(times[0] - MONDAY) < 60
    assert len(rows(truth)) > 3
    assert not {"kind", "source", "room"} & set(readings[0])


def test_the_school_of_a_configuration(tmp_path):
    (tmp_path / "plumewatch.toml").write_text(CONFIG)
    with Mosquitto("max_queued_messages 0") as broker, Subscriber(broker) as everything:
        options = {"config": tmp_path / "plumewatch.toml", "days": 0.002, "speed": "max"}
        code, output = run(**options, publish=f"127.0.0.1:{broker.port}")
        assert code == 0
        got = everything.wait_for(published(output))
    topics = {m.topic for m in got if "/reading" in m.topic}
    assert topics == {"plumewatch/v1/s/reading", "plumewatch/v1/u/reading"}


def published(output):
    return int(output.rsplit("messages to", 1)[0].rsplit(None, 1)[-1].replace(",", ""))


def test_publishing_as_fast_as_the_broker_accepts(tmp_path):
    options = {"speed": "max", "truth": tmp_path / "truth.csv"}
    with Mosquitto("max_queued_messages 0") as broker, Subscriber(broker) as everything:
        code, output = run(**options, publish=f"127.0.0.1:{broker.port}")
        assert code == 0
        got = everything.wait_for(published(output))
    assert len(got) == published(output)
    readings = [m for m in got if m.topic.endswith("/reading")]
    sent = {(m.topic, json.loads(m.payload)["seq"]) for m in readings}
    assert len(sent) == len(readings) > 500
    assert json.loads(readings[0].payload)["time"].startswith("2026-09-1")
    assert len(rows(tmp_path / "truth.csv")) > 3


@pytest.mark.parametrize("start", [None, "2026-09-14T10:00"])
def test_live_puts_the_event_times_on_the_wall_clock(start):
    topic = "plumewatch/v1/+/reading"
    with Mosquitto("max_queued_messages 0") as broker, Subscriber(broker, topic) as native:
        before = time.time()
        options = {"days": 0.002, "speed": "max", "live": True, "start": start}
        code, _ = run(**options, publish=f"127.0.0.1:{broker.port}")
        assert code == 0
        got = native.wait_for(100)
    stamps = [json.loads(m.payload)["time"] for m in got]
    oldest = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before - 0.002 * 86_400 - 60))
    newest = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + 60))
    assert oldest <= min(stamps)
    assert max(stamps) <= newest


def test_no_broker_is_one_sentence_and_exit_3():
    code, output = run(publish=f"127.0.0.1:{free_port()}")
    assert code == 3
    sentence = output.strip().splitlines()[-1]
    assert sentence.startswith("the broker at 127.0.0.1:")
    assert "not reachable: connection refused" in sentence
    assert "Traceback" not in output


def test_a_wrong_password_is_one_sentence_and_exit_3():
    with Mosquitto(users={"sim": "right"}) as broker:
        code, output = run(publish=f"mqtt://sim:wr0ng@127.0.0.1:{broker.port}")
    assert code == 3
    assert "refuses the user name or password" in output
    assert "wr0ng" not in output


def test_all_faults_of_the_options_are_listed(tmp_path):
    code, output = run(
        days=0,
        speed="fast",
        start="tomorrow",
        out=tmp_path / "none" / "x.csv",
        truth=tmp_path / "truth.txt",
        live=True,
    )
    assert code == 2
    lines = output.strip().splitlines()
    names = ["--days", "--out", "--truth", "--live", "--speed", "--start"]
    assert [line.split(":")[0] for line in lines] == names
    assert all("allowed" in line or "only with" in line for line in lines)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "--publish, --out: exactly one"),
        ({"publish": "h", "out": "x.csv"}, "--publish, --out: exactly one"),
        ({"publish": "http://h"}, "--publish: broker address 'http://h'"),
        ({"publish": "h", "speed": "inf"}, "--speed: 'inf'"),
        ({"publish": "h", "speed": "nan"}, "--speed: 'nan'"),
        ({"publish": "h", "speed": "-1"}, "--speed: '-1'"),
        ({"publish": "h", "config": "none.toml"}, "none.toml"),
        ({"publish": "h", "seed": -1}, "--seed"),
        ({"publish": "h", "activity": "wild"}, "--activity"),
        ({"out": "."}, "--out: "),
    ],
)
def test_bad_usage_is_exit_2(more, message, tmp_path):
    if "out" in more:
        more = {**more, "out": tmp_path / more["out"]}
    code, text = run(**more)
    assert code == 2
    assert message in text
