"""Test that a wrong type in a configuration is reported for its key, never as a traceback."""

import copy
import tomllib
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pytest

from plumewatch.config.faults import ConfigError
from plumewatch.config.load import parse

DEMO = tomllib.loads((Path(__file__).parents[3] / "plumewatch/cli/school.toml").read_text())
MORE = tomllib.loads(
    """
timeseries = { raw_days = 30 }
journal = { keep_days = 7 }
mapping = [{ version = 1, name = "acme", topic = "acme/{id}/state", sensor = { capture = "id" }, \
field = [{ quantity = "pm25", unit = "ug/m3", path = ["pm"] }], example = [{ topic = \
"acme/a/state", payload = '{"pm": 7}', sensor = "a", values = { pm25 = 7 } }] }]
route = [{ topic = "lora/+/up", decoder = "milesight" }]
holiday = [{ name = "Labor Day", first = 2026-09-07 }]
term = [{ name = "Fall", first = 2026-08-24, last = 2026-12-18 }]
[ingest]
topics = ["site/#"]
http = { port = 9000 }
source = [{ name = "a", decoder = "halo", token_file = "t", sensors = ["n1-boys"] }]
[[override]]
shift = "hall-gym"
start = 2026-09-08T08:00:00
end = 2026-09-08T09:00:00
remove = "monitor-gym"
""".replace("\\\n", "")
)
FULL = DEMO | MORE
FULL["room"], FULL["sensor"], FULL["zone"] = ([*FULL[key]] for key in ("room", "sensor", "zone"))
FULL["sensor"][0] |= {"decoder": "mapping:acme", "aliases": ["Tasmota-1"]}
quiet = {"start": "17:00", "end": "07:00", "days": ["mon"]}
FULL["staff"][0] |= {"quiet_hours": [quiet]}
WRONG = (-7, [], {}, "", [{}], [7], "x", [[]], {"x": 1}, datetime(2026, 1, 1, tzinfo=UTC))


def places(tree, above=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def changed(place, change):
    tree = copy.deepcopy(FULL)
    parent = tree
    for key in place[:-1]:
        parent = parent[key]
    change(parent, place[-1])
    return tree


def faults_of(tree):
    try:
        parse(tree, base=Path())
    except ConfigError as error:
        return error.faults
    return []


def test_the_full_configuration_has_no_fault():
    assert parse(FULL, base=Path()).build_roster().shifts


def test_a_date_is_a_fault_at_its_own_path_wherever_it_does_not_belong():
    for place in places(FULL):
        if place[-1] in ("first", "last", "since", "start", "end"):
            continue
        tree = changed(place, lambda parent, key: parent.__setitem__(key, WRONG[-1]))
        paths = [fault.path for fault in faults_of(tree)]
        own = (
            place[:2] if place[0] == "mapping" else place
        )  # here, a list of sources is allowed too
        assert any(path.startswith(".".join(map(str, own))) for path in paths), (place, paths)


@pytest.mark.parametrize("key", ["start", "end"])
@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:00", "0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_that_is_out_of_range_in_utc_is_a_fault(key, text):
    value = datetime.fromisoformat(text)
    tree = changed(("override", 0, key), lambda parent, key: parent.__setitem__(key, value))
    assert [fault.path for fault in faults_of(tree)] == [f"override.0.{key}"]


@pytest.mark.parametrize("first", range(2))
def test_any_wrong_value_or_missing_key_is_reported_or_accepted(first):
    wrong = cycle(WRONG[first:] + WRONG[:first])
    for place in places(FULL):
        value = next(wrong)
        faults_of(changed(place, lambda parent, key, value=value: parent.__setitem__(key, value)))
    for place in list(places(FULL))[first::2]:
        faults_of(changed(place, lambda parent, key: parent.__delitem__(key)))
