"""Test commissioning on a phone: its steps, its silence, and its stored results."""

import asyncio
import json
from dataclasses import replace

import pytest

from alerts import sensor_tests
from alerts.incidents import silences
from alerts.incidents.incident import Verdict
from detection.commissioning import STEPS
from detection.events import EventKind, EventPhase
from storage import audit, sqlite
from storage.registry import Registry, Sensor
from tests.support.alert_records import incidents
from tests.unit.alerts.conftest import ROOMS

RESULT = {
    "room": "n2-boys",
    "who": "fm",
    "steps": [{"step": "quiet", "start": 1_789_000_000.0, "end": 1_789_000_060.0}],
    "sensors": [
        {
            "sensor": "s1",
            "interval_s": 2.0,
            "has_particles": True,
            "sees_puff": True,
            "said": {step.name: [] for step in STEPS}
            | {"puff": [{"kind": "vape", "late_s": 9.0, "confidence": 0.9}]},
            "right": True,
            "level_moved": 0.0,
        }
    ],
}
RESULT["sensors"].append({**RESULT["sensors"][0], "sensor": "s2"})


def keep(page, **more):
    with sqlite.transaction(page.db) as tx:
        sensor_tests.add_result(tx, {**RESULT, **more})


@pytest.fixture
def reopened(open_page, monkeypatch):
    """Open a page that evaluates room tests at once; `orders` records the evaluations."""

    def reopened(now=None):
        async def evaluate(room, starts, person):
            opened.orders.append((room, list(starts), person))
            if not opened.error:
                keep(opened)
            return opened.error

        opened = open_page(evaluate_room=evaluate)
        opened.orders, opened.error = [], ""
        opened.now = now or opened.now
        return opened

    async def at_once(_seconds):
        return None

    monkeypatch.setattr("alerts.page.views.commission.asyncio.sleep", at_once)
    return reopened


@pytest.fixture
def page(reopened):
    return reopened()


async def press(page, what, room="n2-boys"):
    token = await page.form_token("/commission/n2-boys")
    url = f"/commission/{room}/{what}"
    return await page.client.post(url, data={"form_token": token})


async def evaluated():
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*(t for t in others if t.get_name().startswith("room test")))


async def test_five_steps_then_a_verdict_that_is_kept(page):
    await page.sign_in("fm")
    assert "not tested yet" in (await page.client.get("/commission")).text
    began = page.now
    assert (await press(page, "begin")).status_code == 303
    (silence,) = silences.list_recent(page.db, page.now)
    assert silence.labels == {"room": "n2-boys"}
    room = (await page.client.get("/rooms/n2-boys")).text
    assert "Room test in progress until" in room
    assert 'href="/commission/n2-boys"' in room
    for number, step in enumerate(STEPS, start=1):
        shown = (await page.client.get("/commission/n2-boys")).text
        assert f"Step {number} of 5" in shown
        assert step.instruction in shown
        early = await press(page, "next")
        assert (early.status_code, f"{step.seconds + 1:.0f} more seconds" in early.text) == (
            409,
            True,
        )
        page.now += step.seconds
        assert (await press(page, "next")).status_code == 303
    await evaluated()
    ((room, starts, person),) = page.orders
    assert (room, person, starts[0], len(starts)) == ("n2-boys", "fm", began, 5)
    shown = (await page.client.get("/commission/n2-boys")).text
    assert "s1 detects a puff in the farthest stall after 9 s" in shown
    (silence,) = silences.list_recent(page.db, page.now)
    assert silence.ends_at == page.now
    assert "passed" in (await page.client.get("/commission")).text
    logged = [e for e in audit.read_entries(page.db) if e.kind == audit.AuditKind.SILENCE]
    found = [(e.actor, json.loads(e.detail)) for e in reversed(logged)]
    assert [(actor, said["mutes"], said["what"]) for actor, said in found] == [
        ("fm", "room=n2-boys", "added for a room test"),
        ("fm", "room=n2-boys", "ended after a room test"),
    ]


