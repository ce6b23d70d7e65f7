"""Test the checks of envelope, identity, time and values."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from detection.quantities import QUANTITIES
from ingest.errors import DecodeError, Reason
from ingest.validation import (
    NO_VALUE,
    Limits,
    check_json,
    check_values,
    make_sensor_id,
    parse_number,
    parse_time,
    settle_time,
)

NOW = 1_790_000_000.0
LIMITS = Limits()


@pytest.mark.parametrize("key", list(QUANTITIES))
def test_range_is_closed_and_outside_is_a_fault(key):
    q = QUANTITIES[key]
    assert check_values({key: q.low}) == ({key: q.low}, [])
    full = q.high in NO_VALUE.get(key, ())
    assert check_values({key: q.high}) == (({}, [key]) if full else ({key: q.high}, []))
    for bad in (
        math.nextafter(q.low, -math.inf),
        math.nextafter(q.high, math.inf),
        math.nan,
        math.inf,
        -math.inf,
        10**400,
        True,
        "7.1",
        None,
        [],
        {},
    ):
        assert check_values({key: bad}) == ({}, [key]), bad


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("pm1", 65_535),
        ("pm25", 65_534.0),
        ("pm4", 6_553.5),
        ("pm10", 6_553.4),
        ("tvoc_ppb", 65_535),
        ("tvoc_ugm3", 65_534),
        ("voc_raw", 65_535),
        ("light", 65_535),
        ("temp", 85),
    ],
)
def test_a_sentinel_value_is_a_fault_and_its_neighbor_is_not(key, number):
    assert check_values({key: number, "co2": 500}) == ({"co2": 500.0}, [key])
    assert check_values({key: number - 1.5}) == ({key: number - 1.5}, [])


@pytest.mark.parametrize(
    ("temp", "rh", "faults"),
    [
        (0, 0, ["temp", "rh"]),
        (0.0, 0, ["temp", "rh"]),
        (-45, 0.0, ["temp", "rh"]),
        (0, 0.1, []),
        (0.1, 0, []),
        (21, 0, []),
        (None, 0, ["temp"]),
        (-0.1, 6553.5, ["rh", "temp"]),
        (-0.1, None, ["rh", "temp"]),
        (-0.1, 50, []),
        (-0.2, 6553.5, ["rh"]),
    ],
)
def test_a_climate_sensor_that_does_not_answer(temp, rh, faults):
    values, found = check_values({"temp": temp, "rh": rh, "pm25": 5})
    assert found == faults
    assert values.keys() == {"temp", "rh", "pm25"} - set(faults)


@pytest.mark.parametrize(
    ("stamp", "time", "flag"),
    [
        (None, NOW, "no_time"),
        (NOW, NOW, ""),
        (NOW + 299, NOW + 299, ""),
        (NOW + 301, NOW, "time_replaced"),
        (NOW - 600, NOW - 600, ""),
        (NOW - 601, NOW - 601, "late"),
        (NOW - 30 * 86_400, NOW - 30 * 86_400, "late"),
        (0.0, NOW, "time_replaced"),
        (12.0, NOW, "time_replaced"),
        (-5.0, NOW, "time_replaced"),
        (math.nan, NOW, "time_replaced"),
        (math.inf, NOW, "time_replaced"),
        (4_085_000_000.0, NOW, "time_replaced"),
    ],
)
def test_settle_time(stamp, time, flag):
    assert settle_time(stamp, NOW, LIMITS) == (time, flag)


def test_a_clock_that_was_set_but_is_before_2020_is_rejected():
    with pytest.raises(DecodeError, match="2015-01-01") as caught:
        settle_time(datetime(2015, 1, 1, tzinfo=UTC).timestamp(), NOW, LIMITS)
    assert caught.value.reason is Reason.BAD_TIME


@pytest.mark.parametrize(
    "value",
    [
        1_790_000_000,
        1_790_000_000.0,
        1_790_000_000_000,
        1_790_000_000_000_000,
        1_790_000_000_000_000_000,
        "1790000000",
        "1790000000000",
        " 1790000000.0 ",
        "2026-09-21T14:13:20Z",
        "2026-09-21T14:13:20.000000000Z",
        "2026-09-21T16:13:20+02:00",
        "2026/09/21T14:13:20z",
        "2026-09-21 14:13:20 +0000",
    ],
)
def test_parse_time_forms(value):
    assert parse_time(value, NOW) == NOW


@pytest.mark.parametrize(
    "value",
    [
        "2026-09-21T14:13:20",
        "2020-0327T12:39:05.547336Z",
        "",
        "now",
        "2026-09-21",
        "9" * 49,
        10**400,
        math.nan,
        True,
        None,
        [],
        {},
        "0001-01-01T00:00:00",
    ],
)
def test_parse_time_unusable_without_zone(value):
    assert parse_time(value, NOW) is None


def test_local_time_uses_the_zone_of_the_site():
    zone = ZoneInfo("Europe/Berlin")
    assert parse_time("2026-09-21T16:13:20", NOW, zone) == NOW


def test_a_repeated_hour_is_resolved_by_the_receive_time():
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    for received in (first, first + 3600):
        assert parse_time("2026-10-25T02:30:00", received, zone) == received


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("b2", "b2"),
        ("E3:75:CF:37:4E:23", "E3:75:CF:37:4E:23"),
        ("north/2 boys", "north:2_boys"),
        ("détecteur_pir", "detecteur_pir"),
        ("a" * 64, "a" * 64),
        ("a\x00b", "a_b"),
        ("x\r\ny", "x__y"),
    ],
)
def test_sensor_id(name, expected):
    assert make_sensor_id(name) == expected


@pytest.mark.parametrize("name", ["", " ", "///", "a" * 65, "a" * 10_000, 7, None, [], True])
def test_sensor_id_refused(name):
    with pytest.raises(DecodeError) as caught:
        make_sensor_id(name)
    assert caught.value.reason is Reason.BAD_ID


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        ("23.50", 23.5),
        ("0000", 0.0),
        ("3.384 V", 3.384),
        ("30.11 °C", 30.11),
        ("45%", 45.0),
        ("-1e2", -100.0),
        (True, None),
        ("", None),
        ("ON", None),
        ("12abc", None),
        ("0x10", None),
        ([], None),
        (10**400, math.inf),
    ],
)
def test_number(value, expected):
    assert parse_number(value) == expected


def test_deep_json_is_refused_and_brackets_in_text_do_not_count():
    check_json(b'{"a":"' + b"[" * 500 + b'"}', LIMITS)
    check_json(b"[" * 24 + b"]" * 24, LIMITS)
    check_json(
        b"[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]", LIMITS
    )
    with pytest.raises(DecodeError) as caught:
        check_json(b"[" * 25 + b"]" * 25, LIMITS)
    assert caught.value.reason is Reason.TOO_DEEP
