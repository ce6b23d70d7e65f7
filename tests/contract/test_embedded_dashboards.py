"""Every question of every dashboard has the same answer in InfluxDB and in the embedded store."""

import time
from contextlib import closing
from datetime import datetime

import httpx
import pytest

from alerts.access import api_tokens
from alerts.engine import AlertEngine
from alerts.page.app import create_app
from alerts.page.settings import StaffPageSettings
from dashboards.build import built
from dashboards.frame import DashboardSettings
from dashboards.infinity import TYPE
from plumewatch.service.data_folder import prepare_state
from storage import sqlite
from storage.timeseries import influxql
from storage.timeseries.sqlite import SqliteSeries
from tests.support import grafana
from tests.support.school_series import ZONE

BUILT = built(DashboardSettings(zone=ZONE))
EMBEDDED = built(DashboardSettings(zone=ZONE, embedded=True))
QUESTIONS = [
    pytest.param(name, panel, target, other, id=f"{name}-{panel['title']}-{target['refId']}")
    for name in BUILT
    for (panel, target), (_, other) in zip(
        grafana.questions(BUILT[name]), grafana.questions(EMBEDDED[name]), strict=True
    )
]


@pytest.fixture(scope="module")
def page(school, tmp_path_factory):
    """The staff page over an embedded store with what the InfluxDB has, and a token."""
    folder = tmp_path_factory.mktemp("embedded")
    with (
        SqliteSeries(folder / "series.db") as series,
        closing(sqlite.connect(folder / "state.db")) as db,
    ):
        school.store(series)
        while series.tidy(time.time() + 3600, school.end - 86_400):
            pass
        prepare_state(db)
        with sqlite.transaction(db) as tx:
            now = time.time()
            token = api_tokens.make(
                tx, "Grafana", "ap", [api_tokens.Scope.READINGS], by="ap", days=1, now=now
            )
        engine = AlertEngine(school.registry, school.policy)
        yield create_app(StaffPageSettings(folder / "state.db", engine, series)), token


async def ask(page, text, start, now, least=""):
    """Ask as Infinity does, with Grafana's variables filled in."""
    app, token = page
    for name, at in (("from", start), ("to", now)):
        text = text.replace(f"${{__{name}}}", f"{at * 1e3:.0f}")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        found = await client.get(
            "/api/v1/query",
            params={"q": grafana.interpolated(text, start, now, least=least)},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert found.status_code == 200, found.text
    return found.json()["items"]


def flat(series):
    """Rows of an InfluxDB as dictionaries; a single column has the name ``value`` too."""
    for one in series:
        for row in one["values"]:
            named = dict(zip(one["columns"], row, strict=True))
            if len(one["columns"]) == 2:
                named.setdefault("value", row[1])
            yield {**one.get("tags", {}), **named, "time": round(row[0])}


def milliseconds(text):
    return round(datetime.fromisoformat(text).timestamp() * 1e3)


@pytest.mark.parametrize(("name", "panel", "target", "infinity"), QUESTIONS)
async def test_both_stores_give_the_same_numbers(name, panel, target, infinity, url, school, page):
    wanted, least = grafana.seconds(BUILT[name]["time"]["from"]), panel.get("interval", "")
    start, now = min(school.end - wanted, school.start), time.time()
    asked, other = (
        grafana.at_moment(
            grafana.at_any_range(text).replace('"slots" >= 72', '"slots" >= 1'), school.end
        )  # there are six hours
        for text in (target["query"], infinity["url_options"]["params"][0]["value"])
    )
    text = grafana.interpolated(asked, start, now, least=least)
    columns = {c["selector"]: c["type"] for c in infinity["columns"]}
    values = [c for c, kind in columns.items() if kind == "number"]
    query = influxql.parse(text, now)
    told = [c for c in columns if c not in {"time", *query.tags}]
    mine = await ask(page, other, start, now, least)
    theirs = [{c: row.get(c) for c in columns} for row in flat(grafana.answer(url, text))]
    mine, theirs = (
        [row for row in rows if any(row.get(c) is not None for c in told)]
        for rows in (mine, theirs)
    )
    assert mine
    assert all(row.keys() == columns.keys() for row in mine)
    of_rows = isinstance(query.source, str) and not query.is_aggregate
    timed = bool(query.step) or of_rows
    texts = [c for c, kind in columns.items() if kind == "string"]

    def key(row):
        row = {**row, "time": row["time"] if timed else 0}
        return [row["time"], *(str(row[c]) for c in texts), *(repr(row[c]) for c in values)]

    mine = [{**row, "time": milliseconds(row["time"])} for row in mine]
    assert len(mine) == len(theirs)
    for one, two in zip(sorted(mine, key=key), sorted(theirs, key=key), strict=True):
        assert not timed or one["time"] == two["time"]
        for column in (*texts, *values):
            expected = two[column]
            if isinstance(expected, int | float):
                expected = pytest.approx(expected, rel=1e-9, abs=1e-9)
            assert one[column] == expected, column


@pytest.mark.parametrize("name", EMBEDDED)
async def test_variables_and_marks_are_answered(name, school, page):
    body = EMBEDDED[name]
    start, now = min(school.end - 86_400, school.start), time.time()
    for variable in body["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = variable["query"]["infinityQuery"]
        found = await ask(page, query["url_options"]["params"][0]["value"], start, now)
        names = {c["text"]: c["selector"] for c in query["columns"]}
        shown = {row[names["__text"]] for row in found}
        if variable["name"] == "room":
            ids = {text.rpartition(" | ")[2] for text in shown}
            assert ids == school.registry.rooms.keys()
        else:
            assert shown <= {getattr(r, variable["name"]) for r in school.registry.rooms.values()}
            assert names["__value"] == names["__text"]
    for mark in body["annotations"].get("list", ()):
        if mark["datasource"]["type"] == TYPE:
            found = await ask(page, mark["target"]["url_options"]["params"][0]["value"], start, now)
            assert found or "Tampering" not in mark["name"]
            names = {c["text"] for c in mark["target"]["columns"]}
            assert names == {"time", "timeEnd", "title", "text"}


def test_no_question_is_left_for_an_influxdb():
    text = str(EMBEDDED)
    assert "influxdb" not in text
    assert "$timeFilter" not in text
