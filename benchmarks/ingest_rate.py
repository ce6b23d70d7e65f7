"""Sustained rate from a real Mosquitto through journal, detector and series.

Usage: python benchmarks/ingest_rate.py [--seconds 60] [--rate 4000] [--sensors 200]
                                        [--profile FILE]

Four processes on the same cores: Mosquitto with `deploy/mosquitto.conf`, `plumewatch run`, a
publisher that offers native readings at QoS 1 at a fixed rate, and this one, which watches. A rate
counts as sustained if journal, detector and series are all less than two seconds behind at the end.
At the end every reading whose PUBACK the publisher holds must be in the journal exactly once and in
the series. Then each stage is measured by itself. Exits 1 if a promise is broken or the rate is
below 3,000 a second, 2 without Mosquitto.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from alerts import schema
from alerts.engine import AlertEngine
from alerts.policy import AlertPolicy
from alerts.watch import Watch
from ingest.message import Message
from ingest.pipeline import Intake, IntakeConfig
from ingest.validation import may_alert
from storage import state
from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry
from storage.sqlite import connect, migrate
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
GOAL_PER_S = 3000
_WINDOW = 2000
_NAME, _PASSWORD = "plumewatch", "bench"


def sensor_name(number: int) -> str:
    """Name of a simulated sensor."""
    return f"bench-{number:04d}"


def payload(seq: int, now: float) -> bytes:
    """Make a native reading of about 200 bytes."""
    wave = seq % 17
    return (
        b'{"time": %.6f, "seq": %d, "pm1": %.1f, "pm25": %.1f, "pm4": %.1f, "pm10": %.1f,'
        b' "n05": %.1f, "n10": %.1f, "voc_index": %d, "nox_index": 1, "rh": %.1f, "temp": 21.%d,'
        b' "co2": %d, "rssi": -61}'
        % (now, seq, 2.6 + wave / 9, 4 + wave / 7, 4.3, 4.6, 18.2, 19.9, 95 + wave, 41.2, 4, 640)
    )


# ---- the publisher's process


def login(port: int) -> socket.socket:
    """Connect the publisher to the broker."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name, password = _NAME.encode(), _PASSWORD.encode()
    hello = b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"".join(
        struct.pack(">H", len(part)) + part for part in (b"bench", name, password)
    )
    link.sendall(bytes([0x10, len(hello)]) + hello)
    if link.recv(4) != b"\x20\x02\x00\x00":
        sys.exit("the broker refuses the publisher")
    return link


