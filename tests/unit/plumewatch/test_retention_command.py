"""Old data is deleted, data on legal hold stays, deletions are on record."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from storage import audit, holds
from storage.sqlite import connect
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


def count(db, table, where="1"):
    return db.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]  # noqa: S608 - ours


def opened_before(day):
    return f"opened_at < {moment(day)}"


def plan(site):
    return {line["name"]: line for line in retention(site, "plan", "--json").objects}


def retention(site, *words, code=0):
    ran = plumewatch("retention", *words, "--config", site.path, now=NOW)
    assert ran.code == code
    return ran


def hold(site, *words, code=0, **more):
    asked = {"from": "2026-09-14", "to": "2026-09-20", "room": "", "reason": "a claim", **more}
    options = [word for name, text in asked.items() for word in (f"--{name}", text)]
    return retention(site, "hold", *options, *words, code=code)


def test_plan_lists_what_apply_does(site):
    old = count(site.db, "incident", opened_before(date(2026, 9, 27)))
    young = count(site.db, "incident") - old
    assert old > 20 < young
    before = {t: count(site.db, t) for t in ("incident_history", "outbox", "alert_event")}
    assert plan(site)["incidents, notices, answers"]["old"] == old
    found = retention(site, "apply").out
    assert found == f"{old} incidents deleted, 0 on hold, 0 still open\n"
    assert count(site.db, "incident") == young
    for table, rows in before.items():
        assert 0 < count(site.db, table) < rows
        orphans = "incident NOT IN (SELECT id FROM incident)"
        assert count(site.db, table, orphans) == 0
    assert site.db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert plan(site)["incidents, notices, answers"]["old"] == 0


def test_deletions_are_on_record_and_history_stays_append_only(site):
    retention(site, "apply")
    entry = next(audit.entries(site.db))
    detail = json.loads(entry.detail)
    assert (entry.kind, detail["class"]) == ("retention", "incidents")
    assert detail["count"] > 20
    assert json.loads(detail["rows"])["incident"] == detail["count"]
    assert audit.verify(site.db).fault == ""
    for statement in ("DELETE FROM incident_history", "UPDATE incident_history SET who = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            site.db.execute(statement)


def test_a_report_lists_what_was_deleted(site, tmp_path):
    def asked(start, end, out):
        words = ("--from", start, "--to", end, "--out", tmp_path / out, "--config", site.path)
        ran = plumewatch("report", "incidents", *words, now=NOW)
        assert ran.code == 0
        return ran.err

    assert "deleted" not in asked("2026-09-01", "2027-08-31", "before.csv")
    retention(site, "apply")
    before = json.loads(next(audit.entries(site.db)).detail)["opened_before"]
    since = datetime.fromtimestamp(before, UTC)
    assert "Retention deleted incidents before" in asked("2026-09-01", "2027-08-31", "after.csv")
    later = f"{since + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    assert "deleted" not in asked(later, "2027-08-31", "later.csv")


def test_what_is_held_stays_until_it_is_released(site):
    week = f"opened_at >= {moment(date(2026, 9, 14))} AND {opened_before(date(2026, 9, 21))}"
    ids = [r["id"] for r in site.db.execute(f"SELECT id FROM incident WHERE {week}")]  # noqa: S608 - ours
    assert len(ids) > 5
    hold(site)
    assert plan(site)["readings"]["held"].startswith("since 2026-09-14")
    assert f"{len(ids)} on hold" in retention(site, "apply").out
    assert [r["id"] for r in site.db.execute(f"SELECT id FROM incident WHERE {week}")] == ids  # noqa: S608 - ours
    assert count(site.db, "incident_history", f"incident = '{ids[0]}'") > 0
    assert "a claim" in retention(site, "holds").out
    retention(site, "release", "1")
    retention(site, "release", "1", code=1)
    retention(site, "apply")
    assert count(site.db, "incident", week) == 0
    assert [e.kind for e in audit.entries(site.db)][:4] == [
        *("retention", "release", "retention", "hold"),
    ]


def test_a_hold_of_one_room_keeps_that_room(site):
    hold(site, room="r1")
    retention(site, "apply")
    kept = site.db.execute(
        f"SELECT DISTINCT room FROM incident WHERE {opened_before(date(2026, 9, 27))}"  # noqa: S608 - ours
    ).fetchall()
    assert [row["room"] for row in kept] == ["r1"]


def test_open_incidents_and_those_that_levels_rest_on(site):
    first, second = (r["id"] for r in site.db.execute("SELECT id FROM incident LIMIT 2"))
    site.db.execute("UPDATE incident SET status = 'acknowledged' WHERE id = ?", (first,))
    site.db.execute(
        "INSERT INTO level_move (at, who, sensor, incident, verdict, reason, event_time, settled,"
        ' "from", "to") VALUES (1, "ap", "pw-0", ?, "confirmed", "", 1, 1, 0, -0.1)',
        (second,),
    )
    site.db.execute(
        "UPDATE incident SET action = 'nurse', case_number = '26/1', acknowledged_by = 'ap',"
        " resolved_by = 'ap' WHERE id = ?",
        (second,),
    )
    for _ in range(2):
        found = retention(site, "apply").out
        assert "1 still open" in found
    assert count(site.db, "incident_history", f"incident = '{first}'") > 0
    assert count(site.db, "incident_history", f"incident = '{second}'") == 0
    (row,) = site.db.execute("SELECT * FROM incident WHERE id = ?", (second,))
    bare = ("acknowledged_by", "resolved_by", "action", "case_number")
    assert [row[name] for name in bare] == [""] * 4
    assert "0 incidents deleted" in found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"reason": " "}, "please say why"),
        ({"room": "nowhere"}, "no room of the configuration"),
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
