"""Test second-factor codes: setup, one-time use, and a lost phone."""

import asyncio
import json
import re
from dataclasses import replace
from functools import partial

import pyotp
import pytest

from alerts.access import passwords, second_factor, sessions
from alerts.access.sign_in_rules import GroupRole, Rights, SignInRules
from storage import audit, sqlite
from tests.unit.alerts.test_page import PASSWORD

pytestmark = pytest.mark.attack

NEEDED = SignInRules(second_factor=frozenset({"admin"}))


@pytest.fixture
def open_page(open_page):
    return partial(open_page, one_click=False)


def code_of(page, steps=0):
    return pyotp.TOTP(page.secret).at(page.now + 30 * steps)


def has_factor(page, person="ap"):
    page.secret = second_factor.make_secret()
    with sqlite.transaction(page.db) as tx:
        codes = second_factor.confirm(tx, person, page.secret, code_of(page), page.now)
    page.now += 30
    return codes


def secret_in(text):
    """Return the secret that a page shows, or an empty string."""
    found = re.search(r'id="secret">([A-Z2-7 ]+)<', text)
    return found[1].replace(" ", "") if found else ""


async def give(page, code):
    return await page.client.post("/sign-in/code", data={"code": code})


async def set_up(page):
    await page.act("/account/second-factor", old=PASSWORD)
    return (await page.client.get("/sign-in/code")).text


def kinds(page):
    return [e.kind for e in reversed(list(audit.read_entries(page.db)))]


async def test_somebody_sets_one_up_and_signs_in_with_it(open_page):
    page = open_page()
    await page.sign_in()
    assert "a stolen password" in (await page.client.get("/account")).text
    shown = await set_up(page)
    assert ">Sign in<" not in shown
    assert {"/account", "/reports"} <= {*re.findall(r'href="([^"]+)"', shown)}
    secret = secret_in(shown)
    assert f"otpauth://totp/Plumewatch:ap?secret={secret}" in shown
    wrong = await give(page, "000000")
    assert (wrong.status_code, "check the time on your phone" in wrong.text) == (403, True)
    done = await give(page, pyotp.TOTP(secret).at(page.now))
    assert len(re.findall(r"<li><code>[a-z2-7]{4}(-[a-z2-7]{4}){3}</code>", done.text)) == 8
    assert "8 recovery codes are left" in (await page.client.get("/account")).text
    await page.act("/sign-out")
    page.now += 30
    answer = await page.sign_in(after="/incidents")
    assert answer.headers["location"] == "/sign-in/code"
    assert "plumewatch_session" not in answer.headers["set-cookie"]
    assert (await page.client.get("/account")).status_code == 303
    answer = await give(page, pyotp.TOTP(secret).at(page.now))
    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents")
    assert "A. Principal" in (await page.client.get("/")).text
    assert kinds(page) == [
        "sign_in",
        "sign_in_refused",
        "second_factor",
        "sign_in",
        "sign_out",
        "sign_in",
    ]


async def test_a_code_is_of_use_once_and_not_for_long(open_page):
    page = open_page()
    has_factor(page)
    code, early, later = code_of(page), code_of(page, steps=2), code_of(page, steps=-2)
    await page.sign_in()
    assert (await give(page, early)).status_code == 403
    assert (await give(page, later)).status_code == 403
    assert (await give(page, code)).status_code == 303
    await page.sign_in()
    again = await give(page, code)
    assert again.status_code == 403
    assert "Each code works only once" in again.text
    refused = [
        e for e in reversed(list(audit.read_entries(page.db))) if e.kind == "sign_in_refused"
    ]
    reasons = [json.loads(e.detail)["reason"] for e in refused]
    assert reasons == ["wrong code"] * 3


async def test_a_session_without_a_factor_ends_when_its_role_needs_one(open_page, policy):
    page = open_page(sign_in=NEEDED)
    await page.sign_in()
    thief = page.browse("203.0.113.1")
    await thief.post("/sign-in", data={"account": "ap", "password": PASSWORD})
    assert (await thief.get("/account")).status_code == 200
    assert (await page.client.get("/account", follow_redirects=False)).status_code == 200
    promoted = [replace(m, role="admin") if m.id == "ap" else m for m in policy.staff]
    page.engine.use_policy(replace(policy, staff=tuple(promoted)))
    answer = await page.client.get("/account", follow_redirects=False)
    assert answer.headers["location"].startswith("/sign-in")
    await page.sign_in()
    secret = secret_in((await page.client.get("/sign-in/code")).text)
    await give(page, pyotp.TOTP(secret).at(page.now))
    assert (await page.client.get("/account", follow_redirects=False)).status_code == 200
    assert (await thief.get("/account")).status_code == 303
    await thief.aclose()


