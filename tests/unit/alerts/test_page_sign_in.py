"""Test signing in, sessions, signing out, and attacks on them."""

import asyncio
import json
from functools import partial
from threading import get_ident

import httpx
import pytest

from alerts.access import passwords, sessions
from alerts.incidents import repository
from alerts.policy import AlertPolicy, StaffMember
from plumewatch.service.web_server import wrap_for_proxies
from storage import audit, sqlite
from tests.unit.alerts.test_page import HASHER, HOST, PASSWORD

pytestmark = pytest.mark.attack

NEW = "nine green umbrellas"


@pytest.fixture
def open_page(open_page):
    return partial(open_page, one_click=False)


async def test_the_cookie_contains_no_password_and_no_script_reads_it(open_page):
    page = open_page()
    answer = await page.sign_in(after="/incidents")
    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("plumewatch_session=")
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert PASSWORD not in cookie
    assert "Secure" not in cookie
    shown = (await page.client.get("/")).text
    assert "A. Principal" in shown
    assert PASSWORD not in shown


async def test_behind_https_no_other_host_can_set_the_cookie(open_page):
    cookie = (await open_page(secure_cookie=True).sign_in()).headers["set-cookie"]
    assert cookie.startswith("__Host-plumewatch=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize("account", ["ap", "AP", "A. Principal", " a.  principal "])
async def test_by_id_or_name(open_page, account):
    assert (await open_page().sign_in(account)).status_code == 303


@pytest.mark.parametrize(
    ("account", "password"),
    [
        ("ap", "wrong"),
        ("ap", ""),
        ("", PASSWORD),
        ("nobody", PASSWORD),
        ("ap", PASSWORD.upper()),
        ("ap' OR '1'='1", PASSWORD),
        ("%", PASSWORD),
    ],
)
async def test_all_that_is_wrong_is_answered_alike(open_page, account, password):
    answer = await open_page().sign_in(account, password)
    assert answer.status_code == 403
    assert "Wrong name or password." in answer.text
    assert "set-cookie" not in answer.headers


async def test_somebody_without_a_password_cannot_sign_in(open_page):
    page = open_page()
    with sqlite.transaction(page.db) as tx:
        passwords.remove_account(tx, "ap", page.now)
    assert (await page.sign_in(password="")).status_code == 403


@pytest.mark.parametrize(
    "after",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "x",
        "/a\nb",
        "/a\r\nSet-Cookie: a=b",
        "\\\\x",
    ],
)
async def test_sign_in_leads_nowhere_else_and_adds_no_header(open_page, after):
    answer = await open_page().sign_in(after=after)
    assert answer.headers["location"] == "/"
    assert "a=b" not in str(answer.headers)


async def test_brute_force_is_stopped_by_address_and_slowed_down_by_account(open_page):
    page = open_page()
    for _ in range(5):
        assert (await page.sign_in(password="guess")).status_code == 403
    answer = await page.sign_in()
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) == 60
    assert "Wait 1 minute." in answer.text
    async with page.browse("10.0.0.7") as other:
        form = {"account": "ap", "password": "guess"}
        for _ in range(5):
            assert (await other.post("/sign-in", data=form)).status_code == 403
    async with page.browse("10.0.0.8") as third:
        tries = [await third.post("/sign-in", data=form) for _ in range(3)]
        assert [answer.status_code for answer in tries] == [403, 403, 429]
        assert "Wait 1 minute." in tries[2].text
        fm = await third.post("/sign-in", data={"account": "fm", "password": PASSWORD})
        assert fm.status_code == 303
    async with page.browse("10.0.0.9") as fourth:
        answer = await fourth.post("/sign-in", data={**form, "password": PASSWORD})
        assert answer.status_code == 303


async def test_guesses_by_id_and_by_name_are_guesses_at_one_account(open_page):
    page = open_page()
    for n, account in enumerate(("ap", "A. Principal") * 5):
        async with page.browse(f"10.0.0.{n}") as other:
            form = {"account": account, "password": "guess"}
            assert (await other.post("/sign-in", data=form)).status_code == 403
    for account, status in (("ap", 403), ("A. Principal", 403), ("ap", 429)):
        assert (await page.sign_in(account, "guess")).status_code == status


