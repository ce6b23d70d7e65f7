"""Test a demo with `--keep`. `test_install.py` tests other properties of the demo."""

from __future__ import annotations

import contextlib
import re
import signal
import sqlite3
import subprocess
import sys
from itertools import pairwise

from tests.support.broker import free_port


def test_a_demo_that_is_kept_has_no_faults_afterwards(tmp_path):
    kept = tmp_path / "kept"
    port = str(free_port())
    command = [sys.executable, "-m", "plumewatch"]
    demo = ["demo", "--keep", str(kept), "--seconds", "20", "--port", port]
    with subprocess.Popen([*command, *demo], stdout=subprocess.PIPE, text=True) as ran:
        text = ""
        while not re.search(r"^[1-9]\d* readings/s", text, re.MULTILINE):
            text += ran.stdout.readline()
        session = (kept / "data/client-id").read_text()
        ran.send_signal(signal.SIGHUP)  # as after a change on the page
        text += ran.stdout.read()
    summaries = re.findall(r"^[1-9]\d* readings/s, (.*?)staff", text, re.MULTILINE | re.DOTALL)
    assert all(before != after for before, after in pairwise(summaries))
    events = re.findall(r"^\d\d:\d\d:\d\d event ", text, re.MULTILINE)
    readings, kinds = re.search(r"demo ended: (\d+) readings, (\d+) events", text).groups()
    assert (ran.returncode, int(kinds)) == (0, len(events))
    assert int(readings) > 0  # of the service after the change
    # In a resumed session, more than 100 queued messages keep the embedded broker from answering.
    assert (kept / "data/client-id").read_text() != session
    with contextlib.closing(sqlite3.connect(kept / "data/series.db")) as db:
        ages = "SELECT max(received - time / 1e9) FROM reading WHERE pm25 IS NOT NULL"
        assert db.execute(ages).fetchone()[0] < 1200.0  # one minute of real time
    check = [*command, "check", "--config", str(kept / "plumewatch.toml")]
    done = subprocess.run(check, check=False, timeout=120, capture_output=True, text=True)
    assert (done.returncode, "FAULT" in done.stdout) == (0, False)
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warn")]
    assert [
        line for line in warnings if "sqlite3" not in line
    ] == []  # a program that may be missing
    assert "\nok    demo: not checked: broker," in done.stdout
