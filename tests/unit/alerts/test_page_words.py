"""Test plain words on the page, the ten sensor figures, and ages that keep counting."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from alerts.duty.reasons import Reason, write_reason
from alerts.history_words import write_line
from alerts.incidents.incident import Status, Suppression
from alerts.page.rendering import NAV
from language.messages import build_fact, use_language
from storage import sqlite
from storage.timeseries import LatestReading
from tests.support import alert_records as stored
from tests.unit.alerts.test_page import NOW


@pytest.mark.parametrize(
    ("values", "level", "words"),
    [
        ({"rssi": -60.0, "battery": 80.0}, "silent", "No reading"),
        ({"pm25": 311.0}, "notable", "Many fine particles, no detection"),
    ],
)
async def test_a_room_without_air_values_or_with_polluted_air_is_not_ok(
    open_page, values, level, words
):
    series = SimpleNamespace(read_latest=lambda: {"s1": LatestReading(NOW - 3, values)})
    text = (await open_page(series=series).client.get("/")).text
    card = text[text.index('href="/rooms/n2-boys"') - 60 :]
    assert f"card {level}" in card[:60]
    assert words in card


@pytest.mark.parametrize("words", ["Vaping likely", "Nobody responded"])
@pytest.mark.parametrize(("age_s", "offline"), [(3, False), (200, True), (None, True)])
async def test_a_room_with_an_incident_says_that_its_sensor_is_offline(
    open_page, make_event, age_s, offline, words
):
    latest = {} if age_s is None else {"s1": LatestReading(NOW - age_s, {"pm25": 12.2})}
    page = open_page(series=SimpleNamespace(read_latest=lambda: latest))
    incident = page.incident(make_event)
    if missed := words == "Nobody responded":
        with sqlite.transaction(page.db) as tx:
            over = {"resolved_at": NOW, "missed_at": NOW}
            stored.change_incidents(tx, incident, status=Status.RESOLVED, **over)
    for path in ("/", "/wall", "/rooms/n2-boys"):
        text = (await page.client.get(path)).text
        assert words in text, path
        assert ("Sensor offline" in text) == offline, path
        if path != "/rooms/n2-boys" and (missed or path == "/wall"):
            assert f"{1 + offline} room" in text, path


async def test_history_is_for_people(opened):
    page, incident = opened
    text = (await page.client.get(f"/incidents/{incident}")).text
    record = text[text.index('<section id="record">') :]
    assert "Detected</b>" in record
    assert "Sent to</b>" in record
    assert "A. Principal" in record
    assert not re.search(r"[a-z]+-[0-9a-f]{6}\b", record)
    assert "move " not in record
    with sqlite.transaction(page.db) as tx:
        tx.execute(
            "INSERT INTO incident_history SELECT incident, max(seq) + 1, min(at) - 1, who,"
            " 'threshold_adjusted', '{}' FROM incident_history WHERE incident = ?",
            (incident,),
        )
    text = (await page.client.get(f"/incidents/{incident}")).text
    assert text.index("Alert threshold adjusted</b>") < text.index("Detected</b>")


async def test_the_age_of_a_reading_counts_on(open_page):
    text = (await open_page().client.get("/")).text
    assert '<span data-age="3">just now</span>' in text


ASKED = build_fact(Reason.ALWAYS, receiver="x1", person="x5")


def test_a_line_of_the_history_names_people_and_channels():
    assert write_line("paged", {"asked": (ASKED,), "ring": "nearest"}, {"x5": "Ms. Lee"}.get) == (
        "Sent to",
        "Ms. Lee (x1, always on duty), nearest",
    )
    stands_in = build_fact(
        Reason.SUBSTITUTE, shift="hall", instead_of="x5", end="16:00", person="x6"
    )
    names = {"x5": "Ms. Lee", "x6": "Mr. Fox"}.get
    _title, text = write_line("paged", {"asked": (stands_in,)}, names)
    assert text == "Mr. Fox (for Ms. Lee until 4:00 PM)"
    mute = build_fact(Suppression.SILENCE, silence=1, owner="x5")
    assert write_line("opened", {"mute": mute}, names)[1] == "silence 1 by Ms. Lee"
    always = build_fact(Reason.ALWAYS, receiver="facilities")
    with use_language("es"):
        assert write_reason(always) == "mantenimiento, siempre de turno"
    notified = {"reason": "reminder", "person": "lee", "channel": "ntfy-729d05"}
    assert write_line("notified", notified) == ("Notice delivered", "reminder, lee, via push")


def test_the_navigation_marks_the_pages_below_an_entry():
    below = {"/duty/week": "/duty", "/people/ap": "/settings", "/sign": "/sensors", "/sign-in": ""}
    for path, page in below.items():
        assert next((link.path for link in NAV if link.is_current(path)), "") == page
