"""Test answers with a notice's token, which allows one person one action at a button press."""

import asyncio
import random
import re
import sqlite3
from dataclasses import replace
from functools import partial

import pytest

from alerts.access import action_tokens, directory
from alerts.access.action_tokens import LIFETIME_S, Action
from alerts.engine import AlertEngine
from alerts.incidents import repository
from alerts.incidents.incident import ActionClass, Status, Verdict
from alerts.notify.notice import KIND_WORDS, render
from alerts.notify.outbox import add_answer_link, parse_answer_link
from alerts.notify.pump import OutboxPump
from alerts.policy import PAGED, AlertPolicy, StaffMember
from alerts.secrets import Secret
from detection.events import EventKind
from storage import sqlite
from tests.support import alert_records as stored
from tests.support.recording_notifier import RecordingNotifier
from tests.unit.alerts.test_page import NOW, PASSWORD

VAPE = KIND_WORDS["vape"]


@pytest.fixture
def open_page(open_page):
    return partial(open_page, one_click=False)


def token_for(page, incident, person="ap", action=Action.ACKNOWLEDGE):
    with sqlite.transaction(page.db) as tx:
        return action_tokens.issue(tx, incident, person, action, page.now)


@pytest.fixture
def asked(opened):
    """Open the staff page and an incident with a notice's link."""
    return *opened, token_for(*opened)


async def press(page, token, path="/answer", client=None, **form):
    return await (client or page.client).post(path, data={"token": token, **form})


def history(page, incident):
    return stored.history(page.db, "who", "what", "detail", incident=incident)


async def test_one_press_acknowledges_and_a_second_changes_nothing(asked):
    page, incident, token = asked
    answer = await press(page, token, via="ntfy")
    assert answer.status_code == 200
    output = answer.json()
    assert (output["mine"], output["you"], output["room"]) == (True, "A. Principal", "Boys N2")
    found = repository.load(page.db, incident)
    assert (found.status, found.acknowledged_by) == (Status.ACKNOWLEDGED, "ap")
    before = history(page, incident)
    assert ("ap", "acknowledged", {"channel": "ntfy"}) in before
    again = await press(page, token)
    assert (again.status_code, again.json()["mine"]) == (200, True)
    assert history(page, incident) == before
    assert repository.load(page.db, incident) == found


@pytest.mark.parametrize(("days", "text"), [(59, ""), (61, "Sign in by "), (None, "")])
async def test_a_link_tells_when_its_person_must_sign_in_to_keep_getting_alerts(asked, days, text):
    page, _, token = asked
    if days is not None:
        with sqlite.transaction(page.db) as tx:
            seen = page.now - days * 86_400
            directory.save_person(tx, directory.DirectoryPerson("ap", "AP", ("pw",), seen))
    assert (await press(page, token, "/answer/look")).json()["sign_in_by"][:11] == text


async def test_two_presses_at_once_are_one(asked):
    page, incident, token = asked
    answers = await asyncio.gather(*(press(page, token) for _ in range(4)))
    assert {a.status_code for a in answers} == {200}
    assert [what for _, what, _ in history(page, incident)].count("acknowledged") == 1


async def test_the_verdict_is_sent_with_the_token_of_the_first_press(opened):
    page, incident = opened
    feedback = (await press(page, token_for(page, incident))).json()["feedback"]
    answer = await press(page, feedback, "/answer/feedback", verdict="false_alarm")
    assert answer.status_code == 400
    assert "alse alarm with one of" in answer.json()["error"]
    answer = await press(page, feedback, "/answer/feedback", verdict="guilty")
    assert answer.status_code == 400
    form = {"verdict": "false_alarm", "cause": "spray"}
    assert (await press(page, feedback, "/answer/feedback", **form)).status_code == 200
    answer = await press(page, feedback, "/answer/feedback", verdict="confirmed")
    assert answer.json()["verdict"] == "confirmed"
    assert repository.load(page.db, incident).verdict is Verdict.CONFIRMED


async def test_who_is_there_already_says_so_with_one_press_and_responds(asked):
    page, incident, token = asked
    looked = (await press(page, token, "/answer/look")).json()
    assert (looked["awaited"], looked["here"]) == (True, False)
    there = (await press(page, token, "/answer/arrive", via="link")).json()
    assert (there["mine"], there["here"], bool(there["feedback"])) == (True, True, True)
    found = repository.load(page.db, incident)
    assert (found.status, found.acknowledged_by) == (Status.ACKNOWLEDGED, "ap")
    assert (found.arrived_at, found.acknowledged_at) == (NOW, NOW)
    answer = await press(page, there["feedback"], "/answer/feedback", verdict="confirmed")
    assert answer.json()["answered"] is True