def publish(port: int, rate: float, seconds: float, sensors: int) -> None:
    """Offer readings at a fixed rate; print what was acknowledged, as one JSON line."""
    link = login(port)
    link.settimeout(0)
    topics = [f"plumewatch/v1/{sensor_name(k)}/reading".encode() for k in range(sensors)]
    selector = selectors.DefaultSelector()
    selector.register(link, selectors.EVENT_READ)
    sent, acknowledged, size = 0, 0, 0
    unacknowledged: set[int] = set()
    out, inward = bytearray(), bytearray()
    began = time.monotonic()
    while True:
        elapsed = time.monotonic() - began
        due = int(min(elapsed, seconds) * rate)
        if sent < due and len(unacknowledged) < _WINDOW:
            now = time.time()
            for _ in range(min(due - sent, _WINDOW - len(unacknowledged))):
                seq, which = divmod(sent, sensors)
                packet_id = sent % 65_535 + 1
                content = payload(seq, now + which * 1e-6)
                size = len(content)
                topic = topics[which]
                length = 2 + len(topic) + 2 + size
                out += struct.pack(">BBBH", 0x32, length % 128 | 0x80, length // 128, len(topic))
                out += topic
                out += packet_id.to_bytes(2)
                out += content
                unacknowledged.add(packet_id)
                sent += 1
        if out:
            with contextlib.suppress(BlockingIOError):
                del out[: link.send(out)]
        if selector.select(0 if out else 0.005):
            received = link.recv(65_536)
            if not received:
                sys.exit("the broker closed the publisher's connection")
            inward += received
            whole = len(inward) // 4 * 4
            for at in range(0, whole, 4):
                unacknowledged.discard(int.from_bytes(inward[at + 2 : at + 4]))
                acknowledged += 1
            del inward[:whole]
        if elapsed >= seconds and (not unacknowledged or elapsed > seconds + 30):
            break
    took = time.monotonic() - began
    link.close()
    said = {"sent": sent, "acknowledged": acknowledged, "seconds": took, "bytes": size}
    print(json.dumps(said))


# ---- what is started and watched


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[tuple[int, int]]:
    """Mosquitto with the shipped configuration on a free port; yields port and process id."""
    binary = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if binary is None or shutil.which("mosquitto_passwd") is None:
        print("mosquitto is not installed", file=sys.stderr)
        sys.exit(2)
    port = free_port()
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(
        ["mosquitto_passwd", "-b", str(passwords), _NAME, _PASSWORD],
        check=True,
        capture_output=True,
        timeout=10,
    )
    shipped = (ROOT / "deploy/mosquitto.conf").read_text()
    own = (
        shipped.replace("listener 1883 127.0.0.1", f"listener {port} 127.0.0.1")
        .replace("password_file /etc/mosquitto/plumewatch-passwords", f"password_file {passwords}")
        .replace("/var/lib/mosquitto/", f"{folder}/")
    )
    if os.geteuid() == 0:
        own += "user root\n"
    config = folder / "mosquitto.conf"
    config.write_text(own)
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([binary, "-c", str(config)], stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(port), "mosquitto")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def service(folder: Path, broker_port: int, sensors: int, profile: str) -> Iterator[int]:
    """`plumewatch run` with `sensors` sensors; yields its process id."""
    (folder / "password").write_text(_PASSWORD)
    lines = [
        'site = "Benchmark"',
        'timezone = "UTC"',
        'data_dir = "data"',
        f'[broker]\nport = {broker_port}\nusername = "{_NAME}"\npassword_file = "password"',
        f"[web]\nport = {free_port()}",
    ]
    lines += [
        f'[[room]]\nid = "r{k}"\nname = "Room {k}"\nbuilding = "North"' for k in range(sensors)
    ]
    lines += [f'[[sensor]]\nid = "{sensor_name(k)}"\nroom = "r{k}"' for k in range(sensors)]
    config = folder / "plumewatch.toml"
    config.write_text("\n".join(lines) + "\n")
    profiler = ["-m", "cProfile", "-o", profile] if profile else []
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *profiler, "-m", "plumewatch", "run", "--config", str(config)],
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        wait_for(
            lambda: b"connected to" in (folder / "service.log").read_bytes(), "the service", 30
        )
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        if code:
            print((folder / "service.log").read_text(), file=sys.stderr)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(met: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not met():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {within_s:.0f} s")
        time.sleep(0.02)


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """Processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far each stage is, in readings, and when."""

    at: float
    journal: int
    detector: int
    series: int


class Watcher:
    """Reads the positions of all stages beside the running service."""

    def __init__(self, data: Path) -> None:
        self._journal = connect(data / "journal.db", read_only=True)
        self._state = connect(data / "state.db", read_only=True)
        self._series = connect(data / "series.db", read_only=True)

    def look(self) -> Progress:
        """Return the positions now."""
        row = self._journal.execute("SELECT max(offset) FROM journal").fetchone()
        return Progress(
            time.monotonic(),
            int(row[0] or 0),
            state.position(self._state, "detector"),
            state.position(self._series, "series"),
        )

    def close(self) -> None:
        """Let go of the files."""
        for connection in (self._journal, self._state, self._series):
            connection.close()


# ---- one stage at a time


def stages(sensors: int, group: int, batch: int, count: int = 40_000) -> list[tuple[str, float]]:
    """Microseconds a reading of each stage by itself, in groups as the service forms them."""
    now = time.time()
    messages = []
    for k in range(count):
        seq, which = divmod(k, sensors)
        topic = f"plumewatch/v1/{sensor_name(which)}/reading"
        moment = now - 300 + seq * 0.05
        messages.append(Message(topic, payload(seq, moment), moment + 0.001))
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
        watch = Watch(database, AlertEngine(Registry(), AlertPolicy()), may_alert)
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


def conserved(data: Path, acknowledged: int, sensors: int) -> list[str]:
    """Check that all that was acknowledged is stored; return what is broken."""
    broken: list[str] = []
    decode = msgspec.msgpack.Decoder(Reading).decode
    with contextlib.closing(connect(data / "journal.db", read_only=True)) as journal:
        readings = [decode(row[0]) for row in journal.execute("SELECT body FROM journal")]
    kept = Counter((r.sensor, r.seq) for r in readings)
    moments = {(r.sensor, round(r.time * 1e6)) for r in readings}  # the series has one row for each
    expected = {
        (sensor_name(which), seq)
        for seq, which in (divmod(k, sensors) for k in range(acknowledged))
    }
    if missing := expected - kept.keys():
        broken.append(f"{len(missing)} acknowledged readings are not in the journal")
    if repeated := [key for key, n in kept.items() if n > 1]:
        broken.append(f"{len(repeated)} readings are in the journal more than once")
    if invented := kept.keys() - expected:
        broken.append(f"{len(invented)} readings in the journal that nobody sent")
    with contextlib.closing(connect(data / "series.db", read_only=True)) as series:
        stored = series.execute("SELECT count(*) FROM reading").fetchone()[0]
    if stored != len(moments):
        broken.append(f"{stored} rows in the series, {len(moments)} were acknowledged")
    return broken


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """Run all four processes and report; True if every promise is kept."""
    with (
        mosquitto(folder) as (port, broker_pid),
        service(folder, port, options.sensors, options.profile) as pid,
    ):
        arguments = ["--publish", str(port), "--rate", str(options.rate)]
        arguments += ["--seconds", str(options.seconds), "--sensors", str(options.sensors)]
        cpu = {"service": cpu_s(pid), "broker": cpu_s(broker_pid)}
        publisher = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        watcher = Watcher(folder / "data")
        seen: deque[Progress] = deque()
        memory: list[float] = []
        began = time.monotonic()
        while publisher.poll() is None:
            seen.append(watcher.look())
            memory.append(memory_mb(pid))
            time.sleep(0.5)
        end = watcher.look()
        took = time.monotonic() - began
        cpu = {"service": cpu_s(pid) - cpu["service"], "broker": cpu_s(broker_pid) - cpu["broker"]}
        assert publisher.stdout is not None
        ledger = json.loads(publisher.stdout.read())
        acknowledged = ledger["acknowledged"]
        deadline = time.monotonic() + 60
        while min((last := watcher.look()).detector, last.series) < acknowledged:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        drained = time.monotonic() - end.at
        watcher.close()
    broken = conserved(folder / "data", acknowledged, options.sensors)
    first = next(p for p in seen if p.at - began >= min(5.0, options.seconds / 4))
    window = end.at - first.at
    rates = {
        "journal": (end.journal - first.journal) / window,
        "detector": (end.detector - first.detector) / window,
        "series": (end.series - first.series) / window,
    }
    behind = {k: acknowledged - getattr(end, k) for k in rates}
    offered = acknowledged / ledger["seconds"]
    print(
        f"offered: {acknowledged:,} readings of {ledger['bytes']} bytes from {options.sensors}"
        f" sensors in {ledger['seconds']:.1f} s ({offered:,.0f}/s), all acknowledged:"
        f" {acknowledged == ledger['sent']}"
    )
    for stage, rate in rates.items():
        print(f"  {stage:9s} {rate:8,.0f}/s, {behind[stage]:,} readings behind at the end")
    print(f"  all stages at the end of the offer after another {drained:.2f} s")
    warm = memory[len(memory) // 6 :] or memory
    print(
        f"  memory of the service: {memory[0]:.0f} MB at the start, {warm[len(warm) // 2]:.0f} MB"
        f" in the middle, {memory[-1]:.0f} MB at the end"
    )
    print(
        f"  processor: service {cpu['service'] / took:.0%}, broker {cpu['broker'] / took:.0%}"
        f" of one core"
    )
    sustained = min(rates.values())
    if max(behind.values()) > 2 * options.rate:
        broken.append(f"not sustained: {max(behind.values()):,} readings behind at the end")
    if sustained < min(GOAL_PER_S, options.rate * 0.95):
        broken.append(f"{sustained:,.0f} a second is below the goal of {GOAL_PER_S:,}")
    print("  " + ("everything acknowledged is stored exactly once" if not broken else "BROKEN:"))
    for line in broken:
        print(f"    {line}")
    return not broken


def main() -> int:
    """Run the benchmark; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=4000, help="readings offered a second")
    parser.add_argument("--sensors", type=int, default=200)
    parser.add_argument("--profile", default="", help="write a cProfile of the service's loop here")
    parser.add_argument("--publish", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        publish(options.publish, options.rate, options.seconds, options.sensors)
        return 0
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        kept = measure(options, Path(scratch))
    for group, batch in ((100, 200), (500, 2000)):
        print("each stage by itself, µs a reading:")
        for what, cost in stages(options.sensors, group, batch):
            print(f"  {cost:7.1f}  {what}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