@pytest.mark.parametrize(
    ("account", "signed_in"),
    [("A Nurse", None), ("nurse", "nurse"), ("south", "south"), ("Clerk", "clerk")],
)
async def test_an_id_comes_before_names_and_a_shared_name_signs_nobody_in(
    open_page, account, signed_in
):
    staff = (
        StaffMember("north", "A Nurse"),
        StaffMember("south", "A Nurse"),
        StaffMember("nurse", "Office"),
        StaffMember("other", "nurse", "admin"),
        StaffMember("clerk", "Clerk"),
    )
    asked = []

    class Spy:
        hash = HASHER.hash

        def verify(self, kept, password):
            asked.append(kept)
            return HASHER.verify(kept, password)

    page = open_page(AlertPolicy(staff=staff), hasher=Spy())
    answer = await page.sign_in(account)
    assert answer.status_code == (303 if signed_in else 403)
    assert sessions.count_by_person(page.db, page.now) == ({signed_in: 1} if signed_in else {})
    assert len(asked) == 1  # how long it takes tells nothing of names


async def test_guesses_at_once_are_no_way_around(open_page):
    page = open_page()
    answers = await asyncio.gather(*(page.sign_in(password=f"guess {n}") for n in range(20)))
    counts = [a.status_code for a in answers]
    assert counts.count(403) <= 5
    assert set(counts) == {403, 429}


async def test_a_session_given_by_an_attacker_is_not_taken_over(open_page):
    page = open_page()
    page.client.cookies.set("plumewatch_session", "fixed-by-an-attacker", domain="127.0.0.1")
    answer = await page.sign_in()
    assert "fixed-by-an-attacker" not in answer.headers["set-cookie"]
    async with page.browse(Cookie="plumewatch_session=fixed-by-an-attacker") as attacker:
        assert (await attacker.get("/")).status_code == 303


@pytest.mark.parametrize("then", ["fm", ""], ids=["sign-in", "sign-out"])
async def test_signing_in_again_or_out_ends_the_session_on_the_server(open_page, then):
    page = open_page()
    kept = (await page.sign_in()).cookies["plumewatch_session"]
    answer = await (page.sign_in(then) if then else page.act("/sign-out"))
    assert answer.status_code == 303
    async with page.browse(Cookie=f"plumewatch_session={kept}") as thief:
        assert (await thief.get("/")).status_code == 303
    assert sessions.count_by_person(page.db, page.now) == ({then: 1} if then else {})


async def test_a_session_ends_by_itself_and_outlives_a_restart(open_page):
    page = open_page()
    await page.sign_in()
    again = open_page()
    again.client.cookies = page.client.cookies
    assert "A. Principal" in (await again.client.get("/")).text
    again.now += 12 * 3600 + 1
    assert (await again.client.get("/")).status_code == 303


@pytest.mark.parametrize(("role", "status"), [("facilities", 200), ("analyst", 403), ("", 303)])
async def test_a_changed_role_and_a_removed_person_count_at_once(open_page, policy, role, status):
    page = open_page()
    await page.sign_in("fm")
    others = tuple(m for m in policy.staff if m.id != "fm")
    own = (StaffMember("fm", "F. Manager", role),) if role else ()
    again = open_page(policy=AlertPolicy(staff=(*others, *own)))
    again.client.cookies = page.client.cookies
    assert (await again.client.get("/commission")).status_code == status


MAY = {
    "/incidents": "ap fm an ad",
    "/silences": "ap fm an ad",
    "/wall": "ap fm an ad",
    "/sensors": "ap fm an ad",
    "/reports": "ap fm an ad",
    "/sensors/labels": "fm ad",
    "/commission": "fm ad",
    "/commission/n2-boys": "fm ad",
    "/settings/rooms": "fm ad",
    "/settings/people": "ad",
    "/tokens": "ad",
}
"""Who can open each page; pages that don't exist in these tests return 404."""


