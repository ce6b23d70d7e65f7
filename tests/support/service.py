"""Run `plumewatch run` as a real process, a receiver for notices, and a publisher with a ledger."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion

from storage.reading import Reading
from storage.sqlite import connect
from tests.support.broker import free_port
from tests.support.fake_server import FakeServer
from tests.support.fork_server import ENVIRONMENT, ROOT, shared
from tests.support.influx import DATABASE, readings_by_sensor
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from typing import Self

    import httpx

    from tests.support.fork_server import Child, Launcher

START_WITHIN_S = 60.0
"""Time to start, in seconds; imports are slow on a busy machine."""


def run_command(
    *arguments: str, timeout_s: float = START_WITHIN_S, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``plumewatch ARGUMENTS`` in a fork until it exits."""
    return shared().run(arguments, stdin, timeout_s)


def demo_takes_readings(*program: str | Path, **how: Any) -> None:
    """Run a program's demo until it accepts readings, then stop it."""
    command = [*program, "demo", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **how) as demo:
        try:
            output = ""
            for line in demo.stdout:
                output += line
                if re.match(r"[1-9]\d* readings/s", line):
                    break
            else:
                raise AssertionError(output)
        finally:
            demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 0
    assert re.search(r"^demo ended: [1-9]\d* readings", rest, re.MULTILINE), rest


def native(reading: Reading) -> tuple[str, bytes]:
    """Return the topic and payload of a reading in the native format."""
    content = {"time": reading.time, "seq": reading.seq, **reading.values}
    return f"plumewatch/v1/{reading.sensor}/reading", json.dumps(content).encode()


class Receiver(FakeServer):
    """A loopback HTTP server that records the JSON posted to it."""

    def __init__(self) -> None:
        super().__init__(lambda *_: (200, {}, b""))
        self.url = f"json://127.0.0.1:{self.port}/push"

    @property
    def pushes(self) -> list[dict[str, Any]]:
        """Return all pushes so far."""
        return [json.loads(body) for *_, body in self.requests]


class Publisher:
    """A QoS 1 publisher that keeps a ledger of messages that the broker acknowledged."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, **credentials: str) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"publisher-{free_port()}")
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.max_inflight_messages_set(500)
        if credentials:
            self._client.username_pw_set(**credentials)
        self._client.on_publish = self._acknowledged
        self._port = port
        self._lock = threading.Lock()
        self._sent: dict[int, object] = {}
        self._early: set[int] = set()
        self.acknowledged: list[object] = []

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _acknowledged(self, _client: Client, _data: object, mid: int, *_: object) -> None:
        with self._lock:
            if mid in self._sent:
                self.acknowledged.append(self._sent.pop(mid))
            else:
                self._early.add(mid)

    def send(self, topic: str, payload: bytes, key: object = None, **more: Any) -> MQTTMessageInfo:
        """Publish at QoS 1; the ledger records `key` when the PUBACK arrives."""
        info = self._client.publish(topic, payload, qos=1, **more)
        with self._lock:
            if info.mid in self._early:
                self._early.discard(info.mid)
                self.acknowledged.append(key)
            else:
                self._sent[info.mid] = key
        return info

    def send_readings(self, readings: Iterable[Reading]) -> None:
        """Publish readings in the native format; the ledger records their (sensor, seq)."""
        for reading in readings:
            self.send(*native(reading), key=(reading.sensor, reading.seq))

    @property
    def connected(self) -> bool:
        """Whether the publisher is connected to the broker."""
        return self._client.is_connected()

    @property
    def waiting(self) -> int:
        """Number of messages not acknowledged yet."""
        with self._lock:
            return len(self._sent)

    def settle(self, within_s: float = 60.0) -> None:
        """Wait until the broker has acknowledged everything."""
        eventually(
            lambda: self.waiting == 0, lambda: f"{self.waiting} messages without PUBACK", within_s
        )


CONFIG = """\
site = "Northfield High School"
timezone = "America/New_York"
data_dir = "{data_dir}"

[broker]
host = "127.0.0.1"
port = {broker_port}
{broker}

[web]
port = {web_port}

[alerts]
allow_private_targets = true

[[room]]
id = "N2-boys"
name = "Boys' restroom"
building = "North"
floor = "2nd floor"

[[sensor]]
id = "n2-boys-1"
room = "N2-boys"

[[sensor]]
id = "n2-boys-2"
room = "N2-boys"

