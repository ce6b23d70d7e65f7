"""Test that all formats have the same numbers as the store, and that files are harmless."""

import csv
import json
import re
import subprocess
import zipfile
from contextlib import closing
from datetime import date, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from language.plain_text import restore
from plumewatch.config.load import load
from plumewatch.config.settings import build_school
from plumewatch.service.data_folder import open_series, open_state
from plumewatch.service.process import run_in_process
from reports import tables
from reports.documents import render_pdf
from reports.facts import gather
from reports.files import SHEETS
from reports.school import Place
from reports.summary import make_summary
from reports.suppress import SMALL, WITHHELD
from reports.text import ABOUT, FORMATS, to_words
from reports.view import view_summary, view_table
from storage import audit
from storage.sqlite import connect
from tests.support import alert_records as stored
from tests.support.command import report as write_report
from tests.support.needs import need
from tests.support.school_year import config_text, moment
from tests.unit.reports.conftest import DAYS, FIRST, NAMES, ROOMS

CODES = {"kind", "state", "outcome", "false_cause", "suppressed_by"}
START, END = moment(FIRST), moment(date(2026, 11, 9))
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@pytest.fixture(scope="module")
def facts(school):
    config = load(school / "plumewatch.toml")
    with (
        open_state(school / "plumewatch-data/state.db") as db,
        open_series(config) as series,
    ):
        return gather(build_school(config), db, Place(), START, END, END, series=series)


@pytest.fixture
def state(school):
    with closing(connect(school / "plumewatch-data/state.db", read_only=True)) as db:
        yield db


def csv_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def xlsx_rows(path):
    """Return the cells of the second-to-last sheet, read by another library."""
    with zipfile.ZipFile(path) as book:
        number = sum(name.startswith("xl/worksheets/sheet") for name in book.namelist()) - 1
        sheet = ET.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))  # noqa: S314 - ours
        assert not list(sheet.iter(f"{SHEET}f")), "no cell is a formula"
    rows = []
    for row in sheet.iter(f"{SHEET}row"):
        cells = {}
        for cell in row.iter(f"{SHEET}c"):
            column = re.match(r"[A-Z]+", cell.get("r"))[0]
            text = cell.find(f"{SHEET}is/{SHEET}t")
            value = cell.find(f"{SHEET}v")
            cells[column] = text.text if text is not None else value.text
        rows.append(cells)
    head = rows[0]
    return [{head[k]: v for k, v in row.items()} for row in rows[1:]]


