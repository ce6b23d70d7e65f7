"""Readings out of and into every store: all of them, in order, the same again."""

import csv
import gzip
import io
import random
import re
import time as clock
from datetime import UTC, datetime

import polars as pl
import pytest

from detection.quantities import COLUMNS, QUANTITIES
from ingest.files.readings_export import SCHEMA
from ingest.files.recordings import read_recordings
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import series_of
from storage.journal import DeadLetter, Journal
from storage.reading import Reading
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.writer import REASON, RECORD_REASON
from tests.support.command import plumewatch
from tests.support.fork_server import shared
from tests.support.influx import NAMED, Influxd, influxql, own_database

DAY = 86_400.0
NOW = clock.time() // 900 * 900
CONFIG = """
site = "=Lincoln High"
timezone = "America/New_York"
data_dir = "data"
{timeseries}
[[room]]
id = "n2-boys"
name = "Boys"
building = "North"
floor = "2"
[[sensor]]
id = "s1"
room = "n2-boys"
aliases = ["Old Box 7"]
[[sensor]]
id = "s2"
room = "n2-boys"
"""


@pytest.fixture(scope="module")
def influxd(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


class Site:
    """A configuration and its store."""

    def __init__(self, folder, settings=None):
        self.folder = folder
        self.path = folder / "plumewatch.toml"
        timeseries = ""
        if settings:
            token = folder / "token"
            token.write_text(settings.secret or "none")
            token.chmod(0o600)
            timeseries = (
                f'[timeseries]\nurl = "{settings.url}"\ndatabase = "{settings.database}"\n'
                f'org = "{settings.org}"\nusername = "{settings.username}"\n'
                + ('token_file = "token"' if settings.secret else "")
            )
        self.path.write_text(CONFIG.format(timeseries=timeseries))
        self.config = load(self.path)
        (folder / "data").mkdir()
        if settings:
            assert plumewatch("storage", "setup", "-c", self.path, now=NOW).code == 0

    def series(self):
        return series_of(self.config, DataPaths(self.config.data_dir))

    def run(self, *arguments):
        ran = plumewatch(*arguments, "--config", self.path)
        return ran.code, ran.out + ran.err

    def write(self, text, name="old.csv"):
        path = self.folder / name
        raw = text.encode()
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path


@pytest.fixture(params=["sqlite", "influx", *NAMED])
def site(request, tmp_path):
    if request.param == "sqlite":
        yield Site(tmp_path)
    elif request.param == "named":
        with own_database() as settings:
            yield Site(tmp_path, settings)
    else:
        url, database = request.getfixturevalue("influxd").url, f"db{random.getrandbits(64)}"
        yield Site(tmp_path, InfluxSettings(url, database))
        influxql(url, f'DROP DATABASE "{database}"')


@pytest.fixture
def embedded(tmp_path):
    """For what is decided before the store is asked."""
    return Site(tmp_path)


def stored(site, start=0.0, end=NOW + DAY):
    with site.series() as series:
        return series.between(start, end)


def some(count=500, start=NOW - 3600.0):
    rng = random.Random(count)
    readings = [
        Reading(f"s{k % 2 + 1}", start + k // 2 * 7.25, NOW, {"pm25": rng.uniform(0, 99), "rh": 40})
        for k in range(count)
    ]
    readings[3] = Reading("s2", readings[3].time, NOW, {}, ("tamper", "online"), ("co",), ("late",))
    return readings


class TestExport:
    def test_all_and_in_order(self, site):
        readings = some()
        with site.series() as series:
            series.write(readings, 1)
        code, message = site.run("export", "readings", "--out", site.folder / "r.csv")
        assert code == 0
        assert "r.csv: 500 readings" in message
        rows = list(csv.DictReader(io.StringIO((site.folder / "r.csv").read_text())))
        assert list(rows[0]) == list(SCHEMA)
        times = [datetime.fromisoformat(row["time"]).timestamp() for row in rows]
        assert times == [r.time for r in readings]
        assert [float(row["pm25"] or 0) for row in rows] == [
            r.values.get("pm25", 0) for r in readings
        ]
        assert {row["building"] for row in rows} == {"North"}
        assert {row["site"] for row in rows} == {"'=Lincoln High"}  # inert in a spreadsheet
        assert (rows[3]["events"], rows[3]["faults"], rows[3]["flags"]) == (
            "tamper online",
            "co",
            "late",
        )
        code, _ = site.run(
            "export", "readings", "--format", "parquet", "--out", site.folder / "r.pq"
        )
        assert code == 0
        frame = pl.read_parquet(site.folder / "r.pq")
        assert frame.schema == SCHEMA
        assert frame["pm25"].to_list() == [r.values.get("pm25") for r in readings]
        assert frame["site"].unique().to_list() == ["=Lincoln High"]
        assert frame["time"].to_list()[0] == datetime.fromtimestamp(readings[0].time, UTC)

    def test_a_span_and_a_sensor(self, site):
        with site.series() as series:
            series.write(some(), 1)
        first, last = NOW - 3600 + 7.25 * 10, NOW - 3600 + 7.25 * 20
        out = site.folder / "part.csv.gz"
        arguments = ("--from", first, "--to", last, "--sensor", "s2", "--out", out)
        assert site.run("export", "readings", *arguments)[0] == 0
        with gzip.open(out, "rt") as file:
            rows = list(csv.DictReader(file))
        assert {row["sensor"] for row in rows} == {"s2"}
        assert len(rows) == 10
        assert site.run("export", "readings", *arguments)[0] == 2  # there already
        assert site.run("export", "readings", *arguments, "--force")[0] == 0

    def test_what_was_never_averaged_is_not_mentioned(self, site):
        with site.series() as series:
            series.write(some(), 1)
        arguments = ("--from", NOW - 3 * DAY, "--out", site.folder / "all.csv")
        code, message = site.run("export", "readings", *arguments)
        assert (code, "500 readings" in message, "averages" in message) == (0, True, False)

    def test_readings_stored_only_as_averages_are_reported(self, tmp_path):
        site = Site(tmp_path)
        with site.series() as series:
            times = [NOW - days * DAY + 60.0 * k for days in (31, 29.5) for k in range(100)]
            series.write([Reading("s1", at, at + 1.0, {"pm25": 9.0}) for at in times], 1)
            while series.tidy(NOW):
                pass
        arguments = ("--from", NOW - 32 * DAY, "--out", site.folder / "all.csv")
        code, message = site.run("export", "readings", *arguments)
        assert (code, "100 readings" in message) == (0, True)
        assert "kept for 30 days" in message
        assert "before it there are only averages" in message

    def test_an_empty_store(self, site):
        code, message = site.run("export", "readings", "--out", site.folder / "e.csv")
        assert (code, "0 readings" in message) == (0, True)
        assert (site.folder / "e.csv").read_text().startswith("time,sensor,site,building")
        assert (
            site.run("export", "readings", "--format", "parquet", "--out", site.folder / "e.pq")[0]
            == 0
        )
        assert pl.read_parquet(site.folder / "e.pq").schema == SCHEMA

    def test_what_is_exported_can_be_imported_and_replayed(self, site):
        full = Reading(
            "s1",
            NOW - 60,
            NOW,
            {key: QUANTITIES[key].high / 3 for key in COLUMNS},
            ("restart",),
            ("co",),
        )
        readings = [*some(100), full]
        readings.sort(key=lambda r: (r.time, r.sensor))
        with site.series() as series:
            series.write(readings, 1)
        assert site.run("export", "readings", "--out", site.folder / "r.csv")[0] == 0
        replayed = list(read_recordings([site.folder / "r.csv"]))
        assert [(r.sensor, r.time, r.values) for r in replayed] == [
            (r.sensor, r.time, r.values) for r in readings
        ]
        before = stored(site)
        for _ in range(2):
            code, message = site.run("import", site.folder / "r.csv")
            assert (code, "101 readings are stored" in message) == (0, True), message
            assert stored(site) == before
            with site.series() as series:
                assert series.count() == len(readings)

    def test_a_part_imported_again_leaves_averages_as_they_were(self, site):
        def by_minute():
            with site.series() as series:
                while series.tidy(NOW):
                    pass
                return series.readings("s1", NOW - 3 * DAY, NOW, 60.0)[1]["pm25"].tolist()

        with site.series() as series:
            series.write(some(), 1)
        before, out = by_minute(), site.folder / "part.csv"
        span = ("--from", NOW - 3600 + 30, "--to", NOW - 3600 + 90)
        assert site.run("export", "readings", *span, "--out", out)[0] == 0
        assert site.run("import", out)[0] == 0
        assert by_minute() == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--from", "soon"), "is none of: a date"),
            (("--from", "2026-09-08", "--to", "2026-09-07"), "--from is not before --to"),
            (("--sensor", "s9"), "no sensor of the configuration"),
            (("--format", "xlsx"), "csv or parquet"),
            (("--out", "/nowhere/at/all.csv"), "not a file in an existing folder"),
        ],
    )
    def test_bad_usage(self, embedded, arguments, message):
        code, words = embedded.run("export", "readings", *arguments)
        assert code == 2
        assert message in words


