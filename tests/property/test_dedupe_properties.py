"""Duplicates against a plain set: nothing lost, nothing twice, whatever the order."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.duplicates.dedupe import Dedupe
from storage.reading import Reading

READINGS = st.builds(
    lambda sensor, time, seq, key: Reading(sensor, time, time, {key: 1.0}, seq=seq),
    st.sampled_from("abc"),
    st.sampled_from([100.0, 101.0, 102.5, 99.0]),
    st.sampled_from([None, 0, 1, 2]),
    st.sampled_from(["pm25", "rh"]),
)


def identity(reading):
    return reading.sensor, reading.time, reading.seq, tuple(reading.values)


@given(st.lists(READINGS, max_size=80))
def test_within_the_window_it_is_a_set(readings):
    dedupe = Dedupe(window=1000)
    accepted = [identity(r) for r in readings if dedupe.is_new(r)]
    assert accepted == list(dict.fromkeys(identity(r) for r in readings))


@given(st.lists(READINGS, max_size=60), st.integers(0, 60))
def test_a_restart_in_between_changes_nothing(readings, at):
    before = Dedupe()
    accepted = [r for r in readings[:at] if before.is_new(r)]
    after = Dedupe()
    after.restore(accepted)
    accepted += [r for r in readings[:at] + readings[at:] if after.is_new(r)]
    assert len({identity(r) for r in accepted}) == len(accepted)
    assert {identity(r) for r in accepted} == {identity(r) for r in readings}


@given(st.lists(READINGS, max_size=80), st.integers(1, 4), st.integers(1, 3))
def test_a_small_window_never_loses_a_new_reading(readings, window, sensors):
    dedupe = Dedupe(window, sensors)
    accepted = {identity(r) for r in readings if dedupe.is_new(r)}
    assert accepted == {identity(r) for r in readings}
    assert len(dedupe) <= sensors