[[staff]]
id = "ap-north"
name = "Assistant principal"
role = "staff"
notify = [{notify}]

[[staff]]
id = "facilities"
name = "Facilities"
role = "facilities"
"""

PASSWORD = "seven blue kettles"


class ServiceProcess:
    """The service as a child process, to be started, killed and started again."""

    def __init__(
        self,
        folder: Path,
        broker_port: int,
        *,
        push_url: str = "",
        broker: str = "",
        data_dir: str = "data",
        web_port: int | None = None,
        influx_url: str = "",
    ) -> None:
        self.folder = folder
        self._influx_url = influx_url
        self.config = folder / "plumewatch.toml"
        self.web_port = web_port or free_port()
        notify = ""
        if push_url:
            (folder / "push-url").write_text(push_url)
            notify = '{ url_file = "push-url" }'
        self.config.write_text(
            CONFIG.format(
                data_dir=data_dir,
                broker_port=broker_port,
                web_port=self.web_port,
                broker=broker,
                notify=notify,
            )
        )
        if influx_url:
            with self.config.open("a") as config:
                config.write(f'\n[timeseries]\nurl = "{influx_url}"\ndatabase = "{DATABASE}"\n')
        self._process: subprocess.Popen[bytes] | Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def sign_in(self, client: httpx.Client, person: str) -> None:
        """Set a person's password and sign in with their browser."""
        arguments = ("staff", "password", person, "--config", str(self.config))
        output = run_command(*arguments, stdin=f"{PASSWORD}\n")
        assert output.returncode == 0, output.stderr
        answer = client.post("/sign-in", data={"account": person, "password": PASSWORD})
        assert answer.status_code == 303, answer.text

    @property
    def log(self) -> str:
        """The log of all starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, connected: bool = True, fresh: bool = False) -> None:
        """Start the service; if `connected`, wait until it is connected to the broker.

        With `fresh`, start a new Python process, as a person would, instead of a fork.
        """
        before = self.log.count("connected to 127.0.0.1")
        if fresh:
            command = [sys.executable, "-m", "plumewatch", "run", "--config", str(self.config)]
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    cwd=ROOT,
                    env=ENVIRONMENT,
                )
        else:
            self._fork(shared())
        if connected:
            eventually(
                lambda: self.log.count("connected to 127.0.0.1") > before or not self.running,
                lambda: f"connected to the broker:\n{self.log}",
                START_WITHIN_S,
            )
            assert self.running, self.log

    def _fork(self, launcher: Launcher, **more: Any) -> None:
        log = self.folder / "log"
        log.touch()
        command = ("run", "--config", str(self.config))
        self._process = launcher.start(command, (Path(os.devnull), log, log), **more)

    @property
    def pid(self) -> int:
        """Process id of the running service."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal to the running process."""
        os.kill(self.pid, signum)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait until the process exits by itself, and return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def end(self, signum: signal.Signals = signal.SIGTERM) -> int | None:
        """Send a signal, wait for the exit, and return the exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signum)
        try:
            return process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=60)
            raise

    def journal(self) -> list[Reading]:
        """Return all readings in the journal, in order."""
        decode = msgspec.msgpack.Decoder(Reading).decode
        with contextlib.closing(connect(self.folder / "data/journal.db", read_only=True)) as found:
            rows = found.execute("SELECT body FROM journal ORDER BY offset").fetchall()
        return [decode(row[0]) for row in rows]

    def stored(self) -> int:
        """Return the number of readings in the journal."""
        with contextlib.closing(connect(self.folder / "data/journal.db", read_only=True)) as found:
            return int(found.execute("SELECT count(*) FROM journal").fetchone()[0])

    def dead_letters(self) -> Counter[str]:
        """Return the number of dead letters by reason."""
        with contextlib.closing(connect(self.folder / "data/journal.db", read_only=True)) as found:
            return Counter(row[0] for row in found.execute("SELECT reason FROM dead_letter"))

    def series(self) -> Counter[str]:
        """Return the number of stored readings by sensor."""
        if self._influx_url:
            return readings_by_sensor(self._influx_url)
        with contextlib.closing(connect(self.folder / "data/series.db", read_only=True)) as found:
            rows = found.execute(
                "SELECT name, count(*) FROM reading JOIN sensor ON sensor.id = reading.sensor"
                " GROUP BY name"
            )
            return Counter(dict(tuple(row) for row in rows))
