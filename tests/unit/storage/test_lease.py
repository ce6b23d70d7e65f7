"""One holder at a time, whoever dies how."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage import lease as module
from storage.errors import StorageUnavailableError
from storage.lease import WATCH_S, Lease, holder_of, service_of

ROOT = Path(module.__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from storage.lease import Lease
lease = Lease(Path(sys.argv[1]), clock=lambda: 1_790_000_000.0, host="north")
print("taken" if lease.take() is None else "held", flush=True)
time.sleep(60)
"""
LOOK = """
import sys
from pathlib import Path
from storage.lease import holder_of
print("looking", flush=True)
while True:
    holder_of(Path(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "service.lock"


@pytest.fixture
def other(path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout.readline() == "taken\n"
    yield child
    child.kill()
    child.wait(60)
    child.stdout.close()


def test_taken_renewed_and_given_back(path):
    one, two = Lease(path), Lease(path)
    assert one.take() is None
    assert one.held
    holder = two.take()
    assert holder.pid == os.getpid()
    assert one.beat()
    one.release()
    one.release()
    assert not one.held
    assert two.take() is None
    two.release()


def test_the_holder_is_named(path, other):
    for holder in (Lease(path).take(), holder_of(path)):
        assert str(holder) == f"process {other.pid} on north, since 2026-09-21 14:13:20 UTC"
    assert other.poll() is None


def test_who_looks_keeps_nobody_from_taking_it(path):
    path.touch()
    command = [sys.executable, "-c", LOOK, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as looking:
        assert looking.stdout.readline() == "looking\n"
        for _ in range(5000):
            lease = Lease(path, monotonic=lambda: 0.0)
            assert lease.take() is None
            lease.release()
        looking.kill()


def test_a_look_that_takes_long_is_waited_for_and_one_without_end_is_not(path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        seconds = itertools.count()
        assert str(Lease(path, monotonic=lambda: next(seconds)).take()) == "another process"

        def look_ends():
            fcntl.flock(file, fcntl.LOCK_UN)
            return 0.0

        lease = Lease(path, monotonic=look_ends)
        assert lease.take() is None
        lease.release()


def test_a_holder_that_is_no_service(path):
    lease = Lease(path, clock=lambda: 1_790_000_000.0, host="north", work="restore")
    assert lease.take() is None
    words = f"process {os.getpid()} (restore) on north, since 2026-09-21 14:13:20 UTC"
    assert str(holder_of(path)) == words
    assert service_of(path) is None
    lease.release()


def test_a_kill_frees_it_at_once(path, other):
    lease = Lease(path, host="north")
    assert lease.take() is not None
    other.send_signal(signal.SIGKILL)
    other.wait(60)
    assert holder_of(path) is None
    assert lease.take() is None
    lease.release()


def test_a_stopped_holder_still_has_the_lease(path, other):
    other.send_signal(signal.SIGSTOP)
    assert Lease(path, host="north").take().pid == other.pid
    other.send_signal(signal.SIGCONT)


def test_a_row_of_another_host_is_watched_before_it_counts_as_left_over(path):
    now = [0.0]
    there = Lease(path, clock=lambda: now[0], host="south")
    assert there.take() is None
    file, there._file = there._file, -1  # its lock does not reach us
    beats = path.read_bytes()
    os.close(file)
    here = Lease(path, clock=lambda: 5000.0, monotonic=lambda: now[0], host="north")
    for second in range(0, 60, 4):
        now[0] = float(second)
        path.write_bytes(beats.replace(b'"beat": 0.0', b'"beat": %d.0' % (second % 8)))
        assert here.take().host == "south"
    now[0] += WATCH_S - 0.1
    assert here.take() is not None
    now[0] += 0.2
    assert here.take() is None
    here.release()


def test_what_was_given_back_is_not_watched(path):
    there = Lease(path, host="south")
    there.take()
    there.release()
    here = Lease(path, host="north")
    assert here.take() is None
    here.release()


@pytest.mark.parametrize("how", ["deleted", "replaced", "stolen"])
def test_a_holder_learns_that_it_lost_it(path, how):
    one = Lease(path, clock=lambda: 100.0, host="north")
    one.take()
    if how == "stolen":
        path.write_text(
            '{"host": "south", "pid": 1, "since": 200.0, "beat": 200.0, "work": "service"}'
        )
    else:
        path.unlink()
        if how == "replaced":
            two = Lease(path, host="north")
            assert two.take() is None
    assert not one.beat()
    assert not one.held
    if how == "replaced":
        assert two.beat()
        two.release()


@pytest.mark.parametrize(
    "content", [b"", b"process 5 on x\n", b"[]", b'{"host": 1}', b"\xff" * 600]
)
def test_any_content_is_no_obstacle(path, content):
    path.write_bytes(content)
    lease = Lease(path)
    assert lease.take() is None
    assert Lease(path).take().pid == os.getpid()
    lease.release()


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(StorageUnavailableError, match="No such file"):
        Lease(tmp_path / "none" / "service.lock").take()
    assert holder_of(tmp_path / "none" / "service.lock") is None
