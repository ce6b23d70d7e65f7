"""Run ``plumewatch stream`` in tests: as a process that can be killed, or in a shared JVM.

Starting a JVM and warming it up is most of a short stream's cost. Tests that are not about starting
or killing therefore run their commands one after another in the process of `warm`.
"""

import contextlib
import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import polars as pl
import psutil

from tests.support.command import plumewatch
from tests.support.kafka import CONNECTOR, SHORT

WAIT_S = 500.0
TOO_BUSY = "Python worker failed to connect back"
"""Spark's message if a Python worker does not start within 10 s (not configurable)."""
TRIES = 4
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "PYSPARK_PYTHON": sys.executable,
    "PYTHONPATH": str(ROOT),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "JDK_JAVA_OPTIONS": " ".join(SHORT),  # options of every JVM
    # a JVM loads jars only when it starts, so the first session of `warm` needs all of them
    "PYSPARK_SUBMIT_ARGS": f"--driver-memory 700m --conf spark.jars={CONNECTOR} pyspark-shell",
}


@functools.cache
def warm():
    """Return an executor with one process, which keeps its JVM between Spark sessions."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with mock.patch.dict(os.environ, ENVIRONMENT):
        pool.submit(os.getpid).result(WAIT_S)
    return pool


def run_in_time(*words):
    """Run a command; repeat it if the machine was too busy for Spark."""
    for _ in range(TRIES):
        ran = plumewatch(*words)
        if TOO_BUSY not in ran.err:
            break
    return ran


def until(condition, failed=lambda: ""):
    """Wait for a condition; `failed` returns why it can no longer be met."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        why = failed()
        assert not why, why
        assert time.monotonic() < deadline
        time.sleep(0.2)


class Stream:
    """A stream with its checkpoint and events in a folder; it can continue after any end."""

    def __init__(self, folder, config, *words):
        self.folder = folder
        path = folder / "plumewatch.toml"
        path.write_text(config)
        self._words = ["stream", *words, "--config", path, "--shards", "2"]
        self._words += ["--checkpoint", folder / "checkpoint", "--events", folder / "events"]
        self._process = None
        self._more = ()

    def start(self, *words):
        """Start the stream in its own process."""
        self._more = words
        local = self.folder / "local"
        local.mkdir(exist_ok=True)
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "plumewatch", *self._words, *words],
                env=os.environ | ENVIRONMENT | {"SPARK_LOCAL_DIRS": str(local)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def continued(self, *words):
        """Continue the stream in the process of `warm`, and return its future."""
        return warm().submit(run_in_time, *self._words, *words)

    def executors(self):
        """Return the processes of a cluster's executors."""
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # or it has ended in the meantime
                if "CoarseGrainedExecutorBackend" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def triggers(self):
        """Return the number of triggers that the checkpoint has committed."""
        return len(list((self.folder / "checkpoint" / "detect" / "commits").glob("[0-9]*")))

    def offset(self, topic):
        """Return the offset in a topic that committed triggers have read up to."""
        if not self.triggers():
            return 0
        offsets = self.folder / "checkpoint" / "detect" / "offsets" / str(self.triggers() - 1)
        return json.loads(offsets.read_text().splitlines()[-1])[topic]["0"]

    def until_triggers(self, count):
        """Wait until the stream's own process has committed this many triggers."""

        def failed():
            if self._process.poll() is None:
                return ""
            log = (self.folder / "log").read_text()
            if TOO_BUSY in log and log.count("[STREAM_FAILED]") < TRIES:
                self.start(*self._more)
                return ""
            return log[-4000:]

        until(lambda: self.triggers() >= count, failed)

    def kill(self):
        """Kill (SIGKILL) the driver, JVM, executors and workers."""
        if self._process is None or self._process.poll() is not None:
            return
        process = psutil.Process(self._process.pid)
        family = [*process.children(recursive=True), process]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        self._process.wait(WAIT_S)
        psutil.wait_procs(family, WAIT_S)

    def written_events(self):
        """Return the events in the stream's sink."""
        files = sorted((self.folder / "events").glob("*.parquet"))
        return [json.loads(event) for path in files for event in pl.read_parquet(path)["event"]]
