"""Test times as people write them, in the school's zone, including clock changes."""

from zoneinfo import ZoneInfo

import pytest

from plumewatch.parse_time import TimeError, parse_time

ZONE = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("2026-11-01", False, 1793505600.0),
        ("2026-11-01", True, 1793595600.0),  # a day of 25 hours
        ("2026-03-08", True, 1773028800.0),  # a day of 23 hours
        ("2026-09-07T06:05", False, 1788775500.0),
        ("2026-09-07 06:05:00.5", True, 1788775500.5),
        ("2026-09-07T10:05:00+00:00", False, 1788775500.0),
        ("0", False, 0.0),
        (" 2026-11-01 ", False, 1793505600.0),
    ],
)
def test_times(text, end, expected):
    assert parse_time(text, ZONE, end=end) == expected


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "",
        "nan",
        "1e300",
        "9999-12-31",
        "2262-01-02",
        "0001-01-01T00:00+14:00",
        "2026-13-01",
        "07.09.2026",
    ],
)
def test_what_is_not_a_time(text):
    with pytest.raises(TimeError, match=r"none of: a date|not a time") as error:
        parse_time(text, ZONE)
    assert "\n" not in str(error.value)