class TestImport:
    def test_a_file_as_schools_have_them(self, site):
        local = datetime.fromtimestamp(NOW - 7200, UTC).astimezone(site.config.zone())
        stamps = [local.replace(second=s).strftime("%m/%d/%Y %I:%M:%S %p") for s in (0, 30)]
        path = site.write(
            "\ufeffDevice,When,PM2.5 (ug/m3),Humidity,Note\r\n"
            f'old box 7,{stamps[0]},4.5,41,"a, b"\r\n'
            f"Old Box 7,{stamps[1]},5.5,,\r\n"
        )
        code, message = site.run(
            *("import", path, "--column", "pm25=PM2.5 (ug/m3)", "--column", "rh=Humidity"),
            *("--column", "time=When", "--column", "sensor=Device"),
            *("--time-format", "%m/%d/%Y %I:%M:%S %p"),
        )
        assert code == 0, message
        assert "2 readings are stored, 0 rows skipped" in message
        found = stored(site)
        assert [(r.sensor, r.values, r.flags) for r in found] == [
            ("s1", {"pm25": 4.5, "rh": 41.0}, ("history",)),
            ("s1", {"pm25": 5.5}, ("history",)),
        ]
        assert found[1].time - found[0].time == 30
        assert found[0].time == local.replace(second=0, microsecond=0).timestamp()

    def test_bad_rows_are_left_out_and_all_others_are_there(self, site):
        rows = [
            f"{NOW - 60},s1,4",
            f"{NOW - 50},s1,four",
            "yesterday,s1,4",
            f"{NOW + 3 * DAY},s1,4",
            "12,s1,4",
            f"{NOW - 40},,4",
            f"{NOW - 30},s1",
            "",
            f"{NOW - 20},s2,nan",
            f"{NOW - 10 * 365 * DAY},s1,4",
        ]
        path = site.write("time,sensor,pm25\n" + "\n".join(rows) + "\n", "old.csv.gz")
        rejected = site.folder / "rejected.csv"
        code, message = site.run("import", path, "--rejected", rejected)
        assert code == 1
        assert "2 readings are stored, 7 rows skipped" in message
        listed = {
            int(re.search(r"line (\d+)", row["where"])[1]): row["why"]
            for row in csv.DictReader(io.StringIO(rejected.read_text()))
        }
        assert sorted(listed) == [3, 4, 5, 6, 7, 8, 11]
        assert listed[3] == "pm25: 'four' is not a number"
        assert listed[5] == "time: in the future"
        assert listed[6] == "time: before 2000"
        assert "older than anything is kept" in listed[11]
        assert [(r.sensor, r.faults) for r in stored(site)] == [("s1", ()), ("s2", ("pm25",))]

    def test_years_ago_in_any_order_twice(self, site):
        start = NOW // 3600 * 3600 - 400 * DAY
        rng = random.Random(3)
        values = [rng.uniform(1, 50) for _ in range(240)]
        rows = [f"{start + 60 * k + 7},s1,{v!r}" for k, v in enumerate(values)]
        rng.shuffle(rows)
        path = site.write("time,sensor,pm25\n" + "\n".join(rows + rows[:50]) + "\n")
        for _ in range(2):
            code, message = site.run("import", path)
            assert code == 0, message
            assert "290 of them are older than 30 days" in message
        with site.series() as series:
            for every in (60, 900, 3600):
                time, found = series.readings("s1", start, start + 4 * 3600, every)
                per = int(every / 60)
                expected = [sum(values[k : k + per]) / per for k in range(0, 240, per)]
                assert time.tolist() == [start + k * every for k in range(240 // per)]
                assert found["pm25"].tolist() == pytest.approx(expected)
            _, highest = series.readings("s1", start, start + 4 * 3600, 900, "max")
            assert highest["pm25"][0] == max(values[:15])

    def test_sensors_that_are_not_registered_are_named(self, site):
        path = site.write(f"time,sensor,pm25\n{NOW - 60},lab 3,4\n{NOW - 50},lab 3,5\n")
        code, message = site.run("import", path)
        assert code == 0
        assert "2 are of 1 sensors that are not registered (lab_3)" in message
        assert {r.sensor for r in stored(site)} == {"lab_3"}

    def test_a_wrong_column_for_sensors_is_noticed(self, embedded):
        rows = "".join(f"{NOW - k},x{k},4\n" for k in range(1, 1500))
        code, message = embedded.run("import", embedded.write("time,sensor,pm25\n" + rows))
        assert code == 1
        assert "is it the right column?" in message

    def test_one_sensor_for_the_whole_file(self, site):
        path = site.write(f"time,pm25\n{NOW - 60},4\n")
        assert site.run("import", path, "--sensor", "S1")[0] == 0
        assert [r.sensor for r in stored(site)] == ["s1"]

    @pytest.mark.parametrize(
        ("text", "arguments", "code", "message"),
        [
            ("", (), 1, "empty; expected a header"),
            ("time,sensor\n", (), 1, "header: no quantity column"),
            ("when,sensor,pm25\n", (), 1, "header: no column 'time'"),
            ("time,sensor,pm25\n", ("--column", "rh=Humidity"), 1, "no column 'Humidity'"),
            ("time,sensor,pm25\n", ("--column", "smoke=x"), 2, "must be KEY=HEADER"),
            ("time,sensor,pm25\n", ("--column", "rh"), 2, "must be KEY=HEADER"),
            ("time,sensor,pm25\n", ("--sensor", "///"), 1, "sensor: "),
            ("time,sensor,pm25\n\0\0", (), 1, "old.csv"),
            ("time,sensor,pm25\n", ("--rejected", "/nowhere/x.csv"), 2, "/nowhere/x.csv"),
        ],
    )
    def test_what_cannot_be_imported(self, embedded, text, arguments, code, message):
        found, words = embedded.run("import", embedded.write(text), *arguments)
        assert found == code, words
        assert message in words
        assert "Traceback" not in words

    def test_no_such_file(self, embedded):
        assert embedded.run("import", embedded.folder / "none.csv")[0] == 2

    def test_a_file_that_is_cut_short(self, embedded):
        path = embedded.write("time,sensor,pm25\n" + f"{NOW},s1,4\n" * 5000, "cut.csv.gz")
        path.write_bytes(path.read_bytes()[:-20])
        code, message = embedded.run("import", path)
        assert code == 1
        assert "not a whole gzip file" in message


def test_an_influxdb_that_is_not_set_up_is_reported_before_anything_is_read(tmp_path, influxd):
    made = Site(tmp_path, InfluxSettings(influxd.url, "unfinished"))
    influxql(influxd.url, 'DROP RETENTION POLICY m1 ON "unfinished"')
    code, output = made.run("import", made.write(f"time,sensor,pm25\n{NOW},s1,4\n"))
    assert code == 3
    assert "run `plumewatch storage setup`" in output
    influxql(influxd.url, 'DROP DATABASE "unfinished"')


def test_nobody_there(tmp_path):
    made = Site(tmp_path)
    made.path.write_text(CONFIG.format(timeseries='[timeseries]\nurl = "http://127.0.0.1:1"\n'))
    path = made.write(f"time,sensor,pm25\n{NOW},s1,4\n")
    for arguments in (("import", path), ("export", "readings"), ("storage", "retry")):
        code, output = made.run(*arguments)
        assert code == 3
        assert (
            "does not answer" in output
            or "has `plumewatch run`" in output
            or "unable to open" in output
        )


class TestRetry:
    def test_what_was_refused_is_stored_when_it_is_put_right(self, site):
        import msgspec

        readings = some(7)
        record = {"measurement": "pipeline", "time": NOW, "fields": {"ready": 1.0}}
        letters = [
            DeadLetter(NOW, f"journal/{k}/s", REASON, "why", "x", 9, msgspec.json.encode(r))
            for k, r in enumerate(readings)
        ]
        letters.append(
            DeadLetter(NOW, "record/1/", RECORD_REASON, "why", "x", 9, msgspec.json.encode(record))
        )
        cut = DeadLetter(NOW, "journal/9/s", REASON, "why", "x", 9999, b'{"sensor":"s1","ti')
        other = DeadLetter(NOW, "t", "bad_json", "why", "", 2, b"{}")
        with Journal(DataPaths(site.config.data_dir).journal) as journal:
            journal.commit([], [*letters, cut, other])
        code, output = site.run("storage", "retry")
        assert (code, output) == (1, "8 dead letters are stored now, 1 are refused as before\n")
        assert len(stored(site)) == 7
        with site.series() as series:
            assert series.records("pipeline", NOW, NOW + 1)
        with Journal(DataPaths(site.config.data_dir).journal) as journal:
            assert journal.dead_letter_counts() == {REASON: 1, "bad_json": 1}

    def test_without_a_data_folder(self, embedded):
        code, output = embedded.run("storage", "retry")
        assert code == 3
        assert "journal.db" in output


def megabytes(made, *arguments):
    """Return the largest resident size of a command in a process of its own."""
    files = [made.folder / name for name in ("stdin", "stdout", "stderr")]
    for file in files:
        file.touch()
    child = shared().start([*map(str, arguments), "--config", str(made.path)], files)
    assert child.wait(100) == 0, files[2].read_text()
    return child.peak_kb / 1024


def test_memory_does_not_grow_with_what_is_imported(tmp_path):
    made = Site(tmp_path)
    sizes = []
    for rows in (5_000, 50_000):
        lines = (f"{NOW - 2 * rows + 2 * k},s1,{k % 97}\n" for k in range(rows))
        old = made.write("time,sensor,pm25\n" + "".join(lines))
        sizes.append(megabytes(made, "import", old))
    assert sizes[1] - sizes[0] < 10, sizes


def test_memory_does_not_grow_with_what_is_exported(tmp_path):
    """Beyond what a batch of either format takes, which is up to 40 MB."""
    made = Site(tmp_path)
    sizes = []
    for first, rows in ((0, 60_000), (60_000, 150_000)):
        with made.series() as series:
            for at in range(first, rows, 10_000):
                times = range(at, at + 10_000)
                series.write([Reading("s1", NOW - 2 * k, NOW, {"pm25": k % 97}) for k in times], at)
        export = ("export", "readings", "--force", "--out", tmp_path / "out", "--format")
        sizes.append([megabytes(made, *export, kind) for kind in ("csv", "parquet")])
    assert all(b - a < 45 for a, b in zip(*sizes, strict=True)), sizes
