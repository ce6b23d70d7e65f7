"""Plain words on the page, ten figures of the sensors, ages that count on."""

from __future__ import annotations

import re

import pytest

from alerts.page.rendering import said
from alerts.page.settings import PipelineStatus, SensorStatus
from language.messages import speaking
from storage.timeseries import LatestReading
from tests.support.leftovers import leftovers
from tests.unit.alerts.test_page import NOW


class Thick:
    """Air that nobody would call clean, and no detection."""

    def latest(self):
        return {"s1": LatestReading(NOW - 3, {"pm25": 311.0})}


class SignalAlone:
    """A sensor that has power and signal, and measures nothing."""

    def latest(self):
        return {"s1": LatestReading(NOW - 3, {"rssi": -60.0, "battery": 80.0})}


async def test_a_room_whose_sensor_measures_nothing_is_not_ok(open_page):
    text = (await open_page(series=SignalAlone()).client.get("/")).text
    card = text[text.index('href="/rooms/n2-boys"') - 60 :]
    assert "card silent" in card[:60]
    assert "No reading" in card


async def test_history_is_for_people(open_page, make_event):
    page = open_page()
    incident = page.incident(make_event)
    text = (await page.client.get(f"/incidents/{incident}")).text
    record = text[text.index('<section id="record">') :]
    assert "Detected</b>" in record
    assert "Asked to respond</b>" in record
    assert "A. Principal" in record
    assert not re.search(r"[a-z]+-[0-9a-f]{6}\b", record)
    assert "move " not in record


async def test_much_in_the_air_is_no_green_tick(open_page):
    text = (await open_page(series=Thick()).client.get("/")).text
    card = text[text.index('href="/rooms/n2-boys"') - 60 :]
    assert "card notable" in card[:60]
    assert "Many fine particles, no detection" in card


async def test_ten_figures_first_and_the_rest_behind_details(open_page):
    status = PipelineStatus(
        dead_letters={"malformed": 3},
        sensors={
            "s1": SensorStatus("alive", NOW - 3, 5.0, {"readings": 900, "late": 12}),
            "s3": SensorStatus("never heard", None, 5.0),
        },
    )
    text = (await open_page(pipeline=lambda: status).client.get("/sensors")).text
    figures = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", text[: text.index("</section>")])
    assert len(figures) == 10
    shown = dict(figures)
    assert (shown["Registered"], shown["Reporting"], shown["Never heard"]) == ("3", "1", "1")
    assert (shown["Messages rejected"], shown["With data problems"]) == ("3", "1")
    assert text.index("<details>") < text.index("Firmware</th>")


async def test_the_age_of_a_reading_counts_on(open_page):
    text = (await open_page().client.get("/")).text
    assert '<span data-age="3">3 s ago</span>' in text


@pytest.mark.parametrize(
    "why",
    [
        "hall, always on duty, here",
        "shift early, 07:30-16:00 until 16:00, 2 zones away",
        "shift early, for lee until 12:00, 1 zone away",
        "shift early, added until 12:00, here",
        "hall, lead of North",
        "hall, catch-all",
        "no receiver can be reached",
    ],
)
def test_why_a_person_is_on_duty_has_no_english_in_it(why):
    with speaking("es"):
        assert leftovers(said(why)) - {"hall", "early", "lee"} == set()
