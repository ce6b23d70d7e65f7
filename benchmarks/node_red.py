"""Node-RED as a school might set it up: MQTT input, a rule, and a file of readings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import load_rig as rig

from tests.support.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

VERSION = "4.1.8"
_FLOW = rig.ROOT / "benchmarks" / "node_red_flow.json"
HOME = rig.ROOT / ".bench" / "node-red"
QUIET_S = 3.0
"""After this many seconds without a new line, Node-RED has written everything."""


def install() -> str:
    """Install Node-RED once; return its version. Exits with 2 if npm is missing."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        print("npm is not installed (Debian: nodejs npm); run without --node-red", file=sys.stderr)
        sys.exit(2)
    if not (HOME / "node_modules/node-red/red.js").exists():
        HOME.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([*command, f"node-red@{VERSION}"], cwd=HOME, check=True, timeout=600)
    return VERSION


class NodeRed:
    """A running Node-RED whose flow writes ``readings.csv`` in the folder."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._folder = folder / "node-red"
        self._folder.mkdir()
        self.file = self._folder / "readings.csv"
        self.file.touch()
        flow = _FLOW.read_text().replace("$port", str(broker_port))
        (self._folder / "flows.json").write_text(flow.replace("$folder", str(self._folder)))
        secrets = {"broker": {"user": rig.NAME, "password": rig.PASSWORD}}
        (self._folder / "flows_cred.json").write_text(json.dumps(secrets))
        (self._folder / "settings.js").write_text(
            "module.exports = {flowFile: 'flows.json', credentialSecret: false,"
            f" uiHost: '127.0.0.1', uiPort: {free_port()}, httpAdminRoot: false,"
            " telemetry: {enabled: false}, logging: {console: {level: 'info'}}};"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill9()

    @property
    def pid(self) -> int:
        """Process id of Node-RED."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start Node-RED and wait until it is connected to the broker."""
        log = self._folder / "log"
        before = log.read_text().count("Connected to broker") if log.exists() else 0
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        command = ["node", str(HOME / "node_modules/node-red/red.js"), "-u", str(self._folder)]
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        rig.wait_for(lambda: log.read_text().count("Connected to broker") > before, "Node-RED", 60)

    def kill9(self) -> None:
        """Kill Node-RED without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def stored(self) -> int:
        """Return the number of lines in the file."""
        with self.file.open("rb") as file:
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))

    def settle(self, within_s: float = 180.0) -> None:
        """Wait until the file stops growing."""
        deadline = time.monotonic() + within_s
        before, since = -1, time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < QUIET_S:
            size = self.file.stat().st_size
            if size != before:
                before, since = size, time.monotonic()
            time.sleep(0.1)

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Yield the sensor and sequence number of every complete line."""
        with self.file.open() as file:
            for line in file:
                parts = line.split(",")
                if len(parts) == 6 and line.endswith("\n"):
                    yield parts[0], int(parts[1])