@pytest.mark.parametrize("kind", ["code", "recovery"])
async def test_a_code_given_by_several_browsers_at_once_signs_one_in(open_page, kind):
    page = open_page()
    codes = has_factor(page)
    browsers = []
    for n in range(4):
        browsers.append(page.browse(f"203.0.113.{n}"))
        form = {"account": "ap", "password": PASSWORD}
        assert (await browsers[-1].post("/sign-in", data=form)).status_code == 303
    form = {"code": code_of(page) if kind == "code" else codes[0]}
    answers = await asyncio.gather(*(b.post("/sign-in/code", data=form) for b in browsers))
    assert sorted(answer.status_code for answer in answers) == [303, 403, 403, 403]
    assert sessions.count_by_person(page.db, page.now) == {"ap": 1}
    assert kinds(page).count("sign_in") == 1
    for browser in browsers:
        await browser.aclose()


async def test_a_recovery_code_signs_in_once_without_the_phone(open_page):
    page = open_page()
    codes = has_factor(page)
    await page.sign_in()
    assert (await give(page, codes[0].upper().replace("-", " "))).status_code == 303
    assert "7 recovery codes are left" in (await page.client.get("/account")).text
    assert '"by": "recovery"' in next(audit.read_entries(page.db)).detail
    await page.sign_in()
    assert (await give(page, codes[0])).status_code == 403


@pytest.mark.parametrize("secret", ["1" * 32, "é" * 32, "AB", ""])
async def test_a_damaged_secret_matches_no_code_and_recovery_codes_still_work(open_page, secret):
    page = open_page()
    codes = has_factor(page)
    with sqlite.transaction(page.db) as tx:
        tx.execute("UPDATE staff_totp SET secret = ?", (secret,))
    await page.sign_in()
    assert (await give(page, code_of(page))).status_code == 403
    assert (await give(page, codes[0])).status_code == 303


async def test_codes_cannot_be_guessed(open_page):
    page = open_page()
    has_factor(page)
    await page.sign_in()
    answers = [(await give(page, f"{n:06}")).status_code for n in range(6)]
    assert answers[:4] == [403] * 4
    assert 303 not in answers[4:]
    assert sessions.count_by_person(page.db, page.now) == {}
    assert kinds(page) == ["sign_in_refused"] * 5
    assert '"reason": "too many failed attempts"' in next(audit.read_entries(page.db)).detail
    page.now += 61
    await page.sign_in()
    page.now += 301
    late = await give(page, code_of(page))
    assert late.headers["location"] == "/sign-in"


async def test_codes_of_one_person_cannot_be_guessed_from_addresses_that_are_known(open_page):
    page = open_page()
    has_factor(page, "ad")
    answers = []
    for n in range(12):
        page.now += 3600
        async with page.browse(f"203.0.113.{n}") as browser:
            own = {"account": "fm", "password": PASSWORD}
            assert (await browser.post("/sign-in", data=own)).status_code == 303
            for name in ("ad", "Ad Min"):
                form = {"account": name, "password": PASSWORD}
                await browser.post("/sign-in", data=form)
                page.now += 61
                for _guess in range(4):
                    given = await browser.post("/sign-in/code", data={"code": "abcdef"})
                    answers.append(given.status_code)
                page.now += 61
    assert answers.count(403) == 30
    assert answers[-1] == 429


@pytest.mark.parametrize("account", ["ad", "Ad Min"])
async def test_a_role_that_needs_one_sets_it_up_before_it_is_in(open_page, account):
    page = open_page(sign_in=NEEDED)
    await page.sign_in(account)
    shown = (await page.client.get("/sign-in/code")).text
    assert "Set up a second factor" in shown
    assert (await page.client.get("/tokens")).status_code == 303
    answer = await give(page, pyotp.TOTP(secret_in(shown)).at(page.now))
    assert "Recovery codes" in answer.text
    assert "plumewatch_session" in answer.headers["set-cookie"]
    assert (await page.client.get("/tokens")).status_code == 200
    page.now += 30
    await page.sign_in("ap")
    assert "A. Principal" in (await page.client.get("/")).text


async def test_a_set_up_that_was_not_finished_locks_nobody_out_and_starts_again(open_page):
    page = open_page()
    await page.sign_in()
    first = await set_up(page)
    again = await set_up(page)
    assert secret_in(first) != secret_in(again)
    old = pyotp.TOTP(secret_in(first)).at(page.now)
    wrong = await give(page, old)
    assert (wrong.status_code, secret_in(wrong.text)) == (403, secret_in(again))
    assert (await page.sign_in()).headers["location"] == "/"


