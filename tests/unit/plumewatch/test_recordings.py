"""Test which recordings can be read, and the message if one can't."""

import gzip
from datetime import UTC, datetime

import pytest

from ingest.recordings import RecordingError, read_recordings

T = 1_790_000_000


@pytest.fixture
def write(tmp_path):
    def write(text, name="r.csv"):
        path = tmp_path / name
        raw = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write


def read(*paths):
    return list(read_recordings(paths))


def refused(*paths):
    with pytest.raises(RecordingError) as error:
        read(*paths)
    text = str(error.value)
    assert text.startswith(str(paths[-1]))
    assert "\n" not in text
    return text[len(str(paths[-1])) + 2 :]


def test_unix_time_and_missing_cells(write):
    first, second = read(write(f"time,sensor,pm25,rh\n{T},s1,4.5,\n{T + 0.25},s2,,41\n"))
    assert (first.sensor, first.time, first.received) == ("s1", T, T)
    assert first.values == {"pm25": 4.5}
    assert (second.time, second.values) == (T + 0.25, {"rh": 41.0})


@pytest.mark.parametrize("stamp", ["2026-09-07T10:05:00Z", "2026-09-07 06:05:00.000-04:00"])
def test_iso_time(write, stamp):
    (reading,) = read(write(f"time,sensor,pm25\n{stamp},s,4\n"))
    assert reading.time == datetime(2026, 9, 7, 10, 5, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "stamp", ["2026-09-07T10:05:00", "yesterday", "nan", "inf", "1e300", "", "1790000000000"]
)
def test_bad_time_with_its_line(write, stamp):
    output = refused(write(f"time,sensor,pm25\n{T},s,4\n{stamp},s,4\n"))
    assert output.startswith(f"line 3: time: {stamp!r} is")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"{T + 2},s,4;5", "line 3: pm25: '4;5' is not a number"),
        (f"{T + 2},s", "line 3: 2 cells, but the header has 3"),
        (f"{T + 2},,4", "line 3: sensor: "),
        (b"1790000002,\xff\xfe,4", "not UTF-8"),
    ],
)
def test_a_bad_row_with_its_line(write, row, message):
    row = row if isinstance(row, bytes) else row.encode()
    assert message in refused(write(f"time,sensor,pm25\n{T},s,4\n".encode() + row + b"\n"))


def test_a_sensor_is_named_as_ingest_names_it(write):
    (reading,) = read(write(f"time,sensor,pm25\n{T},north/2 boys,4\n"))
    assert reading.sensor == "north:2_boys"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("sensor,pm25", "no column 'time'"),
        ("time,pm25", "no column 'sensor'"),
        ("pm25", "no column 'time'; no column 'sensor'"),
        ("time,sensor,pm25,pm25", "column 'pm25' occurs twice"),
        ("time,sensor,PM2.5,hum", "unknown columns PM2.5, hum: use pm25, rh"),
    ],
)
def test_bad_header(write, header, message):
    assert refused(write(header + "\n1,2,3,4\n")).startswith(f"header: {message}")


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-inf", "1e999", "-3", "1000001"])
def test_values_that_are_none_are_faults(write, cell):
    (reading,) = read(write(f"time,sensor,pm25,rh\n{T},s,{cell},41\n"))
    assert reading.values == {"rh": 41.0}
    assert reading.faults == ("pm25",)


def test_truncated_gzip(write):
    rows = "".join(f"{T + k},s,{k % 97}.{k % 89}\n" for k in range(5000))
    path = write("time,sensor,pm25\n" + rows, "r.csv.gz")
    path.write_bytes(path.read_bytes()[:-100])
    assert "not a complete gzip file" in refused(path)


def test_files_are_merged_in_time_order(write):
    one = write(f"time,sensor,pm25\n{T},a,1\n{T + 2},a,2\n{T + 5},a,3\n", "1.csv")
    two = write(f"sensor,time,rh\nb,{T + 1},1\nb,{T + 2},2\n", "2.csv.gz")
    merged = read(one, two)
    assert [(r.sensor, r.time - T) for r in merged] == [
        ("a", 0), ("b", 1), ("a", 2), ("b", 2), ("a", 5),
    ]  # fmt: skip
    assert [r.values for r in merged if r.sensor == "b"] == [{"rh": 1.0}, {"rh": 2.0}]


def test_progress_adds_up_to_the_files(write):
    rows = "".join(f"{T + k},s,{k % 97}\n" for k in range(5000))
    paths = [write("time,sensor,pm25\n" + rows, name) for name in ("a.csv", "b.csv.gz")]
    sizes = []
    assert sum(1 for _ in read_recordings(paths, sizes.append)) == 10_000
    assert sum(sizes) == sum(path.stat().st_size for path in paths)


class TestFutureStamps:
    def rows(self, *times, sensor="s"):
        return "time,sensor,pm25\n" + "".join(f"{t},{sensor},4\n" for t in times)

    def test_one_is_put_between_its_neighbors(self, write):
        found = read(write(self.rows(T, T + 5, 4_070_908_800, T + 15, T + 20)))
        assert [r.time for r in found] == [T, T + 5, T + 10, T + 15, T + 20]
        assert [r.flags for r in found] == [(), (), ("time_replaced",), (), ()]

    def test_the_first_and_several(self, write):
        found = read(write(self.rows(4e9, 4e9 + 5, T, T + 5)))
        times = [r.time for r in found]
        assert times == sorted(times)
        assert T - 1 < times[0] < times[1] <= T + 0.002
        assert times[2:] == [T, T + 5]

    def test_a_late_row_does_not_move_the_others(self, write):
        times = [T + 5 * k for k in range(100)]
        times.insert(50, T - 10 * 86_400)
        found = read(write(self.rows(*times)))
        assert [r.time for r in found] == times
        assert not any(r.flags for r in found)

    def test_a_sensor_that_was_off_for_a_month(self, write):
        times = [T, T + 5, T + 30 * 86_400, T + 30 * 86_400 + 5]
        assert [r.time for r in read(write(self.rows(*times)))] == times


ROW = f"{T},s1,4.5\n".encode()


def test_a_cell_without_an_end_is_refused(write):
    fault = refused(write(b"time,sensor,pm25\n" + b'"' + b"x\n" * 100_000 + ROW))
    assert "field larger than" in fault


def test_many_long_rows_are_no_long_row(write):
    wide = ",".join(["1"] * 100)
    header = "time,sensor,pm25," + ",".join(f"c{k}" for k in range(100))
    rows = "".join(f"{T + k},s1,4.5,{wide}\n" for k in range(6_000))
    assert len(read(write(f"{header}\n{rows}"))) == 6_000