def print_pdf(path, *options):
    command = ["pdftotext", *options, path, "-"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_a_summary_as_a_workbook_has_a_sheet_a_table(write):
    with zipfile.ZipFile(write("summary", "xlsx")) as book:
        sheets = re.findall(r'<sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
        first, weeks = (book.read(f"xl/worksheets/sheet{n}.xml").decode() for n in (1, 2))
    assert sheets[:3] == ["Key figures", "By week", "By day"]
    assert sheets[-2:] == ["Summary", "About"]
    with zipfile.ZipFile(write("incidents", "xlsx")) as book:
        assert '<sheet name="Incidents"' in book.read("xl/workbook.xml").decode()
    assert {str(name) for name in SHEETS.values()} - {"Schools", "Schools, previous period"} <= {
        *sheets
    }
    assert max(map(len, SHEETS.values())) <= 31, "no name is cut"
    assert re.search(r'<c r="A1"[^>]*><is><t>figure<', first)
    assert re.search(r'<c r="A2" s="\d"><v>46314</v>', weeks), "October 19, 2026 is a date"


@pytest.mark.parametrize("name", ABOUT)
def test_every_format_has_the_same_rows(write, name):
    frame = pl.read_parquet(write(name, "parquet"))
    about = pl.read_parquet_metadata(write(name, "parquet"))
    assert about["schema"] == f"plumewatch.{name}"
    assert about["version"] == str(tables.VERSION)
    found = {"csv": csv_rows(write(name, "csv")), "xlsx": xlsx_rows(write(name, "xlsx"))}
    times = pl.col(tables.MOMENT).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    rows = frame.with_columns(times).to_dicts()
    assert len(rows) == frame.height > 0
    for kind, others in found.items():
        assert len(others) == frame.height, kind
        for row, other in zip(rows, others, strict=True):
            for key, value in row.items():
                given = other.get(key) or ""
                if value is None or value == "":
                    assert given == "", (kind, key)
                elif isinstance(value, bool):
                    assert given in (str(value).lower(), str(int(value))), (kind, key)
                elif isinstance(value, int | float):
                    assert float(given) == pytest.approx(value, rel=1e-14), (kind, key)
                elif kind == "xlsx" and key.endswith(("_local", "_utc", "date")):
                    at = datetime(1899, 12, 30) + timedelta(days=float(given))  # noqa: DTZ001
                    shown = f"{at + timedelta(milliseconds=0.5):%Y-%m-%dT%H:%M:%S.%f}"
                    assert shown[:23].startswith(str(value)[:23]), key
                elif key != "date":
                    coded = kind == "xlsx" and name == "incidents" and key in CODES
                    assert restore(given) == (to_words(value) if coded else value), (kind, key)


def test_incidents_are_those_of_the_store(write, state):
    frame = pl.read_parquet(write("incidents", "parquet"))
    found = [i for i in stored.incidents(state) if START <= i.opened_at < END]
    assert len(found) > 150
    outcomes = {i.id: i.verdict or "not_answered" for i in found}
    assert dict(frame.select("id", "outcome").iter_rows()) == outcomes
    assert len(frame) == len(found)
    assert frame["notices"].sum() == len(stored.notices(state, "id", status="sent"))
    acks = len(stored.history(state, "at", what="acknowledged"))
    assert frame["acknowledged_utc"].is_not_null().sum() == acks


def test_all_reports_count_the_same(write, facts):
    incidents = pl.read_parquet(write("incidents", "parquet"))
    counted = incidents.filter(pl.col("outcome") != "test")
    table = pl.read_parquet(write("summary", "parquet"))

    def value(section, item, measure="value"):
        return table.row(
            by_predicate=(pl.col("section") == section)
            & (pl.col("item") == item)
            & (pl.col("measure") == measure),
            named=True,
        )["value"]

    assert value("figures", "incidents") == counted.height
    assert value("figures", "confirmed") == (counted["outcome"] == "confirmed").sum()
    assert value("figures", "tests_left_out") == (incidents["outcome"] == "test").sum()
    assert value("figures", "notices") == counted["notices"].sum()
    assert value("figures", "school_days") == 15.0
    weeks = table.filter((pl.col("section") == "weeks") & (pl.col("measure") == "incidents"))
    assert weeks["value"].sum() == counted.height
    kinds = table.filter((pl.col("section") == "kinds") & (pl.col("measure") == "incidents"))
    assert kinds["value"].sum() == counted.height
    response = pl.read_parquet(write("response", "parquet"))
    for by in response["by"].unique():
        assert response.filter(pl.col("by") == by)["incidents"].sum() == counted.height, by
    sensors = pl.read_parquet(write("sensors", "parquet"))
    assert sensors["incidents"].sum() == counted.height
    assert sensors["false_alarms"].sum() == facts.kpis.outcome.false
    assert sensors["received"].sum() == value("figures", "completeness", "part")
    acked = counted["acknowledge_s"].drop_nulls()
    assert value("figures", "time_to_acknowledge", "mean") == pytest.approx(acked.mean(), abs=1e-3)
    assert value("figures", "time_to_acknowledge", "median") == pytest.approx(
        acked.median(), abs=1e-3
    )


def test_documents_agree_with_the_tables(facts):
    listed = view_table(facts, "incidents", tables.build_frame("incidents", facts))
    assert listed["row_count"] == f"{len(facts.incidents)} rows."
    assert len(listed["rows"]) == len(facts.incidents)
    kinds = {row[listed["columns"].index("kind")] for row in listed["rows"]}
    assert {"vaping", "sensor offline"} <= kinds
    assert not {row.kind for row in facts.incidents} & kinds - {"smoke"}


def test_names_are_inert_in_csv_and_can_be_restored(write):
    rooms = {row["room"] for row in csv_rows(write("sensors", "csv"))}
    assert {restore(room) for room in rooms} >= set(NAMES.values())
    assert not any(room.startswith(("=", "+", "-", "@")) for room in rooms)
    assert (
        pl.read_parquet(write("sensors", "parquet"))["room"].is_in(list(NAMES.values())).sum() == 4
    )


@pytest.mark.parametrize("name", ABOUT)
def test_pdf_shows_names_as_they_are(write, name):
    path = write(name, "pdf")
    assert path.read_bytes().startswith(b"%PDF")
    need("pdftotext")
    text = print_pdf(path, "-raw")
    assert "Lincoln High" in text
    if name in ("sensors", "incidents"):
        flat = re.sub(r"\s+", "", text)
        assert "#letx=1*bold*$y$\\\\" in flat
        assert "<imgsrc=x" in flat


@pytest.mark.needs("pdftotext")
@pytest.mark.parametrize("name", ["incidents", "response", "sensors"])
def test_no_cell_of_a_table_prints_over_another_or_says_a_code(write, name):
    """Words in a line of text neither overlap nor extend beyond the page."""
    out = print_pdf(write(name, "pdf"), "-bbox", "-f", "1", "-l", "1")
    width = float(re.search(r'<page width="([\d.]+)"', out)[1])
    boxes = re.findall(
        r'<word xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="[\d.]+">(.*?)</word>', out
    )
    lines = {}
    for left, top, right, word in boxes:
        lines.setdefault(round(float(top)), []).append((float(left), float(right), word))
    for words in lines.values():
        words.sort()
        for (_, end, one), (begin, _, other) in pairwise(words):
            assert end <= begin + 0.5, (one, other)
        assert words[-1][1] < width
    assert not [word for *_, word in boxes if "_" in word and "/" not in word]
    assert not [word for *_, word in boxes if re.fullmatch("[a-z]+[-\u2010]", word)], "hyphenated"


@pytest.mark.needs("pdftotext")
def test_the_principal_reads_one_page(write):
    first = print_pdf(write("summary", "pdf"), "-l", "1")
    assert "Incidents by day" in first  # three weeks
    assert "Vaping and smoke by hour and weekday" in first
    assert "A change after a date does not prove its cause" in first
    assert "Detail" not in first
    assert "Sun, Oct 25" not in print_pdf(write("summary", "pdf"))  # a day without school


def test_times_are_local_with_offset_and_utc(write):
    rows = csv_rows(write("incidents", "csv"))
    offsets = {row["opened_local"][-6:] for row in rows}
    assert offsets == {"-04:00", "-05:00"}  # before and after the clocks were set back
    for row in rows[:20]:
        assert row["opened_utc"].endswith("Z")
        assert row["opened_local"][:10] == row["date"]
        assert float(row["detect_s"]) > 0
    for row in rows:
        local, utc = map(datetime.fromisoformat, (row["opened_local"], row["opened_utc"]))
        assert local == utc


def test_a_day_of_25_hours_is_expected_whole(facts):
    longest = [day for day in facts.sensor_days if day.day == date(2026, 11, 1)]
    assert {day.expected_s for day in longest} == {25 * 3600.0}
    assert len(facts.sensor_days) == ROOMS * DAYS
    away = [day for day in facts.sensor_days if day.sensor == "pw-9"]
    assert any(day.online_s < day.expected_s for day in away)


def test_small_counts_of_a_room_are_nowhere(facts):
    made = make_summary(facts)
    grid = made.grids["period_by_room"]
    shown = [n for _, values in grid.rows for n in values if n is not None]
    assert all(n >= 5 for n in shown)
    assert all(sum(n is None for n in values) != 1 for _, values in grid.rows)
    table = made.to_table().filter(pl.col("section") == "period_by_room")
    assert table.filter(pl.col("value").is_null())["note"].unique().to_list() == ["<5"]
    assert table.filter(pl.col("value") < 5).height == 0
    assert "<5" in json.dumps(view_summary(made)["detail"])


def test_exports_are_in_the_audit_log(write, state):
    write("sensors", "csv")
    found = [e for e in audit.read_entries(state) if '"report": "sensors"' in e.detail]
    assert {e.kind for e in found} == {"export"}
    assert any(e.actor.endswith("on the command line") for e in found)
    assert audit.verify(state).fault == ""


def test_part_of_the_school(school, tmp_path, capsys):
    config, out = school / "plumewatch.toml", tmp_path / "i.csv"
    window = {"now": END, "start": FIRST, "end": "2026-11-08"}
    assert write_report(config, "incidents", **window, out=out, building="North").code == 0
    assert {row["building"] for row in csv_rows(out)} == {"North"}
    for wrong, output in (
        ({"building": "East"}, "choose from 'North', 'South'"),
        ({"site": "x"}, "choose from 'Lincoln High'"),
        ({"kind": "doc"}, "'doc' is not one of"),
        ({"end": "2026-01-01"}, "is after --to 2026-01-01: give"),
        ({"out": out}, "exists already"),
        ({"out": tmp_path / "no" / "x.csv"}, "not a file in an existing folder"),
        ({"kind": "xlsx"}, "ends in .csv, but --format is xlsx"),
        ({"start": "yesterday"}, "'yesterday' is not a time: write"),
        ({"end": "9999-12-31"}, "not a time between"),
    ):
        asked = {"name": "incidents", **window, "out": tmp_path / "x.csv", **wrong}
        assert write_report(config, **asked).code == 2
        assert output in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_a_window_without_anything(school, tmp_path):
    config = school / "plumewatch.toml"
    for name in ABOUT:
        for kind in FORMATS:
            path = tmp_path / f"{name}.{kind}"
            window = {"start": "2020-01-01", "end": "2020-01-05"}
            done = write_report(config, name, now=END, **window, kind=kind, out=path)
            assert done.code == 0, (name, kind)
            assert path.stat().st_size > 0


def test_a_service_that_never_ran(tmp_path, capsys):
    config = tmp_path / "plumewatch.toml"
    config.write_text(config_text(1))
    window = {"start": "2026-01-01", "end": "2026-01-02"}
    assert write_report(config, "incidents", now=END, **window).code == 3
    assert "never started" in capsys.readouterr().err


def test_columns_are_documented_and_stable():
    assert tables.COLUMNS.keys() == ABOUT.keys()
    for columns in tables.COLUMNS.values():
        names = [column.name for column in columns]
        assert names[0] == "schema_version"
        assert len(set(names)) == len(names)
        assert all(column.about for column in columns)
    summary_columns = {c.name: c.about for c in tables.COLUMNS["summary"]}
    assert [*summary_columns][:3] == ["schema_version", "section", "item"]
    assert {f"`{SMALL}`", f"`{WITHHELD}`"} <= {*re.findall("`[^`]+`", summary_columns["note"])}


async def test_the_process_of_the_staff_page_writes_the_same(
    school, write, state, tmp_path, monkeypatch
):
    (tmp_path / "msgspec.py").write_text("raise SystemExit('code in the working folder')")
    monkeypatch.chdir(tmp_path)
    config = load(school / "plumewatch.toml")
    fields = {"name": "sensors", "kind": "csv", "start": str(FIRST), "end": "2026-11-08"}
    for asked, made in ((fields, True), ({**fields, "building": "East"}, False)):
        path = tmp_path / f"{made}.csv"
        order = (asked, str(path), "an", moment(FIRST) + 3456000.0)
        why = await run_in_process(str, "plumewatch.report_request:make_for_page", config, *order)
        assert path.exists() == made
        assert why == "" if made else "East" in why
    assert (tmp_path / "True.csv").read_bytes() == write("sensors", "csv").read_bytes()
    assert "an" in {e.actor for e in audit.read_entries(state, 3)}


@pytest.mark.needs("pdftotext")
def test_a_heading_stays_with_its_table(facts):
    view = view_summary(make_summary(facts))
    title, rows = "Heading of a table", [[f"row {k}", "1"] for k in range(20)]
    grid = {"title": title, "about": "Explanation.", "columns": ["school", "alerts"], "rows": rows}
    view["grids"] = [grid]
    for n in range(10, 40, 3):  # the heading moves down the page
        view["figures"] = [view["figures"][0]] * n
        text = subprocess.run(
            ["pdftotext", "-layout", "-", "-"],
            input=render_pdf("summary", view),
            capture_output=True,
            check=True,
        ).stdout.decode()
        (page,) = (page for page in text.split("\f") if title in page)
        after = page.partition(title)[2].split("\n")
        assert any(line.split() == ["row", "0", "1"] for line in after), n
