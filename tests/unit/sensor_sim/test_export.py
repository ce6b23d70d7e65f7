from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from detection.quantities import COLUMN_INDEX, COLUMNS, QUANTITIES
from sensor_sim.export import HOLD_S, ReadingsCsv, TruthCsv, decimals
from sensor_sim.trace import Truth
from tests.support.traces import START, make_trace

KEYS = ("pm1", "pm25", "n03", "tvoc_ppb", "rh", "temp", "rssi")


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


def test_header_and_an_empty_file(out):
    done = write(out, [])
    assert out.read_bytes() == b"time,sensor," + ",".join(COLUMNS).encode() + b"\n"
    assert done.rows == 0


def test_values_come_back_and_absent_ones_are_empty(out):
    trace = make_trace(KEYS, rows=200, every_s=1.375)
    values = trace.values.copy()
    values[::7, COLUMN_INDEX["pm25"]] = np.nan
    trace = replace(trace, values=values)
    write(out, [[trace]])
    rows = read(out)
    assert len(rows) == 200
    for i, row in enumerate(rows):
        assert float(row["time"]) == pytest.approx(trace.time[i], abs=6e-4)
        for key in COLUMNS:
            value = values[i, COLUMN_INDEX[key]]
            if math.isnan(value):
                assert row[key] == ""
            else:
                half = 0.5 * 10.0 ** -decimals(key)
                assert float(row[key]) == pytest.approx(value, abs=half * 1.01)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("temp", -0.5, "-0.5"),
        ("temp", -12.346, "-12.35"),
        ("temp", -0.001, "0"),
        ("temp", 20.0, "20"),
        ("pm25", 0.0, "0"),
        ("pm25", 7.1, "7.1"),
        ("pm25", 0.05, "0.05"),
        ("pm25", 100_000.0, "100000"),
        ("n03", 9_999_999.999, "9999999.999"),
        ("n03", 0.001, "0.001"),
        ("tvoc_ppb", 1_000_000.0, "1000000"),
        ("tvoc_ppb", 999_999.0, "999999"),
        ("rssi", -71.0, "-71"),
    ],
)
def test_numbers_are_short_and_exact(out, key, value, text):
    trace = make_trace([key], rows=1)
    values = trace.values.copy()
    values[0, COLUMN_INDEX[key]] = value
    write(out, [[replace(trace, values=values)]], quantities=[key])
    assert out.read_text().splitlines()[1] == f"1788775500.000,north-1-girls,{text}"


def test_rows_are_in_order_of_time_over_all_sensors_whatever_the_intervals(out):
    fast = make_trace(KEYS, sensor="a", rows=3600, every_s=1.0)
    slow = make_trace(KEYS, sensor="b", rows=6, every_s=600.0)
    skewed = replace(fast, sensor="c", time=fast.time - 47.3)
    chunks = [
        [
            part(fast, i * 600, i * 600 + 600),
            part(slow, i, i + 1),
            part(skewed, i * 600, i * 600 + 600),
        ]
        for i in range(6)
    ]
    done = write(out, chunks)
    rows = read(out)
    times = [float(row["time"]) for row in rows]
    assert times == sorted(times)
    assert (done.rows, done.left_out) == (7206, 0)
    assert len(rows) == 7206


def test_any_split_gives_the_same_bytes(tmp_path):
    traces = [
        make_trace(KEYS, sensor=f"s{i}", rows=300, every_s=1.0 + 0.3 * i, seed=i) for i in range(4)
    ]
    names = [t.sensor for t in traces]
    whole, split = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    write(whole, [traces], sensors=names)
    cuts = [0, 1, 50, 51, 200, 300]
    chunks = [[part(t, a, b) for t in traces] for a, b in itertools.pairwise(cuts)]
    write(split, chunks, sensors=names)
    assert whole.read_bytes() == split.read_bytes()


def test_a_clock_that_jumps_back_keeps_its_place_or_is_counted(out):
    trace = make_trace(KEYS, rows=400, every_s=60.0)
    steady = replace(trace, sensor="steady")
    jumped = trace.time - np.where(np.arange(400) >= 200, HOLD_S + 6000.0, 0.0)
    chunks = [
        [part(replace(trace, time=jumped), a, a + 20), part(steady, a, a + 20)]
        for a in range(0, 400, 20)
    ]
    done = write(out, chunks)
    times = [float(row["time"]) for row in read(out)]
    assert times == sorted(times)
    assert done.rows + done.left_out == 800
    assert 0 < done.left_out <= 200


def test_a_reading_without_a_value_is_no_row(out):
    trace = make_trace(KEYS, rows=5)
    values = trace.values.copy()
    values[2] = np.nan
    assert write(out, [[replace(trace, values=values)]]).rows == 4


def test_nothing_is_left_behind_when_it_fails(out):
    def fail():
        with ReadingsCsv(out) as readings:
            readings.add([make_trace(KEYS)])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert list(out.parent.iterdir()) == []


def test_the_input_is_not_written_to(out):
    trace = make_trace(KEYS)
    for array in (trace.time, trace.sent, trace.values):
        array.flags.writeable = False
    write(out, [[trace]])


def test_decimals_show_what_the_resolution_can_mean():
    for key, quantity in QUANTITIES.items():
        assert 10.0 ** -decimals(key) <= max(quantity.resolution, 1.0)


def test_truth_has_the_fields_of_truth(tmp_path):
    path = tmp_path / "truth.csv"
    truth = Truth(
        session="x-1",
        sensor="s1",
        room="r1",
        source="nicotine_pod",
        kind="vape",
        start=START,
        end=START + 9.87654,
        arrival=math.nan,
        peak_time=START + 3,
        peak_excess=120.5,
        baseline=4.0,
        masked_by="",
        puffs=3,
    )
    with TruthCsv(path) as out:
        out.add([truth])
    (row,) = read(path)
    assert list(row) == [f.name for f in fields(Truth)]
    assert row["arrival"] == ""
    assert row["end"] == "1788775509.877"
    assert (row["source"], row["puffs"], row["masked_by"]) == ("nicotine_pod", "3", "")
