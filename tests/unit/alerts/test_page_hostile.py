"""Test that every page shows hostile names as plain text."""

import asyncio
from html.parser import HTMLParser

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from alerts.access import action_tokens
from alerts.access.action_tokens import Action
from alerts.page import guard
from alerts.page.settings import PipelineStatus, SensorStatus
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from detection.events import Detail
from language.messages import build_fact
from storage import sqlite
from storage.registry import Quarantined, Registry, Room, Sensor
from tests.support.alert_records import add_silence
from tests.unit.alerts.test_page import NOW, Page

pytestmark = pytest.mark.attack

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}${7*7}"
HIDDEN = "\x1b\u202e\x9b"
NAME = f"Boys {HIDDEN}{EVIL}"


class Tags(HTMLParser):
    """Collects the elements that a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.bad = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        if tag == "script" and not names.get("src", "").startswith("/static/"):
            self.bad.append((tag, attrs))
        if any(name.startswith("on") or name == "style" for name in names):
            self.bad.append((tag, attrs))
        for name in ("href", "src", "action"):
            if names.get(name, "").lower().startswith(("javascript:", "data:", "//")):
                self.bad.append((tag, attrs))
        if tag == "img" and names.get("src") == "x":
            self.bad.append((tag, attrs))


@pytest.fixture
async def page(database):
    registry = Registry.build(
        [Room("r1", NAME, NAME, NAME, EVIL), Room("r2", "javascript:alert(1)", "", EVIL, "")],
        [Sensor("s1", "r1", NAME), Sensor("s2", "r2", EVIL)],
    )
    policy = AlertPolicy(
        staff=(
            StaffMember("ad", NAME, "admin", (Secret("json://127.0.0.1:9/x"),)),
            StaffMember("fm", EVIL, "facilities"),
        )
    )
    status = PipelineStatus(
        {EVIL: 2},
        (Quarantined(EVIL, NOW - 9, NOW, 3, EVIL),),
        (Quarantined(EVIL, NOW - 9, NOW, 3, sample=EVIL.encode()),),
        {"s1": SensorStatus(EVIL, NOW, 5.0, {EVIL: 3})},
    )
    given = {"school": EVIL, "pipeline": lambda: status, "one_click": False}
    page = Page(database, registry, policy, **given)
    yield page
    await page.client.aclose()
    page.db.close()


def test_the_reader_sees_what_a_browser_would():
    assert len(Tags(f'<a title="{EVIL}" href="javascript:x">').bad) == 3


async def test_hostile_names_are_text_on_every_page(page, make_event):
    incident = page.incident(
        lambda at: make_event(at, details=(build_fact(Detail.NO_VALID_VALUE, quantity=EVIL),))
    )
    with sqlite.transaction(page.db) as tx:
        page.engine.acknowledge(tx, incident, EVIL, NOW, channel=EVIL)
        add_silence(tx, {"room": "r1"}, NOW, NOW + 60, owner=EVIL, reason=EVIL)
        token = action_tokens.issue(tx, incident, "ad", Action.ACKNOWLEDGE, NOW)
    await page.sign_in("ad")
    paths = (
        "/",
        "/incidents",
        f"/incidents/{incident}",
        "/rooms/r1",
        "/rooms/r2",
        "/duty",
        "/silences",
        "/sensors",
        "/levels",
        "/account",
        "/sign-in?next=" + EVIL,
        "/answer",
        "/" + EVIL,
    )
    for path in paths:
        answer = await page.client.get(path)
        assert answer.status_code in {200, 404}, path
        assert Tags(answer.text).bad == [], path
        assert "<script>alert" not in answer.text
        assert not {*HIDDEN} & {*answer.text}, path
    output = await page.client.post("/answer/look", data={"token": token})
    assert output.headers["content-type"] == "application/json"
    series = await page.client.get("/rooms/r1/series")
    assert series.headers["content-type"] == "application/json"
    picture = await page.client.get(f"/incidents/{incident}/evidence.svg")
    assert "<script" not in picture.text


async def test_what_is_typed_comes_back_as_text(page):
    await page.sign_in("ad")
    token = await page.form_token()
    for path, form in (
        ("/sign-in", {"account": EVIL, "password": "x"}),
        ("/silences", {"place": "room r1", "hours": "1", "later": "0", "reason": f"{EVIL} 123456"}),
        ("/account/password", {"old": EVIL, "new": EVIL}),
    ):
        answer = await page.client.post(path, data={"form_token": token, **form})
        assert answer.status_code in {400, 403}
        assert Tags(answer.text).bad == [], path
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize(("sent", "status"), [("nothing more", 408), ("goes away", 400)])
async def test_forms_that_do_not_come_are_ended(monkeypatch, sent, status):
    monkeypatch.setattr(guard, "_FORM_S", 0.01)
    begun = [{"type": "http.request", "body": b"token=", "more_body": True}]

    async def receive():
        if begun:
            return begun.pop()
        if sent == "nothing more":
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    headers = [
        (b"content-length", b"100"),
        (b"content-type", b"application/x-www-form-urlencoded"),
    ]
    scope = {"type": "http", "method": "POST", "path": "/answer", "headers": headers}
    with pytest.raises(HTTPException) as refused:
        await guard.read_form(Request(scope, receive))
    assert refused.value.status_code == status


async def test_malformed_forms_do_not_fill_the_log(page, caplog):
    kind = {"content-type": "multipart/form-data; boundary=x"}
    for path in ("/sign-in", "/answer"):
        answer = await page.client.post(path, content=b"abcd", headers=kind)
        assert answer.status_code in {400, 403}, path
    assert [r.name for r in caplog.records if r.name.startswith("python_multipart")] == []


@pytest.mark.parametrize(
    ("charset", "text"),
    [("undefined", "ab"), ("utf-7", "+2AA-"), ("unicode_escape", r"\ud800"), ("none", "\xff")],
)
async def test_a_form_in_a_strange_encoding_is_refused(page, charset, text):
    part = f'--XX\r\nContent-Disposition: form-data; name="token"\r\n\r\n{text}\r\n--XX--\r\n'
    kind = f"multipart/form-data; boundary=XX; charset={charset}"
    for path in ("/sign-in", "/answer/look"):
        answer = await page.client.post(
            path, content=part.encode("latin-1"), headers={"content-type": kind}
        )
        assert answer.status_code in {400, 403}, path
