"""Test any stamps in any order, with copies, restarts and little memory: no loss, no duplicates.

Every accepted reading in the journal is in the series with a unique time.
"""

import math

from hypothesis import given
from hypothesis import strategies as st

from ingest.copies import JournalSearch, RecentReadings
from storage.journal import Journal
from storage.reading import Reading
from storage.timeseries.sqlite import SqliteSeries

T = 1_790_000_000.0
STAMPS = st.one_of(
    st.sampled_from([T, T + 0.001, T + 0.5, T + 1.0, T + 1.001, T + 2.0]),
    st.floats(T - 5.0, T + 5.0),
    st.sampled_from([T, math.nextafter(T, 2 * T), T + 0.001, math.nextafter(T + 0.001, 2 * T)]),
    st.integers(int(T) - 3, int(T) + 3).map(float),
)
SAID = st.lists(
    st.tuples(st.sampled_from("ab"), STAMPS, st.sampled_from([None, 0, 1, 2]), st.integers(0, 3)),
    max_size=60,
)


def reading(said, received):
    sensor, stamp, seq, content = said
    return Reading(sensor, stamp, received, {"pm25": float(content)}, seq=seq)


@given(
    said=SAID,
    gap_s=st.sampled_from([0.0, 0.0001, 0.5, 3.0]),
    window=st.sampled_from([1, 3, 512]),
    restart=st.integers(0, 60),
)
def test_every_accepted_reading_is_in_the_series_once(said, gap_s, window, restart):
    recent = RecentReadings(window)
    with Journal(":memory:") as journal, SqliteSeries(":memory:") as series:
        search = JournalSearch(journal)
        for k, each in enumerate([*said, *said]):
            if k == restart:
                recent = RecentReadings(window)
                recent.restore([e.reading for e in journal.read(0, 1_000)[0]])
            settled = recent.settle(reading(each, T + k * gap_s))
            if settled is not None:
                journal.commit(search.split_known([settled])[0])
        stored = [entry.reading for entry in journal.read(0, 1_000)[0]]
        content = [(r.sensor, r.sensor_stamp, r.seq, r.values["pm25"]) for r in stored]
        assert {(s, at, n, float(c)) for s, at, n, c in said} == set(content)
        if all(r.is_timed for r in stored):
            assert len(content) == len(set(content))
        series.write(stored, len(stored))
        assert len(series.read_between(0, 4e9)) == len(stored)
        assert len({(r.sensor, round(r.time * 1e6)) for r in stored}) == len(stored)
        assert all(0.0 <= r.time - r.sensor_stamp < 2.0 for r in stored if r.is_timed)
