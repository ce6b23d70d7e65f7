"""Test worlds: seeds, families, repeatability."""

import numpy as np
import pytest

from benchmarks.detection_bench import worlds
from benchmarks.detection_bench.worlds import WorldSpec, family_of, load_world
from detection.quantities import COLUMN_INDEX
from sensor_sim.devices.models import MODELS


def test_every_model_has_a_family():
    assert {family_of(m) for m in MODELS} == set(worlds.FAMILIES)
    assert set(worlds.HELD_OUT) < set(worlds.FAMILIES)


def test_a_world_is_kept_and_read_back(tmp_path):
    spec = WorldSpec(90_500, rooms=2, hours=0.2, intervals=(5,))
    first = load_world(spec, tmp_path)
    again = load_world(spec, tmp_path)
    assert len(list(tmp_path.rglob("*.pickle"))) == 1
    for a, b in zip(first.series, again.series, strict=True):
        assert a.channels == b.channels
        np.testing.assert_array_equal(a.data, b.data)
    assert len(first.truths) == len(again.truths)
    assert {s.interval_s for s in first.series} == {5}


def test_values_have_every_column(tmp_path):
    series = load_world(WorldSpec(90_501, rooms=1, hours=0.1, intervals=(10,)), tmp_path).series[0]
    values = series.values()
    assert values.shape == (series.time.size, len(COLUMN_INDEX))
    pm25 = series.column("pm25")
    np.testing.assert_array_equal(values[:, COLUMN_INDEX["pm25"]], pm25)
    assert series.column("co") is None


def test_true_time_is_when_the_reading_was_published(tmp_path):
    series = load_world(WorldSpec(90_502, rooms=1, hours=0.1, intervals=(10,)), tmp_path).series[0]
    np.testing.assert_array_equal(series.true_time(series.time), series.sent)
    between = series.true_time(series.time[3:4] + 1.0)
    assert between[0] == series.sent[3]


def test_stale_worlds_go(tmp_path):
    old = tmp_path / "detection-worlds" / "gone"
    old.mkdir(parents=True)
    (old / "x.pickle").write_bytes(b"")
    worlds._drop_stale(tmp_path / "detection-worlds" / "now")
    assert not old.exists()


def test_references_refuse_test_seeds(tmp_path):
    learned = pytest.importorskip("benchmarks.detection_bench.learned")
    with pytest.raises(ValueError, match="not training seeds"):
        learned.train([WorldSpec(90_000)], [], build=tmp_path)
