"""Start and monitor the broker, service and publisher for benchmarks."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from detection.quantities import COLUMNS
from storage.journal import STATE_SCRIPTS, Journal, load_cursor, load_snapshot, save_cursor
from storage.reading import Reading
from storage.sqlite import connect, migrate
from storage.timeseries.sqlite import SqliteSeries
from tests.support.broker import free_port

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date
    from multiprocessing.pool import AsyncResult

    Messages = Iterable[tuple[float, bytes, Callable[[], bytes]]]
    """Messages in order. Each has a due time in seconds from the start, a topic, and a function
    that makes the payload when it is sent."""

ROOT = Path(__file__).resolve().parents[1]
NAME, PASSWORD = "plumewatch", "bench"
FILL = "fill"
"""Sensor of the readings that the journal contains before the service starts."""
_WINDOW = 2000
_SILENCE_S = 30.0
_BUILDINGS = 64
"""Number of buildings: enough that a building has only a few alerts at a time."""


def options(about: str | None, **known: Any) -> argparse.Namespace:
    """Parse the command line; `known` has each option's default, which sets its type.

    With a list as default, the option takes several values. With False, it is a switch. A pair is a
    default and a help text.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    for name, given in known.items():
        default, text = given if isinstance(given, tuple) else (given, None)
        flag = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(flag, action="store_true", help=text)
            continue
        of = default[0] if isinstance(default, list) else default
        more = {"nargs": "+"} if isinstance(default, list) else {}
        parser.add_argument(flag, type=type(of), default=default, help=text, **more)
    return parser.parse_args()


def print_machine() -> None:
    """Print the properties of this machine that affect the results."""
    load = f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {load}")


def verdict(broken: Sequence[str]) -> int:
    """Print the broken promises; return the exit code."""
    print("all checks passed" if not broken else "BROKEN:")
    for line in broken:
        print(f"  {line}")
    return 1 if broken else 0


def sensor_name(number: int) -> str:
    """Return the name of a simulated sensor."""
    return f"bench-{number:04d}"


def payload(seq: int, now: float) -> bytes:
    """Return a native reading of about 200 bytes."""
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
        raise ConnectionError("the broker rejected the publisher")
    return link


class Ledger(NamedTuple):
    """Messages that the broker acknowledged, in sending order, and how long that took."""

    acknowledged: int
    seconds: float


