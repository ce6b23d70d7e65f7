"""Test that text from people and devices is harmless in every output.

Spreadsheets run formulas, terminals run escape sequences, and bidirectional overrides reverse
words. Each output is a row of `OUTPUTS`.
"""

import csv
import io
import logging
import zipfile
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from alerts.engine import AlertRecord
from alerts.notify.notice import render
from alerts.page.views.sensors import list_labels
from ingest.recordings import write_recordings
from language.plain_text import PlainFormatter
from plumewatch.cli.printer import echo, format_table, print_json
from plumewatch.replay import write_alerts
from reports.drawing import Drawing, Text, render_svg
from reports.files import WRITERS, Sheet
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from tests.support.provider import RISING

pytestmark = pytest.mark.attack

ATTACKS = (
    "=cmd|' /C calc'!A0",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "＝1",
    "a\u202egnp",
    "\x1b[2J",
    "\x9b31m",
)
TEXT = st.characters(exclude_categories=["Cs"])
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def sheet_of(text):
    frame = pl.DataFrame({"room": [text]}, schema={"room": pl.String})
    return Sheet("incidents", {"created": "2026-01-01T00:00:00Z"}, frame)


def cells(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [cell for row in list(csv.reader(file))[1:] for cell in row]


def report_csv(text, tmp_path, _):
    WRITERS["csv"](sheet_of(text), tmp_path / "x.csv")
    return cells(tmp_path / "x.csv")


def report_xlsx(text, tmp_path, _):
    WRITERS["xlsx"](sheet_of(text), tmp_path / "x.xlsx")
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        sheet = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - ours
    return [found.text or "" for found in sheet.iter(f"{sheet.tag[:-9]}t")][1:]


def exported_readings(text, tmp_path, _):
    write_recordings(tmp_path / "x.csv", [Reading(text, 1.0, 1.0, {"pm25": 7.0})])
    return cells(tmp_path / "x.csv")[1:2]


def replayed_alerts(text, tmp_path, _):
    write_alerts(tmp_path / "x.csv", [AlertRecord(text, 1.0, "vape", 1.0, 0.9, "i1")])
    return cells(tmp_path / "x.csv")


def label(text, *_):
    registry = Registry.build([Room("r", text, "1", text, text)], [Sensor("s", "r")])
    ((sensor, room, _address),) = list_labels(registry, "https://page")
    return [sensor, room]


def picture(text, *_):
    drawn = render_svg(Drawing(10, 10, text, text, (Text(0, 0, text, 8, "#000000"),)))
    return [line for line in drawn.splitlines() if "<t" in line]


def table(text, *_):
    return format_table(("Sensor", "Room"), [("s1", text)], 60)


def line(text, _, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    echo(f"room {text}: tested")
    return out.getvalue().split("\n")


def as_json(text, _, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    print_json({"room": text})
    return out.getvalue().split("\n")


def log_line(text, *_):
    record = logging.makeLogRecord({"msg": "alert in %s", "args": (text,)})
    return PlainFormatter("%(message)s").format(record).split("\n")


def notice(text, *_):
    title, body = render(structs.replace(RISING, room=text))
    return [title, *body.split("\n")]


SPREADSHEETS = {
    "report as CSV": report_csv,
    "report as XLSX": report_xlsx,
    "export of readings": exported_readings,
    "alerts of a replay": replayed_alerts,
}
OUTPUTS = SPREADSHEETS | {
    "label": label,
    "picture": picture,
    "table of a command": table,
    "line of a command": line,
    "JSON of a command": as_json,
    "log": log_line,
    "notice": notice,
}


@pytest.mark.parametrize("output", OUTPUTS)
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.one_of(st.sampled_from(ATTACKS), st.text(TEXT, min_size=1)))
def test_no_text_does_anything(output, text, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        shown = OUTPUTS[output](text, tmp_path, patch)
    assert shown
    for part in shown:
        assert part.isprintable(), ascii(part)
        if output in SPREADSHEETS:
            assert not part.startswith(FORMULA), part
