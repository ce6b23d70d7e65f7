"""The commissioning test on the phone: its steps, its silence, and what is kept."""

import asyncio
import json

import pytest

from alerts.incidents import silences
from detection.commissioning import STEPS

RESULT = {
    "room": "n2-boys",
    "steps": [{"step": "quiet", "start": 1_789_000_000.0, "end": 1_789_000_060.0}],
    "sensors": [
        {
            "sensor": "s1",
            "interval_s": 2.0,
            "answers": {"puff": []},
            "said": {step.name: [] for step in STEPS}
            | {"puff": [{"kind": "vape", "late_s": 9.0, "confidence": 0.9}]},
            "right": True,
            "level_moved": 0.0,
        }
    ],
}


@pytest.fixture
def page(open_page, monkeypatch):
    """A page whose tests are evaluated at once; `orders` are what was evaluated."""

    async def evaluate(room, starts, person):
        opened.orders.append((room, list(starts), person))
        return opened.error

    opened = open_page(
        room_tests=lambda: {"n2-boys": RESULT} if opened.orders else {},
        evaluate_room=evaluate,
    )
    opened.orders, opened.error = [], ""

    async def at_once(_seconds):
        return None

    monkeypatch.setattr("alerts.page.views.commission.asyncio.sleep", at_once)
    return opened


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
    (silence,) = silences.listed(page.db, page.now)
    assert silence.matchers == ('room="n2-boys"',)
    for number, step in enumerate(STEPS, start=1):
        shown = (await page.client.get("/commission/n2-boys")).text
        assert f"Step {number} of 5" in shown
        assert step.instruction in shown
        early = await press(page, "next")
        assert (early.status_code, f"{step.seconds + 1:.0f} seconds more" in early.text) == (
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
    (silence,) = silences.listed(page.db, page.now)
    assert silence.ends_at == page.now
    assert "passed" in (await page.client.get("/commission")).text


async def test_a_room_is_due_again_after_a_year(page):
    page.orders.append("earlier")
    page.now = 1_789_000_000.0 + 366 * 86_400
    await page.sign_in("fm")
    assert "due again" in (await page.client.get("/commission")).text
    assert "2 rooms are due for a test" in (await page.client.get("/sensors")).text


async def test_a_test_that_is_stopped_silences_no_longer(page):
    await page.sign_in("fm")
    await press(page, "begin")
    assert (await press(page, "begin")).status_code == 409
    assert (await press(page, "stop")).status_code == 303
    (silence,) = silences.listed(page.db, page.now)
    assert silence.ends_at == page.now
    assert (await press(page, "next")).status_code == 409
    assert page.orders == []


async def test_a_test_that_nobody_goes_on_with_is_forgotten(page):
    await page.sign_in("fm")
    await press(page, "begin")
    page.now += 3600.0
    assert "Step 1 of 5" not in (await page.client.get("/commission/n2-boys")).text


async def test_an_evaluation_that_fails_says_so(page):
    await page.sign_in("fm")
    page.error = "The test was not evaluated: it took too long."
    await press(page, "begin")
    for step in STEPS:
        page.now += step.seconds
        await press(page, "next")
    await evaluated()
    assert page.error in (await page.client.get("/commission/n2-boys")).text
    assert (await press(page, "stop")).status_code == 303


async def test_the_curve_begins_a_minute_before_the_test(page):
    await page.sign_in("fm")
    await press(page, "begin")
    page.now += 20.0
    found = json.loads((await page.client.get("/commission/n2-boys/series")).text)
    assert (found["start"], found["end"]) == (page.now - 80.0, page.now)


async def test_only_who_looks_after_sensors_may_test(page):
    await page.sign_in("ap")
    assert (await page.client.get("/commission")).status_code == 403
    assert (await page.client.get("/commission/nowhere")).status_code == 403
    await page.client.post("/sign-out")
    await page.sign_in("fm")
    assert (await page.client.get("/commission/nowhere")).status_code == 404
