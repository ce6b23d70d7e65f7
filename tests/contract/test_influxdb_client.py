"""`influxdb-client` as it is beside our encoder: real servers read the same from both.

The client speaks the interface of 2.x; a stand-in passes its requests to a real 1.6.7.
VictoriaMetrics implements the interface of 2.x itself.
"""

import json
import math
import random

import httpx
import pytest
from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.line_protocol import TAGS, LineEncoder, RecordEncoder, tag_value, to_ns
from storage.timeseries.records import Record
from tests.support.influx import FakeServer, Influxd, VictoriaMetrics, influxql
from tests.support.influx_standin import InfluxDb2

T = 1_790_000_000.0
HOSTILE = (
    "plain",
    "Girls' room, 2nd floor",
    "a=b,c d",
    'say "no"',
    "back\\slash",
    "ends with a backslash\\",
    "comma,\\,",
    "two\\\\in a row\\ and\\=one",
    "Détecteur 2º étage",
    "火災 🚭",
    "\u202eright to left",
    "line\nbreak and\ttab",
    "  spaces  ",
    "#comment",
    "{json: [1]}",
    "$tag:regex/.*/",
    "%0a%20",
)
REGISTRY = Registry.of(
    [Room(f"r{i}", "R", HOSTILE[-i], name, "S") for i, name in enumerate(HOSTILE, start=1)],
    [Sensor(f"s{i}", f"r{i}", name) for i, name in enumerate(HOSTILE, start=1)],
)
READINGS = [
    Reading(name, T + i + k / 8, T, {"pm25": i + 0.5, "rh": 1e-7 * k, "co2": -0.0})
    for i, name in enumerate(REGISTRY.sensors)
    for k in range(3)
]


