"""Test a journal at `journal.max_mb` while readings keep arriving."""

import time

import pytest

from plumewatch.config.sections.storage import JournalConfig
from storage.reading import Reading
from tests.support.in_process import one_room, running, store
from tests.support.waiting import until

MAX_BYTES = 1_000_000
GROUP = 500


@pytest.fixture
def config(tmp_path):
    small = JournalConfig.model_construct(keep_days=7.0, max_mb=MAX_BYTES / 1e6)
    return one_room(tmp_path).model_copy(update={"journal": small})


def group(first, size=GROUP):
    now = time.time()
    return [
        Reading("n2-boys-1", now + k * 1e-4, now, {"pm25": 5.0, "rh": 40.0}, seq=first + k)
        for k in range(size)
    ]


async def test_deletion_ends_although_a_group_arrives_before_each_slice(config, monkeypatch):
    """A pass deletes only what was excess when it began, in slices of one short transaction."""
    async with running(config) as service:
        journal, slices = service.journal, []
        await store(service, group(0, 3 * MAX_BYTES // 100))
        await until(lambda: service.detection.position == journal.get_last_offset())
        last = journal.get_last_offset()
        before, prune = journal.get_bytes_used(), journal.prune

        def arrive_and_prune(**how):
            assert len(slices) < 40
            journal.commit(group(journal.get_last_offset()))
            slices.append(prune(**how))
            return slices[-1]

        monkeypatch.setattr(journal, "prune", arrive_and_prune)
        await service.monitoring.deletion.delete(last)
        arrived = len(slices) * GROUP * before / last
        assert journal.get_bytes_used() < MAX_BYTES + 1.1 * arrived + 100_000
        assert max(pruned.rows for pruned in slices) <= 2_000
