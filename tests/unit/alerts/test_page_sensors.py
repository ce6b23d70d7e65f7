"""Test the sensors page: states, problems, labels, and hostile text."""

import re
from dataclasses import replace
from datetime import date
from html import unescape

import pytest

from alerts.access.api_tokens import Scope
from alerts.page.rendering import draw_code
from alerts.page.settings import PipelineStatus, SensorStatus
from alerts.page.views.sensors import list_labels
from detection.events import Detail, EventKind
from language.messages import build_fact
from reports.rows import SensorDay
from storage import sqlite
from storage.registry import Quarantined, Registry, Room, Sensor, Site
from tests.unit.alerts.test_page import NOW


async def test_state_interval_and_what_was_noted(open_page):
    status = PipelineStatus(
        sensors={
            "s1": SensorStatus("alive", NOW - 3, 5.0, {"readings": 900, "late": 1200}),
            "s2": SensorStatus("offline", NOW - 7200, 60.0, {"clock": 3, "unread": 1}),
            "s3": SensorStatus("never heard", None, 5.0, {"readings": 9, "duplicate": 4}),
        }
    )
    page = open_page(pipeline=lambda: status)
    text = (await page.client.get("/sensors")).text
    assert "Reporting</span>" in text
    assert "Offline</span> since" in text
    assert not {"Battery", "Signal"} & {*cells(text, "s1")}
    assert text.count("data problems <span") == 2
    assert "<dd>late 1,200</dd>" in (await page.client.get("/sensors/s1/device")).text
    shown = (await page.client.get("/sensors/s2/device")).text
    assert "Offline since" in shown
    assert "wrong clock 3, value with an unknown unit dropped 1" in shown
    assert "<li>Wrong clock: The device's time was wrong" in unescape(shown)
    assert "No reading yet" in text
    assert '<span class="fine">floor 2, North</span></td>' in text


def cells(text, sensor):
    row = text[text.index(f'href="/sensors/{sensor}/device"') :].partition("</tr>")[0]
    found = re.findall(r'<td data-name="([^"]+)">(.*?)</td>', row, re.DOTALL)
    return {name: " ".join(re.sub(r"<[^>]+>", " ", cell).split()) for name, cell in found}


async def test_a_sensor_with_readings_was_heard_and_its_shares_say_until_when(
    open_page, monkeypatch
):
    watched = SensorDay("s1", date(2026, 9, 7), 86_400.0, 86_400.0, 99, 1, 100.0)
    monkeypatch.setattr("alerts.page.views.sensors.read_sensor_days", lambda *_: [watched])
    status = PipelineStatus(sensors={"s1": SensorStatus("never heard", None, 5.0)})
    page = open_page(pipeline=lambda: status)
    page.now = NOW + 7 * 3600
    text = (await page.client.get("/sensors")).text
    found = cells(text, "s1")
    assert found["State"] == "Silent since 10:04 AM"
    assert found["Last reading"] == "7 h ago"
    assert found["Online"] == "100% until 10:04 AM"
    assert re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", text)[2:] == [("Silent", "1")]
    for path in ("/sensors/s1/device", "/api/v1/sensors/s1"):
        headers = {}
        if path.startswith("/api"):
            headers = {"Authorization": f"Bearer {page.make_token('ap', Scope.READ)}"}
        shown = (await page.client.get(path, headers=headers)).text
        assert "ever heard" not in shown, path
        assert "ilent" in shown, path


@pytest.mark.parametrize(
    ("status", "event", "step"),
    [
        (SensorStatus("alive", NOW - 3, 5.0), None, ""),
        (SensorStatus("alive", NOW - 7200, 5.0), None, "Check its power, then its network."),
        (SensorStatus("offline", NOW - 7200, 5.0), None, "Check its power, then its network."),
        (SensorStatus("never heard", None, 5.0), None, "Install it, and compare its id"),
        (SensorStatus("alive", NOW, 5.0, {"late": 3}), None, "Open its page"),
        (SensorStatus("silent", NOW, 5.0, {}, "refused", NOW), None, "Check its power, and its"),
        (SensorStatus("alive", NOW, 5.0, no_particles_since=1.0), None, "Check its particle"),
        (SensorStatus("silent", NOW, 5.0), (EventKind.TAMPER, ()), "Go and look at it."),
        (SensorStatus("alive", NOW, 5.0), (EventKind.SENSOR_FAULT, (Detail.DRIFT,)), "Clean its"),
        (
            SensorStatus("alive", NOW, 5.0),
            (EventKind.SENSOR_FAULT, (Detail.BATTERY_LOW,)),
            "Replace its battery.",
        ),
    ],
)
async def test_every_problem_says_what_to_do_first(open_page, make_event, status, event, step):
    page = open_page(pipeline=lambda: PipelineStatus(sensors={"s2": status}))
    if event:
        kind, codes = event
        details = tuple(
            build_fact(code, quantity="pm25", days=3, amount=9.0, before=3.0) for code in codes
        )
        found = make_event(NOW - 9, sensor="s2", kind=kind, details=details)
        with sqlite.transaction(page.db) as tx:
            page.engine.on_events(tx, [found], NOW)
    shown = cells((await page.client.get("/sensors")).text, "s2")["Problem"]
    assert step in shown
    assert step or not shown
    own = (await page.client.get("/sensors/s2/device")).text
    assert step in unescape(own) or status.counts or status.poll_error


