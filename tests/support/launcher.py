"""The process that `tests.support.fork_server` forks commands and services from.

``python -m tests.support.launcher`` imports the program once and then reads orders from its
standard input, one JSON object per line. Every child process runs one command. For a
`ForkedService`, it can also inject faults, without changes to production code:

* A *crash point* is a place in the sequence of operations that durability depends on. The function
  at that place is wrapped, so that the process is killed (SIGKILL) when it passes the point for the
  n-th time.
* `SABOTAGE` breaks the order of operations, to check that the tests detect that.
* The clock (`time.time`) is the machine's clock plus an offset from a file that the test can
  change.
* Maintenance, including the detectors' snapshot, runs more often; connections to a broker time out
  and are retried sooner.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import inspect
import itertools
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.fork_server import shared
from tests.support.service import START_WITHIN_S, ServiceProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.fork_server import Launcher

_MAINTENANCE_S = 0.3
_LAST_RETRY_S = 0.5
_BROKER_TIMEOUT_S = 2.0
_PICTURE_S = 20.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def _wrap(owner: Any, name: str, *, before: Any = None, after: Any = None) -> None:
    """Wrap an owner's function or coroutine function to call `before` and `after`."""
    original = getattr(owner, name)
    before, after = before or (lambda: None), after or (lambda: None)

    @functools.wraps(original)
    async def later(*arguments: Any, **options: Any) -> Any:
        before()
        found = await original(*arguments, **options)
        after()
        return found

    @functools.wraps(original)
    def now(*arguments: Any, **options: Any) -> Any:
        before()
        found = original(*arguments, **options)
        after()
        return found

    setattr(owner, name, later if inspect.iscoroutinefunction(original) else now)


def _in_commit(file: str, die: Any) -> None:
    """Die after all changes of a transaction, just before COMMIT."""
    from storage.sqlite import DatabaseFile

    original = DatabaseFile.change

    def written(self: Any, change: Any) -> Any:
        def changed(tx: Any) -> Any:
            found = change(tx)
            if Path(self.path).name == file:
                die()
            return found

        return original(self, changed)

    DatabaseFile.change = written


