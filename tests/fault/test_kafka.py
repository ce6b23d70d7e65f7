"""The stream over a real Kafka: no record ends it, and faults are one sentence.

Skipped where no broker's jars are found (`tests.support.kafka`).
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from detection.alert_thresholds import BUDGET
from ingest.validation import may_alert
from tests.fault.test_spark import ENVIRONMENT
from tests.support.kafka import CONNECTOR, Kafka, needs_kafka
from tests.support.recorded import config_text, of_the_service, recorded

pytest.importorskip("pyspark")
pytest.importorskip("confluent_kafka")
pytestmark = [pytest.mark.timeout(600), needs_kafka]

HERE = str(Path.cwd())
POISON = [
    (b"plumewatch/v1/\xff\xfe/reading", b'{"pm25": 4}'),
    (None, b'{"pm25": 4}'),
    (b"plumewatch/v1/x/reading", None),
    (b"plumewatch/v1/x/reading", b"\x00"),
    (b"unknown/topic", b"{}"),
    (b"plumewatch/v1/x/reading", b"[" * 5_000_000),
]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    broker = Kafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def stream(tmp_path):
    """Run ``plumewatch stream`` in `tmp_path` with more words; return the process."""
    (tmp_path / "plumewatch.toml").write_text(config_text(budget=BUDGET))
    local = tmp_path / "local"
    local.mkdir()
    processes = []

    def start(*words):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "plumewatch", "stream", "--config", "plumewatch.toml"),
                *("--master", "local[2]", "--shards", "2", "--seconds", "1"),
                *("--conf", f"spark.jars={CONNECTOR}", "--conf", "spark.driver.memory=700m"),
                *words,
            ],
            cwd=tmp_path,
            env=os.environ | ENVIRONMENT | {"SPARK_LOCAL_DIRS": str(local), "PYTHONPATH": HERE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=30)


def record(reading):
    body = {"time": reading.time, **reading.values, "events": list(reading.events)}
    return f"plumewatch/v1/{reading.sensor}/reading".encode(), json.dumps(body).encode()


def test_no_record_ends_the_stream_and_sigterm_does(kafka, stream, tmp_path):
    kafka.make_topic("school")
    readings = [r for r in recorded() if may_alert(r)][:4000]
    kafka.send("school", [*POISON, *map(record, readings), *POISON])
    process = stream("--kafka", kafka.address, "--topic", "school")
    commits = tmp_path / "checkpoint" / "detect" / "commits"
    deadline = time.monotonic() + 240
    while not list(commits.glob("[0-9]*")):
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors[-3000:]
    assert "Traceback" not in errors
    dead = pl.concat(pl.read_parquet(path) for path in (tmp_path / "dead-letters").iterdir())
    assert sorted(dead["offset"]) == [0, 1, 2, 3, 4, 5, *range(4006, 4012)]
    assert {"topic is not UTF-8", "no topic", "no payload"} <= set(dead["reason"])
    files = sorted((tmp_path / "events").glob("*.parquet"))
    found = [json.loads(event) for path in files for event in pl.read_parquet(path)["event"]]
    alerted = {(e["sensor"], e["kind"]) for e in found if e["phase"] == "alerted"}
    expected = {
        (e.sensor, e.kind.value) for e in of_the_service(readings) if e.phase.value == "alerted"
    }
    # a faulty sensor shows by when its readings come, and these came all at once
    faulty = {one for one in expected if one[1] == "sensor_fault"}
    assert {"vape", "spray"} <= {kind for _, kind in alerted}
    assert alerted == expected - faulty


@pytest.mark.parametrize(
    ("server", "topic", "message"),
    [
        ("127.0.0.1:9", "school", "no Kafka answers at 127.0.0.1:9"),
        ("", "none", "has no topic none; it has: "),
    ],
)
def test_a_fault_is_one_sentence(kafka, stream, server, topic, message):
    process = stream("--kafka", server or kafka.address, "--topic", topic)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in errors
    assert len(errors.splitlines()) == 1
