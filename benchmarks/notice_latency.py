"""Measure the time from a sensor's reading to the notice, while a whole school reports at 1 Hz.

Usage: python benchmarks/notice_latency.py [--sensors 500 2000] [--hz 1] [--seconds 240]
                                           [--puffs 120]

The setup is as in `ingest_rate`, with a JSON receiver on loopback. First, ten minutes of clean air
are published at a higher rate; then every sensor reports ``--hz`` times a second. Puffs follow one
after another, each in its own room. An alert's latency runs from publishing the reading that
triggered it until the receiver has the request. Exits 1 if p95 at 500 sensors is 500 ms or more, if
the service uses 300 MB or more, if an incident has no opening notice or more than one, if fewer
than half of the puffs raise an alert, or if an acknowledged reading is not stored exactly once.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import load_rig as rig

from storage.sqlite import connect

if TYPE_CHECKING:
    import argparse

_QUIET_S = 590
_QUIET_RATE = 4000.0
_SETTLE_S = 30.0
_GOAL_MS, _GOAL_MB = 500.0, 300.0


def make_reading(seq: int, moment: float, fine: float, rng: random.Random) -> bytes:
    """Return a native reading of ten quantities, with `fine` µg/m³ above the room's baseline."""
    return (
        b'{"time": %.6f, "seq": %d, "pm1": %.1f, "pm25": %.1f, "pm4": %.1f, "pm10": %.1f,'
        b' "n05": %.1f, "n10": %.1f, "voc_index": %d, "rh": %.1f, "temp": 21.4, "co2": %d}'
        % (
            moment,
            seq,
            rng.gauss(2.6, 0.15) + 0.9 * fine,
            rng.gauss(4.0, 0.2) + fine,
            rng.gauss(4.3, 0.2) + 1.01 * fine,
            rng.gauss(4.6, 0.2) + 1.02 * fine,
            rng.gauss(18.2, 0.5) + 6 * fine,
            rng.gauss(19.9, 0.5) + 6.2 * fine,
            rng.gauss(100, 1),
            rng.gauss(41, 0.1),
            640,
        )
    )


def compute_puff(since_s: float) -> float:
    """Return the fine particles of an exhaled puff, µg/m³ above the room's baseline."""
    if since_s < 0:
        return 0.0
    return 180.0 * (since_s / 4 if since_s < 4 else math.exp(-(since_s - 4) / 18))


def generate_school(sensors: int, hz: float, seconds: float, puffs: int) -> rig.Messages:
    """Yield ten minutes of clean air at `_QUIET_RATE`, then all sensors `hz` times a second."""
    rng = random.Random(7)
    topics = [f"plumewatch/v1/{rig.sensor_name(k)}/reading".encode() for k in range(sensors)]
    filled = _QUIET_S * sensors / _QUIET_RATE
    live = time.time() + filled
    rooms = rng.sample(range(sensors), min(puffs, sensors))
    onset = {room: seconds * (k + rng.random()) / len(rooms) for k, room in enumerate(rooms)}
    for number in range(_QUIET_S * sensors):
        seq, which = divmod(number, sensors)
        moment = live - _QUIET_S + seq + which / sensors
        yield number / _QUIET_RATE, topics[which], partial(make_reading, seq, moment, 0.0, rng)
    for number in range(int((seconds + _SETTLE_S) * hz) * sensors):
        turn, which = divmod(number, sensors)
        due = (turn + which / sensors) / hz
        fine = compute_puff(due - onset.get(which, math.inf))
        now = partial(_now, _QUIET_S + turn, fine, rng)
        yield filled + due, topics[which], now


def _now(seq: int, fine: float, rng: random.Random) -> bytes:
    return make_reading(seq, time.time(), fine, rng)


# ---- the run


