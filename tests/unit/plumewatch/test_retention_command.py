"""Test that old incidents are deleted, and that deletions are recorded."""

import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from alerts.incidents.incident import Status
from alerts.incidents.repository import load
from alerts.incidents.threshold_adjustments import adjust_from_test, get_adjustment
from storage import audit
from storage.sqlite import connect
from tests.support import alert_records as stored
from tests.support.command import plumewatch
from tests.support.school_year import config_text, fill_state, moment

FIRST, DAYS = date(2026, 9, 7), 40
MORE = "[retention]\nincident_days = 30"
NOW = moment(date(2026, 10, 27))  # older than 30 days: before September 27


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(config_text(4, more=MORE))
    (tmp_path / "plumewatch-data").mkdir()
    database = tmp_path / "plumewatch-data/state.db"
    fill_state(database, FIRST, DAYS, 4, a_day=1.0)
    with closing(connect(database)) as db:
        yield SimpleNamespace(path=path, db=db)


def opened(site, start=FIRST, end=date(2027, 1, 1)):
    """Return the incidents opened on some days, excluding the last day."""
    found = stored.incidents(site.db)
    return [incident for incident in found if moment(start) <= incident.opened_at < moment(end)]


def retention(site, *words, code=0):
    ran = plumewatch("retention", *words, "--config", site.path, now=NOW)
    assert ran.code == code
    return ran


def test_it_counts_what_it_would_delete(site):
    old, young = len(opened(site, end=date(2026, 9, 27))), opened(site, date(2026, 9, 27))
    assert old > 20 < len(young)
    before = [stored.history(site.db), stored.notices(site.db), stored.events(site.db)]
    assert retention(site).out == f"{old} incidents are due, 0 old ones are still open\n"
    found = retention(site, "--apply").out
    assert found == f"{old} incidents deleted, 0 old ones are still open\n"
    assert opened(site) == young
    kept = {incident.id for incident in young}
    after = [stored.history(site.db), stored.notices(site.db), stored.events(site.db)]
    assert after == [[record for record in of if record.incident in kept] for of in before]
    assert site.db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert retention(site).out.startswith("0 incidents are due")


def test_deletions_are_on_record_and_history_stays_append_only(site):
    retention(site, "--apply")
    entry = next(audit.read_entries(site.db))
    detail = json.loads(entry.detail)
    assert (entry.kind, detail["class"]) == ("retention", "incidents")
    assert detail["count"] > 20
    assert audit.verify(site.db).fault == ""
    stored.assert_append_only(site.db, "incident_history")


def test_a_report_lists_what_was_deleted(site, tmp_path):
    def asked(start, end, out):
        words = ("--from", start, "--to", end, "--out", tmp_path / out, "--config", site.path)
        ran = plumewatch("report", "incidents", *words, now=NOW)
        assert ran.code == 0
        return ran.err

    assert "deleted" not in asked("2026-09-01", "2027-08-31", "before.csv")
    retention(site, "--apply")
    before = json.loads(next(audit.read_entries(site.db)).detail)["opened_before"]
    since = datetime.fromtimestamp(before, UTC)
    assert "Retention deleted incidents before" in asked("2026-09-01", "2027-08-31", "after.csv")
    later = f"{since + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    assert "deleted" not in asked(later, "2027-08-31", "later.csv")


def test_open_incidents_and_those_that_levels_rest_on(site):
    first, second, *_ = stored.incidents(site.db, "id")
    stored.change_incidents(site.db, first, status=Status.ACKNOWLEDGED)
    adjust_from_test(site.db, sensor="pw-0", step=-0.1, who="ap", at=1.0, incident=second)
    for _ in range(2):
        found = retention(site, "--apply").out
        assert "1 old ones are still open" in found
    assert stored.history(site.db, incident=first)
    assert not stored.history(site.db, incident=second)
    assert load(site.db, second) is None
    assert get_adjustment(site.db, "pw-0") == -0.1
    assert "0 incidents deleted" in found