@pytest.fixture(scope="module")
def influxd(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture
def standin(influxd):
    with FakeServer(InfluxDb2(influxd.url)) as server:
        yield server


@pytest.fixture
def database(influxd):
    name = f"db{random.getrandbits(64)}"
    influxql(influxd.url, f'CREATE DATABASE "{name}"')
    yield name
    influxql(influxd.url, f'DROP DATABASE "{name}"')


def points_of(reading):
    """A reading as a user of the library writes it."""
    point = Point("reading")
    room = REGISTRY.room_of(reading.sensor)
    sensor = REGISTRY.sensors[reading.sensor]
    where = (room.site, room.building, room.floor, room.id, sensor.id, sensor.model)
    for key, text in zip(TAGS, where, strict=True):
        point.tag(key, tag_value(text))
    for key, value in {**reading.values, "received": reading.received}.items():
        point.field(key, value)
    return point.time(to_ns(reading.time), WritePrecision.NS)


def rows(influxd, database, measurement="reading"):
    """All points, without the last three digits of the nanoseconds that are ours."""
    http = InfluxHttp(InfluxSettings(influxd.url, database))
    found = http.query(f'SELECT * FROM "{measurement}"')  # noqa: S608 - a test's own
    return sorted(
        (row[0] // 1000, sorted(dict(zip(s["columns"][1:], row[1:], strict=True)).items(), key=str))
        for s in found
        for row in s["values"]
    )


@pytest.mark.parametrize("gzip", [False, True])
def test_its_points_and_our_lines_are_the_same_to_influxdb(influxd, standin, database, gzip):
    with InfluxDBClient(standin.url, "secret", org="school", enable_gzip=gzip) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        api.write(database, record=[points_of(r) for r in READINGS])
    theirs = rows(influxd, database)
    assert len(theirs) == len(READINGS)
    influxql(influxd.url, 'DROP MEASUREMENT "reading"', database)
    InfluxHttp(InfluxSettings(influxd.url, database)).write(LineEncoder(REGISTRY).encode(READINGS))
    assert rows(influxd, database) == theirs


@pytest.mark.parametrize("gzip", [False, True])
def test_it_carries_our_lines_unchanged(influxd, standin, database, gzip):
    lines = LineEncoder(REGISTRY).encode(READINGS)
    with InfluxDBClient(standin.url, "secret", org="school", enable_gzip=gzip) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        api.write(database, record=lines, write_precision=WritePrecision.NS)
    theirs = rows(influxd, database)
    influxql(influxd.url, 'DROP MEASUREMENT "reading"', database)
    InfluxHttp(InfluxSettings(influxd.url, database)).write(lines)
    assert rows(influxd, database) == theirs
    assert len(theirs) == len(READINGS)


def test_records_with_texts_come_back_from_it(influxd, standin, database):
    records = [
        Record("pipeline", T + i, {"failing": text, "ready": 0.0}) for i, text in enumerate(HOSTILE)
    ]
    influxql(
        influxd.url, f'CREATE RETENTION POLICY "m1" ON "{database}" DURATION INF REPLICATION 1'
    )
    with InfluxDBClient(standin.url, "secret", org="school") as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        for policy, lines in RecordEncoder(REGISTRY).by_policy(records).items():
            api.write(f"{database}/{policy}", record=lines)
    found = InfluxHttp(InfluxSettings(influxd.url, database)).query(
        'SELECT "failing" FROM "m1"."pipeline"'
    )
    assert [row[1] for row in found[0]["values"]] == list(HOSTILE)


def test_a_wrong_token_is_the_same_to_it_and_to_us(standin, database):
    with InfluxDBClient(standin.url, "wrong", org="school") as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        with pytest.raises(ApiException) as caught:
            api.write(database, record=points_of(READINGS[0]))
    assert caught.value.status == 401
    with pytest.raises(StorageUnavailableError, match="does not accept the token"):
        InfluxHttp(InfluxSettings(standin.url, database, org="school", secret="wrong")).write(
            b"x y=1"
        )


@pytest.fixture
def victoria(tmp_path):
    with VictoriaMetrics(tmp_path) as server:
        yield server


class TestVictoriaMetrics:
    """A real server of the 2.x interface; it stores numbers, by the millisecond."""

    def series(self, victoria):
        """All series by their labels."""
        httpx.get(f"{victoria.url}/internal/force_flush")
        answer = httpx.get(f"{victoria.url}/api/v1/export", params={"match[]": '{sensor!=""}'})
        found = [json.loads(line) for line in answer.text.splitlines()]
        return {tuple(sorted(s["metric"].items())): (s["values"], s["timestamps"]) for s in found}

    def test_its_points_and_our_lines_are_the_same(self, victoria, tmp_path_factory):
        with InfluxDBClient(victoria.url, "any", org="school") as client:
            api = client.write_api(write_options=SYNCHRONOUS)
            api.write("air", record=[points_of(r) for r in READINGS])
        theirs = self.series(victoria)
        with (
            VictoriaMetrics(tmp_path_factory.mktemp("ours")) as other,
            InfluxDBClient(other.url, "any", org="school") as client,
        ):
            api = client.write_api(write_options=SYNCHRONOUS)
            lines = LineEncoder(REGISTRY).encode(READINGS)
            api.write("air", record=lines, write_precision=WritePrecision.NS)
            assert self.series(other) == theirs
        assert len(theirs) == 4 * len(REGISTRY.sensors)

    def test_tags_and_values_are_what_went_in(self, victoria):
        lines = LineEncoder(REGISTRY).encode(READINGS)
        query = {"bucket": "air", "org": "school", "precision": "ns"}
        answer = httpx.post(f"{victoria.url}/api/v2/write", params=query, content=lines)
        assert answer.status_code == 204
        found = {}
        for labels, values in self.series(victoria).items():
            found[dict(labels)["__name__"], dict(labels)["sensor"]] = dict(labels), *values
        for sensor in REGISTRY.sensors.values():
            room = REGISTRY.room_of(sensor.id)
            labels = {"building": room.building, "floor": room.floor, "model": sensor.model}
            wanted = {key: tag_value(text) for key, text in labels.items()}
            mine = [r for r in READINGS if r.sensor == sensor.id]
            stored, values, times = found["reading_pm25", sensor.id]
            assert {key: stored.get(key, "") for key in wanted} == wanted
            assert values == [r.values["pm25"] for r in mine]
            assert times == [math.floor(r.time * 1000) for r in mine]

    def test_one_that_rejects_writes_leaves_readings_waiting(self, tmp_path):
        with VictoriaMetrics(tmp_path, "-storage.minFreeDiskSpaceBytes=100000GB") as full:

            def answer(method, path, query, headers, body):
                if path == "/ping":
                    return 204, {"X-Influxdb-Version": "v2.7.11"}, b""
                found = httpx.request(method, f"{full.url}{path}", params=query, content=body)
                return found.status_code, {}, found.content

            with FakeServer(answer) as facade:
                http = InfluxHttp(InfluxSettings(facade.url, "air", org="school"))
                with pytest.raises(StorageUnavailableError, match="accepts no writes"):
                    http.write(LineEncoder(REGISTRY).encode(READINGS))
