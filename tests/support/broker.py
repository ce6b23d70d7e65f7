"""Run a real Mosquitto on a free loopback port, for tests that kill or restart the broker."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.needs import need

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["Mosquitto", "ShippedMosquitto", "free_port"]

_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 90.0
"""Time to stop, in seconds; before it ends, the broker may write a day of readings to disk."""
_SHIPPED = Path(__file__).parents[2] / "deploy/mosquitto.conf"
_ACL = _SHIPPED.with_name("mosquitto.acl")


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1 that stays free until it is used.

    The kernel never gives this port to an outgoing connection, so a server can always bind it. No
    port is returned twice, not even in other processes or for other users: each process reserves a
    block of ports with a socket named after the block.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def _ports() -> Iterator[int]:
    """Yield ports from blocks reserved for this process, below the ports of outgoing
    connections."""
    range_of_kernel = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    below = range(10_000, int(range_of_kernel.split()[0])) or range(10_000, 32_768)
    starts = [*below[::_BLOCK]]
    random.SystemRandom().shuffle(starts)
    held: list[int] = []
    for start in starts:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as holder:
            holder.bind(f"\0plumewatch-test-ports-{start}")
            holder.detach()  # stays open until the process ends
            yield from (block := below[start - below.start :][:_BLOCK])
            held += block
    yield from itertools.cycle(held)


_BLOCK = 50
_PORTS = _ports()


class Mosquitto:
    """A Mosquitto process; skips the test if Mosquitto is missing.

    ::

        with Mosquitto("max_inflight_messages 0") as broker:
            connect("127.0.0.1", broker.port)
            broker.kill9()
            broker.restart()

    Parameters
    ----------
    config : str
        Lines to add to the configuration, which already sets listener, persistence and log.
    users : mapping of str to str, optional
        Names and passwords; by default, anyone can connect.
    port : int, optional
        Port to listen on, by default a free one; it does not change on a restart.
    """

    def __init__(
        self,
        config: str = "",
        *,
        users: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        need("mosquitto")
        self.host = "127.0.0.1"
        self.port = free_port() if port is None else port
        self.config: Path | None = None
        """Configuration file that replaces the generated one from the next start on."""
        self._config = config
        self._users = dict(users or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill9()
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    @property
    def directory(self) -> Path:
        """Folder with the configuration, the log and the persistence file."""
        if self._home is None:
            self._home = tempfile.TemporaryDirectory(prefix="mosquitto-")
        return Path(self._home.name)

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """The broker's log so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the broker and wait until all its listeners accept connections."""
        assert not self.running, "the broker is running already"
        config = self.config or self._write_config()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + _START_WITHIN_S
        ports = re.findall(r"(?m)^listener ([1-9]\d*)", config.read_text())
        for port in ports or [self.port]:
            while not self._accepts(int(port)):
                if not self.running:
                    raise RuntimeError(f"mosquitto ended at once:\n{self.log}")
                if time.monotonic() > deadline:
                    self.kill9()
                    raise RuntimeError(f"mosquitto does not accept:\n{self.log}")
                time.sleep(0.005)

    def _accepts(self, port: int) -> bool:
        try:
            with socket.create_connection((self.host, port), timeout=1):
                return self.running
        except OSError:
            return False

    def kill9(self) -> None:
        """Kill the broker without warning, so that it writes nothing to the disk."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend the process (SIGSTOP) while the block runs."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop the broker cleanly, so that it writes its persistence file."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop the broker if it is running, and start it again on the same port with the same
        data."""
        self.stop()
        self.start()

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signum)
        try:
            process.wait(timeout=_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=60)

    def save(self) -> None:
        """Make the broker write its persistence file now, as it does every `autosave_interval`."""
        file = self.directory / "mosquitto.db"
        before = file.stat().st_mtime_ns if file.exists() else 0
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 60.0
        while not file.exists() or file.stat().st_mtime_ns == before:
            if time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto does not save:\n{self.log}")
            time.sleep(0.01)

    def _write_config(self) -> Path:
        home = self.directory
        lines = [
            f"listener {self.port} {self.host}",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",
        ]
        if os.geteuid() == 0:
            lines.append("user root")
        lines += ["persistence true", f"persistence_location {home}/"]
        if self._users:
            passwords = home / "passwords"
            passwords.write_text("")
            passwords.chmod(0o600)
            for name, password in self._users.items():
                subprocess.run(
                    ["mosquitto_passwd", "-b", str(passwords), name, password],
                    check=True,
                    capture_output=True,
                    timeout=10,
                )
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        elif "allow_anonymous" not in self._config:
            lines.append("allow_anonymous true")
        lines.append(self._config)
        path = home / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n")
        return path


class ShippedMosquitto(Mosquitto):
    """Mosquitto with `deploy/mosquitto.conf` and `deploy/mosquitto.acl`.

    Only the port, the paths and the account are changed.

    Parameters
    ----------
    users : mapping of str to str
        Names and passwords; the service's account is ``plumewatch``.
    acl : str
        Additional lines for the ACL.
    """

    def __init__(self, users: Mapping[str, str], acl: str = "") -> None:
        super().__init__(users=users)
        self._acl = acl

    def _write_config(self) -> Path:
        path = super()._write_config()  # creates the password file
        home = self.directory
        shipped = _SHIPPED.read_text()
        replaced = {
            "listener 1883 127.0.0.1": f"listener {self.port} {self.host}",
            "/etc/mosquitto/plumewatch-passwords": str(home / "passwords"),
            "/etc/mosquitto/plumewatch-acl": str(home / "acl"),
            "/var/lib/mosquitto/": f"{home}/",
        }
        lines = []
        for line in shipped.splitlines():
            kept = line
            for old, new in replaced.items():
                kept = kept.replace(old, new)
            lines.append(kept)
        (home / "acl").write_text(f"{_ACL.read_text()}{self._acl}\n")
        (home / "acl").chmod(0o600)
        if os.geteuid() == 0:
            lines.append("user root")
        path.write_text("\n".join(lines) + "\n")
        return path
