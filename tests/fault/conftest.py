import os
import subprocess

import pytest

from tests.support.broker import Mosquitto
from tests.support.in_process import one_room


@pytest.fixture
def config(tmp_path):
    """Return a one-room configuration, without notices, for a service in the test's process."""
    return one_room(tmp_path)


@pytest.fixture
def broker():
    with Mosquitto("max_inflight_messages 500\nmax_queued_messages 100000") as started:
        yield started


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 24 MB; needs the right to mount."""
    folder = tmp_path / "data"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs the right to mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
