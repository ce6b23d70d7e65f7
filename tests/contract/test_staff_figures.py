"""Test that pages, panels and reports show the same figures."""

import re

import httpx
import pytest

from alerts.engine import AlertEngine
from alerts.incidents.incident import Verdict
from alerts.page.app import create_app
from alerts.page.views.air import compute_day_means
from alerts.page.views.figures import gather_facts
from dashboards.boards import DashboardSettings, build_room_url
from dashboards.build import build_all
from dashboards.queries import query_key_figure
from reports.figures import IN_SERIES, OUTCOME, RESPONSE, SENSORS
from reports.figures import compute_figures as report_figures
from reports.wording import format_value
from storage.timeseries.sqlite import SqliteSeries
from tests.support import grafana
from tests.support.school_series import ZONE
from tests.support.staff_page import page_settings

WEEK_S = 7 * 86_400.0
DASHBOARDS = build_all(DashboardSettings(zone=ZONE))


@pytest.fixture(scope="module")
def embedded(school, tmp_path_factory):
    with SqliteSeries(tmp_path_factory.mktemp("series") / "series.db") as series:
        school.store(series)
        yield series


def settings_of(series, school):
    return page_settings(
        database=school.database,
        engine=AlertEngine(school.registry, school.policy),
        series=series,
        on_duty=school.on_duty,
        clock=lambda: school.end + 1,
        grafana_url="https://grafana.example",
    )


@pytest.fixture
def page(school, embedded):
    app = create_app(settings_of(embedded, school))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", follow_redirects=False
    )


def asked(url, name, title, school, ref="A", edit=lambda query: query):
    """Return the rows of a panel's query over the last week."""
    panel = next(p for p in grafana.panels(DASHBOARDS[name]) if p["title"] == title)
    target = next(t for t in panel["targets"] if t["refId"] == ref)
    query = edit(target["query"])
    query = grafana.interpolated(query, school.end + 1 - WEEK_S, school.end + 1)
    return {
        next(iter(series.get("tags", {"": ""}).values())): series["values"][0][1]
        for series in grafana.answer(url, query)
    }


def figures_of(series, school, **given):
    now = school.end + 1
    known = settings_of(series, school).school
    return gather_facts(school.database, series, known, now - WEEK_S, now, **given)


def in_series(url, key, school):
    """Compute a key figure from records as Grafana does; None if there is no result."""
    values = []
    for query in query_key_figure(key):
        text = grafana.interpolated(query["query"], school.end + 1 - WEEK_S, school.end + 1)
        values += [series["values"][0][1] for series in grafana.answer(url, text)]
    wanted = len(query_key_figure(key))
    return None if len(values) < wanted else values[0] / values[1] if wanted == 2 else values[0]


async def test_every_key_figure_is_the_same_in_dashboard_page_and_report(
    page, url, school, embedded
):
    facts = figures_of(embedded, school)
    outcome = facts.kpis.outcome
    found = {figure.key: figure for figure in report_figures(facts)}
    for key in IN_SERIES:
        main = found[key].main
        assert in_series(url, key, school) == (main if main is None else pytest.approx(main)), key
    assert outcome.incidents > 10
    assert outcome.confirmed > 0 < outcome.false

    def panel(title, ref="A"):
        return asked(url, "alerts", title, school, ref)[""]

    assert panel("Incidents") == outcome.incidents
    rooms = asked(url, "alerts", "Incidents by room", school)
    assert sum(rooms.values()) == outcome.incidents
    async with page:
        html = (await page.get("/figures?span=week")).text
    shown = re.findall(r'data-figure="(\w+)">([^<]*)<', html)
    assert {key for key, _ in shown} >= {f.key for f in (*OUTCOME, *RESPONSE, *SENSORS)}
    assert {*shown} == {(f.key, format_value(f)) for f in report_figures(facts)}


@pytest.mark.parametrize("nth", range(1, 5))
def test_too_little_data_is_no_figure_in_a_dashboard_either(url, school, embedded, nth):
    """The windows start one second before the first incident and end with the nth."""
    rows = figures_of(embedded, school).counted.incidents
    start, end = rows[0].opened_at - 1, rows[nth - 1].opened_at + 1e-3
    facts = gather_facts(
        school.database, embedded, settings_of(embedded, school).school, start, end
    )
    assert len(facts.counted.incidents) == nth
    found = {figure.key: figure for figure in report_figures(facts)}
    for key in ("confirmed_rate", "feedback_rate", "false_alarms_per_sensor_week"):
        assert format_value(found[key]) == "too little data"
        least = [query["query"] for query in query_key_figure(key)]
        texts = [grafana.interpolated(query, start, end) for query in least]
        assert not all(grafana.answer(url, text) for text in texts), key


def test_air_of_a_day_is_the_same_in_panel_and_page(url, school, embedded):
    title = "PM2.5, mean of 24 hours"
    six_hours = asked(url, "air", title, school)
    assert not six_hours.keys() & school.registry.rooms.keys(), "too few readings for a mean"
    pm25 = asked(url, "air", title, school, edit=lambda query: query.replace(">= 72", ">= 1"))
    assert pm25.keys() >= school.registry.rooms.keys()  # others belong to other tests
    for room in school.registry.rooms:
        sensors = [s.id for s in school.registry.list_sensors(room)]
        assert pm25[room] == pytest.approx(
            compute_day_means(embedded, sensors, school.end)["pm25"][0][0], rel=1e-6
        )


async def test_rooms_and_incidents_lead_to_their_dashboard(page, embedded, school):
    leads_to = f'href="https://grafana.example{build_room_url("main-1-boys")}'
    (row, *_) = (
        r for r in figures_of(embedded, school).counted.incidents if r.room_id == "main-1-boys"
    )
    async with page:
        for path in ("/rooms/main-1-boys", "/rooms/main-1-boys?span=week"):
            assert f'{leads_to}"' in (await page.get(path)).text
        html = (await page.get(f"/incidents/{row.id}")).text
    start, end = re.search(rf"{re.escape(leads_to)}&amp;from=(\d+)&amp;to=(\d+)", html).groups()
    assert int(start) < 1000 * row.opened_at < int(end)


async def test_counts_sum_to_the_incidents(page, school, embedded):
    async with page:
        html = (await page.get("/figures?span=week")).text
    facts = figures_of(embedded, school)
    counted = {"kinds": len(facts.counted.incidents)}
    for name in ("hours", "weekdays", "kinds", "rooms"):
        table = re.search(rf'<table id="{name}".*?</table>', html, re.DOTALL).group()
        counts = [int(n) for n in re.findall(r"<td>(\d+)</td>", table)]
        assert sum(counts) == counted.get(name, len(facts.alerts)), name
        assert f'max="{max(counts)}"' in table
    for expected in ("Vaping", "Spray", "Steam"):
        assert expected in html


def test_every_answer_is_a_response_and_only_two_are_about_vaping():
    nobody, _ = IN_SERIES["nobody_responded"]
    answers = set(Verdict) - {Verdict.TEST}  # figures exclude tests
    assert answers == {v for v in Verdict if f'"{v}" = 0' in nobody.where}
    (confirmed,) = IN_SERIES["confirmed_rate"]
    named = {v for v in Verdict if f'"{v}"' in confirmed.expression}
    assert named == {Verdict.CONFIRMED, Verdict.FALSE_ALARM}
