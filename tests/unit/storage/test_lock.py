"""Test that only one process at a time has the lock, however processes end."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage import files as module
from storage.errors import StorageUnavailableError
from storage.files import FolderLock, find_holder, find_service_start

ROOT = Path(module.__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from storage.files import FolderLock
FolderLock(Path(sys.argv[1])).take()
print("taken", flush=True)
time.sleep(60)
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


def test_one_has_it_until_it_is_released(path):
    one, two = FolderLock(path), FolderLock(path)
    one.take()
    assert one.is_held
    assert find_service_start(path) == path.stat().st_mtime
    with pytest.raises(StorageUnavailableError, match=f"is in use by process {os.getpid()} on "):
        two.take()
    assert not two.is_held
    one.release()
    one.release()
    assert (find_holder(path), find_service_start(path)) == ("", None)
    two.take()
    two.release()


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_it_ends_with_the_process_and_not_before(path, other, how):
    lock, words = FolderLock(path), rf"process {other.pid} on .+, since 20[-0-9]+ [:0-9]+ UTC"
    assert re.fullmatch(words, find_holder(path))
    other.send_signal(how)
    if how == signal.SIGKILL:
        other.wait(60)
        lock.take()
        lock.release()
    else:
        with pytest.raises(StorageUnavailableError, match=words):
            lock.take()


def test_a_look_without_end_is_not_waited_for(path, monkeypatch):
    monkeypatch.setattr(module, "_LOCK_PAUSE_S", 0.0)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(StorageUnavailableError, match="in use by another process"):
            FolderLock(path).take()


def test_a_holder_that_is_no_service(path):
    lock = FolderLock(path, work="restore")
    lock.take()
    assert f"process {os.getpid()} (restore) on " in find_holder(path)
    assert find_service_start(path) is None
    lock.release()
