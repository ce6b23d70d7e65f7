"""A journal, its series writer and InfluxDB, to test the writer."""

import asyncio
import contextlib

from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.writer import SeriesWriter, WriterSettings
from tests.support.waiting import until

T = 1_790_000_000.0
REGISTRY = Registry.build([Room("r", "R", "1", "Main", "School")], [Sensor("s", "r")])


class Course:
    """Runs the writer from a folder's journal into the database of `settings`.

    `pauses` lists how long the writer waited, in seconds, and `faults` lists why.
    """

    def __init__(self, folder, settings, *, now=T, **limits):
        self.now = now
        self.journal = Journal(folder / "journal.db")
        self.journal.open()
        self.series = InfluxSeries(settings, REGISTRY, folder / "influx.db")
        self.series.open()
        self.pauses, self.faults = [], []
        self.writer = SeriesWriter(
            "influx",
            self.series,
            self.journal.read,
            self._write_dead_letters,
            asyncio.to_thread,
            lambda: now,
            settings=WriterSettings(**{"batch": 100, **limits}),
            sleep=self._sleep,
        )

    async def _write_dead_letters(self, letters):
        self.journal.commit([], letters)

    async def _sleep(self, seconds):
        self.pauses.append(seconds)
        failing = self.writer.state.failing
        if failing not in self.faults[-1:]:
            self.faults.append(failing)
        await asyncio.sleep(0.01)

    def commit(self, count, values=None, changed=()):
        """Commit readings, one per second; `changed` replaces the values of some.

        They follow the readings committed before or, with a `now` other than `T`, end at `now`.
        """
        values, changed = values or {"pm25": 4.0}, dict(changed)
        first = self.journal.get_last_offset()
        start = T + first if self.now == T else self.now - count
        for at in range(0, count, 10_000):
            several = range(at, min(at + 10_000, count))
            self.journal.commit(
                [
                    Reading("s", start + k, self.now, changed.get(k, values), seq=first + k)
                    for k in several
                ]
            )

    @contextlib.asynccontextmanager
    async def running(self, within_s=100):
        """Run the writer."""
        task = asyncio.create_task(self.writer.run())
        try:
            async with asyncio.timeout(within_s):
                yield
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def drain(self, within_s=100):
        """Run the writer until its cursor is at the end of the journal."""
        async with self.running(within_s):
            await until(
                lambda: self.series.get_cursor() == self.journal.get_last_offset(), within_s
            )

    def close(self):
        self.series.close()
        self.journal.close()
