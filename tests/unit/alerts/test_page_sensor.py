"""Test the page of one sensor: its state and its room test."""

import pytest

from alerts import sensor_tests
from alerts.page.settings import PipelineStatus, SensorStatus
from storage import sqlite
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.unit.alerts.test_page import NOW
from tests.unit.alerts.test_page_commission import RESULT


@pytest.fixture
def page(open_page):
    status = SensorStatus(
        "offline", NOW - 60, 5.0, {}, poll_error="HTTP status 500", poll_failing_since=NOW
    )
    return open_page(pipeline=lambda: PipelineStatus(sensors={"s1": status}))


async def shown(page, sensor="s1"):
    return (await page.client.get(f"/sensors/{sensor}/device")).text


async def test_a_device_that_does_not_answer_polls_says_why(page):
    text = await shown(page)
    assert "answered properly since" in text
    assert "HTTP status 500" in text
    assert "respond to polling" in (await page.client.get("/sensors")).text


@pytest.mark.parametrize(("every", "words"), [(10, ""), (20, "misses many"), (60, "misses most")])
async def test_a_sensor_that_reports_too_rarely_says_so(open_page, every, words):
    status = SensorStatus("alive", NOW - 3, float(every))
    text = await shown(open_page(pipeline=lambda: PipelineStatus(sensors={"s1": status})))
    assert ("Set its reporting interval" in text) is bool(words)
    assert words in text


async def test_a_sensor_without_particles_says_so(open_page, tmp_path):
    status = SensorStatus("alive", NOW - 3, 5.0, {}, no_particles_since=NOW - 2 * 86_400)
    with SqliteSeries(tmp_path / "series.db", Retention(30, 30, 30), lambda: NOW) as series:
        pipeline = PipelineStatus(sensors={"s2": status})
        page = open_page(series=series, pipeline=lambda: pipeline)
        assert "It has reported no particles since" in await shown(page, "s2")
        health = (await page.client.get("/sensors")).text
    rows = health.partition('id="registered"')[2].split("<tr>")[2:]
    assert ["no particles, so" in row for row in rows] == [True, False, False]


async def test_values_in_another_unit_are_said(open_page):
    status = SensorStatus("alive", NOW - 3, 5.0, unlikely=("pm25",))
    page = open_page(pipeline=lambda: PipelineStatus(sensors={"s1": status}))
    assert "PM2.5 always below 0.05 µg/m³ and varying: looks like mg/m³." in await shown(page)
    assert (await page.client.get("/sensors")).text.count("looks like ") == 1


async def test_the_last_test_of_a_sensor_is_on_its_page(page):
    assert "never tested in this room" in await shown(page)
    with sqlite.transaction(page.db) as tx:
        sensor_tests.add_result(tx, RESULT)
    page.now = RESULT["steps"][0]["start"] + 60
    text = await shown(page)
    assert "s1 detects a puff" in text
    assert "by F. Manager" in text


async def test_a_sensor_that_is_not_registered_has_no_page(page):
    assert (await page.client.get("/sensors/none/device")).status_code == 404
