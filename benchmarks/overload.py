"""Measure memory, losses and catch-up time at ten and a hundred times the service's capacity.

Usage: python benchmarks/overload.py [--seconds 60] [--rate 2000] [--sensors 200] [--times 10 100]

The setup is as in `ingest_rate`, but the service is paused (SIGSTOP) most of the time: it runs for
a tenth or a hundredth of it. Then it runs normally and must catch up: every acknowledged reading
must be in the journal exactly once and in the series. Exits 1 if a reading is lost, if the service
grows by more than 100 MB, or if it does not catch up within ten minutes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import load_rig as rig

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_PERIOD_S = 0.5
_GROWTH_MB = 100.0
_CATCH_UP_S = 600.0


@contextlib.contextmanager
def slowed(pid: int, times: int) -> Iterator[None]:
    """Pause a process repeatedly so that it runs for only 1/`times` of the time."""
    over = threading.Event()

    def slow() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(_PERIOD_S * (1 - 1 / times))
            os.kill(pid, signal.SIGCONT)
            over.wait(_PERIOD_S / times)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def measure(options: argparse.Namespace, times: int, folder: Path) -> list[str]:
    """Run one overload and print the results; return broken promises."""
    with rig.mosquitto(folder) as (port, broker_pid):
        config = rig.write_config(folder, port, options.sensors)
        offered = options.rate, options.seconds, options.sensors
        with (
            rig.services(config) as (pid,),
            rig.publisher(port, rig.steady, *offered) as publisher,
            contextlib.closing(rig.Watcher(folder / "data")) as watcher,
        ):
            before = rig.memory_mb(pid)
            highest, broker_highest = before, 0.0
            with slowed(pid, times):
                while not publisher.ready():
                    highest = max(highest, rig.memory_mb(pid))
                    broker_highest = max(broker_highest, rig.memory_mb(broker_pid))
                    time.sleep(0.2)
            taken, acknowledged = watcher.look(), publisher.get().acknowledged
            last = rig.caught_up(folder / "data", acknowledged, within_s=_CATCH_UP_S)
            highest = max(highest, rig.memory_mb(pid))
    took = last.at - taken.at
    broken = rig.conserved(folder / "data", acknowledged, options.sensors)
    if highest - before > _GROWTH_MB:
        broken.append(f"the service grew by {highest - before:.0f} MB")
    print(f"{times} times: {acknowledged:,} readings acknowledged to the publisher,")
    print(f"  {taken.journal:,} stored meanwhile; the others waited in the broker")
    print(f"  caught up in {took:.1f} s, {(acknowledged - taken.detector) / took:,.0f} readings/s")
    print(
        f"  memory: service {before:.0f} MB, at most {highest:.0f}; broker {broker_highest:.0f} MB"
    )
    return [f"{times} times: {line}" for line in broken]


def main() -> int:
    """Run the benchmark; return 1 if a promise is broken."""
    rate = (2000.0, "readings published per second")
    options = rig.options(__doc__, seconds=60.0, rate=rate, sensors=200, times=[10, 100])
    rig.print_machine()
    broken: list[str] = []
    for times in options.times:
        with tempfile.TemporaryDirectory() as scratch:
            broken += measure(options, times, Path(scratch))
    return rig.verdict(broken)


if __name__ == "__main__":
    sys.exit(main())
