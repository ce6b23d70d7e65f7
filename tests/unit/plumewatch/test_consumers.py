"""Test the detection loop's lag and its calls to other parts, with a stub consumer."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from alerts.consumer.detection_consumer import TimeResult
from alerts.incidents.repository import ChangeSignal
from ingest.integrity import ReadingCounts
from plumewatch.service import consumers
from plumewatch.service.consumers import DetectionLoop
from plumewatch.service.resources import ExternalEvents, Observer
from storage.reading import ClockSteps, Reading
from tests.support.waiting import until

NOW = 1_790_000_000.0


class FakeConsumer:
    """Accepts every batch and detects nothing."""

    def __init__(self):
        self.position = 0
        self.model_version = "plume-2"
        self.on_step = lambda: None
        self.changes = []
        self.steps = []

    def open(self, read):
        pass

    def step(self, _readings, **_options):
        self.on_step()
        return []

    def commit(self, _events, position, now, step_s):
        self.position = position
        self.changes.append(("commit", now))
        self.steps.append((position, round(step_s)))
        return []

    def commit_external(self, _events, now):
        self.changes.append(("commit", now))
        return []

    def move_deadlines(self, now, by_s):
        self.changes.append(("move", now, round(by_s)))

    def drain_skipped_counts(self):
        return {}

    def check_silence(self, _now, **_options):
        return []

    def on_time(self, _now):
        return TimeResult([], state_changed=False)


class Bench:
    """A loop over a list of entries, with a clock that the test sets."""

    def __init__(self, monkeypatch):
        self.now = NOW
        self.entries = []
        attempted = asyncio.Event()
        attempted.set()
        ingestion = SimpleNamespace(
            source=SimpleNamespace(attempted=attempted, state=SimpleNamespace(connected=True)),
            commits=SimpleNamespace(failing=""),
            intake=SimpleNamespace(reading_counts=ReadingCounts()),
        )
        alerting = SimpleNamespace(engine=None, commit=self.run, changes=ChangeSignal())
        resources = SimpleNamespace(
            journal=SimpleNamespace(
                read_recent=lambda *_: None,
                read=lambda after, _limit: (self.entries[after:], len(self.entries)),
            ),
            run_until_stored=self.named,
            in_detector=self.run,
            observer=Observer(),
            step_reader=ClockSteps(lambda: 0.0).make_reader,
            clock=lambda: self.now,
            ready=asyncio.Event(),
            on_stored=[],
            config=None,
            state=None,
        )
        self.consumer, self.external = FakeConsumer(), ExternalEvents()
        monkeypatch.setattr(consumers, "build_consumer", lambda *_: self.consumer)
        self.loop = DetectionLoop(resources, ingestion, alerting, self.external)

    async def run(self, work, *arguments):
        return work(*arguments)

    async def named(self, _what, work, *arguments):
        return await self.run(work, *arguments)

    def store(self, n, clock_step=0.0):
        reading = Reading("s1", self.now, self.now, {"pm25": 4.0}, clock_step=clock_step)
        first = len(self.entries) + 1
        self.entries += [SimpleNamespace(offset=first + k, reading=reading) for k in range(n)]
        self.loop.on_stored(len(self.entries))


@pytest.fixture
def bench(monkeypatch):
    bench = Bench(monkeypatch)
    bench.loop.open(0)
    return bench


def test_lag_before_it_is_ready(bench):
    bench.store(400)
    bench.now += 7.0
    assert bench.loop.measure_lag() == (400, 7.0)


@contextlib.asynccontextmanager
async def running(loop):
    tasks = [asyncio.create_task(work) for work in (loop.run(), loop.run_external())]
    await loop.ready.wait()
    yield
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_first_reading_after_a_quiet_hour_is_no_lag(bench):
    async with running(bench.loop):
        bench.store(3)
        await until(lambda: bench.loop.position == 3)
        assert bench.loop.measure_lag() == (0, 0.0)
        bench.now += 3600.0
        bench.store(1)
        bench.now += 0.1
        assert bench.loop.measure_lag() == (1, pytest.approx(0.1))
    assert bench.loop.counts.readings == 3


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
@pytest.mark.parametrize("external", [False, True])
async def test_a_clock_set_during_a_batch_moves_earlier_deadlines_only(bench, by_s, external):
    def set_clock():
        bench.now = NOW + by_s

    moved, committed = ("move", NOW + by_s, by_s), ("commit", NOW + by_s)
    async with running(bench.loop):
        if external:
            await bench.external.commit([])
            set_clock()
            await bench.external.commit([])
        else:
            bench.consumer.on_step = set_clock
            bench.store(1)
            await until(lambda: bench.loop.position == 1)
            bench.store(1)
            await until(lambda: bench.loop.position == 2)
    assert bench.consumer.changes[:3] == [("commit", NOW), moved, committed]


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
async def test_what_was_read_before_a_step_is_decided_as_of_then(bench, by_s):
    """Otherwise, a reading would be an hour late and page nobody, or an hour early and wait."""
    async with running(bench.loop):
        bench.store(1)
        await until(lambda: bench.loop.position == 1)
        bench.store(2)
        bench.now += by_s
        bench.store(1, clock_step=by_s)
        await until(lambda: bench.loop.position == 4)
    assert bench.consumer.steps == [(1, 0), (3, by_s), (4, 0)]
