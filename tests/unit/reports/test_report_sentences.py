"""Test that a summary's sentences match its tables."""

import contextlib
import re
import shutil
import sqlite3
from datetime import datetime, timedelta

import polars as pl
import pytest

from tests.support.command import report as write_report
from tests.support.school_year import moment
from tests.unit.reports.conftest import DAYS, FIRST, ROOMS, view_of

NOW, WINDOW = moment(FIRST + timedelta(days=DAYS)), {"start": str(FIRST), "end": "2026-11-08"}
BELLS = """
[[bells]]
id = "usual"
days = ["mon", "tue", "wed", "thu", "fri"]
periods = [
  { name = "Morning block", start = "08:00", end = "10:00" },
  { name = "P2", start = "10:00", end = "12:00" },
  { name = "Lunch", start = "12:00", end = "12:45" },
  { name = "P1 again", start = "12:45", end = "15:00" },
]
"""


def cells(path):
    rows = pl.read_parquet(path).iter_rows(named=True)
    return {(r["section"], r["item"], r["measure"]): r["value"] for r in rows}


def counts(frame, **equal):
    for column, value in equal.items():
        frame = frame.filter(pl.col(column) == value)
    return frame.height


class Tables:
    """The tables' data; each method recomputes the numbers of one sentence, in order."""

    def __init__(self, summary, frame, every):
        self.cell = cells(summary)
        start = datetime.fromisoformat(pl.read_parquet_metadata(frame)["from"])
        self.earlier = pl.read_parquet(every).filter(pl.col("opened_utc") < start)
        self.incidents = pl.read_parquet(frame).filter(pl.col("outcome") != "test")
        self.air = self.incidents.filter(pl.col("kind").is_in(["vape", "smoke"]))

    def figure(self, key, measure="value"):
        return self.cell["figures", key, measure]

    def days(self):
        others = self.incidents.height - self.air.height
        days = self.figure("school_days")
        return [self.incidents.height, days, self.air.height, others]

    def unchecked(self):
        return [counts(self.earlier, state="nobody_responded")]

    def outcomes(self):
        kinds = ("confirmed", "false_alarm", "nothing_found", "fixed")
        found = [counts(self.incidents, outcome=kind) for kind in kinds]
        return [sum(found), self.incidents.height, *filter(None, found)]

    def responded(self):
        alerts = self.incidents.filter(~pl.col("kind").is_in(["offline", "sensor_fault"]))
        notified = alerts.filter(pl.col("notified_utc").is_not_null())
        acked = notified.filter(pl.col("acknowledged_utc").is_not_null())
        quick = acked.filter(pl.col("acknowledge_s").clip(0) <= 300)
        never = counts(self.incidents, state="nobody_responded")
        assert never == self.figure("nobody_responded", "part")
        return [quick.height, notified.height, *filter(None, [never])]

    def per_school_day(self):
        keys = ("count", "days", "count_before", "days_before")
        return [self.figure("per_school_day", key) for key in keys]

    def times(self):
        by_period = self.air.group_by("weekday", "period").len().sort("len", descending=True)
        most = by_period["len"].to_list()
        return [n for n in most[:8] if n >= max(2, most[:3][-1])]

    def none(self):
        return []


SENTENCES = {
    "Records begin on": Tables.none,
    "There is no record of": Tables.none,
    "Staff answered": Tables.outcomes,
    "Someone responded": Tables.responded,
    "Vaping and smoke:": Tables.per_school_day,
    "Still unchecked": Tables.unchecked,
    "Busiest times": Tables.times,
    "No time of the week": Tables.times,
    "": Tables.days,
}


def numbers(sentence):
    """Return a sentence's numbers, except numbers in dates, names and fixed phrases."""
    text = re.sub(r"[A-Z][a-z]+ \d{1,2}, \d{4}|floor \d+|[\d–]+ [AP]M", "", sentence)
    return [float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


@pytest.mark.parametrize(
    "asked",
    [
        {"week": "2026-W44"},
        {"week": "2026-W45"},
        {"week": "2026-W43"},
        {"start": str(FIRST - timedelta(days=30)), "end": "2026-11-08"},
        {"start": "2026-10-29", "end": "2026-10-29"},
    ],
)
def test_every_sentence_is_true_by_the_tables(write, school, asked):
    tables = Tables(
        *(write(name, "parquet", now=NOW, **asked) for name in ("summary", "incidents")),
        write("incidents", "parquet", now=NOW, start=str(FIRST), end="2026-11-08"),
    )
    found = view_of(school / "plumewatch.toml", NOW, **asked)["sentences"]
    assert len(found) >= 4
    for sentence in found:
        recompute = next(f for start, f in SENTENCES.items() if sentence.startswith(start))
        assert numbers(sentence) == pytest.approx(recompute(tables), abs=0.0051), sentence


def test_rooms_of_one_name_are_counted_apart_and_named_by_floor(write):
    cell = cells(write("summary", "parquet"))
    frame = pl.read_parquet(write("incidents", "parquet"))
    counted = frame.filter(pl.col("outcome") != "test")
    air = counted.filter(pl.col("kind").is_in(["vape", "smoke"]))
    by_room = {
        f"{room}, floor {floor}, {building}": n
        for room, floor, building, n in air.group_by("room", "floor", "building").len().iter_rows()
    }
    rooms = {i: v for (s, i, m), v in cell.items() if (s, m) == ("rooms", "incidents")}
    assert len(rooms) == ROOMS
    assert rooms == by_room
    assert {i for s, i, _ in cell if s == "period_by_room"} == set(by_room)


def test_periods_are_in_the_order_of_the_day(school, tmp_path):
    config = school / "bells.toml"
    config.write_text((school / "plumewatch.toml").read_text(encoding="utf-8") + BELLS)
    out = tmp_path / "x.parquet"
    asked = {"kind": "parquet", "out": out, "week": "2026-W44"}
    assert write_report(config, "summary", now=NOW, **asked).code == 0
    found = pl.read_parquet(out).filter(pl.col("section") == "period_by_room")
    order = list(dict.fromkeys(found["measure"]))
    names = ["Morning block", "P2", "Lunch", "P1 again"]
    assert [name for name in order if name in names] == names


def test_what_is_not_counted_adds_up(school, tmp_path):
    school = shutil.copytree(school, tmp_path / "school")
    with contextlib.closing(sqlite3.connect(next(school.glob("**/state.db")))) as state, state:
        state.execute(
            "UPDATE incident SET kind = 'possible' WHERE id IN (SELECT id FROM incident"
            " WHERE kind = 'vape' LIMIT 2)"
        )
    asked = {**WINDOW, "out": school / "x.csv"}
    ran = write_report(school / "plumewatch.toml", "summary", now=NOW, **asked)
    incidents, *parts = numbers((ran.out + ran.err).partition(": ")[2])
    assert sum(parts) == incidents
    assert all(part > 0 for part in parts)
    assert "not counted: " in ran.out + ran.err
