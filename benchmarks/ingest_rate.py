"""Measure the sustained ingest rate with Mosquitto, `plumewatch run` and a publisher at QoS 1.

Usage: python benchmarks/ingest_rate.py [--seconds 30] [--rates 2000 4000 ...] [--sensors 200]
       [--node-red] [--minimal] [--stages] [--profile FILE]

Mosquitto runs with `deploy/mosquitto.conf`; all processes share this machine's cores. A rate is
sustained if the slowest stage (journal, detector, series) is at most two seconds behind when the
publisher stops. Every reading acknowledged by the broker must be in the journal and the series
exactly once. Node-RED and a minimal consumer can be measured for comparison. Then one rate is
published twice: with the journal below `journal.max_mb`, and at that limit. With --node-red,
Plumewatch and Node-RED are also killed twice each. With --stages, each stage is also measured on
its own. Exits 1 if a promise is broken or the rate is below the goal, and 2 if Mosquitto is
missing.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import load_rig as rig
import minimal_consumer
import node_red

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.policy import AlertPolicy
from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.validation import Message, may_alert
from storage.journal import STATE_SCRIPTS, Journal
from storage.registry import Registry, Room, Sensor
from storage.sqlite import connect, migrate
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from storage.reading import Reading

GOAL_PER_S = 5000
_BOUND_MB = 100
_READING_BYTES = 130
GOAL_AT_BOUND = 0.9
_KILLED_RATE, _KILLED_S = 1000.0, 12.0


class Subject(NamedTuple):
    """A program under test: its processes, and functions to count its readings."""

    pids: Sequence[int]
    taken: Callable[[], int]
    wait_for: Callable[[int], float]
    """Wait for this many readings; return the monotonic time at which the last one arrived."""


class Run(NamedTuple):
    """The result of one rate."""

    taken: float
    """Readings per second through the slowest stage while publishing."""
    behind: int
    """Number of readings by which the slowest stage is behind when publishing ends."""
    cpu_us: float
    """CPU time per reading, over all threads."""
    memory_mb: float
    """Resident memory at the end."""
    caught_up_s: float
    """Time from the end of publishing until all stages have all readings."""
    acknowledged: int


# ---- one stage at a time


def measure_stages(sensors: int, group: int, batch: int) -> list[tuple[str, float, float]]:
    """Measure each stage's CPU and wall time per reading, µs.

    The journal commits `group` readings at a time; consumers read `batch` at a time.
    """
    now, count = time.time(), 40_000 if group > 1 else 2_000
    messages = []
    for k in range(count):
        seq, which = divmod(k, sensors)
        topic = f"plumewatch/v1/{rig.sensor_name(which)}/reading"
        moment = now - 300 + seq * 0.05
        messages.append(Message(topic, rig.payload(seq, moment), moment + 0.001))
    found: list[tuple[str, float, float]] = []
    registry = Registry.build(
        [Room(f"r{k}", f"Room {k}", "1", "North", "Benchmark") for k in range(sensors)],
        [Sensor(rig.sensor_name(k), f"r{k}") for k in range(sensors)],
    )
    intake = Intake(IntakeConfig(Context(registry=registry), dedupe_window=512))
    readings: list[Reading] = []

    def timed(what: str, work: Callable[[], object]) -> None:
        began, used = time.perf_counter(), time.process_time()
        work()
        each = [t / count * 1e6 for t in (time.process_time() - used, time.perf_counter() - began)]
        found.append((what, *each))

    def decode() -> None:
        for message in messages:
            readings.extend(intake.on_message(message).readings)

    timed("decode, validate, duplicates", decode)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Journal(folder / "unsynced.db") as journal:
            journal._write_connection.execute("PRAGMA synchronous=OFF")  # type: ignore[union-attr]  # noqa: SLF001 - for comparison only
            timed(
                f"journal commit, not fsynced, groups of {group}",
                lambda: [journal.commit(part) for part in parts(readings, group)],
            )
        with Journal(folder / "journal.db") as journal:
            timed(
                f"journal commit, fsynced, groups of {group}",
                lambda: [journal.commit(part) for part in parts(readings, group)],
            )
            timed(
                f"journal read, batches of {batch}",
                lambda: [journal.read(at, batch) for at in range(0, count, batch)],
            )
        database = connect(folder / "state.db")
        migrate(database, "state", STATE_SCRIPTS)
        migrate(database, "alerts", schema.SCRIPTS)
        watch = DetectionConsumer(database, AlertEngine(registry, AlertPolicy()), may_alert)
        timed(
            f"detector step and commit, batches of {batch}",
            lambda: [watch.process(p, 1, p[-1].received) for p in parts(readings, batch)],
        )
        database.close()
        series = SqliteSeries(folder / "series.db")
        series.open()
        timed(
            f"series write, batches of {batch}",
            lambda: [series.write(p, 1) for p in parts(readings, batch)],
        )
        series.close()
    return found


def parts(readings: Sequence[Reading], size: int) -> Iterator[Sequence[Reading]]:
    """Cut a sequence into batches."""
    for at in range(0, len(readings), size):
        yield readings[at : at + size]


# ---- the run


@contextlib.contextmanager
def run_plumewatch(
    options: argparse.Namespace, folder: Path, port: int, fill_mb: float = 0
) -> Iterator[Subject]:
    """Run Plumewatch, with an empty journal or one at its size limit."""
    data = folder / "data"
    begin = rig.fill_journal(data, _BOUND_MB + fill_mb) if fill_mb else 0
    max_mb = _BOUND_MB if fill_mb else 8_000
    config = rig.write_config(folder, port, options.sensors, max_mb=max_mb)
    with rig.services(config, options.profile) as pids:
        rig.wait_for(lambda: rig.detectors_ready(data), "the detectors", 120)
        with contextlib.closing(rig.Watcher(data, begin)) as watcher:
            yield Subject(
                pids,
                lambda: min(watcher.look()[1:]),
                lambda count: rig.caught_up(data, count, begin).at,
            )


@contextlib.contextmanager
def run_node_red(_: argparse.Namespace, folder: Path, port: int) -> Iterator[Subject]:
    """Run Node-RED."""
    with node_red.NodeRed(folder, port) as other:

        def settled(_count: int) -> float:
            other.settle()
            return time.monotonic() - node_red.QUIET_S

        yield Subject([other.pid], other.stored, settled)


@contextlib.contextmanager
def run_minimal(_: argparse.Namespace, folder: Path, port: int) -> Iterator[Subject]:
    """Run the minimal consumer."""
    with minimal_consumer.consumer(folder, port) as (pid, file):

        def stored(count: int) -> float:
            rig.wait_for(lambda: minimal_consumer.stored(file) >= count, "minimal consumer", 120)
            return time.monotonic()

        yield Subject([pid], partial(minimal_consumer.stored, file), stored)


def publish_at_rate(
    subject: Callable[..., AbstractContextManager[Subject]],
    options: argparse.Namespace,
    rate: float,
    folder: Path,
) -> Run:
    """Publish at one rate, and return the result."""
    arguments = rate, options.seconds, options.sensors
    with rig.mosquitto(folder) as (port, _), subject(options, folder, port) as one:
        used = sum(map(rig.cpu_s, one.pids))
        with rig.publisher(port, rig.steady, *arguments) as publisher:
            acknowledged, took_s = publisher.get()
        taken, end = one.taken(), time.monotonic()
        memory = sum(map(rig.memory_mb, one.pids))
        last = one.wait_for(acknowledged)
        used = sum(map(rig.cpu_s, one.pids)) - used
    each_us = used / acknowledged * 1e6
    return Run(taken / took_s, acknowledged - taken, each_us, memory, last - end, acknowledged)


def raise_rates(options: argparse.Namespace) -> tuple[dict[str, float], list[str]]:
    """Publish at rising rates; return each program's highest sustained rate and broken promises."""
    subjects: dict[str, Callable[..., AbstractContextManager[Subject]]] = {
        "Plumewatch": run_plumewatch
    }
    if options.node_red:
        subjects["Node-RED"] = run_node_red
    if options.minimal:
        subjects["minimal"] = run_minimal
    best = dict.fromkeys(subjects, 0.0)
    broken: list[str] = []
    going = dict(subjects)
    head = ("", "offered/s", "stored/s", "behind", "caught up", "µs each", "memory")
    print("{:12}{:>10}{:>10}{:>10}{:>12}{:>10}{:>10}".format(*head))
    for rate in options.rates:
        for name, subject in dict(going).items():
            with tempfile.TemporaryDirectory() as scratch:
                run = publish_at_rate(subject, options, rate, Path(scratch))
                broken += _find_broken(Path(scratch), run, options.sensors)
            kept = run.behind <= 2 * rate
            print(
                f"{name:12}{rate:10,.0f}{run.taken:10,.0f}{run.behind:10,}"
                f"{run.caught_up_s:10.1f} s{run.cpu_us:10.0f}{run.memory_mb:7.0f} MB"
                + ("" if kept else "  not sustained"),
                flush=True,
            )
            if kept:
                best[name] = rate
            else:
                del going[name]
    return best, broken