def offer(port: int, messages: Messages) -> Ledger:
    """Publish at QoS 1 and wait for all acknowledgments."""
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
                raise ConnectionError("the broker closed the publisher's connection")
            inward += received
            acknowledged += len(inward) // 4
            del inward[: len(inward) // 4 * 4]
            last = time.monotonic()
        elif time.monotonic() - last > _SILENCE_S and acknowledged < sent:
            break
    took = time.monotonic() - began
    link.close()
    return Ledger(acknowledged, took)


def steady(rate: float, seconds: float, sensors: int) -> Messages:
    """Yield readings at a fixed rate, from one sensor after another."""
    topics = [f"plumewatch/v1/{sensor_name(k)}/reading".encode() for k in range(sensors)]
    for number in range(int(rate * seconds)):
        seq, which = divmod(number, sensors)
        yield number / rate, topics[which], partial(_now_payload, seq, which)


def _now_payload(seq: int, which: int) -> bytes:
    return payload(seq, time.time() + which * 1e-6)


def _offer_made(port: int, make: Callable[..., Messages], arguments: tuple[float, ...]) -> Ledger:
    return offer(port, make(*arguments))


@contextlib.contextmanager
def publisher(
    port: int, make: Callable[..., Messages], *arguments: float
) -> Iterator[AsyncResult[Ledger]]:
    """Create and publish messages in another process; yield a future for its ledger.

    That process must report errors as exceptions: if it exited, this one would wait forever.
    """
    with get_context("spawn").Pool(1) as pool:
        yield pool.apply_async(_offer_made, (port, make, arguments))


# ---- processes


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[tuple[int, int]]:
    """Run Mosquitto with the shipped configuration; yield its free port and its process id."""
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
        + f"\nuser {NAME}\ntopic write plumewatch/v1/#\n"  # the publisher is not a sensor
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


def head_of_config(folder: Path, broker_port: int, max_mb: int = 8_000) -> list[str]:
    """Return a configuration's sections for the broker, ports and data folder."""
    (folder / "password").write_text(PASSWORD)
    return [
        'data_dir = "data"',
        f'[broker]\nport = {broker_port}\nusername = "{NAME}"\npassword_file = "password"',
        f"[web]\nport = {free_port()}",
        f"[journal]\nmax_mb = {max_mb}",
    ]


def write_config(
    folder: Path,
    broker_port: int,
    sensors: int,
    *,
    push_url: str = "",
    max_mb: int = 8_000,
    series_url: str = "",
) -> Path:
    """Write a configuration with this many sensors, each in its own room."""
    lines = [
        'site = "Benchmark"\ntimezone = "UTC"',
        *head_of_config(folder, broker_port, max_mb),
        "[alerts]\nallow_private_targets = true\npictures = false\nnotices_per_hour = 1000",
    ]
    lines += [
        f'[[room]]\nid = "r{k}"\nname = "Room {k}"\nbuilding = "North {k % _BUILDINGS}"'
        for k in range(sensors)
    ]
    lines += [f'[[sensor]]\nid = "{sensor_name(k)}"\nroom = "r{k}"' for k in range(sensors)]
    if series_url:
        lines.append(f'[timeseries]\nurl = "{series_url}"\ndatabase = "bench"')
    if push_url:
        (folder / "push-url").write_text(push_url)
        target = '{ url_file = "push-url" }'
        lines.append(f'[[staff]]\nid = "ap"\nname = "A P"\nnotify = [{target}]')
    config = folder / "plumewatch.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def start_service(config: Path, profile: str = "") -> subprocess.Popen[bytes]:
    """Start `plumewatch run`; its log is next to the configuration."""
    profiler = ["-m", "cProfile", "-o", profile] if profile else []
    with (config.parent / "service.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *profiler, "-m", "plumewatch", "run", "--config", str(config)],
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )


@contextlib.contextmanager
def services(config: Path, profile: str = "") -> Iterator[list[int]]:
    """Run `plumewatch run`; yield its process id."""
    with connected(config, [start_service(config, profile)]) as pids:
        yield pids


@contextlib.contextmanager
def connected(
    config: Path, started: Sequence[subprocess.Popen[bytes]], within_s: float = 60
) -> Iterator[list[int]]:
    """Yield the process ids of services once they are connected; stop them at the end."""
    log = config.parent / "service.log"
    try:
        wait_for(
            lambda: log.read_bytes().count(b"connected to") >= len(started), "the service", within_s
        )
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in started]
        if any(codes):
            print(log.read_text(), file=sys.stderr)


def answers(port: int) -> bool:
    """Return whether a program listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(met: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not met():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not ready within {within_s:.0f} s")
        time.sleep(0.02)


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(command: Sequence[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, CPU seconds and peak memory in MB."""
    started = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    words = child.stderr.read().decode() if child.stderr else ""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, words
    took = time.monotonic() - started
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def time_report(
    folder: Path, name: str, kind: str, first: date, last: date, site: str = ""
) -> tuple[float, float, float, Path]:
    """Create a report as a user would; return seconds, CPU seconds, peak MB, and the file."""
    out = folder / f"{name}.{kind}"
    command = [sys.executable, "-m", "plumewatch", "report", name, "--format", kind, "--force"]
    command += ["--from", str(first), "--to", str(last), "--out", str(out)]
    command += ["--config", str(folder / "plumewatch.toml"), *(["--site", site] if site else [])]
    return (*timed(command), out)


def write_health(db: sqlite3.Connection, sensor: str, records: int, start: int) -> None:
    """Write a sensor's health every five minutes from `start`."""
    db.execute(_HEALTH, (sensor, records, start))


_HEALTH = """
INSERT INTO sensor_health (sensor, time, period_s, online, online_s, expected, received,
    missing, last_seen, faults, tamper, state)
WITH RECURSIVE k (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i + 1 < ?2)
SELECT ?1, (?3 + 300 * i) * 1000000000, 300.0, 1.0, 300.0, 60.0, 60.0 - (i % 50 = 0),
    i % 50 = 0, ?3 + 300.0 * i, 0.0, 0.0, 'alive' FROM k
"""


