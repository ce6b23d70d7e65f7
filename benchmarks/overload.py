"""Ten and a hundred times more readings than the service can take: memory, loss, catching up.

Usage: python benchmarks/overload.py [--seconds 60] [--rate 2000] [--sensors 200] [--times 10 100]

As `ingest_rate`: Mosquitto with `deploy/mosquitto.conf`, `plumewatch run`, a publisher at a fixed
rate that the service sustains, and this process. No publisher here offers a hundred times that
rate, so the service is slowed down instead: it is stopped (SIGSTOP) for all but a tenth or a
hundredth of the time while the publisher publishes. Then it may run, and must catch up: every
reading whose PUBACK the publisher holds must be in the journal exactly once and in the series. The
memory of service and broker is watched throughout. Exits 1 if a reading is lost, if the service
grows by more than 100 MB, or if it does not catch up within ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import load_rig as rig

if TYPE_CHECKING:
    from collections.abc import Iterator

_PERIOD_S = 0.5
_GROWTH_MB = 100.0
_CATCH_UP_S = 600.0


@contextlib.contextmanager
def slowed(pid: int, times: int) -> Iterator[None]:
    """Let a process run for one part in `times` of the time."""
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


def measure(options: argparse.Namespace, times: int, folder: Path) -> bool:
    """Run one overload and report; True if every promise is kept."""
    with (
        rig.mosquitto(folder) as (port, broker_pid),
        rig.service(folder, port, options.sensors) as pid,
        rig.publisher(port, options.rate, options.seconds, options.sensors) as publisher,
    ):
        watcher = rig.Watcher(folder / "data")
        before = rig.memory_mb(pid)
        highest, broker_highest = before, 0.0
        with slowed(pid, times):
            while publisher.running:
                highest = max(highest, rig.memory_mb(pid))
                broker_highest = max(broker_highest, rig.memory_mb(broker_pid))
                time.sleep(0.2)
        taken = watcher.look()
        acknowledged = publisher.ledger().acknowledged
        began = time.monotonic()
        while min((last := watcher.look()).detector, last.series) < acknowledged:
            highest = max(highest, rig.memory_mb(pid))
            if time.monotonic() - began > _CATCH_UP_S:
                break
            time.sleep(0.1)
        took = time.monotonic() - began
        watcher.close()
    broken = rig.conserved(folder / "data", acknowledged, options.sensors)
    if highest - before > _GROWTH_MB:
        broken.append(f"the service grew by {highest - before:.0f} MB")
    if min(last.detector, last.series) < acknowledged:
        broken.append(f"not caught up after {took:.0f} s")
    print(f"{times} times: {acknowledged:,} readings acknowledged to the publisher,")
    print(f"  {taken.journal:,} taken meanwhile; the others waited in the broker")
    print(f"  caught up in {took:.1f} s, {(acknowledged - taken.detector) / took:,.0f} readings/s")
    print(
        f"  memory: service {before:.0f} MB, at most {highest:.0f}; broker {broker_highest:.0f} MB"
    )
    print("  " + ("everything acknowledged is stored exactly once" if not broken else "BROKEN:"))
    for line in broken:
        print(f"    {line}")
    return not broken


def main() -> int:
    """Run the benchmark; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2000, help="readings offered a second")
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--times", type=int, nargs="+", default=[10, 100])
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    kept = True
    for times in options.times:
        with tempfile.TemporaryDirectory() as scratch:
            kept &= measure(options, times, Path(scratch))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
