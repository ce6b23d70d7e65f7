"""Test that every report document can be created in Spanish, without any English."""

from __future__ import annotations

import re
import subprocess
import zipfile
from dataclasses import replace

import pytest

from language.messages import use_language
from plumewatch.config.load import load
from plumewatch.report_request import ReportRequest, gather_facts, make_report
from reports.documents import render_pdf
from reports.letter import write_letter
from reports.summary import make_summary
from reports.tables import COLUMNS
from reports.view import view_summary
from tests.support.leftovers import leftovers
from tests.support.school_year import moment
from tests.unit.reports.conftest import FIRST, NAMES

NOW = moment(FIRST) + 40 * 86_400
WEEK = ReportRequest("summary", week="2026-W44")
SCHOOL = {"restroom", "bell", "lincoln", "high", "north", "period", "lunch", "new", "nor"}
SCHOOL |= {"cmd", "img", "src", "onerror", "alert", "let", "bold", "name", "u202ename"}


@pytest.fixture(scope="module")
def config(school):
    return load(school / "plumewatch.toml").model_copy(update={"language": "es"})


@pytest.fixture(scope="module")
def made(config):
    facts = gather_facts(config, WEEK, NOW)
    with use_language("es"):
        return make_summary(facts)


def english(text):
    for name in NAMES.values():
        text = text.replace(name, " ")
    return leftovers(text) - SCHOOL


def flat(value):
    if isinstance(value, dict):
        codes = {"schema", "zone", "key", "kind"}
        return " ".join(flat(value[key]) for key in value if key not in codes)
    if isinstance(value, list | tuple):
        return " ".join(map(flat, value))
    return re.sub(r"<[^>]*>", " ", str(value))


def test_a_summary_has_no_english_in_it(made):
    with use_language("es"):
        view = view_summary(made)
    assert english(flat(view)) == set()
    assert view["period"] == "Semana del 26 de octubre de 2026"
    assert any(" en 5 días de clase" in line for line in view["sentences"])


@pytest.mark.needs("pdftotext")
def test_the_key_figures_are_on_one_page(made):
    with use_language("es"):
        view = view_summary(made)
    (_rooms, periods) = view["detail"]
    view["detail"].pop()
    command = ["pdftotext", "-layout", "-", "-"]
    printed = subprocess.run(
        command, input=render_pdf("summary", view), capture_output=True, check=True
    )
    (page,) = (p for p in printed.stdout.decode().split("\f") if view["figures_title"] in p)
    assert view["figures"][-1][0] in page
    assert [f"{hour} a.m." for hour in (8, 9, 10, 11)] == periods["columns"][:4]


@pytest.mark.parametrize("name", ["summary", "incidents", "response", "sensors"])
@pytest.mark.parametrize("kind", ["pdf", "xlsx"])
def test_every_document_is_made_in_spanish(config, tmp_path, name, kind):
    path = tmp_path / f"report.{kind}"
    make_report(config, replace(WEEK, name=name, kind=kind, out=path), NOW)
    if kind == "pdf":
        return
    with zipfile.ZipFile(path) as book:
        text = "".join(book.read(part).decode() for part in book.namelist() if "xml" in part)
    explained = {column.about for column in COLUMNS[name]}
    same = {"id"}  # the same word in both languages, or the name of a column
    assert {about for about in explained if f">{about}<" in text} - same == set()
    sheets = re.findall(r'<sheet name="([^"]+)"', text)
    assert english(" ".join(sheets)) - {name} == set()
    if name == "incidents":
        assert {"vapeo", "falsa alarma", "creado"} <= {*re.findall(r"<t>([^<]*)</t>", text)}
    if name == "summary":
        assert sheets[0] == "Cifras principales"
        assert len(sheets) == len(set(sheets))
        assert 'formatCode="[$-540A]ddd d mmm yyyy"' in text


def test_machine_formats_stay_as_they_are(config, write, tmp_path):
    path = tmp_path / "incidents.csv"
    request = ReportRequest("incidents", start=str(FIRST), end="2026-11-08", kind="csv", out=path)
    make_report(config, request, NOW)
    assert path.read_bytes() == write("incidents", "csv").read_bytes()


def test_the_letter_has_no_english_in_it(made):
    with use_language("es"):
        title, text = write_letter(made, "")
    assert title == "Lincoln High: semana del 26 de octubre de 2026"
    assert "Espacios con más vapeo y humo:" in text.splitlines()
    assert english(f"{title} {text}") == set()
