"""Test which values of a sensor with one value per topic count as usual."""

import itertools

import pytest

from ingest.decoding import UsualValues


def list_unusual(*streams, end_s=20_000.0):
    """Return when each quantity was unusual; streams are of quantity, interval, begin and end."""
    arrivals = []
    for key, every_s, begin_s, stop_s in streams:
        times = itertools.takewhile(
            lambda at, stop_s=stop_s: at < min(stop_s, end_s), itertools.count(begin_s, every_s)
        )
        arrivals += [(at, key) for at in times]
    values, found = UsualValues(), {}
    for at, key in sorted(arrivals):
        if values.find_unusual([key], at):
            found.setdefault(key, []).append(at)
    return found


FOREVER = 1e9
PARTICLES = [("pm1", 10.0, 0.0, FOREVER), ("pm25", 10.0, 0.1, FOREVER)]


@pytest.mark.parametrize(
    "streams",
    [
        [("rh", 10.0, 0.2, FOREVER)],
        [("rh", 10.0, 9.9, FOREVER)],
        [("rh", 3.0, 1.0, FOREVER), ("voc_index", 1.0, 1.0, FOREVER)],
        [("rh", 300.0, 299.0, FOREVER)],
        [("pm1", 2.0, 3_000.5, 3_100.0), ("rh", 60.0, 5.0, 3_000.0), ("rh", 2.0, 3_000.3, 3_100.0)],
    ],
    ids=["with particles", "before particles", "more often", "seldom", "changes with particles"],
)
def test_a_single_sensors_values_are_usual(streams):
    found = list_unusual(*PARTICLES, *streams)
    assert found == {}


@pytest.mark.parametrize(("every_s", "begin_s"), [(0.4, 5_000.0), (0.4, 300.0), (5.0, 5_000.0)])
@pytest.mark.parametrize("own", [True, False])
def test_values_of_a_second_sender_are_not(every_s, begin_s, own):
    rh = [("rh", 10.0, 0.2, FOREVER)] if own else []
    found = list_unusual(*PARTICLES, *rh, ("rh", every_s, begin_s, FOREVER), end_s=begin_s + 600)
    assert found["rh"][0] < begin_s + 8 * every_s
    expected = 600 / every_s
    assert len(found["rh"]) > 0.4 * expected
    assert found.keys() == {"rh"}


@pytest.mark.parametrize("key", ["pm10", "nox_index"])
def test_a_new_quantity_is_unusual_for_hours(key):
    found = list_unusual(*PARTICLES, (key, 10.0, 1_000.0, FOREVER))
    assert found[key][0] == 1_000.0
    assert found[key][-1] == pytest.approx(1_000.0 + 4 * 3600, abs=20)
