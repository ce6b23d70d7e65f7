"""Test blocking calls in a limited number of threads, each with a deadline."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from storage.bounded_call import BoundedCallError, BoundedThreads, BusyError, DeadlineExceededError
from tests.support.waiting import until


async def test_a_call_that_hangs_is_abandoned_and_keeps_its_place_until_it_ends():
    threads, release = BoundedThreads("test", 1), threading.Event()
    with pytest.raises(DeadlineExceededError, match=r"no complete answer in 0\.01 s"):
        await threads.run(release.wait, 0.01)
    assert threads.is_full
    with pytest.raises(BusyError, match="all 1 threads are in use"):
        threads.call(lambda: None, 10.0)
    with pytest.raises(DeadlineExceededError):
        BoundedThreads("test", 1).call(release.wait, 0.01)
    release.set()
    await until(lambda: not threads.is_full)
    assert await threads.run(lambda: 7, 10.0) == 7
    assert not threads.is_full


def time_out():
    raise TimeoutError("a read of the socket")


async def test_an_error_of_the_call_is_raised_as_it_is():
    threads = BoundedThreads("test", 1)
    with pytest.raises(TimeoutError, match="a read of the socket"):
        threads.call(time_out, 10.0)
    with pytest.raises(TimeoutError, match="a read of the socket"):
        await threads.run(time_out, 10.0)
    assert not threads.is_full


def test_an_abandoned_call_does_not_delay_the_end_of_the_process():
    program = (
        "import threading\n"
        "from storage.bounded_call import BoundedThreads\n"
        "BoundedThreads('test', 1).start(threading.Event().wait)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert done.returncode == 0


def test_calls_are_abandoned_at_once_and_later_ones_refused():
    threads, release = BoundedThreads("test", 2), threading.Event()
    under_way = threads.start(release.wait)
    threading.Timer(0.05, threads.abandon).start()
    with pytest.raises(BoundedCallError):
        threads.call(release.wait, 3600.0)
    assert isinstance(under_way.exception(0), BoundedCallError)
    with pytest.raises(BoundedCallError):
        threads.start(release.wait)
    release.set()
