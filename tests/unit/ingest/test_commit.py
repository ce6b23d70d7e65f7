"""Test that group commits are in order and retried, and settle duplicates after the first copy."""

import asyncio
import contextlib

import pytest

from ingest.commit import _MAX_GROUP, GroupCommit
from storage.errors import StorageUnavailableError
from tests.support.waiting import until


class Disk:
    """Records groups; each write waits for a permit, and fails while `full`."""

    def __init__(self):
        self.full = False
        self.refused = 0
        self.groups = []
        self.permits = asyncio.Semaphore(0)

    async def write(self, readings, letters):
        if self.full:
            self.refused += 1
            raise StorageUnavailableError("disk full")
        await self.permits.acquire()
        self.groups.append((list(readings), list(letters)))

    def permit(self, count=1_000):
        for _ in range(count):
            self.permits.release()


@contextlib.asynccontextmanager
async def running(disk, **options):
    commits = GroupCommit(disk.write, first_retry_s=0.001, **options)
    task = asyncio.create_task(commits.run())
    try:
        yield commits
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_gathers_while_one_is_written_is_one_group_in_order():
    disk = Disk()
    async with running(disk) as commits:
        first = commits.enqueue([1])
        await turns()
        later = [commits.enqueue([k], [f"letter {k}"]) for k in (2, 3)]
        assert commits.waiting == 3
        disk.permit()
        await asyncio.wait_for(asyncio.gather(first, *later), 60)
        assert disk.groups == [([1], []), ([2, 3], ["letter 2", "letter 3"])]
        assert (commits.waiting, commits.groups) == (0, 2)


async def test_what_comes_within_the_pace_is_one_group():
    disk = Disk()
    disk.permit()
    async with running(disk, pace_s=0.5) as commits:
        await asyncio.wait_for(commits.commit([1]), 60)  # written at once, because nothing waits
        later = []
        for k in (2, 3, 4):
            later.append(commits.enqueue([k]))
            await turns()
        await asyncio.wait_for(asyncio.gather(*later), 60)
    assert [readings for readings, _ in disk.groups] == [[1], [2, 3, 4]]


async def test_nothing_to_store_waits_for_what_came_before_and_for_nothing_else():
    disk = Disk()
    async with running(disk) as commits:
        assert commits.enqueue([]).done()
        first = commits.enqueue([1])
        duplicate = commits.enqueue([])
        await turns()
        assert not duplicate.done()
        disk.permit()
        await asyncio.wait_for(duplicate, 60)
        assert first.done()
        assert disk.groups == [([1], [])]


async def test_a_refused_group_is_tried_again_and_nothing_overtakes_it():
    disk = Disk()
    disk.full = True
    disk.permit()
    async with running(disk) as commits:
        first, second = commits.enqueue([1]), commits.enqueue([2])
        await until(lambda: disk.refused >= 3)
        duplicate = commits.enqueue([])
        await turns()
        assert commits.failing == "disk full"
        assert not any(entry.done() for entry in (first, second, duplicate))
        disk.full = False
        await asyncio.wait_for(asyncio.gather(first, second, duplicate), 60)
        assert commits.failing == ""
        assert [k for readings, _ in disk.groups for k in readings] == [1, 2]


async def test_groups_are_bounded():
    disk = Disk()
    disk.permit()
    async with running(disk) as commits:
        entries = [commits.enqueue([k] * 1_000) for k in range(12)]
        await asyncio.wait_for(asyncio.gather(*entries), 60)
        assert [len(readings) for readings, _ in disk.groups] == [_MAX_GROUP, _MAX_GROUP, 2_000]
        await asyncio.wait_for(commits.commit([0] * (_MAX_GROUP + 1)), 60)


async def test_who_gave_up_waiting_is_stored_all_the_same():
    disk = Disk()
    async with running(disk) as commits:
        impatient = commits.enqueue([1])
        await turns()
        impatient.cancel()
        disk.permit()
        await asyncio.wait_for(commits.commit([2]), 60)
        assert [k for readings, _ in disk.groups for k in readings] == [1, 2]


async def test_stopped_means_not_known():
    disk = Disk()
    async with running(disk) as commits:
        under_way = commits.enqueue([1])
        await turns()
        queued = commits.enqueue([2])
    assert under_way.cancelled()
    assert queued.cancelled()
    assert commits.enqueue([3]).cancelled()
    with pytest.raises(asyncio.CancelledError):
        await commits.commit([4])