def _find_broken(folder: Path, run: Run, sensors: int) -> list[str]:
    data = folder / "data"
    return rig.conserved(data, run.acknowledged, sensors) if data.exists() else []


def compare_at_limit(options: argparse.Namespace, rate: float) -> list[str]:
    """Publish with the journal below and at `journal.max_mb`; print both rates.

    At the limit, each new reading causes an old one to be deleted. This compares readings per CPU
    second, which other programs on the machine hardly affect. Return broken promises.
    """
    each: dict[str, float] = {}
    broken: list[str] = []
    arriving_mb = rate * options.seconds * _READING_BYTES / 1e6
    for name, fill_mb in (("below max_mb", 0.0), ("at max_mb", arriving_mb)):
        with tempfile.TemporaryDirectory() as scratch:
            run = publish_at_rate(
                partial(run_plumewatch, fill_mb=fill_mb), options, rate, Path(scratch)
            )
            broken += _find_broken(Path(scratch), run, options.sensors)
        each[name] = 1e6 / run.cpu_us
        print(
            f"{name:14}{run.taken:8,.0f} readings/s of {rate:,.0f} published, caught up after"
            f" {run.caught_up_s:.1f} s, {each[name]:,.0f} readings per CPU second"
        )
    share = each["at max_mb"] / each["below max_mb"]
    print(f"readings per CPU second at max_mb: {share:.2f} of those below it")
    if share < GOAL_AT_BOUND:
        broken.append(f"readings per CPU second at max_mb: {share:.2f}, below {GOAL_AT_BOUND}")
    return broken


