"""A public data set of plumes: what was found stays, place and date go."""

import csv
import random
from itertools import pairwise

from plumewatch.plumes_export import ORIGIN, Answer, pieces
from plumewatch.replay import replay, replay_policy
from tests.support.command import plumewatch


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_answered_alert_is_exported_without_place_and_date(site, tmp_path):
    out = tmp_path / "public"
    result = plumewatch("export", "plumes", "--anonymous", "--out", out, "--config", site.path)
    assert result.code == 0, result.err
    (piece,) = [row for row in rows_of(out / "pieces.csv") if row["verdict"] != "calm"]
    assert (piece["verdict"], piece["model"]) == ("vape", "sen55")
    readings = rows_of(out / "plumes.csv")
    assert len(readings) >= 100
    assert all(ORIGIN <= float(row["time"]) < ORIGIN + 3_600 for row in readings)
    everything = "".join(path.read_text() for path in out.iterdir())
    for secret in ("pw-0", "Lincoln", "Boys", "North", str(int(site.readings[0].time))[:5]):
        assert secret not in everything
    (truth,) = rows_of(out / "plumes.truth.csv")
    assert (truth["sensor"], truth["kind"]) == (piece["sensor"], "vape")
    assert float(truth["seen_pm25"]) > 100


def test_a_model_that_is_no_known_one_is_left_empty(site, tmp_path):
    out = tmp_path / "public"
    text = site.path.read_text()
    assert 'model = "sen55"' in text
    site.path.write_text(text.replace('model = "sen55"', 'model = "Lincoln High, gift of R. Roe"'))
    result = plumewatch("export", "plumes", "--anonymous", "--out", out, "--config", site.path)
    assert result.code == 0, result.err
    assert {row["model"] for row in rows_of(out / "pieces.csv")} == {""}
    assert "Lincoln" not in "".join(path.read_text() for path in out.iterdir())


def test_pieces_of_a_sensor_do_not_overlap():
    answers = [
        Answer(sensor, at, is_vaping=True)
        for sensor, at in [("a", 10_000.0), ("a", 10_900.0), ("b", 10_900.0), ("a", 13_000.0)]
    ]
    chosen = pieces(answers, (0.0, 40_000.0), ["a"], random.Random(1), lambda *_: False)
    alerted = sorted((p.sensor, p.alerted) for p in chosen if p.alerted is not None)
    assert alerted == [("a", 10_000.0), ("a", 13_000.0), ("b", 10_900.0)]
    assert len([p for p in chosen if p.alerted is None]) == 3
    of_a = sorted((p.start, p.end) for p in chosen if p.sensor == "a")
    assert all(end <= start for (_, end), (start, _) in pairwise(of_a))


def test_the_export_can_be_replayed(site, tmp_path):
    out = tmp_path / "public"
    plumewatch("export", "plumes", "--anonymous", "--out", out, "--config", site.path)
    found = replay([out / "plumes.csv"], policy=replay_policy(None))
    assert [alert.kind for alert in found.not_withdrawn("vape")] == ["vape"]


def test_nothing_is_written_unless_it_is_meant(site, tmp_path):
    result = plumewatch("export", "plumes", "--out", tmp_path / "public", "--config", site.path)
    assert result.code == 2
    assert "--anonymous" in result.err
    assert not (tmp_path / "public").exists()
