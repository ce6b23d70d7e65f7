"""Retention and averages on the server: 1.x for real, 2.x and 3 by what they are asked to do."""

import io
import json
import time as clock

import numpy as np
import pytest

from plumewatch.starter import STARTER
from plumewatch.storage_command import run_setup
from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import set_up
from storage.timeseries.resolution import Retention
from tests.support.influx import FakeServer, Influxd, influxql

DAY = 86_400.0
RETENTION = Retention(raw_days=4, minute_days=40_000, quarter_hour_days=50_000)
REGISTRY = Registry.of([Room("r", "R", "", "B", "S")], [Sensor("s", "r"), Sensor("t", "r")])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as found:
        yield found


def settings(server, name="air"):
    return InfluxSettings(server.url, name, org="school", secret="secret")


def done(http, now, retention=RETENTION):
    return [sentence for sentence, _ in set_up(http, retention, now)]


def test_on_1x(server, tmp_path):
    now = clock.time()  # the server deletes by its own clock
    start = now // 900 * 900 - 3 * DAY
    http = InfluxHttp(settings(server))
    first = done(http, now)
    assert first[:2] == ["database 'air'", "readings are kept for 4 days"]
    with InfluxSeries(settings(server), REGISTRY, tmp_path / "i.db", RETENTION, lambda: now) as s:
        values = np.random.default_rng(1).uniform(1, 50, 3 * 1440)
        s.write(
            [Reading("s", start + 60.0 * i + 7, now, {"pm25": v}) for i, v in enumerate(values)]
            + [Reading("t", start + 60.0 * i + 7, now, {"rh": 40.0}) for i in range(100)],
            1,
        )
        asked = [(e, a) for e in (60, 900, 3600) for a in ("mean", "min", "max")]
        exact = [s.readings("s", start, now, e, a) for e, a in asked]
    assert done(http, now)[1:3] == first[1:3]  # again, and what is there is averaged
    with InfluxSeries(settings(server), REGISTRY, tmp_path / "i.db", RETENTION, lambda: now) as s:
        for (every, aggregate), (time, values) in zip(asked, exact, strict=True):
            rolled = s.readings("s", start, now, every, aggregate)
            np.testing.assert_array_equal(rolled[0], time)
            np.testing.assert_allclose(rolled[1]["pm25"], values["pm25"], rtol=1e-9)
        assert [level.name for level in s._levels] == ["m1", "m15"]
        http.query('DROP SERIES FROM "reading"', change=True)
        assert s.latest() == {}
    queries = json.loads(influxql(server.url, "SHOW CONTINUOUS QUERIES"))["results"][0]["series"]
    ours = next(q["values"] for q in queries if q["name"] == "air")
    assert [q[0] for q in ours] == ["plumewatch_m1", "plumewatch_m15"]
    assert all("RESAMPLE EVERY 1m FOR 2h" in q[1] for q in ours)
    policies = http.query('SHOW RETENTION POLICIES ON "air"')[0]["values"]
    kept = {row[0]: (row[1], row[-1]) for row in policies}
    assert kept["autogen"] == ("96h0m0s", True)
    assert kept["m1"] == ("960000h0m0s", False)


def test_old_spans_are_answered_by_averages(server, tmp_path):
    now = 2_000_000_000.0  # our clock: what was written is older than readings are kept
    start = 1_900_000_800.0
    http = InfluxHttp(settings(server, "old"))
    with InfluxSeries(settings(server, "old"), REGISTRY, tmp_path / "i.db", RETENTION) as s:
        influxql(server.url, "CREATE DATABASE old")
        s.write([Reading("s", start + 10.0 * i, now, {"pm25": float(i)}) for i in range(180)], 1)
        done(http, start + 3600)
        s._clock = lambda: now
        time, values = s.readings("s", start, start + 1800, 10, "max")
    assert time.tolist() == [start + 60 * i for i in range(30)]
    assert values["pm25"].tolist() == [5.0 + 6 * i for i in range(30)]


def test_a_database_of_others_is_left_alone(server):
    influxql(server.url, "CREATE DATABASE theirs")
    http = InfluxHttp(settings(server, "theirs"))
    http.write(b"cpu usage=1 1790000000000000000")
    with pytest.raises(StorageUnavailableError, match="holds cpu beside our readings"):
        done(http, 1_790_000_000.0)
    (policy,) = http.query('SHOW RETENTION POLICIES ON "theirs"')[0]["values"]
    assert policy[1] == "0s"


