"""Test that every store exports all readings, in order."""

import random
import time as clock

import pytest

from detection.quantities import COLUMNS, QUANTITIES
from ingest.recordings import read_recordings
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import build_series
from storage.reading import Reading
from storage.timeseries.influx_http import InfluxSettings
from tests.support.command import plumewatch
from tests.support.config_entries import entry
from tests.support.influx import influxql

DAY = 86_400.0
NOW = clock.time() // 900 * 900
CONFIG = """
site = "=Lincoln High"
timezone = "America/New_York"
data_dir = "data"
{timeseries}
"""
ENTRIES = (
    entry("room", id="n2-boys", name="Boys", building="North", floor="2"),
    entry("sensor", id="s1", room="n2-boys", aliases=["Old Box 7"]),
    entry("sensor", id="s2", room="n2-boys"),
)


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
        self.path.write_text(CONFIG.format(timeseries=timeseries) + "".join(ENTRIES))
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
    """Return a site for checks that happen before the store is queried."""
    return Site(tmp_path)


def stored(site, start=0.0, end=NOW + DAY):
    with site.series() as series:
        return series.read_between(start, end)


def some(count=500, start=NOW - 3600.0):
    rng = random.Random(count)
    return [
        Reading(f"s{k % 2 + 1}", start + k // 2 * 7.25, NOW, {"pm25": rng.uniform(0, 99), "rh": 40})
        for k in range(count)
    ]


class TestExport:
    def test_all_readings_in_order_for_a_replay(self, site, monkeypatch):
        monkeypatch.setattr("plumewatch.cli.storage._AT_ONCE", 400)
        full = {key: QUANTITIES[key].high / 3 for key in COLUMNS}
        readings = some()
        readings.append(
            Reading("s1", NOW - 60, NOW, full, ("tamper", "online"), ("co",), ("late",))
        )
        with site.series() as series:
            series.write(readings, 1)
        out = site.folder / "r.csv"
        code, message = site.run("export", "readings", "--from", NOW - 4000, "--out", out)
        assert code == 0
        assert "r.csv: 501 readings" in message
        assert out.read_text().splitlines()[-1].endswith("tamper online,co,late")
        replayed = list(read_recordings([out]))
        assert [(r.sensor, r.time, r.values) for r in replayed] == [
            (r.sensor, r.time, r.values) for r in readings
        ]

    def test_a_span_and_a_sensor(self, site):
        with site.series() as series:
            series.write(some(), 1)
        first, last = NOW - 3600 + 7.25 * 10, NOW - 3600 + 7.25 * 20
        out = site.folder / "part.csv"
        arguments = ("--from", first, "--to", last, "--sensor", "s2", "--out", out)
        assert site.run("export", "readings", *arguments)[0] == 0
        found = list(read_recordings([out]))
        assert ({r.sensor for r in found}, len(found)) == ({"s2"}, 10)
        assert site.run("export", "readings", *arguments)[0] == 2  # already exists
        assert site.run("export", "readings", *arguments, "--force")[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--from", "soon"), "is not a time: write a date"),
            (("--from", "2026-09-08", "--to", "2026-09-07"), "--from is not before --to"),
            (("--from", "0", "--sensor", "s9"), "no sensor has this id; the ids are: "),
            (("--from", "0", "--out", "/nowhere/at/all.csv"), "not a file in an existing folder"),
        ],
    )
    def test_bad_usage(self, embedded, arguments, message):
        code, words = embedded.run("export", "readings", *arguments)
        assert code == 2
        assert message in words
