"""Test that a wall screen with a token sees rooms and their states, and nothing else."""

import re

import pytest

from alerts.access.api_tokens import Scope
from alerts.incidents.incident import Status
from detection.events import EventKind
from storage import sqlite
from tests.support import alert_records as stored


@pytest.fixture
def page(open_page):
    return open_page(one_click=False)


async def screen(page):
    """Create a link as an administrator, and open it on a screen that is not signed in."""
    await page.sign_in("ad")
    form = {"name": "Front office", "person": "ap", "scope.wall": "yes", "days": "365"}
    answer = await page.act("/tokens", **form)
    token = re.search(r'/wall#([\w-]+)"', answer.text)[1]
    page.client.cookies.clear()
    assert (await page.client.post("/wall/open", data={"token": token})).status_code == 204
    return token


async def test_a_screen_sees_the_wall_view_and_nothing_else(page):
    assert (await page.client.get("/wall")).status_code == 403
    token = await screen(page)
    assert (await page.client.get("/wall")).status_code == 200
    for path in ("/", "/incidents", "/rooms/n2-boys", "/settings", "/duty"):
        assert (await page.client.get(path)).status_code == 303, path
    for path in ("/incidents", "/rooms", "/readings"):
        answer = await page.client.get(
            f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 403, path


async def test_a_revoked_screen_is_closed(page):
    token = await screen(page)
    await page.sign_in("ad")
    answer = await page.act("/tokens/1/revoke")
    assert answer.status_code == 303
    page.client.cookies.clear()
    assert (await page.client.post("/wall/open", data={"token": token})).status_code == 403
    page.client.cookies.set("plumewatch_wall", token)
    assert (await page.client.get("/wall")).status_code == 403


@pytest.mark.parametrize(("scope", "days"), [(Scope.READ, 30), (Scope.WALL, -1)])
async def test_only_a_token_for_the_wall_that_has_not_expired_opens_it(page, scope, days):
    token = page.make_token("ap", scope, days=days)
    assert (await page.client.post("/wall/open", data={"token": token})).status_code == 403
    page.client.cookies.set("plumewatch_wall", token)
    assert (await page.client.get("/wall")).status_code == 403


async def test_no_name_of_a_person_is_on_it(page, make_event):
    incident = page.incident(make_event)
    await screen(page)
    shown = (await page.client.get("/wall")).text
    assert 'data-needing="1"' in shown
    assert "Vaping likely" in shown
    with sqlite.transaction(page.db) as tx:
        taken = page.engine.acknowledge(tx, incident, "ap", page.now)
    assert taken.status is Status.ACKNOWLEDGED
    shown = (await page.client.get("/wall")).text
    assert 'data-needing="0"' in shown
    assert "Responding" in shown
    for member in page.engine.policy.staff:
        assert member.name not in shown


async def test_possible_vaping_is_shown_and_asks_for_nobody(page, make_event):
    with sqlite.transaction(page.db) as tx:
        possible = make_event(page.now - 5, kind=EventKind.POSSIBLE)
        assert page.engine.on_events(tx, [possible], page.now) == []
        (incident,) = (found.id for found in stored.incidents(tx))
    await page.sign_in("ap")
    for path in ("/", "/incidents", "/rooms/n2-boys", f"/incidents/{incident}"):
        shown = (await page.client.get(path)).text
        assert "Possible vaping" in shown, path
        assert "noted, nobody was notified" in shown.lower(), path
    answer = await page.act(f"/incidents/{incident}/feedback", "/", verdict="confirmed")
    assert answer.status_code == 303
    assert "Vaping confirmed" in (await page.client.get(f"/incidents/{incident}")).text


def silence(page, kind="", *, begins_in=-60.0, **place):
    labels = place | ({"kind": kind} if kind else {})
    with sqlite.transaction(page.db) as tx:
        begin = page.now + begins_in
        return stored.add_silence(tx, labels, begin, begin + 7260.0, now=page.now - 60.0)


@pytest.mark.parametrize(
    ("kind", "silenced", "needing", "apart"),
    [
        (EventKind.VAPE, False, 1, set()),
        (EventKind.POSSIBLE, False, 0, set()),
        (EventKind.TAMPER, False, 1, set()),
        (EventKind.SENSOR_FAULT, False, 0, {"1 room with a sensor problem"}),
        (EventKind.OFFLINE, False, 0, {"1 room with a sensor problem"}),
        (EventKind.AMBIENT, False, 0, set()),
        (EventKind.VAPE, True, 0, {"1 room silenced"}),
        (EventKind.SENSOR_FAULT, True, 0, {"1 room silenced"}),
        (EventKind.VAPE, "later", 0, {"1 room silenced"}),
        (EventKind.TAMPER, "later", 0, {"1 room silenced"}),
        (EventKind.VAPE, "other kind later", 1, set()),
    ],
)
async def test_only_rooms_that_need_a_person_now_are_counted(
    page, make_event, kind, silenced, needing, apart
):
    """The other room's sensor has no readings, so it is a problem from the start."""
    await screen(page)
    if silenced is True:
        silence(page, room="n2-boys")
    with sqlite.transaction(page.db) as tx:
        page.engine.on_events(tx, [make_event(page.now - 5, kind=kind)], page.now)
    if silenced and silenced is not True:
        silence(page, "smoke" if "other" in silenced else "", room="n2-boys")
    shown = (await page.client.get("/wall")).text
    assert f'data-needing="{needing}"' in shown
    (found,) = re.findall(r'<p class="apart">(.*?)</p>', shown, re.DOTALL)
    said = {" ".join(re.sub(r"<[^>]+>", "", part).split()) for part in found.split("</span>")}
    other = {"1 room with a sensor problem"}
    expected = {"2 rooms with a sensor problem"} if apart == other else other | apart
    assert said - {""} == expected


@pytest.mark.parametrize(
    ("labels", "level", "words"),
    [
        ({"room": "n2-boys"}, "silenced", "12:05 PM: everything, including smoke"),
        ({"floor": "2", "building": "North"}, "silenced", "Silenced until 12:05 PM"),
        ({"room": "n2-boys", "kind": "vape"}, "silenced", "Silenced until 12:05 PM: vaping<"),
        ({"room": "n2-boys", "kind": "offline"}, "ok", "Silenced until 12:05 PM: "),
    ],
)
async def test_a_silenced_room_says_so_and_until_when(page, labels, level, words):
    await page.sign_in("ad")
    silence(page, **labels)
    for path, part in (("/", "card"), ("/rooms/n2-boys", "hero"), ("/wall", "tile")):
        shown = (await page.client.get(path)).text
        blocks = shown.split(f'class="{part} {level}"')[1:]
        (found,) = (block for block in blocks if "Boys N2" in block[:600])
        found = found[: found.index("Boys N2") + 900]
        assert words in found, (path, part)
        assert part == "card" or re.search("[Ff]loor 2", found), (path, part)
    for room, found in (("n2-boys", True), ("n1-girls", False)):
        shown = (await page.client.get(f"/rooms/{room}")).text
        assert ("Silenced until" in shown, 'href="/silences#list"' in shown) == (found, found)
    page.now += 7200.0
    assert "Silenced until" not in (await page.client.get("/wall")).text
