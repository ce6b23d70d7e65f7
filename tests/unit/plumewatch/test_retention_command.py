"""Old data is deleted, data on legal hold stays, deletions are on record."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from alerts.incidents.incident import Status
from alerts.incidents.repository import load
from alerts.incidents.threshold_adjustments import adjust_from_test, current_adjustment
from storage import audit, holds
from storage.sqlite import connect
from tests.support import alert_records as stored
from tests.support.command import plumewatch
from tests.support.school_year import config_text, fill_state, moment

FIRST, DAYS = date(2026, 9, 7), 40
MORE = "[retention]\nincident_days = 30"
NOW = moment(date(2026, 10, 27))  # older than 30 days: before 27 September


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
    """The incidents of some days, the last not among them."""
    found = stored.incidents(site.db)
    return [incident for incident in found if moment(start) <= incident.opened_at < moment(end)]


def plan(site):
    found = retention(site, "plan", "--json").objects
    return {line["name"]: line for line in found if "name" in line}


def retention(site, *words, code=0):
    ran = plumewatch("retention", *words, "--config", site.path, now=NOW)
    assert ran.code == code
    return ran


def hold(site, *words, code=0, **more):
    asked = {"from": "2026-09-14", "to": "2026-09-20", "room": "", "reason": "a claim", **more}
    options = [word for name, text in asked.items() for word in (f"--{name}", text)]
    return retention(site, "hold", *options, *words, code=code)


def test_plan_lists_what_apply_does(site):
    old, young = len(opened(site, end=date(2026, 9, 27))), opened(site, date(2026, 9, 27))
    assert old > 20 < len(young)
    before = [stored.history(site.db), stored.notices(site.db), stored.events(site.db)]
    assert plan(site)["incidents, notices, answers"]["old"] == old
    found = retention(site, "apply").out
    assert found == f"{old} incidents deleted, 0 on hold, 0 still open\n"
    assert opened(site) == young
    kept = {incident.id for incident in young}
    after = [stored.history(site.db), stored.notices(site.db), stored.events(site.db)]
    assert after == [[record for record in of if record.incident in kept] for of in before]
    assert site.db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert plan(site)["incidents, notices, answers"]["old"] == 0


def test_deletions_are_on_record_and_history_stays_append_only(site):
    retention(site, "apply")
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
    retention(site, "apply")
    before = json.loads(next(audit.read_entries(site.db)).detail)["opened_before"]
    since = datetime.fromtimestamp(before, UTC)
    assert "Retention deleted incidents before" in asked("2026-09-01", "2027-08-31", "after.csv")
    later = f"{since + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    assert "deleted" not in asked(later, "2027-08-31", "later.csv")


def test_what_is_held_stays_until_it_is_released(site):
    week = date(2026, 9, 14), date(2026, 9, 21)
    held = opened(site, *week)
    assert len(held) > 5
    hold(site)
    assert plan(site)["readings"]["held"].startswith("since 2026-09-14")
    assert f"{len(held)} on hold" in retention(site, "apply").out
    assert opened(site, *week) == held
    assert stored.history(site.db, incident=held[0].id)
    assert "a claim" in retention(site, "plan").out
    retention(site, "release", "1")
    retention(site, "release", "1", code=1)
    retention(site, "apply")
    assert opened(site, *week) == []
    assert [e.kind for e in audit.read_entries(site.db)][:4] == [
        *("retention", "release", "retention", "hold"),
    ]


def test_a_hold_of_one_room_keeps_that_room(site):
    hold(site, room="r1")
    retention(site, "apply")
    assert {incident.room for incident in opened(site, end=date(2026, 9, 27))} == {"r1"}


def test_open_incidents_and_those_that_levels_rest_on(site):
    first, second, *_ = stored.incidents(site.db, "id")
    stored.change_incidents(site.db, first, status=Status.ACKNOWLEDGED)
    adjust_from_test(site.db, sensor="pw-0", step=-0.1, who="ap", at=1.0, incident=second)
    for _ in range(2):
        found = retention(site, "apply").out
        assert "1 still open" in found
    assert stored.history(site.db, incident=first)
    assert not stored.history(site.db, incident=second)
    assert load(site.db, second) is None
    assert current_adjustment(site.db, "pw-0") == -0.1
    assert "0 incidents deleted" in found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"reason": " "}, "please say why"),
        ({"room": "nowhere"}, "not a room in the configuration"),
        ({"to": "2026-09-01"}, "not before --to"),
        ({"from": "soon"}, "is none of"),
        ({"reason": "pupil 4471-882"}, "does this identify a person? 4471-882"),
    ],
)
def test_an_incomplete_hold_is_refused(site, capsys, wrong, message):
    hold(site, **wrong, code=2)
    assert message in capsys.readouterr().err
    assert holds.active(site.db) == []


def test_a_number_may_identify_nobody(site):
    hold(site, "--no-name", reason="Miller Law, file 2026-0412")
    hold(site, reason="leak in Restroom 1")
    assert next(h.reason for h in holds.active(site.db)) == "Miller Law, file 2026-0412"


def test_holds_stay_on_record(site):
    hold(site)
    with pytest.raises(sqlite3.IntegrityError, match="stay on record"):
        site.db.execute("DELETE FROM legal_hold")
    assert holds.earliest(site.db) == moment(date(2026, 9, 14))
