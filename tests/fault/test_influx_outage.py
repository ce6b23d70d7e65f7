"""An InfluxDB that is killed and started again in the middle of a load: nothing lost, in order.

One that somebody names is cut off instead, by a proxy in front of it.
"""

import asyncio
import contextlib
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from storage.journal import Journal
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.writer import SeriesWriter, WriterSettings
from tests.support.influx import NAMED, Influxd, influxql, own_database
from tests.support.proxy import Fault, Proxy

T = 1_790_000_000.0
REGISTRY = Registry.of([Room("r", "R", "", "B", "S")], [Sensor("s", "r")])
COUNT = 6_000


class Killed:
    """A real 1.x of the test."""

    def __init__(self, folder):
        self.server = Influxd(folder)

    def __enter__(self):
        self.server.start()
        influxql(self.server.url, "CREATE DATABASE air")
        self.settings, self.is_away = InfluxSettings(self.server.url, "air"), False
        return self

    def end(self):
        self.is_away = True
        self.server.end()

    def start(self):
        self.server.start()
        self.is_away = False

    def __exit__(self, *_):
        self.server.end()


class CutOff:
    """The server that is named."""

    def __init__(self, _folder):
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        named = self.stack.enter_context(own_database())
        parts = urlsplit(named.url)
        if parts.scheme == "https":
            pytest.skip("its certificate is not that of the proxy")
        proxy = Proxy(parts.port or 80, host=parts.hostname)
        self.proxy = self.stack.enter_context(proxy)
        url = f"http://127.0.0.1:{proxy.port}{parts.path}"
        self.settings, self.is_away = replace(named, url=url), False
        return self

    def end(self):
        self.is_away, self.proxy.fault = True, Fault(refuse=True)
        self.proxy.reset()

    def start(self):
        self.is_away, self.proxy.fault = False, Fault()

    def __exit__(self, *_):
        self.proxy.fault = Fault()
        self.stack.close()


@pytest.mark.parametrize("kind", [Killed, *(pytest.param(CutOff, id=name) for name in NAMED)])
async def test_kills_in_the_middle_of_a_load(tmp_path, kind):
    with (
        kind(tmp_path) as server,
        Journal(tmp_path / "journal.db") as journal,
        InfluxSeries(server.settings, REGISTRY, tmp_path / "influx.db") as series,
    ):
        journal.commit([Reading("s", T + i, T + i, {"pm25": float(i)}) for i in range(COUNT)], [])
        kills = {5, 20, 40}
        seen = []

        def write(readings, behind, wait=series.write):
            seen.append(behind)
            if len(seen) in kills:
                server.end()
            wait(readings, behind)

        async def sleep(_):
            if server.is_away:
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
            while series.cursor() < COUNT:  # noqa: ASYNC110 - there is no event
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
