"""Test that replay writes the documented columns, and the same bytes for any batch size."""

import csv
import gzip
import json

import pytest

from alerts.policy import AlertPolicy
from ingest.recordings import read_recordings
from plumewatch import replay as module
from plumewatch.replay import ALERT_COLUMNS, EVENT_COLUMNS, replay, write_alerts, write_events
from storage.registry import Registry, Room, Sensor
from tests.support.plumes import readings_of_puff


def recording(path, *more, columns=("pm1", "pm25", "pm10", "voc_index", "rh")):
    rows = sorted(
        [*readings_of_puff("s1"), *readings_of_puff("s2", onset_s=200, top=90.0), *more],
        key=lambda r: (r.time, r.sensor),
    )
    lines = [",".join(("time", "sensor", *columns))]
    for r in rows:
        cells = [str(r.values[c]) if c in r.values else "" for c in columns]
        lines.append(",".join((f"{r.time:.2f}", r.sensor, *cells)))
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def written(folder, result):
    folder.mkdir()
    write_alerts(folder / "alerts.csv", result.alerts)
    write_events(folder / "events.csv", result)
    assert sorted(p.name for p in folder.iterdir()) == ["alerts.csv", "events.csv"]
    return [(folder / name).read_bytes() for name in ("alerts.csv", "events.csv")]


def replayed(paths, registry=None):
    return replay(read_recordings(paths), policy=AlertPolicy(), registry=registry)


@pytest.fixture
def puffs(tmp_path):
    return recording(tmp_path / "puffs.csv")


def test_columns_and_rows(tmp_path, puffs):
    written(tmp_path / "out", replayed([puffs]))
    with (tmp_path / "out/alerts.csv").open(newline="") as file:
        alerts = list(csv.DictReader(file))
    assert tuple(alerts[0]) == ALERT_COLUMNS
    assert ALERT_COLUMNS == ("sensor", "alerted", "kind", "onset", "confidence", "incident")
    assert [(a["sensor"], a["kind"]) for a in alerts] == [("s1", "vape"), ("s2", "vape")]
    assert all(float(a["alerted"]) > float(a["onset"]) for a in alerts)
    assert len({a["incident"] for a in alerts}) == 2
    with (tmp_path / "out/events.csv").open(newline="") as file:
        events = list(csv.DictReader(file))
    assert tuple(events[0]) == EVENT_COLUMNS
    assert EVENT_COLUMNS == (
        "sensor", "kind", "onset", "alerted", "peak_time", "end", "confidence", "evidence",
    )  # fmt: skip
    for event in events:
        evidence = json.loads(event["evidence"])
        assert evidence["channels"]["pm25"]["baseline"] == pytest.approx(4, abs=0.5)
        assert sum(evidence["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_the_same_input_gives_the_same_bytes(tmp_path, puffs):
    packed = recording(tmp_path / "puffs.csv.gz")
    runs = [
        written(tmp_path / f"out{k}", replayed([path]))
        for k, path in enumerate((puffs, puffs, packed))
    ]
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("size", [1, 3, 77, 100_000])
def test_any_batch_size_gives_the_same(tmp_path, puffs, monkeypatch, size):
    whole = written(tmp_path / "whole", replayed([puffs]))
    monkeypatch.setattr(module, "_BATCH", size)
    assert written(tmp_path / "parts", replayed([puffs])) == whole


def test_sensors_of_one_room_are_one_incident(tmp_path, puffs):
    registry = Registry.build(
        [Room("r", "Room", "2", "North", "Site")], [Sensor("s1", "r"), Sensor("s2", "r")]
    )
    result = replayed([puffs], registry=registry)
    assert len({a.incident for a in result.alerts}) == len(result.alerts) == 1


def test_readings_that_cannot_be_judged_are_counted(puffs, tmp_path):
    lines = puffs.read_text().splitlines()
    back = tmp_path / "back.csv"
    back.write_text("\n".join([*lines[:50], *lines[40:60]]) + "\n")
    assert replayed([back]).skipped == 10
