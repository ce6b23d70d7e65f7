"""Spark detects what the service detects, whatever is killed.

One stream on a cluster of two executors loses an executor, then its driver and JVM, and continues
with another layout; a back-test on Spark finds what one process finds. Skipped without the extra
``scale``, but not where CI requires it.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import msgspec
import polars as pl
import psutil
import pytest

from detection.alert_thresholds import AlertBudgets
from scale.backtest import Variant, judge, tasks_of
from scale.history import History, HistoryWriter, frame_of, landed
from scale.shard import Shard
from tests.support.recorded import START, config_text, of_the_service, recorded, registry

if os.environ.get("CI") != "true":
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed", allow_module_level=True)

pytestmark = pytest.mark.timeout(600)

SLOW = ("ambient-1", "faults-1")
PART = 1300
WAIT_S = 240.0
ENVIRONMENT = {
    "PYSPARK_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": "127.0.0.1",
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    # of every JVM: half of what these short ones do is compiling for a long life
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
}


@pytest.fixture(scope="module")
def levels():
    names = sorted(registry().sensors)
    return AlertBudgets(0.8, {names[0]: 0.1, names[1]: 9.0})


@pytest.fixture(scope="module")
def readings():
    """The first 45 minutes of the recorded morning."""
    return [reading for reading in recorded() if reading.time < START + 45 * 60]


@pytest.fixture(scope="module")
def parts(tmp_path_factory, readings):
    """These readings as many small parts, so that there are many triggers."""
    folder = tmp_path_factory.mktemp("parts")
    with HistoryWriter(folder) as writer:
        for at in range(0, len(readings), PART):
            rows = [landed(reading, registry()) for reading in readings[at : at + PART]]
            writer.commit(frame_of(rows), b"")
    for bucket in History(folder).buckets.values():
        for path in bucket:
            first = int(path.stem.removeprefix("part-"))
            os.utime(path, (1e9 + first, 1e9 + first))
    return folder


class Stream:
    """``plumewatch stream`` in a process of its own."""

    def __init__(self, folder, parts, levels):
        self.folder, self.parts = folder, parts
        self.events = folder / "events"
        self.config = folder / "plumewatch.toml"
        self.config.write_text(config_text(levels.own, levels.default))
        self.process = None

    def start(self, master, *more):
        local = self.folder / "local"
        local.mkdir(exist_ok=True)
        env = os.environ | ENVIRONMENT | {"SPARK_LOCAL_DIRS": str(local)}
        self.log = (self.folder / "log").open("a")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "plumewatch", "stream", self.parts),
                *("--checkpoint", self.folder / "checkpoint", "--events", self.events),
                *("--shards", "2", "--master", master, "--config", self.config),
                *("--files", "3"),
                *("--conf", "spark.driver.memory=700m", "--conf", "spark.executor.memory=700m"),
                *more,
            ],
            env=env,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def executors(self):
        found = []
        for process in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # or has ended meanwhile
                if "CoarseGrainedExecutorBackend" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def triggers(self):
        """Triggers that the checkpoint has committed."""
        return len(list((self.folder / "checkpoint" / "detect" / "commits").glob("[0-9]*")))

    def until(self, count):
        end = time.monotonic() + WAIT_S
        while self.triggers() < count:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-4000:]
            assert time.monotonic() < end, (self.folder / "log").read_text()[-4000:]
            time.sleep(0.2)

    def kill(self):
        """SIGKILL driver, JVM, executors and workers."""
        if self.process is None:
            return
        try:
            family = [*self.children(), psutil.Process(self.process.pid)]
        except psutil.NoSuchProcess:
            family = []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, 30)
        self.process.wait(30)
        self.log.close()

    def written_events(self):
        files = sorted(self.events.glob("*.parquet"))
        rows = [event for path in files for event in pl.read_parquet(path)["event"]]
        return [json.loads(row) for row in rows]


@pytest.fixture
def stream(tmp_path, parts, levels):
    running = Stream(tmp_path, parts, levels)
    yield running
    running.kill()


def as_json(event):
    """Return an event as JSON."""
    return json.dumps(json.loads(msgspec.json.encode(event)), sort_keys=True)


def alert_of(event):
    """Return the key of an alert; a slow detector's without the reading that closed a minute."""
    whole = (event["alerted"], event["confidence"]) if event["model_version"] not in SLOW else ()
    return (event["id"], event["sensor"], event["kind"], event["onset"], *whole)


def test_the_stream_detects_what_the_service_detects_through_kills(stream, readings, parts, levels):
    stream.start("local-cluster[2,1,1200]", "--seconds", "0")
    stream.until(1)
    before = stream.executors()
    assert len(before) == 2
    before[0].send_signal(signal.SIGKILL)
    killed_at = stream.triggers()
    stream.until(killed_at + 2)
    stream.kill()
    triggers = stream.triggers()
    assert 3 <= triggers < len(list(parts.glob("*/*/*.parquet"))) / 3, "nothing was left to do"
    stream.start("local[1]", "--once")
    assert stream.process.wait(WAIT_S) == 0, (stream.folder / "log").read_text()[-4000:]

    expected = []
    for bucket in History(parts).buckets.values():
        shard = Shard(levels)
        for path in bucket:
            expected += shard.step(shard.streams.of(History.read(path)))
    written = stream.written_events()
    found = Counter(json.dumps(event, sort_keys=True) for event in written)
    assert found == Counter(map(as_json, expected))
    service = [json.loads(as_json(e)) for e in of_the_service(readings, levels)]
    alerts = Counter(alert_of(e) for e in service if e["phase"] == "alerted")
    assert Counter(alert_of(e) for e in written if e["phase"] == "alerted") == alerts
    assert sum(kind == "vape" for _, _, kind, *_ in alerts) >= 5


def test_a_back_test_on_spark_finds_what_one_process_finds(gym_history, tmp_path, monkeypatch):
    from scale.spark.batch import on_spark
    from scale.spark.session import session

    for name, value in {**ENVIRONMENT, "SPARK_LOCAL_DIRS": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    spark = session("local[2]", "test", {"spark.driver.memory": "700m"})
    try:
        folders = [gym_history, shutil.copytree(gym_history, tmp_path / "again")]
        variants = [Variant("a", 1.0), Variant("b", 0.2)]
        tasks = tasks_of(map(History, folders), variants, ["vape"])
        seen = []
        assert on_spark(tasks, "local[2]", seen.append, spark) == [judge(task) for task in tasks]
        parts = [part for folder in folders for part in folder.rglob("*.parquet")]
        assert sum(seen) == sum(part.stat().st_size for part in parts)
    finally:
        gateway = spark.sparkContext._gateway
        spark.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(60)
