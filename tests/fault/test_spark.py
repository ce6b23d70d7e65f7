"""Test that Spark gives the same alerts as the service, whatever is killed.

One stream on a cluster of two executors loses an executor, then its driver and JVM, and continues
with another layout.
"""

import json
import os
import signal
from collections import Counter

import msgspec
import pytest

from detection.alert_rules import AlertBudgets
from scale.history import HistoryWriter, build_frame, find_parts, place_reading
from scale.shard import Shard
from tests.support.recorded import (
    START,
    config_text,
    of_the_service,
    read_evaluated,
    recorded,
    registry,
)
from tests.support.spark import WAIT_S, Stream

pytestmark = [pytest.mark.timeout(900), pytest.mark.needs("java", "pyspark")]

SLOW = ("ambient-1", "faults-1")
PART, FILES = 1300, 3


@pytest.fixture(scope="module")
def levels():
    names = sorted(registry().sensors)
    return AlertBudgets(0.8, {names[0]: 0.1, names[1]: 9.0})


@pytest.fixture(scope="module")
def readings():
    """Return the first 45 minutes of the recorded morning."""
    return [reading for reading in recorded() if reading.time < START + 45 * 60]


@pytest.fixture
def parts(tmp_path, readings):
    """Write the readings as many small files, so that the stream has many triggers."""
    folder = tmp_path / "parts"
    with HistoryWriter(folder) as writer:
        for at in range(0, len(readings), PART):
            rows = [place_reading(reading, registry()) for reading in readings[at : at + PART]]
            writer.commit(build_frame(rows), b"")
    for bucket in find_parts(folder).values():
        for path in bucket:
            first = int(path.stem.removeprefix("part-"))
            os.utime(path, (1e9 + first, 1e9 + first))
    return folder


@pytest.fixture
def stream(tmp_path, parts, levels):
    config = config_text(levels.own, levels.default)
    running = Stream(tmp_path, config, parts, "--files", str(FILES))
    yield running
    running.kill()


def as_json(event):
    """Return an event as JSON."""
    return json.dumps(json.loads(msgspec.json.encode(event)), sort_keys=True)


def alert_of(event):
    """Return an alert's key, for slow detectors without the minute's last reading."""
    whole = (event["alerted"], event["confidence"]) if event["model_version"] not in SLOW else ()
    return (event["id"], event["sensor"], event["kind"], event["onset"], *whole)


def test_the_stream_detects_what_the_service_detects_through_kills(stream, readings, parts, levels):
    files = sorted(parts.glob("*/*/*.parquet"), key=lambda path: path.stat().st_mtime)
    later = {path: path.rename(stream.folder / f"{path.parts[-3]}-later") for path in files[-2:]}
    most = len(files[:-2]) // FILES
    memory = "--conf=spark.executor.memory=700m"
    stream.start("--master", "local-cluster[2,1,1200]", "--seconds", "0", memory)
    stream.until_triggers(1)
    before = stream.executors()
    assert len(before) == 2
    before[0].send_signal(signal.SIGKILL)
    stream.until_triggers(min(stream.triggers() + 2, most))
    stream.kill()
    assert 3 <= stream.triggers() <= most
    for path, kept in later.items():
        kept.rename(path)
    ended = stream.continued("--master", "local[1]", "--once").result(WAIT_S)
    assert ended.code == 0, ended.err

    expected = []
    for bucket in find_parts(parts).values():
        shard = Shard(levels)
        for path in bucket:
            expected += shard.step(shard.streams.build(read_evaluated(path)))
    written = stream.written_events()
    found = Counter(json.dumps(event, sort_keys=True) for event in written)
    assert found == Counter(map(as_json, expected))
    service = [json.loads(as_json(e)) for e in of_the_service(readings, levels)]
    alerts = Counter(alert_of(e) for e in service if e["phase"] == "alerted")
    assert Counter(alert_of(e) for e in written if e["phase"] == "alerted") == alerts
    assert sum(kind == "vape" for _, _, kind, *_ in alerts) >= 5
