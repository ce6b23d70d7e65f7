"""Test that incidents that ended without a response are shown as such everywhere."""

import re

import pytest

from alerts.incidents.incident import Verdict
from detection.events import EventKind, EventPhase
from reports import kpis, read
from storage import sqlite
from tests.support.alert_records import notices


@pytest.fixture
def page(open_page):
    return open_page()


def play(page, make_event, answer, kind=EventKind.VAPE):
    """Open an incident, optionally answer it, and let it end."""
    begin = page.now
    with sqlite.transaction(page.db) as tx:
        (record,) = page.engine.on_events(tx, [make_event(begin, kind=kind)], begin)
        if answer == "acknowledged":
            page.engine.acknowledge(tx, record.incident, "ap", begin + 5)
        elif answer == "confirmed":
            page.engine.record_feedback(tx, record.incident, "ap", Verdict.CONFIRMED, begin + 5)
        elif answer == "resolved":
            tx.execute("UPDATE outbox SET status = 'sent', finished_at = created_at")
            page.engine.resolve(tx, record.incident, "ap", begin + 5)
        end = make_event(begin, kind=kind, phase=EventPhase.ENDED, end=begin + 10)
        page.engine.on_events(tx, [end], begin + 10)
        for second in range(200, 4_000, 60):  # continue until the last round is over
            page.engine.on_time(tx, begin + second)
    page.now = begin + 4_000
    return record.incident


@pytest.mark.parametrize(
    ("answer", "kind", "state", "words"),
    [
        ("", EventKind.VAPE, "nobody_responded", "Nobody responded"),
        ("resolved", EventKind.VAPE, "nobody_responded", "Nobody responded"),
        ("acknowledged", EventKind.VAPE, "responded", "Not reported yet"),
        ("confirmed", EventKind.VAPE, "answered", "Vaping confirmed"),
        ("", EventKind.SENSOR_FAULT, "resolved", "Resolved"),
    ],
)
async def test_what_people_did_is_shown_everywhere(page, make_event, answer, kind, state, words):
    incident = play(page, make_event, answer, kind)
    for path in ("/incidents", f"/incidents/{incident}"):
        html = (await page.client.get(path)).text
        html = re.sub("<select.*?</select>", "", html, flags=re.DOTALL)
        assert words in html, path
        assert ("Nobody responded" in html) == (state == "nobody_responded")
    assert ("resolved by A. Principal" in html) == (answer == "resolved")
    assert bool(notices(page.db, reason="recovered")) == (answer == "resolved")
    assert ('id="missed"' in (await page.client.get("/")).text) == (state == "nobody_responded")
    rows = (await page.client.get("/incidents")).text
    has_tick = "M4 12.5 10 18 20 6" in re.search(r'<li class="row.*?</li>', rows, re.DOTALL)[0]
    assert has_tick == (state in ("answered", "resolved"))
    (row,) = read.read_incidents(page.db, page.engine.registry, 0.0, page.now)
    assert row.state.value == state
    rate = kpis.count_outcomes([row], []).nobody_responded
    assert rate.part == (state == "nobody_responded")
    assert rate.whole == (kind is EventKind.VAPE)


async def test_what_nobody_responded_to_stays_on_first_page_and_wall_until_somebody_reports(
    page, make_event
):
    missed = [play(page, make_event, "") for _ in range(5)][::-1]
    play(page, make_event, "acknowledged")
    page.now += 60 * 86_400.0
    with sqlite.transaction(page.db) as tx:  # something less urgent in the same room
        possible = make_event(page.now - 5.0, kind=EventKind.POSSIBLE)
        page.engine.on_events(tx, [possible], page.now)
    link = re.compile(r'<a href="/incidents/(\d{8}-\d{3})" id=')
    shown = (await page.client.get("/")).text.partition('id="missed"')[2]
    assert link.findall(shown) == missed[:3]  # the latest, so that rooms stay on a phone's screen
    more = re.search(r'<a href="(/incidents\?[^"]+)">2 more</a>', shown)[1]
    listed = (await page.client.get(more)).text
    assert link.findall(listed) == missed
    assert 'value="missed" selected' in listed
    card = (await page.client.get("/")).text.partition('class="card unanswered">')[2]
    assert "Nobody responded, 60 d" in card.partition("</li>")[0]
    room = (await page.client.get("/rooms/n2-boys")).text.partition('id="todo"')[2]
    assert f'href="/incidents/{missed[0]}">Open the incident' in room
    wall = (await page.client.get("/wall")).text
    assert "5 alerts missed: nobody responded" in wall
    tile = wall.partition('class="tile unanswered">')[2]
    assert "Boys N2" in tile
    assert "Nobody responded · 60 d" in tile
    assert "No room needs a responder" not in wall
    with sqlite.transaction(page.db) as tx:
        for incident in missed:
            page.engine.record_feedback(tx, incident, "ap", Verdict.NOTHING_FOUND, page.now)
    assert 'id="missed"' not in (await page.client.get("/")).text
    assert "No room needs a responder" in (await page.client.get("/wall")).text