async def test_an_answer_of_somebody_else_is_replaced_only_on_purpose_and_they_are_told(opened):
    page, incident = opened
    links = [token_for(page, incident, "fm"), token_for(page, incident)]
    first, second = [(await press(page, link)).json()["feedback"] for link in links]
    assert (await press(page, first, "/answer/feedback", verdict="confirmed")).status_code == 200
    page.now += 70.0
    form = {"verdict": "false_alarm", "cause": "spray"}
    asked = await press(page, second, "/answer/feedback", **form)
    assert asked.status_code == 409
    assert asked.json()["error"] == "F. Manager answered Confirmed a minute ago. Replace?"
    looks = [(await press(page, link, "/answer/look")).json() for link in links]
    assert [look["answered_by"] for look in looks] == ["", "F. Manager"]
    assert repository.load(page.db, incident).verdict is Verdict.CONFIRMED

    # repeating an answer, or changing one's own, needs no confirmation
    agreed = await press(page, second, "/answer/feedback", verdict="confirmed")
    assert agreed.status_code == 200
    assert (await press(page, second, "/answer/feedback", verdict="test")).status_code == 200
    changed = {"verdict": "test", "before": "confirmed"}
    assert ("ap", "feedback", changed) in history(page, incident)
    assert not [n for n in stored.notices(page.db, "notice") if n.reason == "replaced"]

    asked = await press(page, first, "/answer/feedback", **form)
    assert asked.json()["error"].startswith("A. Principal answered Test ")
    form["replaces"] = asked.json()["replaces"]
    answer = await press(page, first, "/answer/feedback", **form)
    assert (answer.status_code, answer.json()["what"]) == (200, "False alarm: spray")
    told = stored.notices(page.db, "person", "notice")
    ((person, notice),) = [(p, n) for p, n in told if n.reason == "replaced"]
    title, body = render(notice)
    assert person == "ap"
    assert title.startswith("Boys N2, floor 2, North: F. Manager replaced your answer")
    assert body.startswith("F. Manager answered False alarm: spray. You had answered Test.")
    # the answer has changed since the page was loaded
    form |= {"verdict": "nothing_found", "cause": ""}
    assert (await press(page, second, "/answer/feedback", **form)).status_code == 409


async def test_arrival_is_reported_once(opened):
    page, incident = opened
    taken = (await press(page, token_for(page, incident))).json()
    assert (taken["here"], taken["awaited"], taken["first_there"]) == (False, True, "")
    page.now += 90.0
    answers = [await press(page, taken["feedback"], "/answer/arrive", via="link") for _ in "ab"]
    assert [(a.status_code, a.json()["here"]) for a in answers] == [(200, True)] * 2
    assert answers[0].json()["first_there"] == "A. Principal"
    assert repository.load(page.db, incident).arrived_at == NOW + 90.0
    assert [h for h in history(page, incident) if h[1].startswith("arrived")] == [
        ("ap", "arrived", {"channel": "link"})
    ]


async def test_who_cannot_go_hands_over_and_the_next_is_asked_at_once(
    open_page, make_event, policy
):
    bo = StaffMember("b2", "Bo", "staff", (Secret("json://127.0.0.1:9/b2"),))
    chain = replace(policy, staff=(*policy.staff, bo))
    page = open_page(policy=chain)
    incident = page.incident(make_event)
    token = token_for(page, incident)
    await press(page, token)
    page.now += 20.0
    answer = await press(page, token, "/answer/decline", via="ntfy")
    assert (answer.status_code, answer.json()["declined"]) == (200, True)
    assert (answer.json()["mine"], answer.json()["taken_by"]) == (False, "")
    assert ("ap", "declined", {"channel": "ntfy"}) in history(page, incident)
    assert repository.load(page.db, incident).status is Status.NOTIFIED
    asked = stored.notices(page.db, "person", "notice", created_at=page.now)
    assert [person for person, notice in asked if notice.reason == "opened"] == ["b2"]
    assert answer.json()["notified"] == ["Bo"]
    before = written(page)
    await press(page, token, "/answer/decline")
    assert written(page) == before
    answer = await press(page, token)  # the person can go after all
    assert (answer.json()["mine"], answer.json()["declined"]) == (True, False)


