"""Test a demo with `--keep`. `test_install.py` tests other properties of the demo."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys

from tests.support.broker import free_port


def test_a_demo_that_is_kept_has_no_faults_afterwards(tmp_path):
    kept = tmp_path / "kept"
    port = str(free_port())
    command = [sys.executable, "-m", "plumewatch"]
    demo = ["demo", "--keep", str(kept), "--seconds", "15", "--port", port]
    ran = subprocess.run([*command, *demo], check=True, timeout=120, capture_output=True, text=True)
    events = re.findall(r"^\d\d:\d\d:\d\d event ", ran.stdout, re.MULTILINE)
    assert f" readings, {len(events)} events, " in ran.stdout.partition("demo ended")[2]
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