@pytest.mark.parametrize("path", MAY)
async def test_roles_decide_what_a_person_may_open(open_page, path):
    page = open_page()
    assert (await page.client.get(path)).status_code in {303, 403}
    for account in ("ap", "fm", "an", "ad"):
        await page.sign_in(account)
        status = (await page.client.get(path)).status_code
        assert (status in {200, 404}) is (account in MAY[path].split()), account
        assert status in {200, 403, 404}
        shown = (await page.client.get("/account")).text
        if path == "/reports":
            assert ('href="/reports"' in shown) is (account in MAY[path].split())


async def test_analysts_read_and_change_nothing(open_page, make_event):
    page = open_page()
    incident = page.incident(make_event)
    await page.sign_in("an")
    shown = (await page.client.get(f"/incidents/{incident}")).text
    assert "not respond to them" in shown
    assert 'id="acknowledge"' not in shown
    before = repository.load(page.db, incident)
    for action, form in (("acknowledge", {}), ("feedback", {"verdict": "confirmed"})):
        answer = await page.act(f"/incidents/{incident}/{action}", **form)
        assert answer.status_code == 403
        assert "for: staff, facilities and admin" in answer.text
    assert repository.load(page.db, incident) == before


async def test_a_password_is_changed_and_ends_the_other_sessions(open_page, monkeypatch):
    verify, threads = HASHER.verify, set()
    monkeypatch.setattr(HASHER, "verify", lambda *a: threads.add(get_ident()) or verify(*a))
    page = open_page()
    other_session = (await page.sign_in()).cookies["plumewatch_session"]
    page.client.cookies.clear()
    await page.sign_in()
    assert "signed in on 2 browsers" in (await page.client.get("/account")).text
    for old, new, status, output in (
        ("wrong", NEW, 403, "password is wrong"),
        (PASSWORD, "short", 400, "at least 12"),
        (PASSWORD, "a. principal 12", 400, "principal"),
    ):
        answer = await page.act("/account/password", old=old, new=new)
        assert answer.status_code == status
        assert output in answer.text
    answer = await page.act("/account/password", old=PASSWORD, new=NEW)
    assert answer.status_code == 303
    assert (
        "Your password has been changed" in (await page.client.get(answer.headers["location"])).text
    )
    async with page.browse(Cookie=f"plumewatch_session={other_session}") as thief:
        assert (await thief.get("/")).status_code == 303
    page.client.cookies.clear()
    page.now += 61
    assert (await page.sign_in()).status_code == 403
    assert (await page.sign_in(password=NEW)).status_code == 303
    assert len(threads) == 1  # each check needs 64 MiB


async def test_everybody_signs_themselves_out_everywhere_and_administrators_others(open_page):
    page = open_page()
    await page.sign_in()
    answer = await page.act("/account/sign-out-everywhere", person="fm")
    assert answer.status_code == 403
    admin = open_page()
    await admin.sign_in("ad")
    for shown in ("/account", "/people/ap"):
        assert "and API tokens stay" in (await admin.client.get(shown)).text
    assert "Signed in on 1 browser." in (await admin.client.get("/people/ap")).text
    answer = await admin.act("/account/sign-out-everywhere", person="ap")
    assert answer.headers["location"] == "/people/ap"
    assert "Signed in on" not in (await admin.client.get("/people/ap")).text
    assert (await page.client.get("/")).status_code == 303
    assert (await admin.act("/account/sign-out-everywhere", person="ad")).status_code == 303
    assert sessions.count_by_person(page.db, page.now) == {}


async def test_the_account_page_needs_a_session(open_page):
    answer = await open_page().client.get("/account")
    assert answer.headers["location"] == "/sign-in?next=/account"


async def test_one_click_is_for_this_machine_alone(open_page):
    page = open_page(one_click=True)
    shown = (await page.client.get("/sign-in")).text
    assert 'name="account" value="ap"' in shown
    assert "password" not in shown
    assert (await page.client.post("/sign-in", data={"account": "nobody"})).status_code == 403
    headers = {"Origin": "http://evil.example"}
    foreign = await page.client.post("/sign-in", data={"account": "ap"}, headers=headers)
    assert foreign.status_code == 403
    assert (await page.client.post("/sign-in", data={"account": "ap"})).status_code == 303
    async with page.browse("10.0.0.7") as remote:
        assert 'type="password"' in (await remote.get("/sign-in")).text
        assert (await remote.post("/sign-in", data={"account": "ap"})).status_code == 403


