"""Run `plumewatch` commands as forks of a process that has already imported the program.

Starting Python and importing the service takes two CPU seconds, but a fork takes only milliseconds.
`Launcher` controls the process `tests.support.launcher`, which reads orders from its standard
input, one JSON object per line. `shared()` returns this test process's launcher.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")
}


class Launcher:
    """The process that commands are forked from; `environment` is added to the tests' own."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self._environment,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate(timeout=30)

    def order(self, **order: Any) -> Any:
        """Send an order and return the answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, arguments: Sequence[str], files: Sequence[Path], **more: Any) -> Child:
        """Start ``plumewatch ARGUMENTS`` with these files as standard input, output and error."""
        order = {"arguments": list(arguments), "files": list(map(str, files))}
        return Child(self, self.order(**order, **more))

    def run(
        self, arguments: Sequence[str], stdin: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run ``plumewatch ARGUMENTS`` until it exits."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
            for file in files:
                file.write_text(stdin if file.name == "stdin" else "")
            child = self.start(arguments, files)
            try:
                code = child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(60)
                raise
            output, errors = (file.read_text() for file in files[1:])
        return subprocess.CompletedProcess(list(arguments), code, output, errors)


@functools.cache
def shared() -> Launcher:
    """Return this process's launcher, which exits together with it."""
    launcher = Launcher()
    launcher.__enter__()
    atexit.register(launcher.__exit__)
    return launcher


class Child:
    """A launcher's child, with the methods of `subprocess.Popen` that tests use.

    After it has exited, `peak_kb` is its peak resident memory, including the launcher's share.
    """

    def __init__(self, launcher: Launcher, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.peak_kb = 0
        self._launcher = launcher

    def poll(self) -> int | None:
        if self.returncode is None and (ended := self._launcher.order(wait=self.pid)):
            self.returncode, self.peak_kb = ended
        return self.returncode

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("plumewatch", timeout)
            time.sleep(0.01)
        return code
