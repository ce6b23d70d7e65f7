"""What the benchmarks of the whole service start and watch: broker, service, publisher, ledger.

Run as a program it is the publisher: ``python load_rig.py PORT RATE SECONDS SENSORS``.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from storage import state
from storage.journal import Journal
from storage.reading import Reading
from storage.sqlite import connect, migrate
from storage.timeseries.sqlite import SqliteSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
NAME, PASSWORD = "plumewatch", "bench"
FILL = "fill"
"""Sensor of the readings in a journal before the service starts."""
_WINDOW = 2000
_SILENCE_S = 30.0
_BUILDINGS = 64
"""Buildings over which shards divide the sensors: so many that each has a like share."""


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
    name, password = NAME.encode(), PASSWORD.encode()
    hello = b"\x00\x04MQTT\x04\xc2\x00\x3c" + b"".join(
        struct.pack(">H", len(part)) + part for part in (b"bench", name, password)
    )
    link.sendall(bytes([0x10, len(hello)]) + hello)
    if link.recv(4) != b"\x20\x02\x00\x00":
        sys.exit("the broker refuses the publisher")
    return link


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a broker acknowledged to a publisher.

    Attributes
    ----------
    sent, acknowledged : int
        Messages; the broker acknowledges in the order of sending.
    seconds : float
        From the first message to the last acknowledgement.
    """

    sent: int
    acknowledged: int
    seconds: float


