"""Test that a real InfluxDB returns what was written, whatever names and values contain."""

import itertools
import math
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from detection.quantities import COLUMNS
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.line_protocol import TAGS, LineEncoder, Slots, clean_tag, to_ns
from tests.support.influx import Influxd, influxql
from tests.support.memory import assert_bounded

SPECIAL = "\\\n\r\t,= \"'#\x00\x85\u2028é火🚭\u202e"
TEXT = st.text(
    st.one_of(
        st.sampled_from(SPECIAL), st.characters(exclude_categories=["Cs"], max_codepoint=0x1FFFF)
    ),
    max_size=12,
)
VALUES = st.dictionaries(
    st.sampled_from(COLUMNS), st.floats(allow_nan=True, allow_infinity=True), max_size=10
)
TIMES = st.floats(0, 4e9)
FRESH = itertools.count(1_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as found:
        influxql(found.url, "CREATE DATABASE p")
        yield InfluxHttp(InfluxSettings(found.url, "p"))


def written(http, encoder, readings, measurement, which):
    """Write readings; return the points that `which` selects, without absent columns."""
    http.write(encoder.encode(readings))
    (series,) = http.query(f'SELECT * FROM "{measurement}" WHERE {which}')  # noqa: S608 - a test's own
    rows = [dict(zip(series["columns"], row, strict=True)) for row in series["values"]]
    return [{k: v for k, v in row.items() if v is not None} for row in rows]


@settings(max_examples=40, suppress_health_check=[*HealthCheck])
@given(
    names=st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT),
    values=VALUES,
    time=TIMES,
    words=st.lists(TEXT, max_size=2),
)
def test_registered(server, names, values, time, words):
    site, building, floor, room, model = names
    name = f"s{next(FRESH)}"
    registry = Registry.build([Room(room, "", floor, building, site)], [Sensor(name, room, model)])
    reading = Reading(name, time, 1.25, values, tuple(words), tuple(words), ("late",))
    (row,) = written(server, LineEncoder(registry), [reading], "reading", f"sensor = '{name}'")
    assert row.pop("time") // 1000 * 1000 == to_ns(time)
    tags = dict(zip(TAGS, (site, building, floor, room, name, model), strict=True))
    expected = {k: clean_tag(v) for k, v in tags.items() if clean_tag(v)}
    expected |= {k: v for k, v in values.items() if math.isfinite(v)}
    expected |= {"received": 1.25, "flags": "late"}
    if words:
        expected |= {"events": " ".join(words), "faults": " ".join(words)}
    found = {k: float(v) if k in COLUMNS else v for k, v in row.items()}  # JSON has no floats
    assert found == expected


@given(
    numbers=st.dictionaries(
        st.sampled_from([*COLUMNS, "no quantity", 'n"=1,x']),
        st.one_of(st.floats(), st.integers(-(10**18), 10**18), st.booleans()),
        max_size=12,
    )
)
@example(numbers={"pm25": 5e-324, "rh": 1.7976931348623157e308, "temp": -0.0, "co2": 1e16})
def test_numbers_are_floats_and_read_back_the_same(numbers):
    line = LineEncoder(Registry()).encode_line(Reading("s", 1.0, 2.5, numbers)).decode()
    *fields, name = line.split(" ")[1].split(",")
    assert name == 'name="s"'
    found = dict(field.split("=") for field in fields)
    assert not set("".join(found.values())) - set("0123456789.-+e")
    expected = {k: float(v) for k, v in numbers.items() if k in COLUMNS and math.isfinite(v)}
    assert {k: float(v) for k, v in found.items()} == expected | {"received": 2.5}


@settings(max_examples=40, suppress_health_check=[*HealthCheck])
@given(names=st.lists(TEXT, min_size=1, max_size=5, unique=True))
def test_strangers(server, names):
    at = next(FRESH)
    readings = [Reading(name, at, 1.0 + i, {"pm25": 1.0}) for i, name in enumerate(names)]
    which = f"time >= {at}s AND time < {at + 1}s"
    rows = written(server, LineEncoder(Registry()), readings, "quarantine", which)
    assert sorted(row["name"] for row in rows) == sorted(names)


@given(text=TEXT)
def test_only_control_characters_and_doubtful_backslashes_are_lost_in_a_tag(text):
    plain = all(c.isprintable() or c == "\u202e" for c in text)
    if plain and text == text.strip(" ") and not re.search(r"\\[,= \\]|\\\Z", text):
        assert clean_tag(text) == text
    assert clean_tag(clean_tag(text)) == clean_tag(text)
    assert not re.search(r"\\[,= \\]|\\\Z", clean_tag(text))
    assert not set(clean_tag(text)) & set("\n\r\t\x00\x85\u2028")


def test_readings_of_one_microsecond_stay_apart(server):
    readings = [Reading("s", 5.000001, 1.0 + i, {"pm25": float(i)}) for i in range(300)]
    which = "time >= 5s AND time < 6s"
    rows = written(server, LineEncoder(Registry()), readings, "quarantine", which)
    assert sorted(row["pm25"] for row in rows) == [float(i) for i in range(300)]
    assert {row["time"] // 1000 for row in rows} == {5_000_001}


def test_unknown_sensors_of_one_microsecond_stay_apart():
    encoder = LineEncoder(Registry())
    lines = [encoder.encode_line(Reading(f"s{i}", 5.0, 1.0, {"pm25": 1.0})) for i in range(300)]
    assert len({line.rsplit(b" ", 1)[1] for line in lines}) == 300


def test_slots_are_the_same_again_until_forgotten():
    slots = Slots(remembered=2)
    assert slots.assign_time_ns("s", 1000, 5) == 1005
    assert slots.assign_time_ns("s", 1000, 1005) == 1006
    assert slots.assign_time_ns("s", 1000, 5) == 1005
    assert slots.assign_time_ns("t", 1000, 1005) == 1005
    assert slots.assign_time_ns("t", 2000, 5) == 2005
    assert_bounded(slots, 50, lambda k: slots.assign_time_ns("s", 1000 * k, 5))