async def test_a_verdict_is_kept_with_each_sensor_and_a_new_one_is_untested(open_page):
    page = open_page()
    keep(page, sensors=RESULT["sensors"][:1])
    page.now = 1_789_000_000.0 + 86_400
    await page.sign_in("fm")
    assert "not tested yet" in (await page.client.get("/commission")).text
    room = (await page.client.get("/commission/n2-boys?sensor=s2")).text
    assert "s2: not tested yet" in room
    assert "s1: not tested yet" not in room


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"has_particles": False}, "s2 sent no valid particle values during the test"),
        ({"interval_s": None}, "s2 sent nothing during the test"),
    ],
)
async def test_a_test_that_measured_nothing_could_not_be_done(open_page, result, why):
    page = open_page()
    nothing = {"said": {step.name: [] for step in STEPS}, "right": False, **result}
    keep(page, sensors=[RESULT["sensors"][0], {**RESULT["sensors"][1], **nothing}])
    page.now = 1_789_000_000.0 + 86_400
    await page.sign_in("fm")
    assert "could not be done" in (await page.client.get("/commission")).text
    shown = (await page.client.get("/commission/n2-boys")).text
    assert why in shown
    assert "s2 couldn't be tested" in shown
    assert "s2 couldn't be tested" in (await page.client.get("/sensors/s2/device")).text


async def test_a_test_that_is_stopped_silences_no_longer(page, make_event):
    await page.sign_in("fm")
    await press(page, "begin")
    page.now += 30.0
    with sqlite.transaction(page.db) as tx:
        page.engine.on_events(tx, [make_event(page.now - 5.0)], page.now)
    assert (await press(page, "begin")).status_code == 409
    assert (await press(page, "stop")).status_code == 303
    (silence,) = silences.list_recent(page.db, page.now)
    assert silence.ends_at == page.now
    assert incidents(page.db, "verdict") == [Verdict.TEST]
    assert (await press(page, "next")).status_code == 409
    assert page.orders == []


@pytest.mark.parametrize("over", [False, True])
async def test_an_abandoned_test_ends_soon_and_its_alerts_become_what_they_would_have_been(
    page, make_event, over
):
    await page.sign_in("fm")
    await press(page, "begin")
    page.now += STEPS[0].seconds
    await press(page, "next")
    puff = make_event(page.now + 1.0)
    phases = [puff, replace(puff, phase=EventPhase.ENDED, end=puff.time + 5, time=puff.time + 5)]
    lapses = page.now + STEPS[1].seconds + 120.0
    with sqlite.transaction(page.db) as tx:
        for event in phases[: 1 + over]:
            page.engine.on_events(tx, [event], event.time)
        page.engine.on_time(tx, lapses - 1.0)
        assert incidents(tx, "status", "paged") == [("open", False)]
        page.engine.on_time(tx, lapses)
        assert incidents(tx, "status", "paged", "suppressed_by") == [("open", True, None)]
    page.now = lapses
    assert "Leave the room and start" in (await page.client.get("/commission/n2-boys")).text
    assert (await press(page, "next")).status_code == 409
    assert (await press(page, "begin")).status_code == 303


async def test_a_test_continues_after_a_restart(page, reopened):
    await page.sign_in("fm")
    began = page.now
    await press(page, "begin")
    page.now += STEPS[0].seconds
    await press(page, "next")
    again = reopened(page.now)
    await again.sign_in("fm")
    shown = (await again.client.get("/commission/n2-boys")).text
    assert "Step 2 of 5" in shown
    for step in STEPS[1:]:
        again.now += step.seconds
        assert (await press(again, "next")).status_code == 303
    await evaluated()
    ((room, starts, person),) = again.orders
    assert (room, person, starts[0], len(starts)) == ("n2-boys", "fm", began, 5)


