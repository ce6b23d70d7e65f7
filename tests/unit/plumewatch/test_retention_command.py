"""What is old goes, what is held stays, what is deleted is on record."""

import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from plumewatch.cli.printer import Printer
from plumewatch.cli.report_command import ReportOptions, run_report
from plumewatch.cli.retention_command import run_apply, run_hold, run_holds, run_plan, run_release
from storage import audit, holds
from storage.sqlite import connect
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
    out = io.StringIO()
    assert run_plan(site.path, Printer(out, as_json=True), NOW) == 0
    return {line["name"]: line for line in map(json.loads, out.getvalue().splitlines())}


def hold(site, **more):
    asked = {"start": "2026-09-14", "end": "2026-09-20", "room": "", "reason": "a claim", **more}
    return run_hold(site.path, Printer(io.StringIO()), NOW, **asked)


def test_plan_says_what_apply_does(site):
    old = count(site.db, "incident", opened_before(date(2026, 9, 27)))
    young = count(site.db, "incident") - old
    assert old > 20 < young
    before = {t: count(site.db, t) for t in ("incident_history", "outbox", "alert_event")}
    assert plan(site)["incidents, notices, answers"]["old"] == old
    out = io.StringIO()
    assert run_apply(site.path, Printer(out), NOW) == 0
    assert out.getvalue() == f"{old} incidents deleted, 0 held, 0 still open\n"
    assert count(site.db, "incident") == young
    for table, rows in before.items():
        assert 0 < count(site.db, table) < rows
        orphans = "incident NOT IN (SELECT id FROM incident)"
        assert count(site.db, table, orphans) == 0
    assert site.db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert plan(site)["incidents, notices, answers"]["old"] == 0


def test_deletions_are_on_record_and_history_stays_append_only(site):
    assert run_apply(site.path, Printer(io.StringIO()), NOW) == 0
    entry = next(audit.entries(site.db))
    detail = json.loads(entry.detail)
    assert (entry.kind, detail["class"]) == ("retention", "incidents")
    assert detail["count"] > 20
    assert json.loads(detail["rows"])["incident"] == detail["count"]
    assert audit.verify(site.db).fault == ""
    for statement in ("DELETE FROM incident_history", "UPDATE incident_history SET who = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            site.db.execute(statement)


def test_a_report_says_what_was_deleted(site, tmp_path):
    def asked(start, end, out):
        found = io.StringIO()
        options = ReportOptions("incidents", start, end, out=tmp_path / out)
        assert run_report(site.path, options, Printer(err=found), NOW) == 0
        return found.getvalue()

    assert "deleted" not in asked("2026-09-01", "2027-08-31", "before.csv")
    assert run_apply(site.path, Printer(io.StringIO()), NOW) == 0
    before = json.loads(next(audit.entries(site.db)).detail)["opened_before"]
    since = datetime.fromtimestamp(before, UTC)
    assert "were deleted by retention" in asked("2026-09-01", "2027-08-31", "after.csv")
    later = f"{since + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    assert "deleted" not in asked(later, "2027-08-31", "later.csv")


def test_what_is_held_stays_until_it_is_released(site):
    week = f"opened_at >= {moment(date(2026, 9, 14))} AND {opened_before(date(2026, 9, 21))}"
    ids = [r["id"] for r in site.db.execute(f"SELECT id FROM incident WHERE {week}")]  # noqa: S608 - ours
    assert len(ids) > 5
    assert hold(site) == 0
    assert plan(site)["readings"]["held"].startswith("since 2026-09-14")
    out = io.StringIO()
    assert run_apply(site.path, Printer(out), NOW) == 0
    assert f"{len(ids)} held" in out.getvalue()
    assert [r["id"] for r in site.db.execute(f"SELECT id FROM incident WHERE {week}")] == ids  # noqa: S608 - ours
    assert count(site.db, "incident_history", f"incident = '{ids[0]}'") > 0
    listed = io.StringIO()
    assert run_holds(site.path, Printer(listed)) == 0
    assert "a claim" in listed.getvalue()
    assert run_release(site.path, 1, Printer(io.StringIO()), NOW) == 0
    assert run_release(site.path, 1, Printer(io.StringIO()), NOW) == 1
    assert run_apply(site.path, Printer(io.StringIO()), NOW) == 0
    assert count(site.db, "incident", week) == 0
    assert [e.kind for e in audit.entries(site.db)][:4] == [
        *("retention", "release", "retention", "hold"),
    ]


def test_a_hold_of_one_room_keeps_that_room(site):
    assert hold(site, room="r1") == 0
    assert run_apply(site.path, Printer(io.StringIO()), NOW) == 0
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
        out = io.StringIO()
        assert run_apply(site.path, Printer(out), NOW) == 0
        assert "1 still open" in out.getvalue()
    assert count(site.db, "incident_history", f"incident = '{first}'") > 0
    assert count(site.db, "incident_history", f"incident = '{second}'") == 0
    (row,) = site.db.execute("SELECT * FROM incident WHERE id = ?", (second,))
    bare = ("acknowledged_by", "resolved_by", "action", "case_number")
    assert [row[name] for name in bare] == [""] * 4
    assert "0 incidents deleted" in out.getvalue()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"reason": " "}, "please say why"),
        ({"room": "nowhere"}, "no room of the configuration"),
        ({"end": "2026-09-01"}, "not before --to"),
        ({"start": "soon"}, "is none of"),
        ({"reason": "pupil 4471-882"}, "does this identify a person? 4471-882"),
    ],
)
def test_a_hold_that_says_too_little(site, capsys, wrong, said):
    assert hold(site, **wrong) == 2
    assert said in capsys.readouterr().err
    assert holds.active(site.db) == []


def test_a_number_may_identify_nobody(site):
    assert hold(site, reason="Miller Law, file 2026-0412", no_name=True) == 0
    assert hold(site, reason="leak in Restroom 1") == 0
    assert next(h.reason for h in holds.active(site.db)) == "Miller Law, file 2026-0412"


def test_holds_stay_on_record(site):
    hold(site)
    with pytest.raises(sqlite3.IntegrityError, match="stay on record"):
        site.db.execute("DELETE FROM legal_hold")
    assert holds.earliest(site.db) == moment(date(2026, 9, 14))
