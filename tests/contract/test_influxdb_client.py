"""`influxdb-client` as it is beside our encoder: real servers read the same from both.

The client speaks the interface of 2.x; a stand-in passes its requests to a real 1.6.7.
"""

import random

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
from tests.support.influx import FakeServer, Influxd, influxql
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
