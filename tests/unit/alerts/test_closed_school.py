"""Test closing a school: incidents end with a note, names stay, and links explain the closing."""

import re
import tomllib
from dataclasses import replace
from datetime import date

import pytest

from alerts.access.api_tokens import Scope
from alerts.history_words import write_line
from alerts.incidents import repository
from alerts.incidents.incident import Status
from plumewatch.config.faults import ConfigError
from plumewatch.config.ingest_settings import read_polled_sensors
from plumewatch.config.load import parse
from reports import read
from storage import sqlite
from storage.registry import Registry
from tests.support.two_schools import TWO
from tests.unit.alerts.test_page_sites import POLICY, ROOMS, SENSORS, SITES
from tests.unit.alerts.test_page_sites import Series as NoReadings

CLOSED = Registry.build(ROOMS, SENSORS, (SITES[0], replace(SITES[1], closed=date(2026, 11, 30))))


class Series(NoReadings):
    """A series with a reading of each sensor."""

    def read_window(self, _sensor, start, _end):
        return [start], {"pm25": [7.0]}


@pytest.fixture
def closed(open_page, make_event):
    """Open an incident at each of two schools; close one school; return its page."""
    before = open_page(POLICY, Registry.build(ROOMS, SENSORS, SITES), series=Series())
    events = [make_event(before.now - 5, sensor=f"{s.id}-1") for s in SITES]
    with sqlite.transaction(before.db) as tx:
        records = before.engine.on_events(tx, events, before.now)
    page = open_page(POLICY, CLOSED, series=Series(), one_click=False)
    with sqlite.transaction(page.db) as tx:
        page.engine.close_former(tx, page.now)
    page.north, page.south = (record.incident for record in records)
    return page


def test_a_school_is_closed_by_a_line_in_its_file(tmp_path):
    text = TWO.replace('name = "South High"', 'name = "South High"\nclosed = 2025-11-30')
    text = text.replace('id = "south-1"', 'id = "south-1"\ndecoder = "halo"')
    text += '[[ingest.poll]]\nsensor = "south-1"\nurl = "http://192.0.2.1/"\n'
    config = parse(tomllib.loads(text), base=tmp_path)
    assert read_polled_sensors(config) == ()
    found = config.build_registry()
    assert (set(found.rooms), set(found.sensors)) == ({"north-boys"}, {"north-1"})
    assert set(found.sites) == {"North High"}
    assert found.get_room("south-boys").site == "South High"


def test_a_closing_date_in_the_future_is_refused(tmp_path):
    text = TWO.replace('name = "South High"', 'name = "South High"\nclosed = 2199-12-31')
    with pytest.raises(ConfigError, match="is in the future"):
        parse(tomllib.loads(text), base=tmp_path)


async def test_open_incidents_of_a_closed_school_are_closed_with_a_note(closed):
    assert repository.load(closed.db, closed.north).status is not Status.RESOLVED
    assert repository.load(closed.db, closed.south).status is Status.RESOLVED
    pending = "SELECT count(*) FROM outbox WHERE incident = ? AND status IN ('due', 'leased')"
    assert closed.db.execute(pending, (closed.south,)).fetchone()[0] == 0
    assert write_line("resolved", {"because": "school_closed"})[1] == "the school closed"
    await closed.sign_in("all-ad")
    shown = (await closed.client.get(f"/incidents/{closed.south}")).text
    assert "the school closed" in shown
    with sqlite.transaction(closed.db) as tx:  # once
        before = closed.db.execute("SELECT count(*) FROM incident_history").fetchone()
        closed.engine.close_former(tx, closed.now + 60)
        assert closed.db.execute("SELECT count(*) FROM incident_history").fetchone() == before


async def test_the_name_of_a_closed_school_stays_in_history_and_reports(closed):
    await closed.sign_in("all-ad")
    listed = (await closed.client.get("/incidents")).text
    assert "South High (closed)" in listed
    (row,) = (
        r for r in read.read_incidents(closed.db, CLOSED, 0, closed.now + 1) if r.id == closed.south
    )
    assert (row.room, row.site, row.state.value) == ("Boys", "South High", "suppressed")
    board = (await closed.client.get("/")).text
    assert "/rooms/south-boys" not in board
    await closed.sign_in("south-ap")
    board = (await closed.client.get("/")).text
    assert "South High closed on November 30, 2026." in board
    assert "No rooms are registered yet" not in board
    assert (await closed.client.get(f"/incidents/{closed.south}")).status_code == 200
    assert (await closed.client.get(f"/incidents/{closed.north}")).status_code == 404


async def test_a_closed_school_stays_in_comparisons_and_filters(closed):
    await closed.sign_in("all-ad")
    for path in ("/", "/figures?span=week"):
        shown = (await closed.client.get(path)).text
        assert re.search(r'href="[^"]*site=south"[^>]*>South High \(closed\)</a>', shown), path
    figures = (await closed.client.get("/figures?span=week&site=south")).text
    assert "Boys" in figures
    assert "South High (closed)" in figures
    assert "/rooms/south-boys" not in figures
    bearer = {"Authorization": f"Bearer {closed.make_token('all-an')}"}

    async def read(path):
        return (await closed.client.get(f"/api/v1/{path}", headers=bearer)).json()

    assert [row["id"] for row in (await read("incidents?site=south"))["items"]] == [closed.south]
    assert (await read(f"incidents/{closed.south}"))["history"][-1]["note"] == "the school closed"
    sites = {site["id"]: site["closed"] for site in (await read("sites"))["items"]}
    assert sites == {"north": None, "south": "2026-11-30"}
    assert (await read("sensors"))["items"][0]["site"] == "north"
    span = "from=2026-09-07T14:00:00Z&to=2026-09-07T14:00:03Z"
    for chosen in ("site=south", "sensors=south-1", "room=south-boys"):
        (row,) = (await read(f"readings?{span}&{chosen}"))["items"]
        assert (row["sensor"], row["site"], row["pm25"]) == ("south-1", "south", 7.0), chosen


@pytest.mark.parametrize(
    ("person", "sites", "why"),
    [
        ("all-an", {"south"}, "South High closed on Nov 30, 2026"),
        ("south-ap", None, "South High closed on Nov 30, 2026"),
        ("all-an", {"gone"}, "its schools are no longer registered"),
        ("south-ap", {"north"}, "its owner no longer has access to North High"),
        ("all-an", {"south", "north"}, ""),
        ("all-an", None, ""),
    ],
)
async def test_the_token_of_a_closed_school_is_refused_with_the_reason(closed, person, sites, why):
    limit = None if sites is None else frozenset(sites)
    bearer = {"Authorization": f"Bearer {closed.make_token(person, Scope.READ, sites=limit)}"}
    answer = await closed.client.get("/api/v1/incidents", headers=bearer)
    assert answer.status_code == (403 if why else 200)
    assert why in answer.text
