"""Check that the rate at which readings are evaluated does not collapse under load.

Usage: python benchmarks/steady.py [--seconds 20] [--rate 4000] [--sensors 200]

The setup is as in `ingest_rate`. The rate is first measured undisturbed, and then under each load:
a backup, a report, a retention run, 50 browsers, a journal at `journal.max_mb`, and a series
database that does not respond. *Rate* is the number of readings that the detector evaluates per
second. *Delay* runs from publishing a reading until the detector's stored cursor is past it, which
is up to 0.25 s after the evaluation. *Pause* is the longest time without an evaluation. Exits 1 if
a rate is below 0.8 of the undisturbed rate, if a pause is more than a second longer, or if a
reading is lost.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import load_rig as rig

from storage.journal import decode_record, load_cursor
from storage.sqlite import connect
from tests.support.broker import free_port

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    Burden = Callable[[Path, threading.Event], None]

_DELAYS = (
    "delay: from publishing a reading until the detector's cursor on disk is past it. The cursor is"
    " stored four times a second, so this can be 0.25 s after the reading is evaluated"
)
_GOAL = 0.8
_GOAL_PAUSE_S = 1.0
_VIEWERS = 50
_BOUND_MB = 100
_SAMPLE_S = 0.05
_WARM_S, _BETWEEN_S = 5.0, 3.0


@dataclass(slots=True)
class Row:
    """One line of the table."""

    rate: float
    cpu_us: float
    memory_mb: float
    delays_s: list[float]
    pause_s: float


def nothing(_config: Path, over: threading.Event) -> None:
    """Add no load."""
    over.wait()


def command(words: str, config: Path, over: threading.Event) -> None:
    """Run a `plumewatch` command repeatedly."""
    number, month = 0, time.strftime("%Y-%m")
    while not over.is_set():
        number += 1
        given = words.format(number=number, folder=config.parent, month=month)
        line = [sys.executable, "-m", "plumewatch", *given.split(), "--config", str(config)]
        done = subprocess.run(line, cwd=rig.ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{given}: {done.stderr}")


def viewers(config: Path, over: threading.Event) -> None:
    """Keep the staff page open in 50 browsers that refresh it every 5 s."""
    port = int(config.read_text().partition("[web]\nport = ")[2].split("\n")[0])

    def browse(number: int) -> None:
        address = {"X-Forwarded-For": f"10.0.0.{number}"}
        while not over.wait(5.0):
            page = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            page.request("GET", "/", headers=address)
            if page.getresponse().status != 200:
                raise RuntimeError("the page does not answer")
            page.close()

    with ThreadPoolExecutor(_VIEWERS) as pool:
        list(pool.map(browse, range(_VIEWERS)))


BURDENS: dict[str, Burden] = {
    "a backup": partial(command, "backup {folder}/{number}"),
    "a report": partial(command, "report summary --month {month} --out {folder}/{number}.csv"),
    "retention": partial(command, "retention --apply"),
    f"{_VIEWERS} viewers": viewers,
}


class Ages:
    """Measures, from outside the service, the age of the last reading that it evaluated."""

    def __init__(self, data: Path) -> None:
        self._journal = connect(data / "journal.db", read_only=True)
        self._state = connect(data / "state.db", read_only=True)

    def look(self) -> tuple[int, float]:
        """Return the detector's offset, and the age of the reading at that offset."""
        offset = load_cursor(self._state, "detector")
        query = "SELECT crc, body FROM journal WHERE offset <= ? ORDER BY offset DESC LIMIT 1"
        row = self._journal.execute(query, (offset,)).fetchone()
        reading = decode_record(*row) if row else None
        return offset, time.time() - reading.time if reading else 0.0

    def close(self) -> None:
        """Close the files."""
        self._journal.close()
        self._state.close()


def measure(config: Path, pid: int, burden: Burden, seconds: float) -> Row:
    """Measure the service for some seconds under a load."""
    over = threading.Event()
    pool = ThreadPoolExecutor(1)
    ages = Ages(config.parent / "data")
    work = pool.submit(burden, config, over)
    began, used = time.monotonic(), rig.cpu_s(pid)
    first, _ = ages.look()
    moved, newest, pause, memory = began, first, 0.0, 0.0
    seen: list[float] = []
    while (now := time.monotonic()) < began + seconds:
        offset, age = ages.look()
        if offset > newest:
            newest, moved = offset, now
            seen.append(age)
        pause = max(pause, now - moved)
        memory = max(memory, rig.memory_mb(pid))
        time.sleep(_SAMPLE_S)
    used, took = rig.cpu_s(pid) - used, now - began
    over.set()
    work.result()
    pool.shutdown()
    ages.close()
    count = max(newest - first, 1)
    return Row(count / took, used / count * 1e6, memory, seen, pause)


