"""`plumewatch sample-data`: a realistic school through the production engine."""

from __future__ import annotations

import re
from contextlib import closing

from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from storage.sqlite import connect
from tests.support.alert_records import incidents, notices
from tests.support.command import plumewatch

NOW = 1_795_800_000.0  # 2026-11-27


def test_a_school_with_about_two_alerts_a_day(tmp_path):
    folder = tmp_path / "sample"
    ran = plumewatch("sample-data", folder, "--weeks", 2, now=NOW)
    assert ran.code == 0
    made = int(re.search(r"(\d+) incidents and", ran.out)[1])
    assert 10 <= made <= 40
    config = load(folder / "plumewatch.toml")
    assert "made-up" in config.site
    with closing(connect(DataPaths(config.data_dir).state, read_only=True)) as db:
        verdicts = incidents(db, "verdict", status="resolved")
        assert notices(db, status="due") == []
    assert len(verdicts) == made
    assert sum(verdict is not None for verdict in verdicts) > made / 4
    report = plumewatch(
        *("report", "summary", "--config", folder / "plumewatch.toml", "--format", "csv"),
        *("--from", "2026-11-13", "--to", "2026-11-26", "--out", tmp_path / "r.csv"),
        now=NOW,
    )
    assert report.code == 0
    assert "incidents_air" in (tmp_path / "r.csv").read_text()
    with closing(connect(DataPaths(config.data_dir).series, read_only=True)) as db:
        rows = db.execute("SELECT sensor, condition FROM sensor_health ORDER BY time").fetchall()
        (duty_s,) = db.execute("SELECT sum(duty_s) FROM pipeline").fetchone()
        shares = db.execute(
            "SELECT sum(online_s) / sum(period_s), sum(received) / sum(expected) FROM sensor_hour"
        ).fetchone()
    unwell = {
        name: condition for name, condition in dict(map(tuple, rows)).items() if condition != "ok"
    }
    assert unwell == {"n1-girls": "silent", "gym-locker": "drifting"}
    assert duty_s == 10 * 8.5 * 2 * 3600
    assert 0.9 < shares[0] < 1.0
    assert 0.99 < shares[1] < 1.0


def test_a_folder_that_is_there_stays(tmp_path):
    ran = plumewatch("sample-data", tmp_path)
    assert ran.code == 2
    assert "must be a new folder" in ran.err
