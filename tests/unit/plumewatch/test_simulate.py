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
SCENARIO = """
[[buildings]]
id = "b"
[[buildings.floors]]
id = "1"
[[buildings.floors.rooms]]
id = "r"
devices = [ { id = "s", model = "sen55" }, { id = "t", model = "pms5003", wire = "tasmota" } ]
[[attacks]]
kind = "unplugged"
sensor = "s"
start = 100
end = 400
[[attacks]]
kind = "flood"
start = 10
duration_s = 1
rate_hz = 50
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


def test_a_seed_gives_the_same_bytes_and_another_other_ones(tmp_path):
    files = [tmp_path / f"{i}.csv.gz" for i in range(3)]
    for path, seed in zip(files, (5, 5, 6), strict=True):
        assert run(seed=seed, out=path)[0] == 0
    one, same, other = (path.read_bytes() for path in files)
    assert one == same
    assert one != other


def test_a_scenario_file_with_its_attacks(tmp_path):
    scenario = tmp_path / "school.toml"
    scenario.write_text(SCENARIO)
    out, truth = tmp_path / "readings.csv", tmp_path / "truth.csv"
    code, output = run(
        school=str(scenario), days=0.01, out=out, truth=truth, vape_rate=0, activity="ordinary"
    )
    assert code == 0
    assert "no place in a file: Flood" in output
    begin = MONDAY
    dark = [r for r in rows(out) if 120 < float(r["time"]) - begin < 380]
    assert {r["sensor"] for r in dark} == {"t"}
    unplugged = [r for r in rows(truth) if r["source"] == "unplugged"]
    assert [(r["sensor"], r["room"], float(r["end"]) - begin) for r in unplugged] == [
        ("s", "r", 400.0)
    ]


def test_publishing_as_fast_as_the_broker_accepts_with_a_ledger(tmp_path):
    ledger = tmp_path / "ledger.csv"
    options = {"speed": "max", "ledger": ledger, "truth": tmp_path / "truth.csv"}
    with Mosquitto("max_queued_messages 0") as broker, Subscriber(broker) as everything:
        code, output = run(**options, publish=f"127.0.0.1:{broker.port}")
        assert code == 0
        total = int(output.rsplit("messages to", 1)[0].rsplit(None, 1)[-1].replace(",", ""))
        got = everything.wait_for(total)
    assert len(got) == total
    acknowledged = ledger.read_text().splitlines()
    readings = [m for m in got if m.topic.endswith("/reading")]
    sent = {f"{m.topic.split('/')[2]},{json.loads(m.payload)['seq']}" for m in readings}
    assert sent <= set(acknowledged)
    assert len(set(acknowledged)) == len(acknowledged) >= len(readings) > 500
    topics = {m.topic.split("/")[0] for m in got}
    assert topics >= {"plumewatch", "tele", "airgradient", "zigbee2mqtt", "application"}
    first = json.loads(readings[0].payload)["time"]
    assert first.startswith("2026-09-1")


def test_attacks_on_the_wire_are_published(tmp_path):
    scenario = tmp_path / "school.toml"
    scenario.write_text(SCENARIO)
    with Mosquitto("max_queued_messages 0") as broker, Subscriber(broker) as everything:
        code, output = run(
            school=str(scenario),
            days=0.002,
            speed="max",
            activity="ordinary",
            publish=f"127.0.0.1:{broker.port}",
        )
        assert code == 0
        total = int(output.rsplit("messages to", 1)[0].rsplit(None, 1)[-1].replace(",", ""))
        got = everything.wait_for(total)
    assert len([m for m in got if m.topic.startswith("plumewatch/v1/flood-")]) == 50


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
        school="tiny",
        seed=-1,
        days=0,
        speed="fast",
        start="tomorrow",
        out=tmp_path / "none" / "x.csv",
        truth=tmp_path / "truth.txt",
        live=True,
        activity="wild",
        vape_rate=-1,
        patience=-1,
    )
    assert code == 2
    lines = output.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "--seed",
        "--days",
        "--patience",
        "--vape-rate",
        "--activity",
        "--out",
        "--truth",
        "--live, --ledger",
        "--speed",
        "--start",
        "--school",
    ]
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
        ({"publish": "h", "school": "none.toml"}, "none.toml: 1 fault"),
        ({"out": "."}, "--out: "),
    ],
)
def test_bad_usage_is_exit_2(more, message, tmp_path):
    if "out" in more:
        more = {**more, "out": tmp_path / more["out"]}
    code, text = run(**more)
    assert code == 2
    assert message in text


def test_a_scenario_with_faults_lists_them_and_is_exit_2(tmp_path):
    scenario = tmp_path / "school.toml"
    scenario.write_text('name = ""\nbuildings = []\n')
    code, output = run(school=str(scenario), out=tmp_path / "x.csv")
    assert code == 2
    assert "2 faults" in output
    assert "name: '' (allowed: 1 to 80 characters)" in output
    assert not (tmp_path / "x.csv").exists()
