"""Test the writer loop with a scripted store and with the embedded one."""

import asyncio
import contextlib

import pytest

from storage.errors import (
    BatchRefusedError,
    SchemaTooNewError,
    StorageCorruptError,
    StorageUnavailableError,
)
from storage.journal import Journal
from storage.reading import Reading
from storage.timeseries.writer import SeriesWriter, WriterSettings
from tests.support.oracle import letters_of

T = 1_790_000_000.0


class FakeStore:
    """Stores readings; fails as scripted, and refuses readings with a value in `poison`."""

    def __init__(self, poison=(), failures=()):
        self.poison = set(poison)
        self.failures = list(failures)
        self.kept = []
        self.stored_to = 0
        self.calls = 0
        self.largest = 0

    def check_connection(self):
        return "a fake"

    def get_cursor(self):
        return self.stored_to

    def write(self, readings, behind):
        self.calls += 1
        self.largest = max(self.largest, len(readings))
        if self.failures:
            raise self.failures.pop(0)
        bad = [r.seq for r in readings if r.seq in self.poison]
        if bad:
            raise BatchRefusedError(f"field type conflict at {len(bad)}")
        self.kept += [r.seq for r in readings]
        self.stored_to = behind


class Bench:
    def __init__(self, store, path, *, settings=None):
        self.journal = Journal(path)
        self.journal.open()
        self.read = self.journal.read
        self.store = store
        self.pauses = []
        self.writer = SeriesWriter(
            "fake",
            store,
            lambda *place: self.read(*place),  # noqa: PLW0108 - tests replace it
            lambda letters: self.write_dead_letters(letters),  # noqa: PLW0108 - as above
            self.in_thread,
            lambda: T,
            settings=settings or WriterSettings(batch=16),
            sleep=lambda seconds: self.sleep(seconds),  # noqa: PLW0108 - as above
        )

    async def in_thread(self, work, *arguments):
        return work(*arguments)

    async def write_dead_letters(self, letters):
        self.journal.commit([], letters)

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def commit(self, first, count):
        self.journal.commit(
            [Reading("s", T + k, T, {"pm25": float(k)}, seq=k) for k in range(first, first + count)]
        )
        self.writer.wake.set()

    async def until(self, met):
        task = asyncio.create_task(self.writer.run())
        async with asyncio.timeout(60):
            while not met():  # noqa: ASYNC110 - the condition is a counter
                await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(store, **options):
        made.append(Bench(store, tmp_path / "journal.db", **options))
        return made[-1]

    yield make
    for one in made:
        one.journal.close()


async def test_the_store_is_asked_before_anything_is_read(bench):
    store = FakeStore()
    outages = [StorageUnavailableError("the token is wrong"), StorageUnavailableError("away")]
    b = bench(store)
    seen = []

    def check_connection():
        seen.append((b.writer.state.failing, store.calls))
        if outages:
            raise outages.pop(0)
        return "a fake"

    store.check_connection = check_connection
    await b.until(lambda: len(seen) == 3 and not b.writer.state.failing)  # nothing to write yet
    assert seen == [("", 0), ("the token is wrong", 0), ("away", 0)]
    assert len(b.pauses) == 2
    b.commit(0, 3)
    await b.until(lambda: store.get_cursor() == 3)


async def test_what_comes_soon_after_a_quiet_moment_is_gathered(bench):
    b = bench(FakeStore(), settings=WriterSettings(gather_s=1.0))
    late = [3]

    async def sleep(seconds):
        b.pauses.append(seconds)
        while late:
            b.commit(late.pop(), 2)

    b.sleep = sleep
    task = asyncio.create_task(b.writer.run())
    async with asyncio.timeout(60):
        for _ in range(20):  # let it check, and then wait
            await asyncio.sleep(0)
        b.commit(0, 3)
        while b.store.get_cursor() < 5:  # noqa: ASYNC110 - the condition is a counter
            await asyncio.sleep(0)
    task.cancel()
    assert b.store.kept == [0, 1, 2, 3, 4]
    assert b.store.calls == 1
    assert b.pauses[0] == 1.0


async def test_refused_items_of_another_origin_name_it(bench):
    b = bench(FakeStore([1]), settings=WriterSettings(origin="record", reason="record_refused"))
    b.commit(0, 3)
    await b.until(lambda: b.store.get_cursor() == 3)
    (letter,) = letters_of(b.journal)
    assert (letter.topic, letter.reason) == ("record/2/s", "record_refused")


