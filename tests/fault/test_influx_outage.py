"""Kill and restart an InfluxDB under load: nothing is lost, and the order is kept."""

from storage.timeseries.influx_http import InfluxSettings
from tests.support.influx import DATABASE, Influxd
from tests.support.series_course import Course, T

COUNT = 6_000


async def test_kills_in_the_middle_of_a_load(tmp_path):
    with Influxd(tmp_path) as server:
        course = Course(tmp_path, InfluxSettings(server.url, DATABASE), on_pause=server.start)
        course.commit(COUNT, changed={k: {"pm25": float(k)} for k in range(COUNT)})
        seen, write = [], course.series.write

        def noted(readings, behind):
            seen.append(behind)
            if len(seen) in {5, 20, 40}:
                server.end()
            write(readings, behind)

        course.series.write = noted
        await course.drain()
        time, values = course.series.window("s", T, T + COUNT)
        assert time.tolist() == [T + i for i in range(COUNT)]
        assert values["pm25"].tolist() == [float(i) for i in range(COUNT)]
        assert len(course.series.between(0, 4e9)) == COUNT
        assert seen == sorted(seen)
        assert len(seen) == COUNT // 100 + 3
        assert course.journal.dead_letter_counts() == {}
        course.close()