class Restarted:
    """Runs Plumewatch in a process that can be killed and restarted."""

    def __init__(self, folder: Path, config: Path) -> None:
        self._log, self._config = folder / "service.log", config
        self.start()

    def wait(self) -> None:
        """Wait until the process is connected to the broker."""
        rig.wait_for(lambda: b"connected to" in self._log.read_bytes(), "the service", 120)

    def start(self) -> None:
        """Start the process."""
        self._process = rig.start_service(self._config)

    def kill9(self) -> None:
        """Kill the process without warning."""
        self._process.kill()
        self._process.wait(10)


def kill_twice(port: int, sensors: int, other: Restarted | node_red.NodeRed) -> int:
    """Kill a program twice while publishing; return how many readings were acknowledged."""
    with rig.publisher(port, rig.steady, _KILLED_RATE, _KILLED_S, sensors) as publisher:
        for _ in range(2):
            time.sleep(_KILLED_S / 3)
            other.kill9()
            other.start()
        return publisher.get().acknowledged


def measure_kills(sensors: int) -> list[str]:
    """Kill both programs in turn; print their losses, and return broken promises."""
    found: dict[str, tuple[int, Counter[tuple[str, int | None]]]] = {}
    with tempfile.TemporaryDirectory() as scratch, rig.mosquitto(Path(scratch)) as (port, _):
        folder = Path(scratch)
        service = Restarted(folder, rig.write_config(folder, port, sensors))
        try:
            service.wait()
            acknowledged = kill_twice(port, sensors, service)
            rig.caught_up(folder / "data", acknowledged)
        finally:
            service.kill9()
        found["Plumewatch"] = acknowledged, rig.stored_numbers(folder / "data")
    with (
        tempfile.TemporaryDirectory() as scratch,
        rig.mosquitto(Path(scratch)) as (port, _),
        node_red.NodeRed(Path(scratch), port) as other,
    ):
        acknowledged = kill_twice(port, sensors, other)
        other.settle()
        found["Node-RED"] = acknowledged, Counter(other.numbers())
    broken: list[str] = []
    for name, (acknowledged, kept) in found.items():
        lost, twice = acknowledged - len(kept), kept.total() - len(kept)
        print(
            f"{name} killed twice during {acknowledged:,} acknowledged readings:"
            f" {lost:,} lost, {twice:,} stored twice"
        )
        if name == "Plumewatch" and (lost or twice):
            broken.append(f"{lost} lost and {twice} stored twice over two kills")
    return broken


def main() -> int:
    """Run the benchmark; return 1 if a promise is broken."""
    options = rig.options(
        __doc__,
        seconds=30.0,
        rates=[2000.0, 4000.0, 6000.0, 8000.0, 10000.0, 12000.0],
        sensors=200,
        node_red=(False, "also measure Node-RED"),
        minimal=(False, "also measure a minimal consumer"),
        stages=(False, "also measure each stage by itself"),
        profile=("", "write a cProfile of the service's loop here"),
    )
    rig.print_machine()
    if options.node_red:
        print(f"Node-RED {node_red.install()}")
    best, broken = raise_rates(options)
    for name, rate in best.items():
        print(f"{name} sustains {rate:,.0f} readings per second")
    broken += compare_at_limit(options, min(GOAL_PER_S, max(options.rates)))
    if options.node_red:
        broken += measure_kills(options.sensors)
    if options.stages:
        for group, batch in ((1, 1), (50, 200), (100, 500), (500, 2000)):
            print("each stage by itself, CPU and wall time per reading, µs:")
            for what, cpu_us, took_us in measure_stages(options.sensors, group, batch):
                print(f"  {cpu_us:7.1f} {took_us:7.1f}  {what}")
    if best["Plumewatch"] < min(GOAL_PER_S, max(options.rates)):
        broken.append(f"{best['Plumewatch']:,.0f} per second is below the goal of {GOAL_PER_S:,}")
    return rig.verdict(broken)


if __name__ == "__main__":
    sys.exit(main())