class Receiver:
    """Records when each incident's first notice arrived, and how many notices it had."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.notified: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                now, content = time.time(), json.loads(body)
                if content["reason"] == "opened":
                    outer.arrived.setdefault(content["incident"], now)
                    outer.notified[content["incident"]] += 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"json://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class Decided(NamedTuple):
    """When the reading that opened an incident was published, received and evaluated."""

    published: float
    received: float
    decided: float


def read_decisions(data: Path) -> dict[str, Decided]:
    """Return the times of the reading that opened each vape incident."""
    with contextlib.closing(connect(data / "state.db", read_only=True)) as found:
        rows = found.execute(
            "SELECT e.incident, e.sensor, min(e.alerted), min(o.created_at) FROM alert_event e"
            " LEFT JOIN outbox o ON o.incident = e.incident"
            " WHERE e.kind = 'vape' AND e.incident IS NOT NULL GROUP BY e.incident"
        ).fetchall()
    opening = {(sensor, time): incident for incident, sensor, time, _ in rows}
    received = {
        incident: reading.received
        for reading in rig.stored_readings(data)
        if (incident := opening.get((reading.sensor, reading.time)))
    }
    return {i: Decided(time, received.get(i, time), at or time) for i, _, time, at in rows}


def measure(sensors: int, options: argparse.Namespace, folder: Path) -> list[str]:
    """Run one school and print the results; return broken promises."""
    receiver = Receiver()
    with rig.mosquitto(folder) as (port, _):
        config = rig.write_config(folder, port, sensors, push_url=receiver.url)
        with (
            rig.services(config) as (pid,),
            rig.publisher(
                *(port, generate_school, sensors, options.hz, options.seconds, options.puffs)
            ) as publisher,
        ):
            time.sleep(_QUIET_S * sensors / _QUIET_RATE)
            used, began = rig.cpu_s(pid), time.monotonic()
            acknowledged = publisher.get().acknowledged
            used = (rig.cpu_s(pid) - used) / (time.monotonic() - began)
            with contextlib.closing(rig.Watcher(folder / "data")) as watcher:
                end = watcher.look()
            rig.caught_up(folder / "data", acknowledged)
            memory = rig.memory_mb(pid)
            time.sleep(1.0)
    behind = acknowledged - min(end.journal, end.detector)
    broken = rig.conserved(folder / "data", acknowledged, sensors)
    opened = read_decisions(folder / "data")
    receiver.close()
    notified = [(receiver.arrived[i], at) for i, at in opened.items() if i in receiver.arrived]
    took = sorted((arrived - at.published) * 1000 for arrived, at in notified)
    if missing := opened.keys() - receiver.arrived.keys():
        broken.append(f"{len(missing)} incidents without a notice")
    if twice := [i for i, n in receiver.notified.items() if n > 1]:
        broken.append(f"{len(twice)} incidents with more than one opening notice")
    if len(took) < options.puffs / 2:
        broken.append(f"only {len(took)} alerts for {options.puffs} puffs")
        return broken
    cut = statistics.quantiles(took, n=100, method="inclusive")
    print(
        f"{sensors:5,} sensors at {options.hz:g} Hz: {len(took)} alerts for {options.puffs} puffs,"
        f" reading to notice p50 {cut[49]:.0f} ms, p95 {cut[94]:.0f} ms, p99 {cut[98]:.0f} ms,"
        f" longest {took[-1]:.0f} ms"
    )
    for stage, parts in (
        ("publisher, broker, socket", [at.received - at.published for _, at in notified]),
        ("journal, detector", [at.decided - at.received for _, at in notified]),
        ("incident, notice, request", [arrived - at.decided for arrived, at in notified]),
    ):
        of_stage = statistics.quantiles([s * 1000 for s in parts], n=100, method="inclusive")
        print(f"      {stage:27} p50 {of_stage[49]:4.0f} ms, p99 {of_stage[98]:4.0f} ms")
    print(
        f"      memory {memory:.0f} MB, {used:.0%} of one core, {behind:,} readings behind at the"
        f" end, {acknowledged:,} acknowledged",
        flush=True,
    )
    if sensors <= 500 and cut[94] >= _GOAL_MS:
        broken.append(f"p95 {cut[94]:.0f} ms is not below {_GOAL_MS:.0f} ms")
    if memory >= _GOAL_MB:
        broken.append(f"{memory:.0f} MB is not below {_GOAL_MB:.0f} MB")
    return broken


def main() -> int:
    """Run the benchmark; return 1 if a promise is broken."""
    options = rig.options(
        __doc__,
        sensors=[500, 2000],
        hz=(1.0, "readings per second from each sensor"),
        seconds=(240.0, "how long puffs are released"),
        puffs=120,
    )
    rig.print_machine()
    broken: list[str] = []
    for sensors in options.sensors:
        with tempfile.TemporaryDirectory() as scratch:
            broken += measure(sensors, options, Path(scratch))
    return rig.verdict(broken)


if __name__ == "__main__":
    sys.exit(main())
