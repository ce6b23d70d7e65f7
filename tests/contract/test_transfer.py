"""Readings out of every store: all of them, in order."""

import csv
import gzip
import io
import random
import time as clock
from datetime import UTC, datetime

import polars as pl
import pytest

from detection.quantities import COLUMNS, QUANTITIES
from ingest.readings_export import SCHEMA
from ingest.recordings import read_recordings
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_series
from storage.journal import DeadLetter, Journal
from storage.reading import Reading
from storage.timeseries.influx_http import InfluxSettings
from storage.timeseries.writer import REASON, RECORD_REASON
from tests.support.command import plumewatch
from tests.support.fork_server import shared
from tests.support.influx import influxql

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
        return build_series(self.config, DataPaths(self.config.data_dir))

    def run(self, *arguments):
        ran = plumewatch(*arguments, "--config", self.path)
        return ran.code, ran.out + ran.err


@pytest.fixture(params=["sqlite", "influx"])
def site(request, tmp_path):
    if request.param == "sqlite":
        yield Site(tmp_path)
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
        assert "averages for longer" in message

    def test_an_empty_store(self, site):
        code, message = site.run("export", "readings", "--out", site.folder / "e.csv")
        assert (code, "0 readings" in message) == (0, True)
        assert (site.folder / "e.csv").read_text().startswith("time,sensor,site,building")
        assert (
            site.run("export", "readings", "--format", "parquet", "--out", site.folder / "e.pq")[0]
            == 0
        )
        assert pl.read_parquet(site.folder / "e.pq").schema == SCHEMA

    def test_what_is_exported_can_be_replayed(self, site):
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

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--from", "soon"), "is none of: a date"),
            (("--from", "2026-09-08", "--to", "2026-09-07"), "--from is not before --to"),
            (("--sensor", "s9"), "no sensor has this id; there are: "),
            (("--format", "xlsx"), "--format"),
            (("--out", "/nowhere/at/all.csv"), "not a file in an existing folder"),
        ],
    )
    def test_bad_usage(self, embedded, arguments, message):
        code, words = embedded.run("export", "readings", *arguments)
        assert code == 2
        assert message in words


def test_nobody_there(tmp_path):
    made = Site(tmp_path)
    made.path.write_text(CONFIG.format(timeseries='[timeseries]\nurl = "http://127.0.0.1:1"\n'))
    for arguments in (("export", "readings"), ("storage", "retry")):
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
        assert (code, output) == (1, "8 dead letters stored, 1 refused again\n")
        assert len(stored(site)) == 7
        with site.series() as series:
            assert series.records("pipeline", NOW, NOW + 1)
        with Journal(DataPaths(site.config.data_dir).journal) as journal:
            assert journal.dead_letter_counts() == {REASON: 1, "bad_json": 1}


def megabytes(made, *arguments):
    """Return the largest resident size of a command in a process of its own."""
    files = [made.folder / name for name in ("stdin", "stdout", "stderr")]
    for file in files:
        file.touch()
    child = shared().start([*map(str, arguments), "--config", str(made.path)], files)
    assert child.wait(100) == 0, files[2].read_text()
    return child.peak_kb / 1024


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
