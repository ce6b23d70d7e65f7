from __future__ import annotations

import csv
import json
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from tests.support.broker import Mosquitto
from tests.support.command import plumewatch

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
    """Run the command with options; options that are True are flags."""
    words = []
    defaults = {"days": 0.01, "activity": "demo", "start": "2026-09-14"}
    for name, value in (defaults | options).items():
        if value is None:
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    ran = plumewatch("simulate", *words)
    return ran.code, ran.out + ran.err


class Subscriber:
    """Records incoming messages, in a thread of the client library."""

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


def published(output):
    return int(output.rsplit("messages to", 1)[0].rsplit(None, 1)[-1].replace(",", ""))


def test_the_school_of_a_configuration_as_fast_as_the_broker_accepts(tmp_path):
    (tmp_path / "plumewatch.toml").write_text(CONFIG)
    with Mosquitto("max_queued_messages 0") as broker, Subscriber(broker) as everything:
        options = {"config": tmp_path / "plumewatch.toml", "speed": 0, "truth": True}
        code, output = run(**options, publish=f"127.0.0.1:{broker.port}")
        assert code == 0
        got = everything.wait_for(published(output))
    assert len(got) == published(output)
    readings = [m for m in got if m.topic.endswith("/reading")]
    assert {m.topic for m in readings} == {f"plumewatch/v1/{s}/reading" for s in "su"}
    sent = {(m.topic, json.loads(m.payload)["seq"]) for m in readings}
    assert len(sent) == len(readings) > 400
    assert json.loads(readings[0].payload)["time"].startswith("2026-09-14")
    truths = list(csv.DictReader(line for line in output.splitlines() if line.count(",") > 10))
    assert len(truths) > 3
    assert {"kind", "session", "arrival"} <= set(truths[0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "--publish"),
        ({"publish": "h"}, "--publish h: host:port"),
        ({"publish": "h:1", "speed": "-1"}, "--speed"),
        ({"publish": "h:1", "config": "none.toml"}, "none.toml"),
        ({"publish": "h:1", "seed": -1}, "--seed"),
        ({"publish": "h:1", "activity": "wild"}, "--activity"),
    ],
)
def test_bad_usage_is_exit_2(more, message):
    code, text = run(**more)
    assert code == 2
    assert message in text
