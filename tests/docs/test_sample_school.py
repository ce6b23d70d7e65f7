"""Test the made-up school in the docs' pictures, which uses the production engine."""

from contextlib import closing

from docs.gallery.sample_school import make_school
from plumewatch.config.load import load
from plumewatch.config.paths import DataPaths
from storage.sqlite import connect
from tests.support.alert_records import incidents, notices


def test_a_school_has_one_to_three_incidents_a_school_day(tmp_path):
    make_school(tmp_path / "sample", weeks=1, seed=1)
    paths = DataPaths(load(tmp_path / "sample/plumewatch.toml").data_dir)
    with closing(connect(paths.state, read_only=True)) as db:
        verdicts = incidents(db, "verdict", status="resolved")
        assert notices(db, status="due") == []
    assert 5 <= len(verdicts) <= 20
    assert sum(verdict is not None for verdict in verdicts) > len(verdicts) / 4
    with closing(connect(paths.series, read_only=True)) as db:
        rows = db.execute("SELECT sensor, condition FROM sensor_health ORDER BY time").fetchall()
    unwell = {name: state for name, state in dict(map(tuple, rows)).items() if state != "ok"}
    assert unwell == {"n1-girls": "silent", "gym-locker": "drifting"}
