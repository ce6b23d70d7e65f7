"""Test the list of incidents: pages, filters, search by number, and answering several at once."""

import re

import pytest

from alerts.incidents import repository
from alerts.incidents.history import Happened
from alerts.incidents.incident import Verdict
from detection.events import EventKind
from storage import sqlite

ANSWERS = "/incidents/answers"


@pytest.fixture
def school(open_page, make_event):
    """Open sixty incidents an hour apart; every third is smoke on another floor."""
    page, ids = open_page(), []
    start = page.now - 59 * 3600.0
    for k in range(60):
        at = start + 3600.0 * k
        sensor, kind = ("s3", EventKind.SMOKE) if k % 3 == 0 else ("s1", EventKind.VAPE)
        with sqlite.transaction(page.db) as tx:
            (found,) = page.engine.on_events(tx, [make_event(at, sensor=sensor, kind=kind)], at)
            page.engine.resolve(tx, found.incident, "fm", at + 300.0)
            if k % 4 == 0:
                page.engine.record_feedback(tx, found.incident, "fm", Verdict.CONFIRMED, at + 400.0)
        ids.append(found.incident)
    return page, ids


async def listed(page, **asked):
    shown = (await page.client.get("/incidents", params=asked)).text
    return re.findall(r'<a href="/incidents/(\d{8}-\d{3})" id=', shown), shown


async def test_older_incidents_are_on_further_pages(school):
    page, ids = school
    found, shown = await listed(page)
    older = re.search(r'id="older" href="([^"]+)"', shown)[1].replace("&amp;", "&")
    rest = (await page.client.get(older)).text
    found += re.findall(r'<a href="/incidents/(\d{8}-\d{3})" id=', rest)
    assert found == ids[::-1]
    assert 'id="older"' not in rest
    assert (await page.client.get("/incidents?before=nonsense")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({"room": "n1-girls"}, lambda k: k % 3 == 0),
        ({"kind": "smoke"}, lambda k: k % 3 == 0),
        ({"answer": "confirmed"}, lambda k: k % 4 == 0),
        ({"answer": "none", "kind": "smoke"}, lambda k: k % 3 == 0 and k % 4),
        ({"answer": "test"}, lambda _: False),
        ({"from": "2026-09-07"}, lambda k: k >= 49),  # local midnight is ten hours before the last
        ({"from": "2026-09-06", "to": "2026-09-06"}, lambda k: 25 <= k < 49),
        ({"from": "nonsense", "to": "9999-12-31", "kind": "smoke"}, lambda k: k % 3 == 0),
    ],
)
async def test_filters(school, asked, chosen):
    page, ids = school
    found, shown = await listed(page, **asked)
    assert found == [one for k, one in enumerate(ids) if chosen(k)][::-1]
    assert "<details open>" in shown
    for name, value in asked.items():
        assert re.search(rf'value="{value}"', shown) or name == "to", name


async def test_filters_and_silences_name_kinds_alike(school):
    page, _ids = school
    await page.sign_in("ad")
    shown = [(await page.client.get(path)).text for path in ("/incidents", "/silences")]
    found = [re.search(r'<select name="kind".*?</select>', text)[0] for text in shown]
    (_, *kinds), (_, *others) = (re.findall(r'value="(.*?)".*?>(.*?)<', one) for one in found)
    assert kinds == others[:-1]
    assert ("tamper", "Tampering") in kinds


async def test_an_incident_is_found_by_its_number(school):
    page, ids = school
    for number in (ids[7], ids[7][-6:]):
        found, _shown = await listed(page, number=number)
        assert ids[7] in found
    assert (await listed(page, number="%"))[0] == []


async def confirm(page, path, asked):
    """Answer yes to the question whether to answer incidents."""
    sure = asked.partition('id="sure"')[2].partition("</form>")[0]
    form = {"id": re.findall(r'name="id" value="([^"]+)"', sure)}
    form |= dict(re.findall(r'name="(verdict|note|sure)" value="([^"]*)"', sure))
    return (await page.act(path, **form)).text


async def test_the_alerts_of_a_fire_drill_are_answered_at_once(school):
    page, ids = school
    await page.sign_in("ap")
    _found, shown = await listed(page, kind="smoke")
    path = re.search(r'action="([^"]+)" id="several"', shown)[1].replace("&amp;", "&")
    shown_ids = re.findall(r'name="all" value="([^"]+)"', shown)
    form = {"all": shown_ids, "every": "yes", "verdict": "test", "note": "fire drill"}
    assert '<select name="verdict" required><option value="">' in shown
    asked = (await page.act(path, **form)).text
    assert "Record “Test” for 15 incidents? Reports won't count them." in asked
    assert re.findall(r'<a href="/incidents/([^"?]+)" id=', asked) == shown_ids
    assert repository.load(page.db, ids[3]).verdict is None
    told = await confirm(page, path, asked)
    smoke = ids[::3]
    verdicts = {one: repository.load(page.db, one).verdict for one in ids}
    assert [verdicts[one] for one in smoke] == [
        Verdict.CONFIRMED if k % 4 == 0 else Verdict.TEST for k in range(0, 60, 3)
    ]
    assert {verdicts[one] for one in ids if one not in smoke} <= {None, Verdict.CONFIRMED}
    assert "15 incidents answered: Test." in told
    assert 'value="smoke" selected' in told

    chosen = [ids[1], ids[4]]  # the second keeps its earlier answer
    asked = (await page.act(ANSWERS, id=chosen, verdict="nothing_found")).text
    assert "Record “Nothing found” for 2 incidents?" in asked
    assert repository.load(page.db, ids[1]).verdict is None, "asked first"
    told = await confirm(page, ANSWERS, asked)
    assert "1 incident answered: Nothing found. 1 already had an answer" in told
    assert repository.load(page.db, ids[4]).verdict is Verdict.CONFIRMED


@pytest.mark.attack
async def test_one_person_cannot_fill_an_incident(opened):
    """Responses that alternate are limited, and a long history is not shown in full."""
    page, incident = opened
    path = f"/incidents/{incident}"
    await page.sign_in("ap")
    told = [
        await page.act(f"{path}/feedback", verdict=("confirmed", "nothing_found")[k % 2])
        for k in range(30)
    ]
    assert [one.status_code == 429 for one in told] == [k >= 20 for k in range(30)]
    for _ in range(1_000):
        repository.note(page.db, incident, page.now, Happened.JOINED, sensor="s1", confidence=0.9)
    shown = (await page.client.get(path)).text
    assert shown.count("Detected again") == 500
    assert re.search("5[0-9][0-9] earlier entries", shown)
    assert "Responding" in shown


@pytest.mark.parametrize(
    ("form", "person", "status"),
    [
        ({"verdict": "confirmed"}, "ap", 400),
        ({"verdict": "test", "id": []}, "ap", 400),
        ({"verdict": "test", "note": "student 123456"}, "ap", 400),
        ({"verdict": "test", "id": ["nowhere"] * 99}, "ap", 200),
        ({"verdict": "test"}, "an", 403),
    ],
)
async def test_several_answers_that_are_refused(opened, form, person, status):
    page, incident = opened
    await page.sign_in(person)
    told = await page.act(ANSWERS, **{"id": [incident], **form})
    assert told.status_code == status
    assert repository.load(page.db, incident).verdict is None
