"""Test that recordings are reproducible, cached on disk, and separate for each world."""

import numpy as np
import pytest

from research.benchmark import world_recordings
from research.benchmark.world_recordings import WorldSpec, load, sources_hash
from research.worlds import WORLDS


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    spec = WorldSpec("two_zones", "busy", 90_500, rooms=3, lead_in=0.01, days=0.02)
    return spec, folder, load(spec, folder)


def test_a_recording_is_kept_and_read_back(kept):
    spec, folder, first = kept
    again = load(spec, folder)
    assert [p.relative_to(folder) for p in folder.rglob("*.pickle")] == [spec.path]
    assert list(map(str, again.happenings)) == list(map(str, first.happenings))
    for a, b in zip(first.series, again.series, strict=True):
        assert a.sensor == b.sensor
        np.testing.assert_array_equal(a.values, b.values)


def test_the_lead_in_is_not_scored(kept):
    _, _, recording = kept
    ((begin, end),) = recording.spans
    assert end - begin == pytest.approx(0.02 * 86_400)
    for series in recording.series:
        assert series.time[0] < begin < series.time[-1]
        assert (np.diff(series.time) > 0).all()


def test_sensors_have_their_device_and_interval(kept):
    _, _, recording = kept
    truth = {h.sensor: h for h in recording.happenings}
    for sensor in (s.sensor for s in recording.series):
        assert sensor.device == truth[sensor.name].device
        assert sensor.interval_s == pytest.approx(truth[sensor.name].interval_s, rel=0.3)


def test_worlds_are_kept_apart():
    assert len({sources_hash(world) for world in WORLDS}) == len(WORLDS)


def test_stale_recordings_go(tmp_path):
    old, new = (tmp_path / f"two_zones-{h}" for h in ("gone", sources_hash("two_zones")))
    for folder in (old, new):
        folder.mkdir()
        (folder / "x.pickle").write_bytes(b"")
    world_recordings.drop_stale(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [new.name]
