"""The page of one sensor: its state, its test, and the interval that its device is asked for."""

import json

import pytest

from alerts import device_intervals, sensor_tests
from alerts.page.settings import DeviceIntervals, PipelineStatus, SensorStatus
from storage import audit, firmware, sqlite
from storage.timeseries.records import Record
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.unit.alerts.test_page import NOW
from tests.unit.alerts.test_page_commission import RESULT


@pytest.fixture
def page(open_page):
    """A page on which s1 can be set for good and s2 for hours; `sent` are the commands."""

    async def send(sensor, every_s, hours, renews):
        opened.sent.append((sensor, every_s, hours, renews))
        return opened.error

    status = SensorStatus(
        "offline", NOW - 60, 5.0, {}, "1.2", poll_error="HTTP status 500", poll_failing_since=NOW
    )
    opened = open_page(
        device_intervals=DeviceIntervals({"s1": 0, "s2": 24}, 10, 3600, send, 0.25),
        pipeline=lambda: PipelineStatus(sensors={"s1": status}),
    )
    opened.sent, opened.error = [], ""
    return opened


async def ask(page, sensor="s1", **fields):
    token = await page.form_token(f"/sensors/{sensor}/device")
    form = {"form_token": token, **fields}
    return await page.client.post(f"/sensors/{sensor}/interval", data=form)


async def shown(page, sensor="s1"):
    return (await page.client.get(f"/sensors/{sensor}/device")).text


async def test_a_device_that_does_not_answer_polls_says_why(page):
    text = await shown(page)
    assert "no usable answer since" in text
    assert "HTTP status 500" in text
    assert "does not answer polls" in (await page.client.get("/sensors")).text
    assert "Send to the device" not in text, "nobody is signed in"


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
        sqlite.migrate(page.db, firmware.COMPONENT, firmware.SCRIPTS)
        assert "It has reported no particles since" in await shown(page, "s2")
        assert "no particles, so" in (await page.client.get("/sensors")).text
        health = (await page.client.get("/sensor-health")).text
    rows = health.partition('id="health"')[2].split("<tr>")[2:]
    assert ["no particles, so" in row for row in rows] == [True, False, False]


async def test_the_last_test_of_a_sensor_is_on_its_page(page):
    assert "never tested in its room" in await shown(page)
    with sqlite.transaction(page.db) as tx:
        sensor_tests.add(tx, RESULT)
    page.now = RESULT["steps"][0]["start"] + 60
    text = await shown(page)
    assert "s1 detects a puff" in text
    assert "by F. Manager" in text
    page.now += sensor_tests.RETEST_S
    assert "More than a year ago: test it again." in await shown(page)


async def test_sensor_health_lists_a_yearly_test_before_sensors_without_a_problem(
    open_page, tmp_path
):
    with SqliteSeries(tmp_path / "series.db", Retention(30, 30, 30), lambda: NOW) as series:
        for sensor, condition in (("s1", "ok"), ("s2", "test_due"), ("s3", "ok")):
            fields = {"online": 1.0, "state": "alive", "condition": condition}
            series.record([Record("sensor_health", NOW - 60, fields, sensor=sensor)])
        page = open_page(series=series)
        sqlite.migrate(page.db, firmware.COMPONENT, firmware.SCRIPTS)
        text = (await page.client.get("/sensor-health")).text
    rows = text.partition('id="health"')[2].split("<tr>")[2:]
    assert "/sensors/s2/device" in rows[0]
    assert ["yearly test due" in row for row in rows] == [True, False, False]


async def test_an_interval_is_sent_recorded_and_answered(page):
    await page.sign_in("fm")
    assert (await ask(page, every_s="60")).status_code == 303
    assert page.sent == [("s1", 60, 0, False)]
    text = await shown(page)
    assert "F. Manager asked for a report every 60 s." in text
    assert "has not answered" in text
    (entry,) = audit.entries_of(page.db, audit.AuditKind.DOWNLINK, 9)
    assert (entry.actor, json.loads(entry.detail)) == (
        "fm",
        {"sensor": "s1", "every_s": 60, "hours": 0},
    )
    device_intervals.record_answers(page.db, {"s1": (60.0, page.now + 2), "gone": (1.0, 1.0)})
    text = await shown(page)
    assert "the device answered with a report every 60 s." in text
    assert "has not answered" not in text


async def test_a_setting_that_ends_is_renewed(page):
    await page.sign_in("fm")
    assert (await ask(page, "s2", every_s="15", hours="6", renews="on")).status_code == 303
    assert "It is renewed before." in await shown(page, "s2")
    device_intervals.record_renewals(page.db, {"s2": (15, page.now + 20_000, 6)})
    assert "service asked for a report every 15 s." in await shown(page, "s2")
    newest = next(audit.entries_of(page.db, audit.AuditKind.DOWNLINK, 1))
    assert (newest.actor, newest.at) == ("service", page.now + 20_000)
    assert (await ask(page, "s2", every_s="15", hours="6")).status_code == 303
    assert page.sent == [("s2", 15, 6, True), ("s2", 15, 6, False)]
    assert "To renew it, ask again before." in await shown(page, "s2")
    page.now += 7 * 3600
    assert "To renew it, ask again." in await shown(page, "s2")


async def test_what_was_not_sent_is_on_the_page_and_in_the_audit_log(page):
    await page.sign_in("fm")
    page.error = "the broker is not connected"
    await ask(page, every_s="60")
    assert "Not sent: the broker is not connected." in await shown(page)
    newest = next(audit.entries_of(page.db, audit.AuditKind.DOWNLINK, 1))
    assert json.loads(newest.detail)["not_sent"] == page.error


@pytest.mark.parametrize(
    ("sensor", "fields"),
    [
        ("s1", {"every_s": "9"}),
        ("s1", {"every_s": "3601"}),
        ("s1", {"every_s": "1e3"}),
        ("s1", {"every_s": "-60"}),
        ("s1", {}),
        ("s2", {"every_s": "60"}),
        ("s2", {"every_s": "60", "hours": "25"}),
    ],
)
async def test_bounds(page, sensor, fields):
    await page.sign_in("fm")
    answer = await ask(page, sensor, **fields)
    assert (answer.status_code, page.sent) == (400, [])
    assert "10 to 3600 s" in answer.text


async def test_only_who_looks_after_sensors_may_set_an_interval(page):
    await page.sign_in("ap")
    assert "Send to the device" not in await shown(page)
    token = await page.form_token()
    form = {"form_token": token, "every_s": "60"}
    answer = await page.client.post("/sensors/s1/interval", data=form)
    assert (answer.status_code, page.sent) == (403, [])


async def test_sensors_that_cannot_be_set_or_are_not_there(page):
    await page.sign_in("fm")
    assert "Send to the device" not in await shown(page, "s3")
    token = await page.form_token("/sensors/s1/device")
    form = {"form_token": token, "every_s": "60"}
    assert (await page.client.post("/sensors/s3/interval", data=form)).status_code == 404
    assert (await page.client.post("/sensors/none/interval", data=form)).status_code == 404
    assert (await page.client.get("/sensors/none/device")).status_code == 404
    assert page.sent == []
