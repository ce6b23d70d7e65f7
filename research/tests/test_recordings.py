"""Test reading of readings and truth from files."""

import gzip
import math

import numpy as np
import pytest

from detection.quantities import COLUMN_INDEX
from research.benchmark.recordings import make_series, read_labeled, read_series
from research.tests.physics.plausibility import recordings
from research.training.recordings import prepared

READINGS = """time,sensor,pm1,pm25,rh,note
20,b,1,2,,x
10,a,1.5,3,40,x
12,a,,4,41,x
"""
TRUTH = """sensor,kind,style,onset,end,device,dt,vol,ach,seen_pm25,base_pm25,arrive
a,vape,pod,10,11,sen55,2,40,3,50,5,10.5
a,spray,hair,14,15,sen55,2,40,3,,5,
"""


@pytest.mark.parametrize("pack", [str.encode, lambda text: gzip.compress(text.encode())])
def test_labeled_recordings(tmp_path, pack):
    end = ".gz" if pack is not str.encode else ""
    (tmp_path / f"pod.csv{end}").write_bytes(pack(READINGS))
    (tmp_path / f"pod.truth.csv{end}").write_bytes(pack(TRUTH))
    (recording,) = read_labeled(tmp_path)
    assert recording.name == "pod"
    assert recording.spans == ((10, 20),)
    vape, spray = recording.happenings
    assert (vape.kind, vape.interval_s, vape.arrival) == ("vape", 2, 10.5)
    assert spray.seen_pm25 == 0
    assert math.isnan(spray.arrival)


def test_readings_of_a_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(READINGS, encoding="utf-8")
    series = {s.sensor.name: s for s in read_series(path)}
    assert series["a"].time.tolist() == [10, 12]
    assert series["a"].sensor.interval_s == 2
    assert series["b"].sensor.channels == ("pm1", "pm25")
    assert series["b"].get_column("rh") is None
    np.testing.assert_array_equal(series["a"].get_column("pm1"), [1.5, np.nan])


def test_a_folder_without_truth(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"truth\.csv"):
        list(read_labeled(tmp_path))


def test_matrix_has_every_column():
    columns = {"pm25": np.array([1.0, 2, 3]), "co2": np.full(3, np.nan), "odd": np.ones(3)}
    series = make_series("a", "", "", np.arange(3.0), columns)
    assert series.sensor.channels == ("pm25",)
    assert series.build_matrix(1, 3).shape == (2, len(COLUMN_INDEX))
    assert series.build_matrix(1, 3)[:, COLUMN_INDEX["pm25"]].tolist() == [2, 3]
    assert series.select_after(1.5).time.tolist() == [2]


@pytest.mark.parametrize(
    ("channels", "group"),
    [
        (("pm1", "pm25", "voc_index"), "sizes and VOC"),
        (("pm1", "pm25", "rh"), "sizes, no VOC"),
        (("pm25", "tvoc_ppb"), "VOC, no sizes"),
        (("pm25",), "neither"),
    ],
)
def test_channel_groups(channels, group):
    series = make_series("a", "", "", np.arange(2.0), dict.fromkeys(channels, np.ones(2)))
    assert series.sensor.channel_group == group


def test_a_test_has_other_days_of_the_air_than_training():
    folder = recordings()
    if not folder.is_dir():
        pytest.skip("no real recordings next to this checkout")
    taught, _ = prepared(folder, 1, 6.0)
    tested, sessions = prepared(folder, 90_000, 6.0, is_test=True)
    used = set(zip(taught.sensor.tolist(), taught.time.tolist(), strict=True))
    names = {name: number for number, name in enumerate(taught.names)}
    for number, name in enumerate(tested.names):
        days = tested.time[tested.sensor == number].tolist()
        assert used.isdisjoint((names.get(name), time) for time in days)
    assert {one.sensor for one in sessions} <= set(tested.names)
    assert any(one.is_visible for one in sessions)