async def test_an_evaluation_that_a_restart_interrupted_is_done_again(page, reopened):
    await page.sign_in("fm")
    await press(page, "begin")
    with sqlite.transaction(page.db) as tx:
        starts = [page.now + k * 60 for k in range(5)]
        stored = sensor_tests.RunningTest("fm", 1, starts, is_over=True)
        sensor_tests.save_running(tx, {"n2-boys": stored})
    again = reopened(page.now + 86_400)
    async with again.app.router.lifespan_context(again.app):
        pass  # a change of settings restarts the page at once
    await evaluated()
    assert again.orders == []
    again = reopened(again.now)
    async with again.app.router.lifespan_context(again.app):
        await evaluated()
        await again.sign_in("fm")
        shown = (await again.client.get("/commission/n2-boys")).text
    assert [order[0] for order in again.orders] == ["n2-boys"]
    assert "detects a puff" in shown
    last = reopened(again.now)
    await last.sign_in("fm")
    assert "Step" not in (await last.client.get("/commission/n2-boys")).text


async def test_a_sensor_that_moved_to_another_room_is_not_tested_there(open_page):
    moved = Registry.build(ROOMS, [Sensor("s1", "n1-girls"), Sensor("s2", "n2-boys")])
    page = open_page(registry=moved)
    page.now = RESULT["steps"][0]["start"] + 60
    keep(page)
    await page.sign_in("fm")
    shown = (await page.client.get("/commission")).text
    assert shown.count("not tested yet") == 1
    assert "passed" in shown


async def test_an_evaluation_that_fails_says_so(page, make_event):
    await page.sign_in("fm")
    page.error = "The test was not evaluated: it took too long."
    await press(page, "begin")
    for step in STEPS:
        page.now += step.seconds
        with sqlite.transaction(page.db) as tx:
            page.engine.on_events(tx, [make_event(page.now - 30.0, id="puff")], page.now)
        await press(page, "next")
    await evaluated()
    assert page.error in (await page.client.get("/commission/n2-boys")).text
    assert incidents(page.db, "verdict") == [Verdict.TEST]
    page.now += 600.0
    later = page.incident(make_event)
    assert (await press(page, "stop")).status_code == 303
    assert incidents(page.db, "verdict", id=later) == [None]


async def test_tests_silence_a_room_for_a_few_hours_a_day_at_most(page, monkeypatch):
    """Otherwise, anyone allowed to test rooms could silence a room with repeated tests."""
    await page.sign_in("fm")
    monkeypatch.setattr(silences, "LONGEST_TESTED_S", 3600.0)
    began = page.now
    for _ in range(15):
        answer = await press(page, "begin")
        page.now += 170.0
        await press(page, "stop")
    assert answer.status_code == 409
    assert "be tested for at most 1 hours a day" in answer.text
    rows = page.db.execute("SELECT ends_at - starts_at FROM silence").fetchall()
    assert 2000.0 < sum(row[0] for row in rows) <= silences.LONGEST_TESTED_S
    assert "Room test" in (await page.client.get("/silences")).text
    page.now = began + 86_400.0 + 700.0
    await page.sign_in("fm")
    assert (await press(page, "begin")).status_code == 303


@pytest.mark.attack
def test_a_room_test_replaces_no_answer(tx, engine, make_event):
    """Permission to test rooms does not imply permission to answer."""
    for at, kind in ((1000.0, EventKind.VAPE), (1010.0, EventKind.SMOKE)):
        engine.on_events(tx, [make_event(at, kind=kind)], at)
    real, other = incidents(tx, "id")
    engine.record_feedback(tx, real, "ap", Verdict.CONFIRMED, 1020.0)
    room = incidents(tx, "room")[0]
    assert engine.answer_test(tx, room, (900.0, 1100.0), "it") == [real, other]
    assert incidents(tx, "verdict") == [Verdict.CONFIRMED, Verdict.TEST]
