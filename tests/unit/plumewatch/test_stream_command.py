"""``plumewatch stream``: its faults in words, and messages from Kafka as rows of a history."""

import json
import pickle

import pytest

from ingest.intake import Intake
from plumewatch.config.ingest_settings import intake_config
from plumewatch.config.load import load
from scale.history import SCHEMA
from scale.kafka import landed_messages
from tests.support.command import plumewatch
from tests.support.recorded import config_text, registry

AT = 1_789_387_200.0


def run(folder, *words):
    where = ["--checkpoint", folder / "state", "--events", folder / "events"]
    return plumewatch("stream", *words, *where)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(config_text())
    return path


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "either HISTORY or --kafka"),
        (("H", "--kafka", "k:9092"), 2, "either HISTORY or --kafka"),
        (("--kafka", "k:9092"), 2, "need --config"),
        (("H", "--publish"), 2, "need --config"),
        (("H", "--conf", "spark.x"), 2, "KEY=VALUE"),
        (("nowhere",), 1, "no such folder"),
        (("H", "--model", "README.md"), 1, "no model file"),
        (("H", "--model", "none.npz"), 2, "none.npz"),
        (("H", "--series", "--config", "CONFIG"), 2, "names no InfluxDB"),
    ],
)
def test_faults_are_reported_before_spark_starts(history, config, tmp_path, words, code, message):
    given = {"H": history, "CONFIG": config}
    found = run(tmp_path, *(given.get(word, word) for word in words))
    assert (found.code, found.out) == (code, "")
    assert message in found.err


def test_messages_from_kafka_become_rows_with_their_place(config, caplog):
    there = pickle.loads(pickle.dumps(load(config)))  # noqa: S301 - as executors get it
    intake = Intake(intake_config(there, dedupe_window=64))
    sensor = next(iter(registry().sensors.values()))
    room = registry().rooms[sensor.room]

    def record(name, k, position):
        body = json.dumps({"time": AT + k, "pm25": 4.0 + k}).encode()
        return f"plumewatch/v1/{name}/reading", body, AT + k + 0.5, position

    records = [record(sensor.id, 0, 7), record("unregistered", 1, 8), record(sensor.id, 0, 9)]
    records += [("plumewatch/v1/x/reading", b"{", AT, 10), record(sensor.id, 2, 11)]
    frame = landed_messages(intake, there.registry(), records)
    assert frame.schema == SCHEMA
    assert frame["position"].to_list() == [7, 8, 11]
    assert frame["time"].to_list() == [AT, AT + 1, AT + 2]
    assert frame["received"].to_list() == [AT + 0.5, AT + 1.5, AT + 2.5]
    assert frame["judged"].to_list() == [True, False, True]
    assert frame["room"].to_list() == [room.id, "", room.id]
    assert frame["model"].to_list() == [sensor.model, "", sensor.model]
    assert "rejected: 1" in caplog.text