def _acknowledge_half(die: Any) -> None:
    """Die after half of a group's acknowledgments have reached the socket."""
    from ingest.mqtt.link import Link

    original = Link.acknowledge

    def acknowledge(self: Any, packet_ids: Any) -> None:
        ids = list(packet_ids)
        original(self, ids[: len(ids) // 2])
        self._client.loop_write()
        die()
        original(self, ids[len(ids) // 2 :])

    Link.acknowledge = acknowledge


def _owner(path: str) -> Any:
    from alerts.consumer import detection_consumer
    from alerts.notify import outbox as outbox_rows
    from alerts.notify.channels.apprise_notifier import AppriseNotifier
    from alerts.notify.pump import OutboxPump
    from ingest.mqtt.link import Link
    from storage.journal import Journal
    from storage.timeseries.influx import InfluxSeries
    from storage.timeseries.sqlite import SqliteSeries

    known = (
        outbox_rows,
        detection_consumer,
        detection_consumer.DetectionConsumer,
        AppriseNotifier,
        OutboxPump,
        Link,
        Journal,
        SqliteSeries,
        InfluxSeries,
    )
    return {found.__name__.rpartition(".")[2]: found for found in known}[path]


def _sync_less(_die: Any) -> None:
    """Commit without syncing: not a crash point, but a bug that the tests must find."""
    from storage import sqlite

    original = sqlite.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        connection = original(*arguments, **options)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    sqlite.connect = connect


def _at(owner: str, name: str, when: str) -> Any:
    return lambda die: _wrap(_owner(owner), name, **{when: die})


POINTS: Mapping[str, Any] = {
    "commit: before": _at("Journal", "commit", "before"),
    "commit: all written, not committed": functools.partial(_in_commit, "journal.db"),
    "commit: after, nothing acknowledged": _at("Journal", "commit", "after"),
    "acknowledge: before": _at("Link", "acknowledge", "before"),
    "acknowledge: half of the group": _acknowledge_half,
    "acknowledge: after": _at("Link", "acknowledge", "after"),
    "series: before": _at("SqliteSeries", "write", "before"),
    "series: all written, not committed": functools.partial(_in_commit, "series.db"),
    "series: after": _at("SqliteSeries", "write", "after"),
    "detector: before the step": _at("DetectionConsumer", "step", "before"),
    "detector: after the step, nothing committed": _at("DetectionConsumer", "step", "after"),
    "incident: notice written, not committed": _at("outbox", "add_notice", "after"),
    "incidents: position written, not committed": _at("detection_consumer", "save_cursor", "after"),
    "incidents: all written, not committed": _at(
        "DetectionConsumer", "_place_adjustments", "after"
    ),
    "incidents: after": _at("DetectionConsumer", "commit", "after"),
    "snapshot: before": _at("DetectionConsumer", "save_snapshot", "before"),
    "snapshot: written, not committed": _at("detection_consumer", "save_snapshot", "after"),
    "snapshot: after": _at("DetectionConsumer", "save_snapshot", "after"),
    "lease: taken, not committed": _at("outbox", "lease", "after"),
    "lease: after": _at("AppriseNotifier", "send", "before"),
    "send: after, nothing marked": _at("AppriseNotifier", "send", "after"),
    "mark: before": _at("OutboxPump", "_write_outcome", "before"),
    "mark: written, not committed": _at("outbox", "mark_sent", "after"),
    "mark: after": _at("OutboxPump", "_write_outcome", "after"),
}
"""All crash points; each gets the function that kills the process."""
INFLUX_POINTS: Mapping[str, Any] = {
    "InfluxDB: before": _at("InfluxSeries", "write", "before"),
    "InfluxDB: sent, cursor not stored": _at("InfluxSeries", "_send", "after"),
    "InfluxDB: after": _at("InfluxSeries", "write", "after"),
}
"""Crash points with the series in InfluxDB."""
SABOTAGE: Mapping[str, Any] = {"commits are not synced": _sync_less}
"""Bugs that the tests must detect; selected like a crash point."""


def _die_at(pass_number: int) -> Any:
    passes = itertools.count(1)

    def die() -> None:
        if next(passes) == pass_number:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def set_clock(path: Path, offset_s: float) -> None:
    """Set the clock of the service that was started with this clock file."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(struct.pack("<d", offset_s))


class _Clock:
    """The machine's clock plus an offset that another process can change."""

    def __init__(self) -> None:
        self._real = time.time
        self._offset: Any = None

    def follow(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)

    def __call__(self) -> float:
        if self._offset is None:
            return self._real()
        return self._real() + struct.unpack("<d", self._offset[:8])[0]


def _child(order: Mapping[str, Any], clock: _Clock) -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    for number, path in enumerate(order["files"]):
        file = os.open(path, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
        os.dup2(file, number)
    if order.get("faulted"):
        _prepare_faults(order["faulted"], clock)
    from plumewatch.cli.main import main

    sys.argv = ["plumewatch", *order["arguments"]]
    try:
        main()
    except SystemExit as ended:
        with contextlib.suppress(OSError, ValueError):  # a closed pipe
            sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ended.code or 0))


def _prepare_faults(order: Mapping[str, Any], clock: _Clock) -> None:
    from plumewatch.service import monitoring

    assert monitoring.EVERY_S > _MAINTENANCE_S
    monitoring.EVERY_S = _MAINTENANCE_S
    clock.follow(order["clock"])
    if order["crash"]:
        {**POINTS, **INFLUX_POINTS, **SABOTAGE}[order["crash"]](_die_at(order["pass"]))


def _change_waits() -> None:
    """Shorten waits for a broker and before reconnecting; lengthen the wait for pictures.

    A busy machine may take long to draw a picture.
    """
    from alerts.notify.pictures import NoticePictures
    from ingest.mqtt import connection, source

    for module, name, seconds in (
        (source, "_LAST_RETRY_S", _LAST_RETRY_S),
        (connection, "_TIMEOUT_S", _BROKER_TIMEOUT_S),
    ):
        getattr(module, name)  # setting a name that no longer exists would have no effect
        setattr(module, name, seconds)
    assert NoticePictures.__init__.__kwdefaults__["within_s"] < _PICTURE_S
    NoticePictures.__init__.__kwdefaults__["within_s"] = _PICTURE_S


def _warm_up() -> None:
    """Import and load everything that each start needs, once for all children."""
    import typer.main
    import uvicorn.protocols.http.auto
    import uvicorn.protocols.websockets.auto  # noqa: F401

    import plumewatch.check.check
    import plumewatch.cli.main
    import plumewatch.service.run
    from alerts.notify.channels.apprise_notifier import check_target
    from alerts.secrets import Secret
    from detection.detector import Detector
    from plumewatch.service.data_folder import open_and_repair_state
    from storage.journal import Journal
    from storage.timeseries.sqlite import SqliteSeries

    Detector()
    check_target(Secret("json://127.0.0.1/"))
    # building the commands takes a third of a start
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(plumewatch.cli.main.app)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        for _ in range(2):  # a second start compares the file's schema with the program's
            with Journal(data / "journal.db"), SqliteSeries(data / "series.db"):
                open_and_repair_state(data / "state.db").close()
    gc.freeze()


def main() -> None:
    """Execute orders until the standard input ends."""
    clock = _Clock()
    time.time = clock  # before the service uses the function
    _warm_up()
    _change_waits()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            pid, status, used = os.wait4(order["wait"], os.WNOHANG)
            answer = [os.waitstatus_to_exitcode(status), used.ru_maxrss] if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _child(order, clock)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class ForkedService(ServiceProcess):
    """A `ServiceProcess` with an adjustable clock and crash points.

    By default, the shared launcher is used. `kills` counts how often the service was killed.
    """

    def __init__(self, *arguments: Any, launcher: Launcher | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.kills = 0
        self.clock = self.folder / "clock"
        self._launcher = launcher or shared()
        self._connections = 0
        set_clock(self.clock, 0.0)

    def start(self, *, connected: bool = True, crash: str = "", at_pass: int = 1) -> None:
        """Start, and wait until connected, unless there is a crash point or `connected` is
        false."""
        self._connections = self.log.count("connected to 127.0.0.1")
        faulted = {"clock": str(self.clock), "crash": crash, "pass": at_pass}
        self._fork(self._launcher, faulted=faulted)
        if connected and not crash:
            self.await_connection()

    def await_connection(self) -> None:
        """Wait until the service has connected to the broker since its start."""
        before = self._connections
        eventually(
            lambda: self.log.count("connected to 127.0.0.1") > before or not self.running,
            lambda: f"connected to the broker:\n{self.log}",
            START_WITHIN_S,
        )
        assert self.running, self.log

    def end(self, signum: signal.Signals = signal.SIGTERM) -> int | None:
        """Send a signal, wait for the exit, and return the exit code."""
        code = super().end(signum)
        self.kills += code == -signal.SIGKILL
        return code

    def await_death(self, within_s: float = START_WITHIN_S) -> None:
        """Wait until the service has died at its crash point; any other exit fails."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=within_s)
            assert code == -signal.SIGKILL, f"ended with {code}:\n{self.log}"
            self._process = None
            self.kills += 1
            return
        raise AssertionError(f"the crash point was never passed:\n{self.log}")


if __name__ == "__main__":
    main()
