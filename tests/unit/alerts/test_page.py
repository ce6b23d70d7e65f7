from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace

import httpx
import jinja2
import numpy as np
import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette

from alerts.access import api_tokens, passwords
from alerts.access.passwords import Hasher
from alerts.engine import AlertEngine
from alerts.incidents import repository
from alerts.incidents.incident import Status, Verdict
from alerts.incidents.repository import ChangeSignal
from alerts.notify.notice import KIND_WORDS
from alerts.notify.pictures import IncidentPictures
from alerts.page.app import create_app
from alerts.page.page_context import PageContext
from alerts.page.settings import PipelineStatus
from alerts.page.views import figures
from alerts.policy import AlertPolicy
from detection.events import ChannelEvidence, EventPhase
from storage import audit, sqlite
from storage.timeseries import LatestReading
from tests.support.staff_page import CountedWakes, page_settings

VAPE = KIND_WORDS["vape"]

PASSWORD = "seven blue kettles"
HASHER = Hasher(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
KEPT = HASHER.hash(PASSWORD)
NOW = 1_788_789_900.0
HOST = "http://127.0.0.1"


class Series:
    def sum_health(self, *_asked):
        return {}

    def read_health(self, *_asked):
        return []

    def read_latest(self):
        return {"s1": LatestReading(NOW - 3, {"pm25": 7.25, "tvoc_ppb": 310.0, "rh": 41.0})}

    def read_window(self, sensor, start, end):
        if sensor != "s1":
            return [], {}
        times = [min(start + k, end) for k in range(4000)]
        values = [5.0] * 4000
        values[1234] = 500.0
        values[7] = float("nan")
        return times, {"pm25": values, "tvoc_ppb": [float("nan")] * 4000}


class Page:
    def __init__(self, database, registry, policy, shown=None, **options):
        self.now = NOW
        self.wakes = CountedWakes()
        self.engine = AlertEngine(registry, policy)
        self.db = sqlite.connect(database)
        settings = {
            "database": shown or database,
            "engine": self.engine,
            "series": Series(),
            "hasher": HASHER,
            "changes": ChangeSignal((self.wakes,)),
            "pipeline": lambda: PipelineStatus({"bad_json": 2}),
            "clock": lambda: self.now,
        }
        with sqlite.transaction(self.db) as tx:
            for member in policy.staff:
                passwords.store_hash(tx, member.id, KEPT, NOW)
        self.app = create_app(page_settings(**{**settings, **options}))
        assert isinstance(self.app, Starlette)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        self.client = httpx.AsyncClient(transport=transport, base_url=HOST)

    async def sign_in(self, account="ap", password=PASSWORD, after="/", **more):
        form = {"account": account, "password": password, "after": after}
        return await self.client.post("/sign-in", data=form, **more)

    async def form_token(self, path="/"):
        page = await self.client.get(path)
        return re.search(r'name="form_token" value="([^"]+)"', page.text)[1]

    async def act(self, path, start="/account", /, **form):
        """Submit a form on a page as the signed-in person."""
        data = {"form_token": await self.form_token(start), **form}
        return await self.client.post(path, data=data)

    def make_token(self, person, *scopes, name="t", **more):
        given = {"by": "ad", "days": 7, "now": self.now, **more}
        with sqlite.transaction(self.db) as tx:
            return api_tokens.make(tx, name, person, scopes or list(api_tokens.Scope), **given)

    def browse(self, address="127.0.0.1", **headers):
        """Open another browser with this client address."""
        transport = httpx.ASGITransport(self.app, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url=HOST, headers=headers)

    def incident(self, make_event, **more):
        with sqlite.transaction(self.db) as tx:
            (record,) = self.engine.on_events(tx, [make_event(self.now - 5, **more)], self.now)
        return record.incident


PATHS = ("/", "/incidents", "/sensors", "/rooms/n2-boys")


@pytest.mark.parametrize("path", [*PATHS, "/sign-in", "/nowhere"])
async def test_a_large_page_does_not_hold_the_event_loop(open_page, monkeypatch, path):
    """Alerts use the same event loop, so templates are rendered in the page's threads."""
    render, threads = jinja2.Template.render, []

    def recorded(self, *content):
        threads.append(threading.get_ident())
        return render(self, *content)

    monkeypatch.setattr(jinja2.Template, "render", recorded)
    answer = await open_page().client.get(path)
    assert len(threads) == 1
    assert threads != [threading.get_ident()]
    assert int(answer.headers["content-length"]) == len(answer.content) > 0


@pytest.mark.parametrize("path", PATHS)
async def test_reading_is_allowed_on_loopback_only(open_page, path):
    assert (await open_page().client.get(path)).status_code == 200
    answer = await open_page(one_click=False).client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=/")
    answer = await open_page(one_click=False).client.get(path, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"][:8]) == (401, "/sign-in")


@pytest.mark.parametrize(
    ("headers", "scope"),
    [
        ({"X-Forwarded-For": "203.0.113.9"}, {}),
        ({"X-Forwarded-Host": "lincoln.example"}, {}),
        ({"X-Real-IP": "203.0.113.9"}, {}),
        ({"Forwarded": "for=203.0.113.9"}, {}),
        ({"Via": "1.1 proxy"}, {}),
        ({"X-Forwarded-Proto": "https"}, {}),
        ({"CF-Connecting-IP": "203.0.113.9"}, {}),
        ({}, {"http_version": "1.0"}),  # nginx's default
        ({}, {"client": ("203.0.113.9", 50_000)}),
    ],
)
@pytest.mark.parametrize("path", [*PATHS, "/wall", "/silences", "/sensors/s1/device"])
async def test_reading_without_sign_in_is_for_this_machine_and_not_for_a_proxy(
    open_page, path, headers, scope
):
    page = open_page()

    async def behind(given, receive, send):
        await page.app({**given, **scope}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(behind), base_url=HOST) as client:
        for _ in range(2):
            assert (await client.get(path, headers=headers)).status_code in {303, 403}
        assert (await page.client.get(path)).status_code == 200
    noted = [entry.kind for entry in audit.read_entries(page.db)]
    assert noted == ["proxy"] * ("client" not in scope)  # recorded once, for `plumewatch check`


@pytest.mark.parametrize("path", [*PATHS, "/sign-in", "/nowhere", "/static/page.js"])
async def test_every_answer_carries_the_guard_headers(open_page, path):
    answer = await open_page().client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "<script>" not in answer.text
    assert " style=" not in answer.text
    assert not re.search(r"\son[a-z]+=", answer.text) or path.endswith(".js")
    assert "//cdn" not in answer.text


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/api/v1/openapi.json", "application/problem+json")]
)
async def test_an_answer_to_a_fault_of_ours_carries_them_too(open_page, monkeypatch, path, kind):
    page = open_page()

    def fail(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(PageContext, "choose_request_language", fail)
    transport = httpx.ASGITransport(page.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        answer = await client.get(path)
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith(kind)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "a fault of ours" not in answer.text


async def test_a_foreign_host_name_is_refused(open_page):
    answer = await open_page().client.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400


async def test_acknowledge_and_feedback(opened):
    page, incident = opened
    await page.sign_in()
    token = await page.form_token(f"/incidents/{incident}")
    url = f"/incidents/{incident}"
    answer = await page.client.post(f"{url}/acknowledge", data={"form_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, url)
    assert repository.load(page.db, incident).acknowledged_by == "ap"
    form = {"form_token": token, "verdict": "false_alarm", "cause": "spray", "note": "hair\n spray"}
    assert (await page.client.post(f"{url}/feedback", data=form)).status_code == 303
    assert repository.load(page.db, incident).verdict is Verdict.FALSE_ALARM
    shown = (await page.client.get(url)).text
    assert "spray, hair spray" in shown
    assert page.wakes.count == 3


async def test_arrival_is_reported_and_the_next_step_stands_out(opened):
    page, incident = opened
    url = f"/incidents/{incident}"
    await page.sign_in()
    form = {"form_token": await page.form_token(url)}

    async def steps():
        shown = (await page.client.get(url)).text
        first = re.search(r'<button (?:class="primary" )?id="(\w+)"', shown)
        return first and first[1], 'class="primary" id="arrive"' in shown, 'feedback next"' in shown

    assert await steps() == ("acknowledge", False, False)
    await page.client.post(f"{url}/acknowledge", data=form)
    assert await steps() == ("arrive", True, False)
    page.now += 60.0
    for _ in range(2):
        assert (await page.client.post(f"{url}/arrive", data=form)).status_code == 303
    assert repository.load(page.db, incident).arrived_at == NOW + 60.0
    assert (await steps())[1:] == (False, True)
    shown = (await page.client.get(url)).text
    assert "A. Principal arrived " in shown
    assert 'id="decline"' not in shown
    assert (
        "A. Principal is responding, someone is on site"
        in (await page.client.get("/incidents")).text
    )
    assert shown.count("<b>On site</b>") == 1
    await page.client.post(f"{url}/feedback", data={**form, "verdict": "confirmed"})
    assert 'hx-trigger="live from:body"' in (await page.client.get(url)).text


async def test_others_see_who_is_on_site_and_are_asked_for_less(opened):
    page, incident = opened
    with sqlite.transaction(page.db) as tx:
        page.engine.arrive(tx, incident, "fm", page.now)
    await page.sign_in()
    shown = (await page.client.get(f"/incidents/{incident}")).text
    assert "F. Manager is on site." in shown
    assert 'id="arrive"' in shown
    assert 'id="decline"' not in shown
    assert 'class="primary" id=' not in shown


async def test_an_answered_incident_that_goes_on_is_answered_everywhere(open_page, make_event):
    page = open_page()
    incident = page.incident(make_event)
    await page.sign_in()
    url = f"/incidents/{incident}"
    form = {"form_token": await page.form_token(url), "verdict": "confirmed"}
    await page.client.post(f"{url}/acknowledge", data=form)
    paths = ("/", "/incidents", url, "/rooms/n2-boys", "/wall")
    responding = re.compile(r"is responding|>\s*Responding[^<]*</span>")
    for path in paths:
        assert responding.search((await page.client.get(path)).text), path
    await page.client.post(f"{url}/feedback", data=form)
    assert repository.load(page.db, incident).is_open
    for path in paths:
        shown = (await page.client.get(path)).text.partition('<section id="record">')[0]
        assert not responding.search(shown.partition('id="signs"')[0]), path
        assert re.search(r"[Aa]nswered", shown), path


async def test_what_ended_or_was_answered_on_a_later_day_says_so_as_other_times_do(
    opened, make_event
):
    page, incident = opened
    with sqlite.transaction(page.db) as tx:
        end = make_event(page.now - 5, phase=EventPhase.ENDED, end=page.now + 10)
        page.engine.on_events(tx, [end], page.now + 10)
        page.engine.record_feedback(tx, incident, "fm", Verdict.CONFIRMED, page.now + 86_400.0)
    page.now += 2 * 86_400.0
    shown = (await page.client.get(f"/incidents/{incident}")).text
    assert "answered by F. Manager, Tue, Sep 8, 10:05 AM" in shown
    assert "<b>End detected</b>" in shown
    assert "<td>not yet</td>" not in shown


async def test_a_second_answer_asks_before_it_replaces_the_first(opened):
    page, incident = opened
    with sqlite.transaction(page.db) as tx:
        page.engine.record_feedback(tx, incident, "fm", Verdict.CONFIRMED, page.now)
    page.now += 300.0
    await page.sign_in()
    url = f"/incidents/{incident}"
    form = {"form_token": await page.form_token(url), "cause": "steam", "note": "wet floor"}
    answer = await page.client.post(f"{url}/feedback", data=form)
    assert answer.status_code == 409
    assert "F. Manager answered Confirmed 5 min ago. Replace?" in answer.text
    assert repository.load(page.db, incident).verdict is Verdict.CONFIRMED
    question = answer.text[answer.text.index('id="replace"') :].partition("</form>")[0]
    given = dict(re.findall(r'name="(\w+)" value="([^"]*)"', question))
    assert (given["cause"], given["note"]) == ("steam", "wet floor")
    assert (await page.client.post(f"{url}/feedback", data=given)).status_code == 303
    assert repository.load(page.db, incident).verdict is Verdict.FALSE_ALARM


async def test_the_reason_of_a_notice_stays_when_more_is_known(
    open_page, make_event, database, registry
):
    """A second puff on top of the first has another baseline, but the reason stays the same."""
    page = open_page()
    incident = page.incident(make_event)
    first = make_event(page.now - 5)
    later = replace(
        first,
        phase=EventPhase.UPDATED,
        confidence=0.4,
        evidence={"pm25": ChannelEvidence(232.0, 532.0, 19.0, None)},
        time=page.now + 180.0,
    )
    rise = "rose from 4 to 180"
    shown = (await page.client.get(f"/incidents/{incident}")).text
    assert rise in shown
    assert "<details>" not in shown
    with sqlite.transaction(page.db) as tx:
        page.engine.on_events(tx, [later], page.now + 180.0)
        assert rise in repository.load_evidence(tx, first.id).describe("vape")
    shown = (await page.client.get(f"/incidents/{incident}")).text
    why, since = shown.split("<details>")
    assert rise in why
    assert "90% likely vaping" in why
    assert "Latest" in since
    assert "rose from 232 to 764" in since
    facts = IncidentPictures(database, registry, None, "UTC")._load_facts(incident)
    assert rise in facts.sentence
    assert facts.baselines == {"pm25": 4.0}


async def test_the_outcome_is_reported_after_the_verdict_and_may_be_changed(opened):
    page, incident = opened
    url = f"/incidents/{incident}"
    await page.sign_in()
    form = {"form_token": await page.form_token(url), "action": "referral"}
    answer = await page.client.post(f"{url}/followed", data=form)
    assert answer.status_code == 400
    assert "First report what was found." in answer.text
    assert "What followed?" not in answer.text
    await page.client.post(f"{url}/feedback", data={**form, "verdict": "confirmed"})
    assert 'id="followed" class="primary"' in (await page.client.get(url)).text
    output = {**form, "case_number": " 2026/114 "}
    assert (await page.client.post(f"{url}/followed", data=output)).status_code == 303
    for wrong in (
        {"action": "expelled"},
        {"case_number": "Ethan Smith"},
        {"case_number": "9" * 33},
    ):
        answer = await page.client.post(f"{url}/followed", data={**output, **wrong})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
    found = repository.load(page.db, incident)
    assert (found.action, found.case_number) == ("referral", "2026/114")
    await page.client.post(f"{url}/followed", data={**output, "action": "nurse"})
    shown = (await page.client.get(url)).text
    assert "action: nurse" in shown
    assert "Nurse, was Referral" in shown
    assert 'value="2026/114"' in shown


@pytest.mark.parametrize("action", ["acknowledge", "arrive", "followed", "resolve"])
@pytest.mark.parametrize(
    ("signed_in", "form_token", "headers", "status"),
    [
        (False, "", {}, 303),
        (True, "", {}, 403),
        (True, "wrong", {}, 403),
        (True, "right", {"Origin": "http://evil.example"}, 403),
        (True, "right", {"Sec-Fetch-Site": "cross-site"}, 403),
        (True, "right", {"Origin": HOST, "Sec-Fetch-Site": "same-origin"}, 303),
    ],
)
async def test_actions_are_guarded(opened, action, signed_in, form_token, headers, status):
    page, incident = opened
    token = form_token
    if action == "followed":
        with sqlite.transaction(page.db) as tx:
            page.engine.record_feedback(tx, incident, "fm", Verdict.CONFIRMED, page.now)
    if signed_in:
        await page.sign_in()
        right = await page.form_token()
        token = right if form_token == "right" else form_token
    url = f"/incidents/{incident}/{action}"
    form = {"form_token": token, "action": "nurse"}
    answer = await page.client.post(url, data=form, headers=headers)
    assert answer.status_code == status
    found = repository.load(page.db, incident)
    after = {"followed": found.action == "nurse", "resolve": found.status is Status.RESOLVED}
    assert after.get(action, found.status is Status.ACKNOWLEDGED) is (signed_in and status == 303)


@pytest.mark.parametrize("path", ["/incidents/none", "/rooms/none", "/rooms/none/series", "/x"])
async def test_what_is_not_there(open_page, path):
    answer = await open_page().client.get(path)
    assert answer.status_code == 404
    assert "exist" in answer.text


async def test_series_keep_their_peak_and_drop_what_is_missing(open_page):
    answer = (await open_page().client.get("/rooms/n2-boys/series")).json()
    assert [c["title"] for c in answer["charts"]] == ["PM2.5"]
    (line,) = answer["charts"][0]["lines"]
    assert len(line["values"]) <= 1500
    assert max(line["values"]) == 500.0
    assert answer["end"] - answer["start"] == 1800


class Warm(Series):
    def aggregate_readings(self, *_asked):
        ages = (30_000.0, 28_000.0, 26_000.0, *range(9600, 8999, -120), 120.0)
        return [NOW - ago for ago in ages], {"temp": np.full(10, 20.0)}


async def test_charts_are_in_fahrenheit_and_their_lines_break_at_gaps(open_page):
    page = open_page(series=Warm())
    (chart,) = (await page.client.get("/rooms/n2-boys/series?span=day")).json()["charts"]
    shown = [*3 * [68.0], None, *6 * [68.0], None, 68.0]
    assert (chart["unit"], chart["lines"][0]["values"]) == ("°F", shown)


@pytest.mark.parametrize(
    ("asked", "period", "charts"),
    [
        ("span=week", "Aug 31, 10:05 AM – Sep 7, 10:05 AM", 3),
        ("span=month", "Aug 8 – Sep 7", 3),
        ("span=day&lang=es", "6 sept, 10:05 a.m. – 7 sept, 10:05 a.m.", 2),
    ],
)
async def test_statistics_name_their_period(open_page, asked, period, charts):
    shown = (await open_page().client.get(f"/figures?{asked}")).text.replace("\u202f", " ")
    assert f">{period}<" in shown
    assert shown.count("<section>") == charts


async def test_the_evidence_picture(open_page, make_event):
    page = open_page(one_click=False)
    incident = page.incident(make_event)
    answer = await page.client.get(f"/incidents/{incident}/evidence.svg")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/sign-in?next=/incidents/{incident}"
    await page.sign_in()
    answer = await page.client.get(f"/incidents/{incident}/evidence.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.content.startswith(b"<svg xmlns=")
    assert (await page.client.get("/incidents/none/evidence.svg")).status_code == 404


async def test_the_board_warns_when_nobody_can_be_notified(open_page, make_event):
    page = open_page(AlertPolicy())
    page.incident(make_event)
    shown = (await page.client.get("/")).text
    assert "No staff member has a notification address" in shown
    assert "Not notified" in shown


async def test_a_state_that_cannot_be_read(open_page, tmp_path):
    empty = sqlite.connect(tmp_path / "empty.db")
    empty.close()
    bare = open_page(shown=tmp_path / "empty.db")
    assert (await bare.client.get("/")).status_code == 503
    gone = open_page(shown=tmp_path / "gone.db")
    shown = await gone.client.get("/")
    assert shown.status_code == 503
    assert "cannot be read" in shown.text


@pytest.mark.parametrize("phone", ["", "555-0100"])
async def test_no_page_says_that_alerts_are_sent_while_it_cannot_know(open_page, tmp_path, phone):
    page = open_page(help_phone=phone)
    lost = "reach Plumewatch. Alerts may not be going out."
    for path in ("/", "/wall", "/answer", "/offline"):
        shown = (await page.client.get(path)).text
        assert lost in shown, path
        assert (shown.count("555-0100") > 0) is bool(phone), path
        assert path in ("/wall", "/answer") or ('href="tel:5550100"' in shown) is bool(phone), path
    broken = open_page(help_phone=phone, shown=tmp_path / "gone.db")
    shown = (await broken.client.get("/")).text
    assert "cannot be read right now. Alerts may not be going out." in shown
    for text in (shown, (await page.client.get("/offline")).text):
        assert "still sent" not in text


async def test_a_person_has_two_pages_at_a_time(open_page, monkeypatch):
    page, running, most, compute = open_page(), [], [], figures.gather_facts

    def gather(*given):
        running.append(given)
        threading.Event().wait(0.2)
        most.append(len(running))
        running.pop()
        return compute(*given)

    monkeypatch.setattr(figures, "gather_facts", gather)
    await page.sign_in()
    answers = await asyncio.gather(*(page.client.get("/figures") for _ in range(4)))
    assert ([answer.status_code for answer in answers], max(most)) == ([200] * 4, 2)