async def test_it_pauses_after_a_batch_that_is_not_full_and_never_in_a_backlog(bench):
    b = bench(FakeStore(), settings=WriterSettings(batch=16, pace_s=60.0))
    b.commit(0, 40)
    await b.until(lambda: b.store.get_cursor() == 40 and b.pauses)
    assert b.store.calls == 3
    (rest,) = b.pauses
    assert 0 < rest <= 60


@pytest.mark.parametrize(
    "poison", [[0], [15], [7], [99], [0, 1, 2], [3, 50, 98], range(16), []], ids=str
)
async def test_refused_readings_are_dead_lettered_and_all_others_stored(bench, poison):
    poison = list(poison)
    b = bench(FakeStore(poison))
    b.commit(0, 100)
    await b.until(lambda: b.store.get_cursor() == 100)
    assert b.store.kept == [k for k in range(100) if k not in poison]
    assert b.store.largest == 16
    letters = letters_of(b.journal)[::-1]
    assert [letter.topic for letter in letters] == [f"journal/{k + 1}/s" for k in poison]
    assert all(letter.reason == "series_refused" for letter in letters)
    assert all("field type conflict" in letter.detail for letter in letters)
    assert all(b'"seq":%d' % k in x.payload for k, x in zip(poison, letters, strict=True))
    assert (b.writer.state.stored, b.writer.state.refused) == (100 - len(poison), len(poison))
    assert b.pauses == []


async def test_a_poison_point_costs_few_writes(bench):
    b = bench(FakeStore([700]), settings=WriterSettings(batch=1024))
    b.commit(0, 1024)
    await b.until(lambda: b.store.get_cursor() == 1024)
    assert b.store.calls <= 2 * 10 + 2


async def test_pauses_double_and_end(bench):
    b = bench(FakeStore(failures=[StorageUnavailableError("away")] * 9))
    b.commit(0, 3)
    await b.until(lambda: b.store.get_cursor() == 3)
    assert b.store.kept == [0, 1, 2]
    bounds = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(top / 2 <= pause <= top for pause, top in zip(b.pauses, bounds, strict=True)), (
        b.pauses
    )
    assert b.writer.state.failing == ""


@pytest.mark.parametrize(("wish", "pause"), [(17.0, 17.0), (1e9, 900.0)])
async def test_what_the_store_asks_for_is_waited(bench, wish, pause):
    busy = StorageUnavailableError("429", retry_after_s=wish)
    b = bench(FakeStore(failures=[busy]))
    b.commit(0, 3)
    await b.until(lambda: b.store.get_cursor() == 3)
    assert b.pauses == [pause]


async def test_a_transient_error_of_the_journal_is_retried(bench):
    errors = [StorageUnavailableError("disk I/O error"), StorageUnavailableError("locked")]
    b = bench(FakeStore())

    def read(after, limit):
        if errors:
            raise errors.pop()
        return b.journal.read(after, limit)

    b.read = read
    b.commit(0, 3)
    await b.until(lambda: b.store.get_cursor() == 3)
    assert len(b.pauses) == 2


@pytest.mark.parametrize(
    "error", [StorageCorruptError("malformed"), SchemaTooNewError("schema 9")], ids=repr
)
async def test_a_permanent_error_ends_the_writer(bench, error):
    b = bench(FakeStore(failures=[error]))
    b.commit(0, 3)
    with pytest.raises(type(error)):
        await b.writer.run()
    assert b.pauses == []


async def test_a_dead_letter_that_cannot_be_kept_stops_the_cursor(bench):
    b = bench(FakeStore([1]))
    b.commit(0, 3)
    refusals = [StorageUnavailableError("disk full")] * 3
    write_dead_letters = b.write_dead_letters

    async def refusing(letters):
        if refusals:
            assert b.store.get_cursor() == 1
            raise refusals.pop()
        await write_dead_letters(letters)

    b.write_dead_letters = refusing
    await b.until(lambda: b.store.get_cursor() == 3)
    assert b.store.kept == [0, 2]
    assert len(letters_of(b.journal)) == 1
    assert len(b.pauses) == 3


async def test_cancelled_anywhere_it_goes_on_at_the_cursor(bench):
    b = bench(FakeStore([40]), settings=WriterSettings(batch=7))
    b.commit(0, 100)
    for calls in range(1, 40, 3):
        await b.until(lambda n=calls: b.store.calls >= n or b.store.get_cursor() == 100)
    await b.until(lambda: b.store.get_cursor() == 100)
    assert b.store.kept == [k for k in range(100) if k != 40]
