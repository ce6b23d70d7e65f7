"""Test reports on a week, month or term: correct days, and comparison with the previous period."""

import re
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from language.messages import use_language
from plumewatch.config.load import load
from plumewatch.report_request import ReportRequest, gather_facts
from reports.school import SchoolTimes
from reports.summary import make_summary
from reports.view import view_summary, view_table
from tests.support.command import report as write_report
from tests.support.config_entries import entry, shift
from tests.support.school_year import moment
from tests.unit.reports.conftest import FIRST, view_of

NOW = moment(FIRST + timedelta(days=40))
MORE = "".join(
    (
        entry("term", name="First half", first=date(2026, 10, 19), last=date(2026, 10, 30)),
        entry("term", name="Second half", first=date(2026, 11, 2), last=date(2026, 11, 8)),
        shift("early-hall", ["ap", "dean"], start="07:00", end="11:00"),
        shift("late", ["ap", "dean"], start="11:00", end="16:00"),
    )
)


@pytest.fixture(scope="module")
def config(school):
    path = school / "terms.toml"
    path.write_text((school / "plumewatch.toml").read_text(encoding="utf-8") + MORE)
    return path


@pytest.fixture
def make(config, tmp_path):
    def report(name="summary", kind="parquet", **asked):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.{kind}"
        assert write_report(config, name, now=NOW, kind=kind, out=path, **asked).code == 0
        return path

    return report


def figures(path):
    rows = pl.read_parquet(path).filter(pl.col("section") == "figures")
    return {(r["item"], r["measure"]): r["value"] for r in rows.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("period", "days"),
    [
        ({"week": "2026-W45"}, ("2026-11-02", "2026-11-08")),
        ({"month": "2026-11"}, ("2026-11-01", "2026-11-30")),
        ({"term": "Second half"}, ("2026-11-02", "2026-11-08")),
        ({"school_year": "2026/27"}, ("2026-07-01", "2027-06-30")),
    ],
)
def test_a_period_is_its_days_at_the_school(make, period, days):
    named = pl.read_parquet(make("incidents", **period))
    written = pl.read_parquet(make("incidents", start=days[0], end=days[1]))
    assert named.height > 40
    assert named.equals(written)
    assert set(named["school_year"]) == {"2026/27"}
    if "term" in period:
        assert set(named["term"]) == {"Second half"}


def test_a_week_beside_the_week_before(make):
    both = {week: figures(make(week=week)) for week in ("2026-W44", "2026-W45")}
    now, before = both["2026-W45"], both["2026-W44"]
    compared = [item for item, measure in now if measure == "period_before"]
    assert {"incidents", "incidents_air", "confirmed_rate", "time_to_arrive"} <= set(compared)
    assert {"sensors", "availability", "completeness", "notices_per_duty_hour"} <= set(compared)
    for item in compared:
        if item == "per_school_day":
            continue
        main = "median" if (item, "median") in before else "value"
        assert now[item, "period_before"] == before[item, main], item
    assert now["incidents", "value"] != before["incidents", "value"]
    change = {m: value for (item, m), value in now.items() if item == "per_school_day"}
    assert 0 < change["count"] <= now["incidents_air", "value"]  # on school days
    assert change["period_before"] == change["count_before"] / change["days_before"]


def test_what_is_not_on_record_is_not_compared(make, config):
    found = figures(make(week="2026-W43"))
    assert not [item for item, measure in found if measure == "period_before"]

    def text(**asked):
        return " ".join(view_of(config, NOW, **asked)["sentences"])

    nothing = "to compare with."
    assert f"There is no record of the week of October 12, 2026 {nothing}" in text(week="2026-W43")
    assert nothing not in text(start="2026-10-19", end="2026-10-25")
    # the comparison covers only the recorded part of the previous month
    assert " in October 2026, from October 19, 2026 on" in text(month="2026-11")


def test_short_windows_are_drawn_by_day_and_long_ones_by_week(make, config):
    drawn = {}
    for period in ({"month": "2026-11"}, {"school_year": "2026/27"}):
        titles = [picture["title"] for picture in view_of(config, NOW, **period)["first"]]
        drawn[next(iter(period))] = re.findall(r"Incidents by (\w+)", titles[0])
    assert drawn == {"month": ["day"], "school_year": ["week"]}
    days = pl.read_parquet(make(month="2026-11")).filter(pl.col("section") == "days")
    total = days.filter(pl.col("measure") == "incidents")["value"].sum()
    weeks = pl.read_parquet(make(month="2026-11")).filter(pl.col("section") == "weeks")
    assert total == weeks.filter(pl.col("measure") == "incidents")["value"].sum() > 0


def test_a_building_alone_in_words_and_in_machine_formats(make, config):
    view = view_of(config, NOW, week="2026-W45", building="North")
    assert view["period"] == "Week of November 2, 2026"
    assert (view["from"], view["to"]) == ("November 2, 2026", "November 8, 2026")
    text = " ".join(view["sentences"])
    assert re.search(r"Vaping and smoke: \d+ on \d school days, compared with \d+ on \d", text)
    about = pl.read_parquet_metadata(make(kind="parquet", week="2026-W45", building="North"))
    assert (about["period"], about["place"]) == ("week of November 2, 2026", "North")
    assert make(kind="pdf", week="2026-W45", building="North").read_bytes().startswith(b"%PDF")


def test_response_by_shift_adds_up(make, config):
    frame = pl.read_parquet(make("response", week="2026-W45"))
    by_shift = frame.filter(pl.col("by") == "shift")
    assert set(by_shift["value"]) == {"early-hall", "late", "no shift"}
    facts = gather_facts(load(config), ReportRequest("response", week="2026-W45"), NOW)
    shown = view_table(facts, "response", frame)["rows"]
    assert "early hall" in {row[1] for row in shown}
    assert by_shift["incidents"].sum() == frame.row(0, named=True)["incidents"]
    assert by_shift["arrive_n"].sum() == frame.row(0, named=True)["arrive_n"] > 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "ask for exactly one of --from with --to, --week, --month, --term"),
        ({"start": "2026-11-02"}, "give --from and --to together"),
        ({"end": "2026-11-02"}, "give --from and --to together"),
        ({"week": "2026-W45", "month": "2026-11"}, "ask for exactly one of"),
        ({"start": "2026-11-02", "end": "2026-11-03", "term": "x"}, "ask for exactly one of"),
        ({"week": "45"}, "--week: '45' is not a week; a week looks like 2026-W47"),
        ({"term": "Third half"}, "--term: 'Third half' is not a term; the terms are 'First half'"),
        ({"school_year": "2026"}, "--school-year: '2026' is not a school year"),
        ({"week": "2027-W10"}, "week of March 8, 2027: this period hasn't begun yet"),
        ({"start": "2027-03-08", "end": "2027-03-09"}, "--from 2027-03-08: this period hasn't"),
    ],
)
def test_exactly_one_way_to_ask(config, tmp_path, capsys, asked, message):
    out = tmp_path / "x.pdf"
    assert write_report(config, "summary", now=NOW, kind="pdf", out=out, **asked).code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.pdf").exists()


def test_the_same_period_a_year_before_has_a_column(config):
    facts = gather_facts(load(config), ReportRequest("summary", week="2026-W45"), NOW)
    year = replace(facts, before=None, period=SchoolTimes().parse_period("week", "2025-W45"))
    with use_language("en"):
        view = view_summary(make_summary(replace(facts, year_before=year)))
    (column,) = (k for k, head in enumerate(view["figure_heads"]) if "November 3, 2025" in head)
    assert any(row[column] == row[1] for row in view["figures"])