@pytest.mark.parametrize("kind", sorted(PAGED - {EventKind.VAPE, EventKind.SMOKE}))
async def test_the_answers_are_those_of_the_kind_of_incident(open_page, make_event, kind):
    page = open_page()
    incident = page.incident(lambda at: make_event(at, kind=kind))
    output = (await press(page, token_for(page, incident, "fm"))).json()
    offered = output["answers"]
    assert offered["respond"] == "I'll look"
    assert not {cause for cause, _ in offered["causes"]} & {"spray", "steam", "sanitizer"}
    await page.sign_in("fm")
    shown = (await page.client.get(f"/incidents/{incident}")).text
    values = re.findall(r'name="(?:verdict|cause)" value="([^"]+)"', shown)
    assert values == [value for value, _ in (*offered["verdicts"], *offered["causes"])]
    for cause, _words in offered["causes"]:  # each is accepted, and shown as the headline
        form = {"verdict": offered["explained"], "cause": cause}
        answer = await press(page, output["feedback"], "/answer/feedback", **form)
        assert answer.status_code == 200
        assert answer.json()["what"].endswith(f": {cause}")


async def test_the_answer_page_loads_only_what_it_needs(open_page):
    """At 400 kbit/s, 40 kB take 0.8 s, which leaves time for headers and the answer to `look`."""
    page = open_page()
    shown = (await page.client.get("/answer")).text
    parts = re.findall(r'(?:src|href)="(/static/[^"]+)"', shown)
    assert not [part for part in parts if "vendor" in part or part.endswith("/page.js")]
    sizes = [len((await page.client.get(part)).content) for part in set(parts)]
    assert sum(sizes) + len(shown) < 40_000


async def test_an_arrival_after_the_end_is_explained_and_not_counted(opened):
    page, incident = opened
    say = (await press(page, token_for(page, incident))).json()["feedback"]
    with sqlite.transaction(page.db) as tx:
        page.engine.resolve(tx, incident, "fm", page.now)
    answer = await press(page, say, "/answer/arrive")
    assert (answer.status_code, answer.json()["over"], answer.json()["here"]) == (200, True, False)
    assert answer.json()["awaited"] is False
    assert repository.load(page.db, incident).arrived_at is None
    assert history(page, incident)[-1][1] == "resolved"


def written(page):
    return list(page.db.iterdump())


@pytest.mark.parametrize("is_over", [False, True])
async def test_the_same_answer_again_writes_nothing(asked, is_over):
    page, incident, take = asked
    if is_over:
        with sqlite.transaction(page.db) as tx:
            page.engine.resolve(tx, incident, "fm", page.now)
    say = (await press(page, take)).json()["feedback"]
    presses = [(take, "/answer", {}), (say, "/answer/arrive", {})]
    spray = {"verdict": "false_alarm", "cause": "spray"}
    presses.append((say, "/answer/feedback", spray))
    for token, path, form in presses:
        assert (await press(page, token, path, **form)).status_code == 200
        before = written(page)
        for _ in range(3):
            page.now += 61.0
            answer = await press(page, token, path, **form)
            assert answer.status_code == 200
            assert answer.json().get("feedback", say) == say
        assert written(page) == before


async def test_one_link_answers_only_so_often(asked):
    page, incident, take = asked
    say = (await press(page, take)).json()["feedback"]
    answers = []
    for k in range(120):
        page.now += 1.0
        forms = [{"verdict": "confirmed"}, {"verdict": "test"}, {"verdict": "nobody_found"}]
        answers.append(await press(page, say, "/answer/feedback", **forms[k % 3]))
        answers.append(await press(page, take))
        answers.append(await press(page, say, "/answer/look"))
    refused = [a for a in answers if a.status_code == 429]
    assert len(refused) > 180
    assert int(refused[0].headers["retry-after"]) >= 1
    assert "Sign in" in refused[0].json()["error"]
    assert max(map(len, stored.everything(page.db).values())) < 80
    other = token_for(page, incident)
    assert (await press(page, other)).status_code == 200


async def test_pressing_again_extends_no_link(asked):
    page, _incident, take = asked
    tokens = {take}
    for _ in range(6):
        tokens.add((await press(page, take)).json().get("feedback", take))
        page.now += LIFETIME_S / 6 - 1
    page.now += 6
    for token in tokens:
        assert (await press(page, token, "/answer/look")).status_code == 403