@contextlib.contextmanager
def served(
    options: argparse.Namespace, seconds: float, *, full: bool = False, series_url: str = ""
) -> Iterator[tuple[Path, int, list[str]]]:
    """Publish to a service; yield its configuration, process id, and list of losses.

    The list is filled when publishing ends.
    """
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        begin = rig.fill_journal(folder / "data", _BOUND_MB) if full else 0
        with rig.mosquitto(folder) as (port, _):
            config = rig.write_config(
                *(folder, port, options.sensors),
                max_mb=_BOUND_MB if full else 8_000,
                series_url=series_url,
            )
            offered = options.rate, seconds, options.sensors
            with rig.services(config) as (pid,):
                rig.wait_for(lambda: rig.detectors_ready(folder / "data"), "the detector", 120)
                with rig.publisher(port, rig.steady, *offered) as publisher:
                    time.sleep(_WARM_S)
                    yield config, pid, broken
                    if publisher.ready():
                        broken.append("the publisher ended before the last load did")
                    acknowledged = publisher.get().acknowledged
                ages = Ages(folder / "data")
                rig.wait_for(lambda: ages.look()[0] >= begin + acknowledged, "the detector", 300)
                ages.close()
        kept = rig.stored_numbers(folder / "data")
        if not full and (len(kept) != acknowledged or kept.total() != acknowledged):
            broken.append(f"{acknowledged} readings acknowledged, {len(kept)} in the journal")


def report(name: str, row: Row, usual: Row) -> list[str]:
    """Print one line of the table; return broken promises."""
    if not row.delays_s:
        print(f"{name:20}nothing was evaluated for {row.pause_s:.1f} s", flush=True)
        return [f"{name}: nothing was evaluated for {row.pause_s:.1f} s: is the machine too slow?"]
    ratio, median = row.rate / usual.rate, statistics.median(row.delays_s)
    print(
        f"{name:20}{row.rate:10,.0f}{ratio:8.2f}{row.cpu_us:8.0f}{row.memory_mb:8.0f} MB"
        f"{median:8.2f} s{max(row.delays_s):8.2f} s{row.pause_s:8.2f} s",
        flush=True,
    )
    broken = []
    if ratio < _GOAL:
        broken.append(f"{name}: {ratio:.2f} of the undisturbed rate, below {_GOAL}")
    if row.pause_s - usual.pause_s > _GOAL_PAUSE_S:
        broken.append(f"{name}: nothing was evaluated for {row.pause_s:.1f} s")
    return broken


def main() -> int:
    """Run the benchmark; return 1 if a promise is broken."""
    rate = (4000.0, "readings published per second")
    options = rig.options(__doc__, seconds=(20.0, "of each load"), rate=rate, sensors=200)
    rig.print_machine()
    head = ("", "rate/s", "ratio", "µs each", "memory", "delay p50", "longest", "pause")
    print(_DELAYS)
    print("{:20}{:>10}{:>8}{:>8}{:>11}{:>10}{:>10}{:>10}".format(*head))
    broken: list[str] = []
    seconds = _WARM_S + (len(BURDENS) + 1) * (2 * options.seconds + _BETWEEN_S)
    with served(options, seconds) as (config, pid, lost):
        usual = measure(config, pid, nothing, options.seconds)
        broken += report("nothing else", usual, usual)
        for name, burden in BURDENS.items():
            time.sleep(_BETWEEN_S)
            broken += report(name, measure(config, pid, burden, options.seconds), usual)
    broken += lost
    away = f"http://127.0.0.1:{free_port()}"
    for name, full, url in (("journal at max_mb", True, ""), ("no series database", False, away)):
        with served(options, _WARM_S + options.seconds, full=full, series_url=url) as (
            config,
            pid,
            lost,
        ):
            broken += report(name, measure(config, pid, nothing, options.seconds), usual)
        broken += lost
    return rig.verdict(broken)


if __name__ == "__main__":
    sys.exit(main())
