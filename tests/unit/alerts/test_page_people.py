"""Test the duty page, and actions other than responding: hand over, end, note, silence."""

import re
from dataclasses import replace

import pytest

from alerts.incidents import repository, silences
from storage import audit, sqlite
from tests.support import alert_records as stored
from tests.unit.alerts.test_throttling import clock_hours


async def test_a_note_with_a_number_is_refused_and_kept_in_the_form(opened):
    page, incident = opened
    await page.sign_in()
    form = {"verdict": "confirmed", "note": "seen, id 123456 <b>"}
    answer = await page.act(f"/incidents/{incident}/feedback", **form)
    assert answer.status_code == 400
    assert "Leave out anything that identifies a person: 123456." in answer.text
    assert 'value="seen, id 123456 &lt;b&gt;"' in answer.text
    assert repository.load(page.db, incident).verdict is None


async def test_answers_are_added_and_none_is_lost(opened):
    page, incident = opened
    await page.sign_in()
    for verdict, cause in (("confirmed", ""), ("false_alarm", "spray"), ("test", "")):
        form = {"verdict": verdict, "cause": cause}
        assert (await page.act(f"/incidents/{incident}/feedback", **form)).status_code == 303
    assert stored.feedback(page.db, "verdict", "cause", "who") == [
        ("confirmed", "", "ap"),
        ("false_alarm", "spray", "ap"),
        ("test", "", "ap"),
    ]
    stored.assert_append_only(page.db, "incident_feedback")
    shown = (await page.client.get(f"/incidents/{incident}")).text
    for output in (
        "Confirmed</span>",
        "False alarm, spray, was Confirmed</span>",
        "Test, was False alarm</span>",
    ):
        assert output in shown


SILENCE = {"place": "room n2-boys", "kind": "vape", "hours": "2", "reason": "paint"}


async def test_a_silence_is_added_listed_and_ended(open_page, make_event):
    page = open_page()
    await page.sign_in()
    assert (await page.act("/silences", **SILENCE)).status_code == 303
    (silence,) = silences.list_recent(page.db, page.now)
    assert silence.labels == {"room": "n2-boys", "kind": "vape"}
    assert (silence.owner, silence.reason) == ("ap", "paint")
    assert (silence.starts_at, silence.ends_at) == (page.now, page.now + 7200)
    shown = (await page.client.get("/silences")).text
    assert "Boys N2, floor 2, North: vaping" in shown
    assert "A. Principal" in shown
    with sqlite.transaction(page.db) as tx:
        assert page.engine.on_events(tx, [make_event(page.now + 5)], page.now + 5) == []
    answer = await page.act(f"/silences/{silence.id}/end")
    assert answer.status_code == 303
    assert "ended by A. Principal" in (await page.client.get("/silences")).text
    assert (await page.act("/silences/99/end")).status_code == 404
    logged = [e for e in audit.read_entries(page.db) if e.kind == audit.AuditKind.SILENCE]
    assert [e.actor for e in logged] == ["ap", "ap"]
    assert all("kind=vape, room=n2-boys" in e.detail for e in logged)


async def test_a_silence_is_started_from_the_room_and_from_the_incident(opened):
    page, incident = opened
    for path, kind in (("/rooms/n2-boys", ""), (f"/incidents/{incident}", "vape")):
        assert "/silences?place" not in (await page.client.get(path)).text
        await page.sign_in()
        link = re.search(r'href="(/silences\?[^"]+)#add"', (await page.client.get(path)).text)[1]
        shown = (await page.client.get(link.replace("&amp;", "&"))).text
        chosen = re.findall(r'<option value="([^"]*)" selected', shown)
        assert chosen[:2] == ["room n2-boys", *filter(None, [kind])] or not kind
        assert chosen[0] == "room n2-boys"
        page.client.cookies.clear()


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"reason": " "}, 400, "Reason: required"),
        ({"reason": "x" * 201}, 400, "at most 200"),
        ({"reason": "student 123456"}, 400, "123456"),
        ({"place": "room nowhere"}, 400, "from the list"),
        ({"kind": "noise"}, 400, "from the list"),
        ({"kind": ""}, 400, "from the list"),
        ({"hours": "9999"}, 400, "from the list"),
        ({"starts": "-5"}, 400, "from the list"),
        ({"starts": "later"}, 400, "Choose the day and time"),
        ({"starts": "later", "start": "tomorrow"}, 400, "Choose the day and time"),
        ({"starts": "later", "start": "2026-09-06T14:30"}, 400, "has passed"),
        ({"starts": "later", "start": "2062-09-12T14:30"}, 400, "within a year"),
        ({"place": ""}, 400, "from the list"),
        ({"place": "school"}, 403, "Only administrators can silence the whole school"),
    ],
)
async def test_silences_that_are_refused(open_page, change, status, message):
    page = open_page()
    await page.sign_in()
    answer = await page.act("/silences", **{**SILENCE, **change})
    assert answer.status_code == status
    assert message in answer.text
    assert silences.list_recent(page.db, page.now) == []