@pytest.mark.parametrize("code", ["en", "es"])
async def test_that_no_sensor_reports_needs_attention_in_every_language(open_page, code):
    page = open_page(pipeline=PipelineStatus)
    text = (await page.client.get(f"/sensors?lang={code}")).text
    assert ">just now<" in (await page.client.get("/sensors/s1/device")).text, "not checked yet"
    assert re.findall(r'<div class="(\w+)"><dt>', text)[:2] == ["none", "attention"]


async def test_unknown_sensors_by_name_and_format(open_page):
    unknown = (
        Quarantined("n2-<new>", NOW - 60, NOW - 3, 12, "tasmota"),
        Quarantined("joined", NOW - 60, NOW - 3, 1_200),
    )
    page = open_page(pipeline=lambda: PipelineStatus(quarantine=unknown))
    text = (await page.client.get("/sensors")).text
    assert "People with these roles can add them to a room: " in text
    assert 'href="/settings/sensors/new"' not in text
    await page.sign_in("fm")
    assert 'href="/settings/sensors/new"' in (await page.client.get("/sensors")).text
    assert 'n2-&lt;new&gt;</th><td data-name="Format">tasmota</td>' in text
    assert 'joined</th><td data-name="Format">unknown</td>' in text
    assert "1,200" in text


async def test_a_flood_of_names_leaves_the_registered_in_sight(open_page):
    unknown = [Quarantined(f"ghost-{n}", NOW - 60, NOW - 3, 1) for n in range(1_000)]
    page = open_page(pipeline=lambda: PipelineStatus(quarantine=unknown))
    text = (await page.client.get("/sensors")).text
    assert text.count("ghost-") == 20
    assert "Showing the 20 most recent of 1,000." in text
    assert (await page.client.get("/sensors?all=yes")).text.count("ghost-") == 1_000


async def test_a_room_is_silent_by_the_learnt_interval(open_page):
    page = open_page()
    page.now = NOW + 240
    assert "No readings" in (await page.client.get("/rooms/n2-boys")).text
    page = open_page(intervals=lambda: {"s1": 300.0})
    page.now = NOW + 240
    assert "No readings" not in (await page.client.get("/rooms/n2-boys")).text


async def test_labels_are_for_those_who_look_after_sensors(open_page):
    page = open_page(one_click=False)
    await page.sign_in("fm")
    assert 'href="/sensors/labels"' in (await page.client.get("/sensors")).text
    text = (await page.client.get("/sensors/labels")).text
    assert re.findall(r'<b class="long">(\w+)</b>', text) == ["s3", "s1", "s2"]
    assert '<button class="print" type="button">Print</button>' in text
    assert draw_code("https://plumewatch.example/sensors/s3") in text.replace("&#39;", "'")
    await page.sign_in("an")
    assert 'href="/sensors/labels"' not in (await page.client.get("/sensors")).text
    assert (await page.client.get("/sensors/labels")).status_code == 403


async def test_there_are_no_labels_where_no_phone_reaches_the_page(open_page, policy):
    page = open_page(replace(policy, page_url="http://127.0.0.1:8420"))
    await page.sign_in("fm")
    shown = (await page.client.get("/sensors")).text
    assert "/sensors/labels" not in shown
    assert "an https address that phones can reach" in shown
    assert 'class="button" href="/sign"' in shown
    assert (await page.client.get("/sensors/labels")).status_code == 404


def test_labels_are_in_the_order_of_a_walk_and_name_the_school():
    sites = (Site("n", "North High", "UTC"), Site("s", "South High", "UTC"))
    rooms = [Room(f"r{k}", f"Restroom {k}", "1", "Main", "North High") for k in (10, 2, 1)]
    rooms.append(Room("s-boys", "Boys", "2nd floor", "Main", "South High"))
    places = ((9, "r10"), (11, "r2"), (10, "r2"), (9.5, "r1"), ("00:0F", "s-boys"))
    sensors = [Sensor(f"{k}", room) for k, room in places]
    found = list_labels(Registry.build(rooms, sensors, sites), "https://page")
    assert [sensor for sensor, *_ in found] == ["9.5", "10", "11", "9", "00:0F"]
    room, address = "Boys, 2nd floor, Main, South High", "https://page/sensors/00:0F"
    assert found[-1] == ("00:0F", room, address)


async def test_who_scans_a_label_signs_in_and_is_at_the_test_of_the_sensor(open_page):
    page = open_page(one_click=False)
    asked = await page.client.get("/sensors/s2")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=/sensors/s2")
    answer = await page.sign_in("fm", after="/sensors/s2", follow_redirects=True)
    assert answer.url.path == "/commission/n2-boys"
    assert '<b class="long">s2</b>' in answer.text
    assert "s2: not tested yet" in answer.text
    assert (await page.client.get("/sensors/s9")).status_code == 404
    await page.sign_in("ap")
    assert (await page.client.get("/sensors/s2")).status_code == 403