@pytest.mark.parametrize(
    ("header", "status"),
    [(("Origin", b"http://["), 403), (("Content-Length", b"\xb2"), 413)],
)
async def test_a_header_that_is_none_is_refused(open_page, header, status):
    answer = await open_page().client.post("/sign-in", content=b"account=ap", headers=[header])
    assert answer.status_code == status


async def test_names_and_passwords_stay_out_of_the_log(open_page, caplog):
    page = open_page()
    caplog.set_level("DEBUG")
    await page.sign_in("a\r\nforged line", "hunter2-hunter2")
    await page.sign_in()
    assert "hunter2" not in caplog.text
    assert PASSWORD not in caplog.text
    assert "forged" not in caplog.text


async def test_sign_ins_failed_ones_and_sign_outs_are_in_the_audit_log(open_page):
    page = open_page()
    await page.sign_in(password="wrong horse battery")
    await page.sign_in(account="hunter2 my password", password="x")
    await page.sign_in()
    await page.act("/sign-out")
    log = list(audit.read_entries(page.db))
    assert [(e.kind, e.actor) for e in reversed(log)] == [
        ("sign_in_refused", "ap"),
        ("sign_in_refused", "unknown"),
        ("sign_in", "ap"),
        ("sign_out", "ap"),
    ]
    assert all('"address": "127.0.0.1"' in e.detail for e in log)
    assert not any("hunter2" in str(e) for e in log)
    assert audit.verify(page.db).fault == ""


async def test_the_audit_log_says_why_a_sign_in_was_refused_and_the_page_does_not(
    open_page, caplog
):
    page, shown = open_page(), set()
    with sqlite.transaction(page.db) as tx:
        passwords.remove_account(tx, "fm", page.now)
    for account in ("ap", "hunter2 my password", "fm"):
        answer = await page.sign_in(account, "hunter2 wrong")
        shown.add((answer.status_code, answer.text.replace(f'"{account}"', "")))
    assert len(shown) == 1
    for _more in range(5):
        await page.sign_in("ap", "hunter2 wrong")
    log = [e for e in audit.read_entries(page.db) if e.kind == "sign_in_refused"]
    assert [(e.actor, json.loads(e.detail)["reason"]) for e in reversed(log)] == [
        ("ap", "wrong password"),
        ("unknown", "unknown account"),
        ("fm", "account without a password"),
        ("ap", "wrong password"),
        ("ap", "wrong password"),
        ("ap", "too many failed attempts"),  # recorded only once
    ]
    assert "from 127.0.0.1 was refused: unknown account" in caplog.text
    assert not any("hunter2" in str(e) for e in log)
    page.now += 901
    await page.sign_in("ap")
    assert json.loads(next(audit.read_entries(page.db)).detail)["by"] == "password"


async def test_wrong_tries_of_one_client_of_a_proxy_keep_no_other_client_out(open_page):
    page = open_page()
    transport = httpx.ASGITransport(
        wrap_for_proxies(page.app, ["172.30.84.1"]), client=("172.30.84.1", 50_000)
    )
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        form = {"account": "ad", "after": "/"}

        async def sign_in(address, password):
            headers = {"X-Forwarded-For": address}
            answer = await client.post(
                "/sign-in", data={**form, "password": password}, headers=headers
            )
            return answer.status_code

        wrong = [await sign_in("203.0.113.5", f"wrong {k}") for k in range(6)]
        assert wrong == [403] * 5 + [429]
        assert await sign_in("203.0.113.6", PASSWORD) == 303


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/static/page.js"])
async def test_browsers_stay_with_https_where_it_is_the_public_address(open_page, https, path):
    answer = await open_page(secure_cookie=https).client.get(path)
    stays = answer.headers.get("strict-transport-security", "")
    assert stays == ("max-age=31536000" if https else "")