def offer(port: int, messages: Iterable[tuple[float, bytes, Callable[[], bytes]]]) -> Ledger:
    """Publish at QoS 1 and wait for all acknowledgements.

    Parameters
    ----------
    port : int
    messages : iterable of (float, bytes, callable)
        When it is due, seconds from the start, in order; topic; what makes the payload then.
    """
    link = login(port)
    link.settimeout(0)
    selector = selectors.DefaultSelector()
    selector.register(link, selectors.EVENT_READ)
    upcoming = iter(messages)
    following = next(upcoming, None)
    sent = acknowledged = 0
    out, inward = bytearray(), bytearray()
    began = last = time.monotonic()
    while following is not None or acknowledged < sent:
        elapsed = time.monotonic() - began
        while following is not None and following[0] <= elapsed and sent - acknowledged < _WINDOW:
            _, topic, content = following
            body = content()
            length = 4 + len(topic) + len(body)
            out += struct.pack(">BBBH", 0x32, length % 128 | 0x80, length // 128, len(topic))
            out += topic + (sent % 65_535 + 1).to_bytes(2) + body
            sent += 1
            following = next(upcoming, None)
        if out:
            with contextlib.suppress(BlockingIOError):
                del out[: link.send(out)]
        if selector.select(0 if out else 0.005):
            received = link.recv(65_536)
            if not received:
                sys.exit("the broker closed the publisher's connection")
            inward += received
            acknowledged += len(inward) // 4
            del inward[: len(inward) // 4 * 4]
            last = time.monotonic()
        elif time.monotonic() - last > _SILENCE_S and acknowledged < sent:
            break
    took = time.monotonic() - began
    link.close()
    return Ledger(sent, acknowledged, took)


def steady(
    rate: float, seconds: float, sensors: int
) -> Iterator[tuple[float, bytes, Callable[[], bytes]]]:
    """Yield readings at a fixed rate, the sensors in turn."""
    topics = [f"plumewatch/v1/{sensor_name(k)}/reading".encode() for k in range(sensors)]
    for number in range(int(rate * seconds)):
        seq, which = divmod(number, sensors)
        yield number / rate, topics[which], partial(_now_payload, seq, which)


def _now_payload(seq: int, which: int) -> bytes:
    return payload(seq, time.time() + which * 1e-6)


@contextlib.contextmanager
def publisher(port: int, rate: float, seconds: float, sensors: int) -> Iterator[Publisher]:
    """Offer readings at a fixed rate from a process of its own."""
    arguments = [str(port), str(rate), str(seconds), str(sensors)]
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield Publisher(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


class Publisher:
    """A publisher's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def running(self) -> bool:
        """Whether it still publishes."""
        return self._process.poll() is None

    def ledger(self) -> Ledger:
        """Wait for its end and return what was acknowledged."""
        said, _ = self._process.communicate()
        return Ledger(**json.loads(said))


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
        ["mosquitto_passwd", "-b", str(passwords), NAME, PASSWORD],
        check=True,
        capture_output=True,
        timeout=10,
    )
    rights = folder / "acl"
    rights.write_text(
        (ROOT / "deploy/mosquitto.acl").read_text()
        + f"\nuser {NAME}\ntopic write plumewatch/v1/#\n"  # the publisher is no sensor
    )
    rights.chmod(0o600)
    shipped = (ROOT / "deploy/mosquitto.conf").read_text()
    own = (
        shipped.replace("listener 1883 127.0.0.1", f"listener {port} 127.0.0.1")
        .replace("/etc/mosquitto/plumewatch-passwords", str(passwords))
        .replace("/etc/mosquitto/plumewatch-acl", str(rights))
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


def write_config(
    folder: Path,
    broker_port: int,
    sensors: int,
    push_url: str = "",
    buildings: int = 1,
    *,
    max_mb: int = 8_000,
) -> Path:
    """Write a configuration with `sensors` sensors, each in a room of its own."""
    (folder / "password").write_text(PASSWORD)
    lines = [
        'site = "Benchmark"',
        'timezone = "UTC"',
        'data_dir = "data"',
        f'[broker]\nport = {broker_port}\nusername = "{NAME}"\npassword_file = "password"',
        f"[web]\nport = {free_port()}",
        f"[journal]\nmax_mb = {max_mb}",
        "[alerts]\nallow_private_targets = true\npictures = false",
    ]
    lines += [
        f'[[room]]\nid = "r{k}"\nname = "Room {k}"\nbuilding = "North {k % buildings}"'
        for k in range(sensors)
    ]
    lines += [f'[[sensor]]\nid = "{sensor_name(k)}"\nroom = "r{k}"' for k in range(sensors)]
    if push_url:
        (folder / "push-url").write_text(push_url)
        target = '{ url_file = "push-url" }'
        lines.append(f'[[staff]]\nid = "ap"\nname = "A P"\nnotify = [{target}]')
    config = folder / "plumewatch.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def start_service(config: Path, profile: str = "", *more: str) -> subprocess.Popen[bytes]:
    """Start `plumewatch run` with its log beside the configuration."""
    profiler = ["-m", "cProfile", "-o", profile] if profile else []
    with (config.parent / "service.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *profiler, "-m", "plumewatch", "run", "--config", str(config), *more],
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )


@contextlib.contextmanager
def service(
    folder: Path, broker_port: int, sensors: int, profile: str = "", push_url: str = ""
) -> Iterator[int]:
    """`plumewatch run` with `sensors` sensors, connected; yields its process id."""
    config = write_config(folder, broker_port, sensors, push_url)
    with _connected(config, [start_service(config, profile)]) as (pid,):
        yield pid


@contextlib.contextmanager
def services(
    folder: Path,
    broker_port: int,
    sensors: int,
    shards: int,
    profile: str = "",
    *,
    max_mb: int = 8_000,
) -> Iterator[list[int]]:
    """`plumewatch run` or, with several shards, one with ``--shard`` for each; yields their ids."""
    config = write_config(folder, broker_port, sensors, buildings=_BUILDINGS, max_mb=max_mb)
    parts = [["--shard", f"{k}/{shards}"] for k in range(shards)] if shards > 1 else [[]]
    with _connected(config, [start_service(config, profile, *part) for part in parts]) as pids:
        yield pids


@contextlib.contextmanager
def _connected(config: Path, started: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    log = config.parent / "service.log"
    try:
        wait_for(lambda: log.read_bytes().count(b"connected to") >= len(started), "the service", 60)
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in started]
        if any(codes):
            print(log.read_text(), file=sys.stderr)


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


def folders(data: Path) -> list[Path]:
    """Folders of the databases: that of one service, or those of its shards."""
    return sorted(data.glob("shard-*")) or [data]


def fill_journal(data: Path, size_mb: float) -> int:
    """Fill the journal of a new data folder with readings that all have read; return the last."""
    data.mkdir()
    now, last = time.time() - 3600.0, 0  # too old to be searched for redelivered readings
    with Journal(data / "journal.db") as journal:
        while journal.bytes_used() < size_mb * 1e6:
            values = {"pm25": 7.1, "rh": 41.2, "tvoc_ppb": 120.0}
            last = journal.commit(
                [Reading(FILL, now, now, values, seq=last + k) for k in range(5_000)]
            )
    series = SqliteSeries(data / "series.db")
    series.open()
    series.close()
    for name, consumer in (("state", "detector"), ("series", "series")):
        with contextlib.closing(connect(data / f"{name}.db")) as database:
            migrate(database, "state", state.SCRIPTS)
            state.set_cursor(database, consumer, last)
    return last


def detectors_ready(data: Path) -> bool:
    """Whether the services have saved the state of their detectors, as they do once restored."""
    for part in folders(data):
        with contextlib.closing(connect(part / "state.db", read_only=True)) as database:
            if state.snapshot(database, "detector") is None:
                return False
    return True


class Watcher:
    """Reads the positions of all stages beside the running service, or its shards.

    They count from the offset `begin`.
    """

    def __init__(self, data: Path, begin: int = 0) -> None:
        self._begin = begin
        self._open = [
            [
                connect(part / f"{name}.db", read_only=True)
                for name in ("journal", "state", "series")
            ]
            for part in folders(data)
        ]

    def look(self) -> Progress:
        """Return the positions now, of shards their sum."""
        taken = [0, 0, 0]
        for journal, of_state, series in self._open:
            row = journal.execute("SELECT max(offset) FROM journal").fetchone()
            taken[0] += int(row[0] or 0)
            taken[1] += state.cursor(of_state, "detector")
            taken[2] += state.cursor(series, "series")
        return Progress(time.monotonic(), *(at - self._begin for at in taken))

    def close(self) -> None:
        """Let go of the files."""
        for connection in itertools.chain.from_iterable(self._open):
            connection.close()


def stored_readings(data: Path) -> Iterator[Reading]:
    """Yield the readings of a journal, in order; of shards one after the other."""
    decode = msgspec.msgpack.Decoder(Reading).decode
    for part in folders(data):
        with contextlib.closing(connect(part / "journal.db", read_only=True)) as journal:
            for (body,) in journal.execute("SELECT body FROM journal ORDER BY offset"):
                if (reading := decode(body)).sensor != FILL:
                    yield reading


def stored_numbers(data: Path) -> Counter[tuple[str, int | None]]:
    """Count the readings of a journal by sensor and number."""
    return Counter((r.sensor, r.seq) for r in stored_readings(data))


def not_taken(taken: int, acknowledged: int) -> str:
    """Say that the service did not catch up in time."""
    return (
        f"{taken:,} of {acknowledged:,} readings taken two minutes after the end; the others"
        " wait in the broker: is the machine busy?"
    )


def conserved(data: Path, acknowledged: int, sensors: int) -> list[str]:
    """Check that all that was acknowledged is stored; return what is broken."""
    broken: list[str] = []
    readings = list(stored_readings(data))
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
    stored = 0
    for part in folders(data):
        with contextlib.closing(connect(part / "series.db", read_only=True)) as series:
            stored += series.execute("SELECT count(*) FROM reading").fetchone()[0]
    if stored != len(moments):
        broken.append(f"{stored} rows in the series, {len(moments)} were acknowledged")
    return broken


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("port", int), ("rate", float), ("seconds", float), ("sensors", int)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    offered = offer(given.port, steady(given.rate, given.seconds, given.sensors))
    print(json.dumps(asdict(offered)))
