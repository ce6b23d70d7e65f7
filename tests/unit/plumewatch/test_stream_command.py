"""``plumewatch stream``: its faults in words, and messages from Kafka as rows of a history."""

import json
import pickle

import polars as pl
import pytest

from ingest.intake import Intake
from plumewatch.config.ingest_settings import intake_config
from plumewatch.config.load import load
from scale.history import SCHEMA
from scale.kafka import Landing, Record
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
        (("--kafka", "k:9092", "--kafka-option", "x"), 2, "KEY=VALUE"),
        (("--kafka", "k:9092", "--kafka-option", "a.b=@none"), 2, "none"),
        (("H", "--kafka-option", "a=b"), 2, "needs --kafka"),
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


@pytest.fixture
def landing(config):
    there = pickle.loads(pickle.dumps(load(config)))  # noqa: S301 - as executors get it
    intake = Intake(intake_config(there, dedupe_window=64))
    return Landing(intake, there.registry())


def record(name, k, offset, **fields):
    body = json.dumps(fields or {"time": AT + k, "pm25": 4.0 + k}).encode()
    return Record(f"plumewatch/v1/{name}/reading".encode(), body, AT + k + 0.5, 0, offset)


def test_messages_from_kafka_become_rows_with_their_place(landing):
    sensor = next(iter(registry().sensors.values()))
    room = registry().rooms[sensor.room]
    records = [record(sensor.id, 0, 7), record("unregistered", 1, 8), record(sensor.id, 0, 9)]
    frame = landing.readings([*records, record(sensor.id, 2, 11)])
    assert frame.schema == SCHEMA
    assert frame["position"].to_list() == [7, 8, 11]
    assert frame["time"].to_list() == [AT, AT + 1, AT + 2]
    assert frame["received"].to_list() == [AT + 0.5, AT + 1.5, AT + 2.5]
    assert frame["judged"].to_list() == [True, False, True]
    assert frame["room"].to_list() == [room.id, "", room.id]
    assert frame["model"].to_list() == [sensor.model, "", sensor.model]


POISON = {
    "topic is not UTF-8": (b"plumewatch/v1/\xff\xfe/reading", b'{"pm25": 4}'),
    "no topic": (None, b'{"pm25": 4}'),
    "no payload": (b"plumewatch/v1/x/reading", None),
    "malformed": (b"plumewatch/v1/x/reading", b"{"),
}


def test_no_record_ends_a_stream_and_what_cannot_be_read_is_kept(landing, tmp_path, caplog):
    poison = [Record(*pair, AT, 3, k) for k, pair in enumerate(POISON.values())]
    sensor = next(iter(registry().sensors))
    frame = landing.readings([*poison, record(sensor, 1, 9)])
    assert frame["sensor"].to_list() == [sensor]
    for _ in range(2):  # a trigger that is repeated writes the same file
        landing.write_dead_letters("school", tmp_path / "dead")
    (path,) = (tmp_path / "dead").iterdir()
    dead = pl.read_parquet(path)
    assert dead["reason"].to_list() == list(POISON)
    assert dead["offset"].to_list() == [0, 1, 2, 3]
    assert dead.rows()[0][:4] == ("school", 3, 0, AT)
    assert dead["key"].to_list() == [key for key, _ in POISON.values()]
    assert "1 topic is not UTF-8" in caplog.text


def test_values_of_one_topic_each_are_joined_across_batches(landing):
    sensor = next(iter(registry().sensors))
    parts = [
        Record(f"homie/5/{sensor}/air/{key}".encode(), b"4.5", AT + k / 100, 0, k)
        for k, key in enumerate(("pm1", "pm25", "pm10"))
    ]
    found = [landing.readings([part]) for part in parts] + [landing.rest()]
    (row,) = pl.concat(found).rows(named=True)
    assert (row["pm1"], row["pm25"], row["pm10"]) == (4.5, 4.5, 4.5)
