"""An InfluxDB that is killed and started again in the middle of a load: nothing lost, in order."""

import asyncio
import contextlib

from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.writer import SeriesWriter, WriterSettings
from tests.support.influx import Influxd, influxql

T = 1_790_000_000.0
REGISTRY = Registry.of([Room("r", "R", "", "B", "S")], [Sensor("s", "r")])
COUNT = 6_000


async def test_kills_in_the_middle_of_a_load(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    journal.open()
    journal.commit([Reading("s", T + i, T + i, {"pm25": float(i)}) for i in range(COUNT)], [])
    with Influxd(tmp_path) as server:
        influxql(server.url, "CREATE DATABASE air")
        settings = InfluxSettings(server.url, "air")
        with InfluxSeries(settings, REGISTRY, tmp_path / "influx.db") as series:
            kills = {5, 20, 40}
            seen = []

            def write(readings, behind, wait=series.write):
                seen.append(behind)
                if len(seen) in kills:
                    server.end()
                wait(readings, behind)

            async def sleep(_):
                if server._process is None:
                    await asyncio.to_thread(server.start)

            series.write = write
            dead_letters = []

            async def write_dead_letters(letters):
                dead_letters.extend(letters)

            async def in_thread(work, *arguments):
                return await asyncio.to_thread(work, *arguments)

            writer = SeriesWriter(
                "influx",
                series,
                journal.read,
                write_dead_letters,
                in_thread,
                lambda: T,
                settings=WriterSettings(batch=100),
                sleep=sleep,
            )
            task = asyncio.create_task(writer.run())
            async with asyncio.timeout(100):
                while series.cursor() < COUNT:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.02)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            time, values = series.window("s", T, T + COUNT)
            assert time.tolist() == [T + i for i in range(COUNT)]
            assert values["pm25"].tolist() == [float(i) for i in range(COUNT)]
            assert series.count() == COUNT
            assert seen == sorted(seen)
            assert len(seen) == COUNT // 100 + len(kills)
            assert not dead_letters
    journal.close()