class Recorded:
    """A 2.x that remembers buckets and tasks."""

    def __init__(self):
        self.buckets = {}
        self.tasks = {}

    def __call__(self, method, path, query, _, body):
        if path == "/ping":
            return 204, {"X-Influxdb-Version": "v2.7.11"}, b""
        sent = json.loads(body) if body.strip() else {}
        return {
            "/api/v2/orgs": self.orgs,
            "/api/v2/buckets": self.of_buckets,
            "/api/v2/tasks": self.of_tasks,
        }["/".join(path.split("/")[:4])](method, path, query, sent)

    def orgs(self, _, __, query, ___):
        known = [{"id": "0123"}] if query["org"] == "school" else []
        return 200, {}, json.dumps({"orgs": known}).encode()

    def of_buckets(self, method, path, query, sent):
        if method == "GET":
            if query["name"] not in self.buckets:
                return 404, {}, b'{"code":"not found","message":"bucket \\"air\\" not found"}'
            return 200, {}, json.dumps({"buckets": [{"id": query["name"]}]}).encode()
        name = sent["name"] if method == "POST" else path.removeprefix("/api/v2/buckets/")
        self.buckets[name] = sent["retentionRules"][0]["everySeconds"] / DAY
        return 201, {}, b"{}"

    def of_tasks(self, method, _, query, sent):
        if method == "GET":
            known = [{"id": n} for n in self.tasks if n == query["name"]]
            return 200, {}, json.dumps({"tasks": known}).encode()
        name = sent["flux"].split('name: "')[1].split('"')[0]
        assert method == ("PATCH" if name in self.tasks else "POST")
        self.tasks[name] = sent["flux"]
        return 201, {}, b"{}"


def test_on_2x():
    recorded = Recorded()
    with FakeServer(recorded) as door:
        http = InfluxHttp(InfluxSettings(door.url, "air", org="school", secret="secret"))
        done(http, 0.0)
        done(http, 0.0, Retention(5, 50, 500))
        with pytest.raises(StorageUnavailableError, match="no organisation 'other'"):
            done(InfluxHttp(InfluxSettings(door.url, "air", org="other")), 0.0)
    assert recorded.buckets == {"air": 5, "air/m1": 50, "air/m15": 500}
    assert sorted(recorded.tasks) == ["plumewatch_air_m1", "plumewatch_air_m15"]
    for flux in recorded.tasks.values():
        assert flux.count("(") == flux.count(")")
        assert flux.count("{") == flux.count("}")
        assert [flux.count(f"fn: {f})") for f in ("mean", "min", "max", "count")] == [1, 1, 1, 1]


def test_on_3():
    def answer(method, path, query, headers, body):
        if path == "/ping":
            return 200, {}, b'{"version":"3.1.0"}'
        assert (path, json.loads(body)) == ("/api/v3/configure/database", {"db": "air"})
        return 409, {}, b"attempted to create a resource that already exists"

    with FakeServer(answer) as door:
        (said,) = done(InfluxHttp(InfluxSettings(door.url, "air")), 0.0)
    assert "makes no averages" in said


class TestCommand:
    def run(self, tmp_path, timeseries=""):
        path = tmp_path / "plumewatch.toml"
        path.write_text(STARTER.replace("[detection]", f"{timeseries}\n[detection]"))
        out = io.StringIO()
        return run_setup(path, out, 1_790_000_000.0), out.getvalue()

    def test_embedded(self, tmp_path):
        code, said = self.run(tmp_path)
        assert code == 0
        assert "for 30 days, averages of 1 min for 730 and of 15 min for 1826 days" in said

    def test_on_1x(self, server, tmp_path):
        more = f'[timeseries]\nurl = "{server.url}"\ndatabase = "cli"\n'
        code, said = self.run(tmp_path, more)
        assert code == 0
        assert said.splitlines()[-1] == "averages of what is there already"
        assert len(said.splitlines()) == 5

    def test_nobody_there(self, tmp_path, capsys):
        code, _ = self.run(tmp_path, '[timeseries]\nurl = "http://127.0.0.1:1"\n')
        assert code == 3
        assert "does not answer" in capsys.readouterr().err
