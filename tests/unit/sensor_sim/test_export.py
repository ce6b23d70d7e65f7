from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from detection.quantities import COLUMN_INDEX, COLUMNS
from sensor_sim.export import HOLD_S, ReadingsCsv, TruthCsv, decimals
from sensor_sim.trace import DeviceTrace, Truth

START = 1_788_775_500.0
KEYS = ("pm1", "pm25", "n03", "tvoc_ppb", "rh", "temp", "rssi")


def made(rows, *, sensor="a", every_s=10.0, seed=1):
    values = np.full((rows, len(COLUMNS)), np.nan)
    drawn = np.random.default_rng(seed).uniform(-90, 900, (rows, len(KEYS)))
    values[:, [COLUMN_INDEX[key] for key in KEYS]] = drawn
    time = START + every_s * np.arange(rows)
    return DeviceTrace(sensor, "room", "sen55", time, time + 0.125, values)


def write(path, chunks, **more):
    with ReadingsCsv(path, **more) as out:
        for traces in chunks:
            out.add(traces)
    return out


def read(path):
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return list(csv.DictReader(io.StringIO(text)))


def part(trace, a, b):
    return replace(trace, time=trace.time[a:b], sent=trace.sent[a:b], values=trace.values[a:b])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "readings.csv"


def test_values_come_back_and_absent_ones_are_empty(out):
    trace = made(200, every_s=1.375)
    values = trace.values.copy()
    values[::7, COLUMN_INDEX["pm25"]] = np.nan
    values[5] = np.nan  # no row
    assert write(out, [[replace(trace, values=values)]]).rows == 199
    for row, i in zip(read(out), [i for i in range(200) if i != 5], strict=True):
        assert float(row["time"]) == pytest.approx(trace.time[i], abs=6e-4)
        for key in COLUMNS:
            half = 0.505 * 10.0 ** -decimals(key)
            got = float(row[key]) if row[key] else math.nan
            assert got == pytest.approx(values[i, COLUMN_INDEX[key]], abs=half, nan_ok=True)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("temp", -12.346, "-12.35"),
        ("temp", -0.001, "0"),
        ("pm25", 0.05, "0.05"),
        ("pm25", 100_000.0, "100000"),
        ("n03", 9_999_999.999, "9999999.999"),
        ("tvoc_ppb", 1_000_000.0, "1000000"),
        ("rssi", -71.0, "-71"),
    ],
)
def test_numbers_are_short_and_exact(out, key, value, text):
    trace = made(1)
    trace.values[0, COLUMN_INDEX[key]] = value
    write(out, [[trace]], quantities=[key])
    assert out.read_text().splitlines()[1] == f"1788775500.000,a,{text}"


def test_any_split_gives_the_same_bytes_in_order_of_time(tmp_path):
    traces = [made(300, sensor=f"s{i}", every_s=1.0 + 0.3 * i, seed=i) for i in range(4)]
    traces.append(replace(traces[0], sensor="skewed", time=traces[0].time - 47.3))
    names = [t.sensor for t in traces]
    whole, split = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    write(whole, [traces], sensors=names)
    cuts = [0, 1, 50, 51, 200, 300]
    chunks = [[part(t, a, b) for t in traces] for a, b in itertools.pairwise(cuts)]
    assert write(split, chunks, sensors=names).left_out == 0
    assert whole.read_bytes() == split.read_bytes()
    times = [float(row["time"]) for row in read(whole)]
    assert times == sorted(times)
    assert len(times) == 1500


def test_a_clock_that_jumps_back_keeps_its_place_or_is_counted(out):
    steady = made(400, every_s=60.0)
    jumped = steady.time - np.where(np.arange(400) >= 200, HOLD_S + 6000.0, 0.0)
    traces = [replace(steady, sensor="jumped", time=jumped), steady]
    done = write(out, [[part(t, a, a + 20) for t in traces] for a in range(0, 400, 20)])
    times = [float(row["time"]) for row in read(out)]
    assert times == sorted(times)
    assert done.rows + done.left_out == 800
    assert 0 < done.left_out <= 200


def test_nothing_is_left_behind_when_it_fails(out):
    def fail():
        with ReadingsCsv(out) as readings:
            readings.add([made(20)])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert list(out.parent.iterdir()) == []


def test_truth_has_the_fields_of_truth(tmp_path):
    path = tmp_path / "truth.csv"
    with TruthCsv(path) as out:
        out.add([Truth("x-1", "s1", "r1", "nicotine_pod", "vape", START, START + 9.87654, puffs=3)])
    (row,) = read(path)
    assert list(row) == [f.name for f in fields(Truth)]
    assert row["arrival"] == ""
    assert row["end"] == "1788775509.877"
    assert (row["source"], row["puffs"], row["masked_by"]) == ("nicotine_pod", "3", "")
