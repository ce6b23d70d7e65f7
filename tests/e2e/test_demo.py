"""The first command of the README: a school that is alive within the demo's own process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.support.broker import free_port

pytest.importorskip("iotcore")


@pytest.mark.timeout(180)
def test_the_demo_takes_readings_in_and_ends_when_asked():
    command = [sys.executable, "-m", "plumewatch", "demo", "--json", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            said = ""
            for line in demo.stdout:
                said += line
                if json.loads(line).get("readings"):
                    break
            else:
                pytest.fail(said)
        finally:
            demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 0
    last = json.loads(rest.splitlines()[-1])
    assert last["ended"]
    assert last["readings"] > 0