@pytest.mark.parametrize("at_sign_in", [True, False])
async def test_the_owner_is_never_shown_a_secret_that_a_thief_of_the_password_saw(
    open_page, at_sign_in
):
    thief, owner = [open_page(sign_in=NEEDED if at_sign_in else SignInRules()) for _ in range(2)]
    seen = []
    for page in (thief, owner):
        await page.sign_in("ad")
        if not at_sign_in:
            await page.act("/account/second-factor", old=PASSWORD)
        seen.append(secret_in((await page.client.get("/sign-in/code")).text))
    assert "" not in seen
    assert seen[0] != seen[1]
    done = await give(owner, pyotp.TOTP(seen[1]).at(owner.now))
    assert "Recovery codes" in done.text
    late = await give(thief, pyotp.TOTP(seen[0]).at(thief.now))
    assert (late.status_code, "Recovery codes" in late.text) == (403, False)
    later = owner.now + 30
    with sqlite.transaction(owner.db) as tx:
        assert second_factor.use_code(tx, "ad", pyotp.TOTP(seen[1]).at(later), later)


@pytest.mark.parametrize("new", [True, False])
async def test_a_password_that_ended_signs_nobody_in_with_a_later_code(open_page, new):
    page = open_page(sign_in=NEEDED)
    await page.sign_in("ad")
    secret = secret_in((await page.client.get("/sign-in/code")).text)
    with sqlite.transaction(page.db) as tx:
        if new:
            passwords.set_password(tx, "ad", "another hash", page.now)
        else:
            passwords.remove_account(tx, "ad", page.now)
    late = await give(page, pyotp.TOTP(secret).at(page.now))
    assert (late.status_code, late.headers["location"]) == (303, "/sign-in")
    assert second_factor.find_enrollment(page.db, "ad") is None


async def test_a_stolen_session_alone_sets_up_no_second_factor(open_page):
    page = open_page()
    await page.sign_in()
    assert (await page.act("/account/second-factor", old="guess")).status_code == 403
    assert (await give(page, "000000")).headers["location"] == "/sign-in"
    await set_up(page)
    page.now += 301
    assert (await give(page, "000000")).headers["location"] == "/sign-in"


async def test_a_stolen_session_changes_no_second_factor(open_page):
    page = open_page()
    await page.sign_in()
    for path in ("/account/second-factor", "/account/second-factor/remove"):
        answer = await page.act(path, old="wrong")
        assert (answer.status_code, "current password is wrong" in answer.text) == (403, True)
    has_factor(page)
    answer = await page.act("/account/second-factor", old=PASSWORD)
    assert (answer.status_code, answer.text) == (303, "")  # the secret is not shown again
    assert (await page.act("/account/second-factor/remove", old=PASSWORD)).status_code == 303
    assert second_factor.find_enrollment(page.db, "ap") is None
    assert kinds(page)[-1] == "second_factor"


async def test_a_form_of_another_site_gives_no_code(open_page):
    page = open_page()
    has_factor(page)
    await page.sign_in()
    form, headers = {"code": code_of(page)}, {"Origin": "http://evil.example"}
    answer = await page.client.post("/sign-in/code", data=form, headers=headers)
    assert answer.status_code == 403
    assert (await give(page, form["code"])).status_code == 303


NORTH, SOUTH = frozenset({"North High"}), frozenset({"South High"})
MAPPED = SignInRules(
    groups=(
        GroupRole("admins", "admin"),
        GroupRole("north", "staff", NORTH),
        GroupRole("south", "staff", SOUTH),
        GroupRole("south-fm", "facilities", SOUTH),
        GroupRole("everybody", "staff"),
    )
)


@pytest.mark.parametrize(
    ("groups", "rights"),
    [
        (None, Rights("analyst")),
        ((), None),
        (("strangers",), None),
        (("north",), Rights("staff", NORTH)),
        (("north", "south"), Rights("staff", NORTH | SOUTH)),
        (("south-fm", "north"), Rights("staff", NORTH)),
        (("south-fm",), Rights("facilities", SOUTH)),
        (("everybody", "north"), Rights("staff")),
        (("north", "admins"), Rights("admin")),
    ],
)
def test_the_first_group_decides_the_role_and_all_of_that_role_the_sites(groups, rights):
    assert MAPPED.find_rights("analyst", groups) == rights
    assert SignInRules().find_rights("analyst", groups) == Rights("analyst")