def simulated_rooms(rooms: int, seconds: int) -> np.ndarray:
    """Return the readings of simulated rooms at 1 Hz, shape (seconds, rooms, columns)."""
    from sensor_sim.school import draw_school  # noqa: PLC0415 - not for every publisher
    from sensor_sim.simulate import simulate  # noqa: PLC0415

    start = 1_757_203_200.0 + 10 * 3600
    school = draw_school(80_001, rooms, intervals=(1,))
    rows = {device.id: k for k, device in enumerate(school.devices)}
    found = np.full((seconds, rooms, len(COLUMNS)), np.nan)
    for chunk in simulate(school, seed=80_001, start=start, duration_s=float(seconds)):
        for trace in chunk.traces:
            second = np.floor(trace.sent - start).astype(int)
            kept = (second >= 0) & (second < seconds)
            found[second[kept], rows[trace.sensor]] = trace.values[kept]
    return found


class Progress(NamedTuple):
    """Number of readings that each stage has processed, and the time."""

    at: float
    journal: int
    detector: int
    series: int


def fill_journal(data: Path, size_mb: float) -> int:
    """Fill a new journal with readings that all consumers have read; return the last offset."""
    data.mkdir()
    now, last = time.time() - 3600.0, 0  # too old to be checked for redelivered readings
    with Journal(data / "journal.db") as journal:
        while journal.get_bytes_used() < size_mb * 1e6:
            values = {"pm25": 7.1, "rh": 41.2, "tvoc_ppb": 120.0}
            last = journal.commit(
                [Reading(FILL, now, now, values, seq=last + k) for k in range(5_000)]
            )
    series = SqliteSeries(data / "series.db")
    series.open()
    series.close()
    for name, consumer in (("state", "detector"), ("series", "series")):
        with contextlib.closing(connect(data / f"{name}.db")) as database:
            migrate(database, "state", STATE_SCRIPTS)
            save_cursor(database, consumer, last)
    return last


def detectors_ready(data: Path) -> bool:
    """Return whether the service has saved its detectors' state, as it does after starting."""
    with contextlib.closing(connect(data / "state.db", read_only=True)) as database:
        return load_snapshot(database, "detector") is not None


class Watcher:
    """Reads how far each stage has progressed while the service runs.

    Progress is counted from the journal offset `begin`.
    """

    def __init__(self, data: Path, begin: int = 0) -> None:
        self._begin = begin
        self._open = [
            connect(data / f"{name}.db", read_only=True) for name in ("journal", "state", "series")
        ]

    def look(self) -> Progress:
        """Return the current progress."""
        journal, of_state, series = self._open
        row = journal.execute("SELECT max(offset) FROM journal").fetchone()
        taken = (
            int(row[0] or 0),
            load_cursor(of_state, "detector"),
            load_cursor(series, "series"),
        )
        return Progress(time.monotonic(), *(at - self._begin for at in taken))

    def close(self) -> None:
        """Close the files."""
        for connection in self._open:
            connection.close()


def caught_up(data: Path, acknowledged: int, begin: int = 0, within_s: float = 120.0) -> Progress:
    """Wait until all stages have all readings; exit if that takes too long."""
    deadline = time.monotonic() + within_s
    with contextlib.closing(Watcher(data, begin)) as watcher:
        while (taken := min((last := watcher.look()).detector, last.series)) < acknowledged:
            if time.monotonic() > deadline:
                sys.exit(
                    f"{taken:,} of {acknowledged:,} readings stored {within_s:.0f} s after the end;"
                    " the others wait in the broker: is the machine busy?"
                )
            time.sleep(0.02)
    return last


def stored_readings(data: Path) -> Iterator[Reading]:
    """Yield the readings of a journal, in order."""
    decode = msgspec.msgpack.Decoder(Reading).decode
    with contextlib.closing(connect(data / "journal.db", read_only=True)) as journal:
        for (body,) in journal.execute("SELECT body FROM journal ORDER BY offset"):
            if (reading := decode(body)).sensor != FILL:
                yield reading


def stored_numbers(data: Path) -> Counter[tuple[str, int | None]]:
    """Count a journal's readings by sensor and sequence number."""
    return Counter((r.sensor, r.seq) for r in stored_readings(data))


def conserved(data: Path, acknowledged: int, sensors: int) -> list[str]:
    """Check that all acknowledged readings are stored; return broken promises."""
    broken: list[str] = []
    readings = list(stored_readings(data))
    kept = Counter((r.sensor, r.seq) for r in readings)
    moments = {(r.sensor, round(r.time * 1e6)) for r in readings}  # one row each
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
