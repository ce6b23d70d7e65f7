"""Count the files that a reading passes through on its way from MQTT to a push.

Run: ``python benchmarks/reading_to_push.py [--list]``.

A service in this process receives a puff from Mosquitto, one reading at a time. A file in our
packages counts if any of its functions ran, in any thread, after the reading that triggered the
alert was published and before the push arrived at a receiver on loopback. Evidence pictures are
switched off. Writes to the time series don't count. Nor do periodic tasks that happen to run in the
meantime: the web server's tick, the watchdog, and the checks for a switch to in-memory alerting and
for lasting service faults.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load_rig import ROOT

from plumewatch.config.load import parse
from plumewatch.service.app import Service
from tests.support.broker import Mosquitto, free_port
from tests.support.plumes import readings_of_puff
from tests.support.service import Publisher, Receiver

if TYPE_CHECKING:
    from types import CodeType, FrameType

_SIDE_WAYS = {Path("storage/timeseries"), Path("alerts/outbound")}
_BY_CLOCK = {
    Path("alerts/consumer/memory_alerts.py"),
    Path("alerts/operations.py"),
    Path("plumewatch/service/health.py"),
    Path("plumewatch/service/web_server.py"),
}
_LIMIT = 45
_SERVICE = {"plumewatch", "ingest", "detection", "alerts", "reports", "storage", "language"}


class CalledCode:
    """Records every function that is called, in all threads started after it."""

    def __init__(self) -> None:
        self._called: set[CodeType] = set()
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            self._called.add(frame.f_code)

    def clear(self) -> None:
        """Discard the calls recorded so far."""
        self._called.clear()

    def files(self) -> set[Path]:
        """Return the service's files with at least one called function; imports don't count."""
        called = {Path(c.co_filename) for c in self._called.copy() if c.co_name != "<module>"}
        inside = (path.relative_to(ROOT) for path in called if path.is_relative_to(ROOT))
        return {
            path
            for path in inside
            if path.parts[0] in _SERVICE and _SIDE_WAYS.isdisjoint(path.parents)
            if path not in _BY_CLOCK
        }


def _config(folder: Path, broker_port: int) -> Any:
    return parse(
        {
            "site": "School",
            "timezone": "UTC",
            "broker": {"port": broker_port},
            "web": {"port": free_port()},
            "alerts": {"allow_private_targets": True, "pictures": False},
            "room": [{"id": "r", "name": "Boys' restroom", "building": "North", "floor": "2"}],
            "sensor": [{"id": "n2-boys-1", "room": "r"}],
            "staff": [{"id": "ap", "name": "AP", "notify": [{"url_file": "push-url"}]}],
        },
        base=folder,
    )


async def follow(folder: Path, called: CalledCode) -> set[Path]:
    """Publish a puff; return the files used between the triggering reading and the push."""
    with Mosquitto() as broker, Receiver() as receiver, Publisher(broker.port) as publisher:
        (folder / "push-url").write_text(receiver.url)
        service, stop = Service(_config(folder, broker.port)), asyncio.Event()
        running = asyncio.create_task(service.run(stop))
        await service.ready.wait()
        counts = service.detection.counts
        for number, reading in enumerate(readings_of_puff(start=time.time() - 300), 1):
            called.clear()
            publisher.send_readings([reading])
            async with asyncio.timeout(60):
                while counts.readings < number or (  # noqa: ASYNC110 - a benchmark may poll
                    counts.alerts and not receiver.pushes
                ):
                    await asyncio.sleep(0.005)
            if counts.alerts:
                break
        files = called.files()
        stop.set()
        await running
    return files


def main() -> None:
    """Print the number of files; with ``--list``, also their names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print their names as well")
    options = parser.parse_args()
    if not shutil.which("mosquitto"):
        print(f"{'files to a push':16}      - (needs mosquitto)")
        return
    called = CalledCode()
    with tempfile.TemporaryDirectory() as name:
        files = asyncio.run(follow(Path(name), called))
    sys.setprofile(None)
    if options.list:
        print("\n".join(sorted(map(str, files))))
    print(f"{'files to a push':16}{len(files):7,} of at most {_LIMIT}")


if __name__ == "__main__":
    main()
