"""Sustained rate from a real Mosquitto through journal, detector and series, beside Node-RED.

Usage: python benchmarks/ingest_rate.py [--seconds 30] [--rates 2000 4000 6000 8000 10000]
                                        [--sensors 200] [--shards N] [--node-red] [--minimal]
                                        [--stages] [--profile FILE]

Four processes on the same cores: Mosquitto with `deploy/mosquitto.conf`, `plumewatch run`, a
publisher that offers native readings at QoS 1 at a fixed rate, and this one, which watches. A rate
counts as sustained if journal, detector and series are all less than two seconds behind at the end.
At the end every reading whose PUBACK the publisher holds must be in the journal exactly once and in
the series. Rates are tried in rising order until one is not sustained. Then 5,000 a second are
offered twice, to a service with a new journal and to one whose journal is at `journal.max_mb`.

With ``--node-red`` the same is offered to Node-RED at each rate, right after: MQTT in at QoS 1 with
a persistent session, a rule (baseline and threshold a sensor), a line a reading appended to a file.
It is installed by npm into ``.bench/``. Then both are killed with -9 twice in the middle of a
stream, and what each lost of what the broker had acknowledged to the publisher is counted.

With ``--minimal`` the same is offered to a minimal consumer (`minimal_consumer`), which promises
nothing: what a message costs in Python at least.

With ``--shards N`` the same is offered at each rate, right after, to N services that divide the
sensors by building (`plumewatch run --shard K/N`): what they take in and use together.

With ``--stages`` each stage is measured by itself, and what fsync costs. Exits 1 if a reading is
lost or less than 5,000 a second is sustained, 2 without Mosquitto.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import load_rig as rig
import minimal_consumer
import node_red

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.policy import AlertPolicy
from ingest.intake import Intake, IntakeConfig
from ingest.message import Message
from ingest.validation import may_alert
from storage import state
from storage.journal import Journal
from storage.registry import Registry
from storage.sqlite import connect, migrate
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage.reading import Reading

GOAL_PER_S = 5000
_BOUND_MB = 100
_READING_BYTES = 130
GOAL_AT_BOUND = 0.9
_KILLED_RATE, _KILLED_S = 1000.0, 12.0


@dataclass(slots=True)
class Run:
    """What one rate led to.

    Attributes
    ----------
    taken : float
        Readings a second through the slowest stage over the time of the offer.
    behind : int
        Readings that the slowest stage lacks when the offer ends.
    cpu_us : float
        Processor time a reading, all threads.
    memory_mb : float
        Resident at the end.
    caught_up_s : float
        Time until all stages have everything, after the end of the offer.
    broken : list of str
    """

    taken: float
    behind: int
    cpu_us: float
    memory_mb: float
    caught_up_s: float
    broken: list[str]


# ---- one stage at a time


def stages(sensors: int, group: int, batch: int) -> list[tuple[str, float]]:
    """Microseconds a reading of each stage by itself, in groups as the service forms them."""
    now, count = time.time(), 40_000 if group > 1 else 2_000
    messages = []
    for k in range(count):
        seq, which = divmod(k, sensors)
        topic = f"plumewatch/v1/{rig.sensor_name(which)}/reading"
        moment = now - 300 + seq * 0.05
        messages.append(Message(topic, rig.payload(seq, moment), moment + 0.001))
    found: list[tuple[str, float]] = []
    intake = Intake(IntakeConfig(accept_unknown=True))
    readings: list[Reading] = []

    def timed(what: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        found.append((what, (time.perf_counter() - began) / count * 1e6))

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
        migrate(database, "state", state.SCRIPTS)
        migrate(database, "alerts", schema.SCRIPTS)
        watch = DetectionConsumer(database, AlertEngine(Registry(), AlertPolicy()), may_alert)
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


def ours(
    options: argparse.Namespace, rate: float, folder: Path, shards: int = 1, *, full: bool = False
) -> Run:
    """Offer one rate to Plumewatch, in one process or several, or with a journal at its bound."""
    begin = 0
    if full:
        arriving_mb = rate * options.seconds * _READING_BYTES / 1e6
        begin = rig.fill_journal(folder / "data", _BOUND_MB + arriving_mb)
    with (
        rig.mosquitto(folder) as (port, _),
        rig.services(
            folder,
            port,
            options.sensors,
            shards,
            options.profile,
            max_mb=_BOUND_MB if full else 8_000,
        ) as pids,
    ):
        rig.wait_for(lambda: rig.detectors_ready(folder / "data"), "the detectors", 120)
        used, began = sum(map(rig.cpu_s, pids)), time.monotonic()
        with rig.publisher(port, rate, options.seconds, options.sensors) as publisher:
            ledger = publisher.ledger()
        watcher = rig.Watcher(folder / "data", begin)
        end = watcher.look()
        memory = sum(map(rig.memory_mb, pids))
        least = min(end.journal, end.detector, end.series)
        last = _followed(watcher, ledger.acknowledged)
        used = sum(map(rig.cpu_s, pids)) - used
        watcher.close()
    broken = rig.conserved(folder / "data", ledger.acknowledged, options.sensors)
    return Run(
        least / (end.at - began),
        ledger.acknowledged - least,
        used / ledger.acknowledged * 1e6,
        memory,
        last - end.at,
        broken,
    )


def _followed(watcher: rig.Watcher, acknowledged: int) -> float:
    """Wait until all stages have everything; when that was."""
    deadline = time.monotonic() + 120
    while min((last := watcher.look()).detector, last.series) < acknowledged:
        if time.monotonic() > deadline:
            sys.exit(rig.not_taken(min(last.detector, last.series), acknowledged))
        time.sleep(0.02)
    return last.at


def theirs(options: argparse.Namespace, rate: float, folder: Path) -> Run:
    """Offer one rate to Node-RED."""
    with rig.mosquitto(folder) as (port, _), node_red.NodeRed(folder, port) as other:
        used, began = rig.cpu_s(other.pid), time.monotonic()
        with rig.publisher(port, rate, options.seconds, options.sensors) as publisher:
            ledger = publisher.ledger()
        stored, end = other.stored(), time.monotonic()
        memory = rig.memory_mb(other.pid)
        other.settle()
        last = time.monotonic()
        used = rig.cpu_s(other.pid) - used
    return Run(
        stored / (end - began),
        ledger.acknowledged - stored,
        used / ledger.acknowledged * 1e6,
        memory,
        last - end - node_red.QUIET_S,
        [],
    )


def minimal(options: argparse.Namespace, rate: float, folder: Path) -> Run:
    """Offer one rate to the minimal consumer."""
    with (
        rig.mosquitto(folder) as (port, _),
        minimal_consumer.consumer(folder, port) as (pid, file),
    ):
        used, began = rig.cpu_s(pid), time.monotonic()
        with rig.publisher(port, rate, options.seconds, options.sensors) as publisher:
            ledger = publisher.ledger()
        stored, end = minimal_consumer.stored(file), time.monotonic()
        memory = rig.memory_mb(pid)
        rig.wait_for(
            lambda: minimal_consumer.stored(file) >= ledger.acknowledged,
            "the minimal consumer",
            120,
        )
        last = time.monotonic()
        used = rig.cpu_s(pid) - used
    return Run(
        stored / (end - began),
        ledger.acknowledged - stored,
        used / ledger.acknowledged * 1e6,
        memory,
        last - end,
        [],
    )


def ladder(options: argparse.Namespace) -> tuple[dict[str, float], list[str]]:
    """Offer rising rates; return the highest that each sustains, and what is broken."""
    subjects: dict[str, Callable[[argparse.Namespace, float, Path], Run]] = {"Plumewatch": ours}
    if options.shards > 1:
        subjects[f"{options.shards} shards"] = partial(ours, shards=options.shards)
    if options.node_red:
        subjects["Node-RED"] = theirs
    if options.minimal:
        subjects["minimal"] = minimal
    best = dict.fromkeys(subjects, 0.0)
    broken: list[str] = []
    going = dict(subjects)
    head = ("", "offered/s", "taken/s", "behind", "caught up", "us each", "memory")
    print("{:12}{:>10}{:>10}{:>10}{:>12}{:>10}{:>10}".format(*head))
    for rate in options.rates:
        for name, offered in dict(going).items():
            with tempfile.TemporaryDirectory() as scratch:
                run = offered(options, rate, Path(scratch))
            kept = run.behind <= 2 * rate
            print(
                f"{name:12}{rate:10,.0f}{run.taken:10,.0f}{run.behind:10,}"
                f"{run.caught_up_s:10.1f} s{run.cpu_us:10.0f}{run.memory_mb:7.0f} MB"
                + ("" if kept else "  not sustained"),
                flush=True,
            )
            broken += run.broken
            if kept:
                best[name] = rate
            else:
                del going[name]
    return best, broken


def at_bound(options: argparse.Namespace, rate: float) -> list[str]:
    """Offer one rate below `journal.max_mb` and at it; print both and return what is broken.

    At it as much is deleted as arrives. Readings a processor second are compared, which other
    programs on the machine change little.
    """
    each: dict[str, float] = {}
    broken: list[str] = []
    for name, full in (("below max_mb", False), ("at max_mb", True)):
        with tempfile.TemporaryDirectory() as scratch:
            run = ours(options, rate, Path(scratch), full=full)
        each[name] = 1e6 / run.cpu_us
        broken += run.broken
        print(
            f"{name:14}{run.taken:8,.0f} readings/s of {rate:,.0f} offered, caught up after"
            f" {run.caught_up_s:.1f} s, {each[name]:,.0f} readings a processor second"
        )
    share = each["at max_mb"] / each["below max_mb"]
    print(f"rate at max_mb: {share:.2f} of that below it")
    if share < GOAL_AT_BOUND:
        broken.append(f"rate at max_mb is {share:.2f} of that below it, not {GOAL_AT_BOUND}")
    return broken


def killed_ours(folder: Path, sensors: int) -> tuple[int, int, int]:
    """Kill Plumewatch twice in a stream; acknowledged, lost, and stored more than once."""
    with rig.mosquitto(folder) as (port, _):
        config = rig.write_config(folder, port, sensors)
        process = rig.start_service(config)
        log = folder / "service.log"
        try:
            rig.wait_for(lambda: b"connected to" in log.read_bytes(), "the service", 30)
            with rig.publisher(port, _KILLED_RATE, _KILLED_S, sensors) as publisher:
                for _ in range(2):
                    time.sleep(_KILLED_S / 3)
                    process.kill()
                    process.wait(10)
                    process = rig.start_service(config)
                ledger = publisher.ledger()
            watcher = rig.Watcher(folder / "data")
            _followed(watcher, ledger.acknowledged)
            watcher.close()
        finally:
            process.kill()
            process.wait(10)
    kept = rig.stored_numbers(folder / "data")
    return ledger.acknowledged, ledger.acknowledged - len(kept), kept.total() - len(kept)


def killed_theirs(folder: Path, sensors: int) -> tuple[int, int, int]:
    """Kill Node-RED twice in a stream; as `killed_ours`."""
    with rig.mosquitto(folder) as (port, _), node_red.NodeRed(folder, port) as other:
        with rig.publisher(port, _KILLED_RATE, _KILLED_S, sensors) as publisher:
            for _ in range(2):
                time.sleep(_KILLED_S / 3)
                other.kill9()
                other.start()
            ledger = publisher.ledger()
        other.settle()
        kept = Counter(other.numbers())
    return ledger.acknowledged, ledger.acknowledged - len(kept), kept.total() - len(kept)


def killed(sensors: int) -> list[str]:
    """Kill both, one after the other, and say what was lost; return what is broken."""
    broken: list[str] = []
    for name, run in (("Plumewatch", killed_ours), ("Node-RED", killed_theirs)):
        with tempfile.TemporaryDirectory() as scratch:
            acknowledged, lost, twice = run(Path(scratch), sensors)
        print(
            f"{name} killed twice in {acknowledged:,} acknowledged readings:"
            f" {lost:,} lost, {twice:,} stored twice"
        )
        if name == "Plumewatch" and (lost or twice):
            broken.append(f"{lost} lost and {twice} stored twice over two kills")
    return broken


def main() -> int:
    """Run the benchmark; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[2000, 4000, 6000, 8000, 10000, 12000]
    )
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--shards", type=int, default=1, help="services that divide the sensors")
    parser.add_argument("--node-red", action="store_true", help="offer the same to Node-RED")
    parser.add_argument("--minimal", action="store_true", help="and to a minimal consumer")
    parser.add_argument("--stages", action="store_true", help="measure each stage by itself too")
    parser.add_argument("--profile", default="", help="write a cProfile of the service's loop here")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    if options.node_red:
        print(f"Node-RED {node_red.install()}")
    best, broken = ladder(options)
    for name, rate in best.items():
        print(f"{name} sustains {rate:,.0f} readings a second")
    if options.shards == 1:
        broken += at_bound(options, min(GOAL_PER_S, max(options.rates)))
    if options.node_red:
        broken += killed(options.sensors)
    if options.stages:
        for group, batch in ((1, 1), (100, 200), (500, 2000)):
            print("each stage by itself, microseconds a reading:")
            for what, cost in stages(options.sensors, group, batch):
                print(f"  {cost:7.1f}  {what}")
    if best["Plumewatch"] < min(GOAL_PER_S, max(options.rates)):
        broken.append(f"{best['Plumewatch']:,.0f} a second is below the goal of {GOAL_PER_S:,}")
    print("everything acknowledged is stored exactly once" if not broken else "BROKEN:")
    for line in broken:
        print(f"  {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