async def test_the_whole_school_is_for_administrators_and_not_for_long(open_page):
    page = open_page()
    await page.sign_in("ad")
    answer = await page.act("/silences", **{**SILENCE, "place": "school", "hours": "8"})
    assert answer.status_code == 400
    assert "4 hours" in answer.text
    assert (
        await page.act("/silences", **{**SILENCE, "place": "school", "kind": "vape"})
    ).status_code == 303
    (silence,) = silences.list_recent(page.db, page.now)
    assert silence.labels == {"kind": "vape"}


async def test_silences_that_add_up_to_the_school_obey_its_rule(open_page):
    page = open_page()
    await page.sign_in()
    assert (await page.act("/silences", **{**SILENCE, "hours": "8"})).status_code == 303
    last = {**SILENCE, "place": "room n1-girls", "hours": "8"}
    for person, refusal in (("ap", "only administrators"), ("ad", "for more than 4 hours")):
        await page.sign_in(person)
        answer = await page.act("/silences", **last)
        assert (answer.status_code, refusal in answer.text) == (400, True)
    assert (await page.act("/silences", **{**last, "hours": "4"})).status_code == 303


@pytest.mark.parametrize("path", ["/silences/{}/end", "/incidents/{}/arrive"])
@pytest.mark.parametrize("number", [10**18 - 1, 2**63 - 1, 2**63, 10**40, "9" * 5000])
async def test_numbers_that_no_row_has(open_page, path, number):
    page = open_page()
    await page.sign_in("ad")
    assert (await page.act(path.format(number))).status_code in {400, 404}


async def test_silences_are_guarded(open_page):
    page = open_page()
    assert (await page.client.post("/silences", data=SILENCE)).status_code == 303
    await page.sign_in("an")
    assert "Add one" not in (await page.client.get("/silences")).text
    assert (await page.act("/silences", **SILENCE)).status_code == 403
    await page.sign_in()
    assert (await page.client.post("/silences", data=SILENCE)).status_code == 403
    assert silences.list_recent(page.db, page.now) == []


async def read_duty(page):
    """Return the text of the duty page."""
    shown = re.sub(r"<[^>]+>", " ", (await page.client.get("/duty")).text)
    return " ".join(shown.split()).replace(" ,", ",")


@pytest.mark.parametrize(
    ("reachable", "quiet", "expected"),
    [
        (("ap", "fm"), (), "All rooms Nearest: A. Principal"),
        (("fm",), (), "Everyone: F. Manager A. Principal is skipped: no notification address"),
        ((), (), "Nearest: A. Principal can't be reached: no notification address"),
        (
            ("ap",),
            (clock_hours(9, 17),),
            "Nearest: A. Principal can't be reached: quiet hours until 5:00 PM",
        ),
    ],
)
async def test_who_is_on_duty_and_notified_and_why_somebody_cannot_be_reached(
    open_page, policy, reachable, quiet, expected
):
    staff = tuple(
        replace(m, targets=m.targets if m.id in reachable else (), quiet=quiet)
        for m in policy.staff
    )
    page = open_page(replace(policy, staff=staff))
    assert (await page.client.get("/duty")).status_code == 303
    await page.sign_in()
    shown = await read_duty(page)
    reason = "quiet hours until 5:00 PM" if quiet else "no notification address"
    reason = " F. Manager" if len(reachable) > 1 else f" can't be reached: {reason}"
    assert f"A. Principal staff, always on duty{reason}" in shown
    assert "Who is notified: vaping" in shown
    assert expected in shown


async def test_declining_on_the_page_pages_the_next(opened):
    page, incident = opened
    await page.sign_in()
    url = f"/incidents/{incident}"
    assert 'id="decline"' in (await page.client.get(url)).text
    assert (await page.act(f"{url}/decline")).status_code == 303
    shown = (await page.client.get(url)).text
    assert "You said you can't go." in shown
    assert 'id="decline"' not in shown
    assert "Cannot go" in shown  # in the history
    await page.sign_in("an")
    assert (await page.act(f"{url}/decline")).status_code == 403
