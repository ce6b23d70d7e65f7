"""Test with a real Kafka that no record ends the stream, and that each fault gives one message.

Skipped if Kafka's jars are not installed (`tests.support.kafka`).
"""

import os
import signal

import pytest

from tests.support.kafka import CONNECTOR, Kafka, needs_kafka
from tests.support.spark import WAIT_S, Stream, until, warm
from tests.support.streamed import (
    CONFIG,
    EDGE,
    ESPHOME,
    alerts_of,
    counted,
    events_of_one_service,
    with_native_messages,
)

pytestmark = [pytest.mark.timeout(900), pytest.mark.needs("java", "pyspark"), needs_kafka]

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


def options(settings):
    return [f"--kafka-option={key}={value}" for key, value in settings.items()]


@pytest.fixture
def stream(tmp_path):
    """Return a stream that reads a topic."""
    streams = []

    def make(server, topic, *words):
        words = [*words, "--kafka", server, "--topic", topic, f"--conf=spark.jars={CONNECTOR}"]
        streams.append(Stream(tmp_path, CONFIG, *words, "--master", "local[2]"))
        return streams[-1]

    yield make
    for one in streams:
        one.kill()


def test_any_records_over_tls_give_what_one_service_gives_through_sigkill_and_sigterm(
    kafka, stream, tmp_path
):
    """Send unreadable records, single values, births and native messages over mutual TLS."""
    records = with_native_messages()
    first, last = records[0][2], records[-1][2]
    poison = [[(*record, received) for record in POISON] for received in (first, last)]
    kafka.make_topic("school")
    kafka.send("school", [*poison[0], *records[:-1000]])
    end = len(records) + 2 * len(POISON)
    limit = {"maxOffsetsPerTrigger": end // 4}
    given = options({**kafka.tls_options, **limit})
    school = stream(kafka.tls_address, "school", *given)
    school.start("--seconds", "0")
    school.until_triggers(1)
    school.kill()
    assert school.offset("school") > 0
    kafka.send("school", [*records[-1000:], *poison[1]])
    running = school.continued("--seconds", "0")
    until(lambda: school.offset("school") == end or running.done())
    os.kill(next(iter(warm()._processes)), signal.SIGTERM)
    ended = running.result(WAIT_S)
    assert ended.code == 0, ended.err
    assert school.offset("school") == end

    expected = events_of_one_service(tmp_path / "plumewatch.toml", records, 2)
    assert counted(school.written_events()) == expected
    alerts = alerts_of(expected)
    assert {(EDGE, "tamper"), (ESPHOME[0], "vape")} <= alerts
    assert "spray" in {kind for sensor, kind in alerts if sensor not in (EDGE, *ESPHOME)}
    assert (tmp_path / "log").read_text().count("topic is not UTF-8, first school-0 at 0") >= 1


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("127.0.0.1:9", "no Kafka answers at 127.0.0.1:9"),
        ("address", "has no topic none; it has: "),
        ("tls_address", "has no topic none; it has: "),
    ],
)
def test_a_fault_is_one_sentence(kafka, stream, server, message):
    given = options(kafka.tls_options) if server == "tls_address" else []
    ended = stream(getattr(kafka, server, server), "none", *given).continued().result(WAIT_S)
    assert ended.code == 1
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


def test_records_that_were_deleted_before_they_were_read_end_the_stream(kafka, stream):
    kafka.make_topic("short")
    few = [(f"{name}/sensor/pm25/state".encode(), b"4") for name in ESPHOME for _ in range(5)]
    kafka.send("short", few)
    short = stream(kafka.address, "short", "--once")
    for code in (0, 1):
        ended = short.continued().result(WAIT_S)
        assert ended.code == code, ended.err
        kafka.send("short", few * 2)
        kafka.delete_records("short", 15)
    assert ended.err.startswith("Kafka has deleted records that this checkpoint")