LINKS = ("/answer", "/answer/look", "/answer/decline", "/answer/arrive", "/answer/feedback")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("path", LINKS)
async def test_a_link_after_its_end_shows_and_changes_nothing(asked, path, again):
    page, _incident, take = asked
    say = (await press(page, take)).json()["feedback"] if again else take
    page.now += LIFETIME_S
    before = written(page)
    for token in {take, say}:
        answer = await press(page, token, path, verdict="confirmed")
        assert (answer.status_code, set(answer.json())) == (403, {"error"})
        assert "Boys N2" not in answer.text
    assert written(page) == before


@pytest.mark.parametrize("how", ["signed out everywhere", "by an administrator", "new password"])
async def test_links_end_with_the_sessions_of_their_person(opened, how):
    page, incident = opened
    take, others = token_for(page, incident), token_for(page, incident, person="fm")
    say = (await press(page, take)).json()["feedback"]
    await page.sign_in("ad" if how == "by an administrator" else "ap")
    if how == "new password":
        form = {"old": PASSWORD, "new": "another long one 17"}
        answer = await page.act("/account/password", **form)
    else:
        answer = await page.act("/account/sign-out-everywhere", person="ap")
    assert answer.status_code == 303
    page.client.cookies.clear()
    for token, path in ((take, "/answer"), (say, "/answer/arrive"), (take, "/answer/look")):
        answer = await press(page, token, path)
        assert answer.status_code == 403
        assert "has expired" in answer.json()["error"]
    assert (await press(page, others, "/answer/look")).status_code == 200
    assert (await press(page, token_for(page, incident))).status_code == 200


@pytest.mark.parametrize("path", ["/answer", "/answer/look", "/answer/arrive", "/answer/feedback"])
async def test_scanners_that_fetch_or_submit_forms_change_nothing(asked, path):
    page, incident, token = asked
    before = repository.load(page.db, incident)
    got = await page.client.get(f"{path}?token={token}")
    assert got.status_code == (200 if path == "/answer" else 405)
    for method in ("HEAD", "OPTIONS", "PUT"):
        await page.client.request(method, f"{path}?token={token}")
    # act like a scanner that submits all forms with their fields and the query
    shown = (await page.client.get("/answer")).text
    assert 'name="token"' not in shown
    assert token not in shown
    for action in re.findall(r'<form[^>]*action="([^"]+)"', shown):
        answer = await page.client.post(f"{action}?token={token}", data={"cause": ""})
        assert answer.status_code == 400
        assert "Press the button" in answer.json()["error"]
    assert repository.load(page.db, incident) == before
    assert (await press(page, token, "/answer/look")).status_code == 200
    assert repository.load(page.db, incident) == before


async def test_one_thing_alone(asked):
    page, incident, take = asked
    say = token_for(page, incident, action=Action.FEEDBACK)
    crossed = await press(page, take, "/answer/feedback", verdict="confirmed")
    assert crossed.status_code == 403
    assert (await press(page, say)).status_code == 403
    found = repository.load(page.db, incident)
    assert (found.status is Status.ACKNOWLEDGED, found.verdict) == (False, None)
    for path in ("/", f"/incidents/{incident}", "/account"):
        header = {"Authorization": f"Bearer {take}", "Cookie": f"plumewatch_session={take}"}
        assert (await page.client.get(path, headers=header)).status_code == 303


async def test_no_token_shows_or_changes_what_followed(asked):
    page, incident, take = asked
    say = (await press(page, take)).json()["feedback"]
    await press(page, say, "/answer/feedback", verdict="confirmed")
    with sqlite.transaction(page.db) as tx:
        page.engine.record_action(
            tx, incident, "ap", ActionClass.REFERRAL, page.now, case_number="2026-0815"
        )
    form = {"action": "nurse", "case_number": "1"}
    for token, paths in ((take, ("/answer",)), (say, ("/answer/arrive", "/answer/feedback"))):
        for path in ("/answer/look", *paths):
            answer = await press(page, token, path, verdict="confirmed", **form)
            assert answer.status_code == 200
            assert "referral" not in answer.text
            assert "0815" not in answer.text
    header = {"Authorization": f"Bearer {say}", "Cookie": f"plumewatch_session={say}"}
    refused = await page.client.post(f"/incidents/{incident}/followed", data=form, headers=header)
    assert refused.status_code in {303, 403}
    found = repository.load(page.db, incident)
    assert (found.action, found.case_number) == (ActionClass.REFERRAL, "2026-0815")


async def test_somebody_else_who_is_signed_in_does_not_answer_in_its_persons_name(asked):
    page, incident, token = asked
    await page.sign_in("fm")
    answer = await press(page, token)
    assert answer.status_code == 403
    assert "for A. Principal, but you are signed in as F. Manager" in answer.json()["error"]
    assert answer.json()["open"] == f"/incidents/{incident}"
    assert repository.load(page.db, incident).acknowledged_by == ""
    page.client.cookies.clear()
    await page.sign_in("ap")
    assert (await press(page, token)).status_code == 200


async def test_a_link_ends_with_its_person_and_their_role(opened, policy, open_page):
    page, incident = opened
    long = token_for(page, incident)
    for staff in (
        tuple(m for m in policy.staff if m.id != "ap"),
        tuple(replace(m, role="analyst") if m.id == "ap" else m for m in policy.staff),
    ):
        left = open_page(policy=AlertPolicy(staff=staff))
        assert (await press(left, long)).status_code == 403
    assert repository.load(page.db, incident).acknowledged_by == ""


@pytest.mark.parametrize("token", ["x", "x" * 22, "x" * 500, "\u202e\x00", "' OR 1=1 --"])
async def test_unknown_tokens(open_page, token):
    answer = await press(open_page(), token)
    assert answer.status_code == 403
    assert "is not valid" in answer.json()["error"]


async def test_guessing_is_stopped_and_good_links_are_not_counted(open_page, make_event):
    page = open_page()
    token = token_for(page, page.incident(make_event))
    for _ in range(12):
        assert (await press(page, token, "/answer/look")).status_code == 200
    answers = [(await press(page, f"guess{n}")).status_code for n in range(8)]
    assert answers == [403] * 5 + [429] * 3
    assert (await press(page, token)).status_code == 200  # guessing does not block other people


async def test_tokens_are_long_and_stored_as_hashes_alone(opened):
    page, incident = opened
    tokens = {token_for(page, incident) for _ in range(50)}
    assert len(tokens) == 50
    assert {len(token) for token in tokens} == {22}  # 128 bits in base64
    kept = page.db.serialize()
    assert incident.encode() in kept
    assert not any(token.encode() in kept for token in tokens)
    page.now += 8 * 86_400.0 + action_tokens.LIFETIME_S
    token_for(page, incident)
    with sqlite.transaction(page.db) as tx:
        assert action_tokens.revoke_all(tx, "ap", 0.0) == 1


async def test_a_press_during_revocation_leaves_no_valid_link(asked):
    page, _, token = asked
    with sqlite.transaction(page.db) as tx:
        action_tokens.revoke_all(tx, "ap", page.now)
        following = action_tokens.issue_feedback(tx, token, page.now)
    assert action_tokens.find(page.db, following).expires_at <= page.now


async def test_the_button_of_a_web_app_on_another_host_may_be_pressed(open_page, make_event):
    page = open_page()
    token = token_for(page, page.incident(make_event))
    headers = {"Origin": "https://ntfy.example", "Sec-Fetch-Site": "cross-site"}
    async with page.browse(**headers) as app:
        answer = await press(page, token, client=app)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_failing_disk_is_reported_and_the_press_may_be_repeated(asked, monkeypatch):
    page, incident, token = asked

    def refuse(*_, **__):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(page.engine, "acknowledge", refuse)
        answer = await press(page, token)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (503, "*")
    assert "Try again" in answer.json()["error"]
    assert (await press(page, token)).status_code == 200
    assert repository.load(page.db, incident).acknowledged_by == "ap"


async def test_a_notice_carries_its_persons_own_link_and_the_outbox_does_not(
    database, registry, policy, make_event
):
    engine = AlertEngine(registry, policy)
    db = sqlite.connect(database)
    with sqlite.transaction(db) as tx:
        engine.on_events(tx, [make_event(NOW - 5)], NOW)
    notifier, wake, delivered = RecordingNotifier(), asyncio.Event(), asyncio.Event()
    pump = OutboxPump(
        database,
        engine,
        notifier,
        wake,
        clock=lambda: NOW,
        rng=random.Random(1),
        personalize=add_answer_link,
        on_outcome=lambda _: delivered.set(),
    )
    running = asyncio.create_task(pump.run())
    await asyncio.wait_for(delivered.wait(), 60)
    pump.stop()
    await running
    (sent,) = notifier.sent
    address, token = parse_answer_link(sent.notice.link)
    assert address == "https://plumewatch.example/answer"
    assert sent.notice.link in sent.body
    grant = action_tokens.find(db, token)
    assert (grant.person, grant.action) == ("ap", Action.ACKNOWLEDGE)
    dump = "\n".join(db.iterdump())
    assert token not in dump
    db.close()
