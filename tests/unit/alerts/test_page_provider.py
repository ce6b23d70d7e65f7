"""Test sign-in with a real OpenID Connect provider on loopback, and the provider's faults."""

import asyncio
import base64
import json
import re
import time
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from joserfc import jwt

from alerts.access import api_tokens, directory, own_channels, sessions
from alerts.access.api_tokens import Scope
from alerts.access.directory import Directory, DirectoryPerson, ProviderAccount
from alerts.access.limits import Limits
from alerts.access.own_channels import ChannelKind, Gateways
from alerts.access.sign_in_rules import GroupRole, Rights, SignInRules
from alerts.page.identity_provider import IdentityProvider, ProviderSettings
from alerts.secrets import Secret
from storage import audit, sqlite
from tests.support import oidc_provider
from tests.unit.alerts.test_former_people import give_all, list_left
from tests.unit.alerts.test_page import HOST, PASSWORD

pytestmark = pytest.mark.filterwarnings(  # the provider's
    "ignore:get_jwt_config:DeprecationWarning",
    "ignore::authlib.deprecate.AuthlibDeprecationWarning",
)
US = "plumewatch-client"
SECRET = "marked-secret-of-the-client"
LOCAL = SignInRules(local=frozenset({"ad"}))
GROUPS = replace(LOCAL, groups=(GroupRole("pw-admins", "admin"), GroupRole("pw-staff", "staff")))

EMAILS = {"ap": "ap@school.example", "fm": "fm@school.example"}


@pytest.fixture(scope="module")
def server():
    with oidc_provider.running() as running:
        yield running


@pytest.fixture
def provider(server):
    server.change, server.extra, server.failing = {}, {}, False
    server.wrong_verifiers = 0
    server.person("sub-ap", email="ap@school.example", email_verified=True)
    server.person("sub-fm", email="FM@School.example", email_verified=True, groups=["pw-staff"])
    return server


@pytest.fixture
def start(open_page, policy, provider, monkeypatch):
    """Open a page whose people sign in at the provider; all clocks are `page.now`."""
    monkeypatch.setattr("alerts.page.identity_provider.DEADLINE_S", 60.0)  # for a busy machine

    def start(rules=LOCAL, changed=policy, limits=None, emails=EMAILS, read=None, **settings):
        staff = tuple(replace(m, email=emails.get(m.id, "")) for m in changed.staff)
        own = ProviderSettings(
            issuer=provider.url,
            client_id=US,
            client_secret=Secret(SECRET),
            callback=f"{HOST}/sign-in/callback",
            name="School ID",
            allow_private=True,
        )
        pages = []
        at = IdentityProvider(replace(own, **settings), lambda: pages[0].now)
        more = {"provider": at, "sign_in": rules, "limits": limits or Limits()}
        more |= {"read_channels": read} if read else {}
        pages.append(open_page(replace(changed, staff=staff), one_click=False, **more))
        pages[0].now = time.time()
        return pages[0]

    return start


async def begin(page, after="/", client=None):
    return await (client or page.client).get("/sign-in/provider", params={"next": after})


async def sign_in(page, provider, subject="sub-ap", after="/"):
    """Sign in as a browser does; return the response to the redirect back."""
    back = await provider.sign_in((await begin(page, after)).headers["location"], subject)
    return await page.client.get(back)


async def person_of(page):
    """Return the signed-in person's name; empty without a session."""
    shown = (await page.client.get("/account", follow_redirects=False)).text
    found = re.search(r'<a class="name" href="/account"[^>]*>([^<]+)', shown)
    return found[1] if found else ""


def reason(page):
    """Return why the last sign-in was refused."""
    return json.loads(next(audit.read_entries(page.db)).detail)["reason"]


def kinds(page):
    return [(e.kind, e.actor) for e in reversed(list(audit.read_entries(page.db)))]


async def test_people_sign_in_at_the_provider_and_come_back_to_where_they_were(start, provider):
    page = start()
    shown = (await page.client.get("/sign-in?next=/incidents")).text
    assert "Sign in with School ID" in shown
    assert 'href="/sign-in/provider?next=/incidents"' in shown
    answer = await sign_in(page, provider, after="/incidents")
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/incidents">' in answer.text
    assert "SameSite=strict" in next(
        c for c in answer.headers.get_list("set-cookie") if c.startswith("plumewatch_session=")
    )
    assert await person_of(page) == "A. Principal"
    assert kinds(page) == [("sign_in", "ap")]
    assert provider.wrong_verifiers == 0


@pytest.mark.parametrize(
    ("configured", "vouched"),
    [
        ("smith@kings.example", "\u017fmith@kings.example"),
        ("smith@kings.example", "smith@\u212aings.example"),
        ("gross@kings.example", "gro\u00df@kings.example"),
    ],
)
async def test_an_address_that_only_looks_alike_is_another(start, provider, configured, vouched):
    page = start(emails={"ap": configured})
    provider.change = {"email": vouched}
    answer = await sign_in(page, provider)
    assert (answer.status_code, "Nobody here has the address" in answer.text) == (403, True)


async def test_a_session_ends_when_the_address_of_its_person_is_anothers(start, provider):
    page = start()
    await sign_in(page, provider)
    again = start(emails={"ap": "successor@school.example"})
    again.client.cookies = page.client.cookies
    assert await person_of(again) == ""
    same = start(emails={"ap": "AP@school.example"})
    same.client.cookies = page.client.cookies
    assert await person_of(same) == "A. Principal"


async def test_many_may_sign_in_at_the_same_moment(start, provider):
    page = start()
    browsers = [page.browse() for _ in range(12)]
    backs = []
    for browser in browsers:
        went = (await begin(page, client=browser)).headers["location"]
        backs.append(await provider.sign_in(went, "sub-ap"))
    pairs = zip(browsers, backs, strict=True)
    answers = await asyncio.gather(*(browser.get(back) for browser, back in pairs))
    assert {answer.status_code for answer in answers} == {200}
    for browser in browsers:
        await browser.aclose()


@pytest.mark.parametrize("text", ['{"state": "\\ud800", "nonce": "", ', "[" * 2900])
async def test_a_cookie_that_is_not_ours_is_no_sign_in(start, text):
    page = start()
    text += '"verifier": "", "after": "/"}' if text[0] == "{" else ""
    cookie = base64.urlsafe_b64encode(text.encode()).decode()
    headers = {"Cookie": f"plumewatch_signing-in={cookie}"}
    answer = await page.client.get("/sign-in/callback?state=x&code=y", headers=headers)
    assert answer.status_code == 403


async def test_the_request_has_state_nonce_and_pkce_and_no_secret(start, provider):
    page = start()
    first, second = [(await begin(page)).headers["location"] for _ in range(2)]
    asked = dict(parse_qsl(urlsplit(first).query))
    assert asked["code_challenge_method"] == "S256"
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == f"{HOST}/sign-in/callback"
    assert len(asked["state"]) >= 40
    for name in ("state", "nonce", "code_challenge"):
        assert asked[name] != dict(parse_qsl(urlsplit(second).query))[name]
    assert SECRET not in first


@pytest.mark.parametrize("after", ["//evil.example", "https://evil.example", "/\\evil", "x" * 3000])
async def test_the_way_back_leads_nowhere_else(start, provider, after):
    answer = await sign_in(start(), provider, after=after)
    assert 'content="0; url=/"' in answer.text
    assert "evil" not in answer.text


async def test_nobody_is_signed_in_with_the_code_of_another_browser(start, provider):
    page = start()
    theirs = await provider.sign_in((await begin(page)).headers["location"], "sub-ap")
    async with page.browse() as victim:
        for prepared in (False, True):
            if prepared:
                await begin(page, client=victim)
            answer = await victim.get(theirs)
            assert answer.status_code == 403
            assert "did not begin in this browser" in answer.text
            assert "plumewatch_session" not in str(answer.headers)
    assert kinds(page) == []


async def test_a_code_is_of_use_once(start, provider):
    page = start()
    went = (await begin(page)).headers["location"]
    cookie = page.client.cookies["plumewatch_signing-in"]
    back = await provider.sign_in(went, "sub-ap")
    assert (await page.client.get(back)).status_code == 200
    again = await page.client.get(back)
    assert (again.status_code, "did not begin" in again.text) == (403, True)
    page.client.cookies.set("plumewatch_signing-in", cookie, domain="127.0.0.1")
    replayed = await page.client.get(back)
    assert (replayed.status_code, "has expired" in replayed.text) == (403, True)
    assert sessions.count_by_person(page.db, page.now) == {"ap": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aud": "another-client"}, "(claim aud)"),
        ({"aud": "another-client", "azp": US}, "(claim aud)"),
        ({"aud": [US, "another-client"]}, "(claim azp)"),
        ({"azp": "another-client"}, "(claim azp)"),
        ({"iss": "https://accounts.example"}, "(claim iss)"),
        ({"nonce": "another"}, "(claim nonce)"),
        ({"nonce": None}, "(claim nonce)"),
        ({"sub": None}, "(claim sub)"),
        ({"exp": int(time.time()) - 3600}, "clock differs"),
        ({"iat": int(time.time()) + 7200}, "clock differs"),
        *(
            ({"email": email}, "sent no e-mail address (claim email)")
            for email in (None, "ap", "a/../ap@school.example", " ap@x", "<b>@x", "a" * 65 + "@x")
        ),
        ({"email_verified": False}, "did not verify the address ap@school.example"),
        ({"email_verified": None}, "(claim email_verified)"),
        ({"email_verified": "true"}, "(claim email_verified)"),
        ({"email": "eve@school.example"}, "Nobody here has the address eve@school.example"),
    ],
)
async def test_a_token_that_is_not_for_us_now_and_for_this_person_signs_nobody_in(
    start, provider, change, words
):
    page = start()
    provider.change = change
    answer = await sign_in(page, provider)
    assert answer.status_code == 403
    assert words in answer.text
    assert await person_of(page) == ""
    assert [kind for kind, _ in kinds(page)] == ["sign_in_refused"]
    detail = json.loads(next(audit.read_entries(page.db)).detail)
    stranger = words.startswith("Nobody")
    assert detail["reason"] == (
        "address that no one here has" if stranger else "not authenticated by the provider"
    )
    assert stranger or words.replace("ap@school.example", "...") in detail["why"]
    assert "@" not in str(detail)


CLAIMS = ("exp", "iat", "nbf", "email", "groups", "_claim_names", "hd", "sub", "name")
ODD = (
    *(10**400, -(10**400), 5, 0.5, True, [], ["x"], {}, {"groups": 1}),
    *("\ud800", "\ud800@school.example", "\x00", "x" * 9000, ["\ud800"]),
    *("deep", "deeper", ["deep"], ["x" * 20] * 3_000),
)


@pytest.mark.parametrize("claim", CLAIMS)
async def test_no_claim_of_a_provider_breaks_the_page(start, provider, claim):
    page = start(GROUPS, groups_claim="groups")
    for value in ODD:
        provider.change = {"groups": ["pw-staff"], claim: value}
        answer = await sign_in(page, provider)
        assert answer.status_code in {200, 403}, ascii(value)[:40]
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def sign_with(key, kid):
    return lambda claims: jwt.encode({"alg": "RS256", "kid": kid}, claims, key)


async def refuses(page, provider, signed):
    """Assert that a token signed by this function is refused."""
    provider.signed = signed
    try:
        answer = await sign_in(page, provider)
        assert (answer.status_code, "is not valid" in answer.text) == (403, True)
    finally:
        del provider.signed


async def test_a_token_that_somebody_else_signed_is_refused(start, provider):
    page, key = start(), provider.key
    await sign_in(page, provider)
    await page.client.post("/sign-out", data={"form_token": await page.form_token("/account")})
    published = provider.key
    provider.rotate(kid=key.kid)
    forged, provider.key = provider.key, published
    page.now += 40  # long enough to allow fetching the keys again
    await refuses(page, provider, sign_with(forged, key.kid))


async def test_a_key_that_the_provider_withdrew_is_believed_for_an_hour_at_most(start, provider):
    page, withdrawn = start(), provider.key
    await sign_in(page, provider)
    provider.rotate(kid="second")
    page.now += 3601
    provider.change = {"exp": int(page.now) + 600}
    await refuses(page, provider, sign_with(withdrawn, withdrawn.kid))


async def test_a_token_without_signature_is_refused(start, provider):
    page = start()
    provider.extra = {"id_token_signing_alg_values_supported": ["none", "RS256"]}
    await refuses(page, provider, oidc_provider.unsigned)


async def test_keys_may_be_rotated_at_any_time(start, provider):
    page = start()
    assert (await sign_in(page, provider)).status_code == 200
    provider.rotate(kid="second")
    page.now += 31
    assert (await sign_in(page, provider)).status_code == 200
    before = provider.asked.count("/jwks")
    assert (await sign_in(page, provider)).status_code == 200
    assert provider.asked.count("/jwks") == before  # the keys were cached


async def test_only_the_domain_of_the_school_is_believed(start, provider):
    page = start(hosted_domain="school.example")
    answer = await sign_in(page, provider)
    assert "belong to school.example (claim hd)" in answer.text
    provider.change = {"hd": "school.example"}
    assert (await sign_in(page, provider)).status_code == 200


async def test_without_the_provider_the_break_glass_administrator_signs_in(start, provider):
    page = start()
    provider.failing = True
    answer = await begin(page)
    assert answer.status_code == 503
    assert "The sign-in provider cannot be reached." in answer.text
    assert 'name="password"' in answer.text
    assert (await page.sign_in("ad")).status_code == 303
    assert await person_of(page) == "Ad Min"


async def test_a_provider_that_goes_away_in_between_signs_nobody_in(start, provider):
    page = start()
    back = await provider.sign_in((await begin(page)).headers["location"], "sub-ap")
    provider.failing = True
    answer = await page.client.get(back)
    assert (answer.status_code, "cannot be reached" in answer.text) == (503, True)
    assert await person_of(page) == ""


async def test_others_cannot_use_a_password_that_they_still_have(start):
    page = start()
    answer = await page.sign_in("ap")
    assert answer.status_code == 403
    assert "You sign in with" in answer.text
    assert kinds(page) == [("sign_in_refused", "ap")]
    assert reason(page) == "password of an account that is not local"


async def test_a_password_session_ends_where_its_person_may_use_none_any_more(start):
    page = start(replace(LOCAL, local=frozenset({"ad", "ap"})))
    await page.sign_in("ap")
    assert await person_of(page) == "A. Principal"
    again = start()
    again.client.cookies = page.client.cookies
    assert await person_of(again) == ""


async def test_who_signs_in_at_a_provider_has_no_password_to_change(start, provider):
    page = start()
    await sign_in(page, provider)
    assert "New password" not in (await page.client.get("/account")).text
    form = {"form_token": await page.form_token("/account"), "old": PASSWORD, "new": "x"}
    for path in ("/account/password", "/account/second-factor"):
        assert (await page.client.post(path, data=form)).status_code == 403


CHANGED = [
    (),
    (GroupRole("pw-admins", "helpdesk"),),
    (GroupRole("pw-admins", "admin", frozenset({"Other High"})),),
]


@pytest.mark.parametrize("groups", CHANGED, ids=["removed", "lower role", "another school"])
async def test_tokens_and_screens_follow_a_change_of_the_mapping(start, make_event, groups):
    page = start(GROUPS)
    incident = page.incident(make_event)
    with sqlite.transaction(page.db) as tx:
        directory.bind_account(tx, "ad", "ad@school.example", ProviderAccount("iss", "cl", "sub"))
        directory.save_groups(tx, "ad", ("pw-admins",))
        token = api_tokens.make(tx, "t", "ad", list(Scope), by="ad", days=300, now=page.now)
    headers = {"Authorization": f"Bearer {token}"}

    async def try_all(page):
        client = page.browse()
        yield (await client.get("/api/v1/incidents", headers=headers)).status_code
        path = f"/api/v1/incidents/{incident}/decline"
        yield (await client.post(path, headers=headers)).status_code
        await client.post("/wall/open", data={"token": token})
        yield (await client.get("/wall")).status_code

    assert [status async for status in try_all(page)] == [200, 200, 200]
    changed = start(replace(GROUPS, groups=(*groups, GroupRole("pw-others", "admin"))))
    assert not {200} & {status async for status in try_all(changed)}


async def test_groups_decide_the_role_and_a_removed_one_loses_it(start, provider):
    page = start(GROUPS, groups_claim="groups")
    provider.change = {"groups": ["others", "pw-admins", "pw-staff"]}
    await sign_in(page, provider)
    assert "Role: administrator." in (await page.client.get("/account")).text
    assert (await page.client.get("/tokens")).status_code == 200
    provider.change = {"groups": ["pw-staff"]}
    await sign_in(page, provider)
    assert "Role: staff." in (await page.client.get("/account")).text
    assert (await page.client.get("/tokens")).status_code == 403
    provider.change = {"groups": ["others"]}
    answer = await sign_in(page, provider)
    assert answer.status_code == 403
    assert "None of your groups has a role here (claim groups: others)" in answer.text
    assert "[[sign_in.group]]" in answer.text
    assert reason(page) == "no group with a role"


JOINING = SignInRules(
    local=frozenset({"ad"}),
    groups=(
        GroupRole("pw-admins", "admin"),
        GroupRole("pw-lincoln", "facilities", frozenset({"Lincoln High"})),
        GroupRole("pw-old", "staff", joins=False),
    ),
)


@pytest.fixture
def join(start, provider, policy, database):
    """Sign in a person without a `[[staff]]` block; return the page and the response."""
    provider.person("sub-new", email="New@School.example", email_verified=True, name="N. Custodian")

    async def join(groups, rules=JOINING):
        provider.change = {"groups": groups}
        roster = replace(policy.get_roster(), sites=dict.fromkeys(m.id for m in policy.staff))
        page = start(
            rules,
            replace(policy, roster=roster),
            groups_claim="groups",
            read=lambda: page.engine.use_policy(found.add_to(before)),
        )
        found, before = Directory(database, rules), page.engine.policy
        return page, await sign_in(page, provider, "sub-new")

    return join


async def test_a_person_of_a_mapped_group_exists_from_the_first_sign_in_on(join):
    page, answer = await join(["others", "pw-lincoln"])
    assert answer.status_code == 200
    assert await person_of(page) == "N. Custodian"
    member = page.engine.policy.find_member("new@school.example")
    assert (member.name, member.role) == ("N. Custodian", "facilities")
    assert page.engine.policy.find_sites(member.id) == {"Lincoln High"}
    roster = page.engine.policy.roster
    assert member.id in roster.receivers["facilities"].people
    assert member.id in roster.everyone
    assert (await page.client.get("/people/new@school.example")).status_code == 200


async def test_who_joins_locks_nobody_out_of_their_name(join, provider):
    page, _ = await join(["pw-lincoln"])
    provider.change = {"groups": ["pw-lincoln"], "name": "Ad Min"}
    assert (await sign_in(page, provider, "sub-new")).status_code == 200
    page.client.cookies.clear()
    assert (await page.sign_in("Ad Min")).status_code == 303
    assert (await page.client.get("/tokens")).status_code == 200


@pytest.mark.parametrize("groups", [[], ["others"], ["pw-old"]])
async def test_nobody_joins_without_a_group_that_names_schools(join, groups):
    page, answer = await join(groups)
    assert (answer.status_code, reason(page)) == (403, "address that no one here has")
    assert page.engine.policy.find_member("new@school.example") is None


async def test_who_leaves_the_groups_is_forgotten_and_signed_out(join, provider):
    page, _ = await join(["pw-lincoln"])
    with sqlite.transaction(page.db) as tx:
        own_channels.add(tx, "new@school.example", ChannelKind.PUSH, ("topic", "", ""), "", 1.0)
    provider.change = {"groups": []}
    assert (await sign_in(page, provider, "sub-new")).status_code == 403
    assert page.engine.policy.find_member("new@school.example") is None
    assert await person_of(page) == ""
    assert directory.list_people(page.db) == []
    assert "new@school.example" not in own_channels.load_channels(page.db, Gateways())


async def test_a_changed_group_changes_the_role_at_the_next_sign_in(join, provider):
    page, _ = await join(["pw-lincoln"])
    provider.change = {"groups": ["pw-admins"]}
    await sign_in(page, provider, "sub-new")
    assert page.engine.policy.find_member("new@school.example").role == "admin"
    assert page.engine.policy.find_sites("new@school.example") is None
    form = {"form_token": await page.form_token("/tokens"), "name": "Screen", "days": "30"}
    form |= {"person": "new@school.example", "scope.wall": "yes"}
    await page.client.post("/tokens", data=form)
    shown = (await page.client.get("/tokens")).text
    assert "acts as N. Custodian; created by N. Custodian" in shown


async def test_an_administrator_removes_a_person_of_the_directory(join):
    page, _ = await join(["pw-lincoln"])
    page.client.cookies.clear()
    await page.sign_in("ad", PASSWORD)
    shown = (await page.client.get("/people/new@school.example")).text
    assert 'action="/people/new@school.example/remove"' in shown.replace("%40", "@")
    token = {"form_token": await page.form_token("/account")}
    answer = await page.client.post("/people/new@school.example/remove", data=token)
    assert answer.headers["location"] == "/settings/people"
    assert page.engine.policy.find_member("new@school.example") is None
    assert (await page.client.post("/people/ap/remove", data=token)).status_code == 404


@pytest.mark.parametrize("change", [{"sub": "sub-heir"}, {}], ids=["subject", "client"])
async def test_an_address_that_passes_on_inherits_nothing(join, provider, change, database):
    page, _ = await join(["pw-lincoln"])
    give_person(page.db, "new@school.example")
    before = page.client.cookies["plumewatch_session"]
    page.client.cookies.clear()
    if not change:
        with sqlite.transaction(page.db) as tx:
            tx.execute("UPDATE provider_account SET client = 'another client'")
    provider.change |= {**change, "name": "Heir"}
    assert (await sign_in(page, provider, "sub-new")).status_code == 200
    assert await person_of(page) == "Heir"
    assert list(map(tuple, list_left(page.db, "new@school.example"))) == [("staff_session",)]
    page.client.cookies.set("plumewatch_session", before, domain="127.0.0.1")
    assert await person_of(page) == ""
    assert next(iter(removals(page)))["why"] == "another account with this address"
    assert (await sign_in(page, provider, "sub-new")).status_code == 200
    assert len(removals(page)) == 1


@pytest.mark.parametrize(("groups", "status"), [(["others"], 403), (["pw-lincoln"], 200)])
async def test_an_account_with_another_address_is_one_person(join, provider, groups, status):
    page, _ = await join(["pw-admins"])
    give_person(page.db, "new@school.example")
    async with page.browse() as other:
        page.client, before = other, page.client
        provider.change = {"email": "newer@school.example", "groups": groups}
        assert (await sign_in(page, provider, "sub-new")).status_code == status
        page.client = before
        assert await person_of(page) == ""
    assert page.engine.policy.find_member("new@school.example") is None
    assert list_left(page.db, "new@school.example") == []
    people = [person.id for person in directory.list_people(page.db)]
    assert people == ["newer@school.example"] * (status == 200)
    assert [one["person"] for one in removals(page)] == ["new@school.example"]


async def test_a_configured_address_that_its_account_lost_has_no_sessions(start, provider):
    page = start()
    await sign_in(page, provider)
    give_person(page.db, "ap")
    provider.change = {"email": "fm@school.example"}
    async with page.browse() as other:
        page.client, before = other, page.client
        for _ in range(2):
            assert (await sign_in(page, provider)).status_code == 200
        assert await person_of(page) == "F. Manager"
        page.client = before
    assert await person_of(page) == ""
    assert not {"staff_session", "api_token"} & {table for (table,) in list_left(page.db, "ap")}
    details = [json.loads(entry.detail) for entry in audit.read_entries(page.db)]
    assert [one["person"] for one in details if one.get("what") == "signed out"] == ["ap"]
    provider.change = {"sub": "sub-heir"}
    assert (await sign_in(page, provider)).status_code == 403


def removals(page):
    details = [json.loads(entry.detail) for entry in audit.read_entries(page.db)]
    return [one for one in details if one.get("what") == "removed"]


def give_person(db, person):
    with sqlite.transaction(db) as tx:
        give_all(tx, person)


async def test_another_account_with_a_configured_address_is_refused_until_released(start, provider):
    page = start()
    await sign_in(page, provider)
    give_person(page.db, "ap")
    page.client.cookies.clear()
    provider.change = {"sub": "sub-heir"}
    answer = await sign_in(page, provider)
    assert (answer.status_code, "Another account at School ID had" in answer.text) == (403, True)
    assert reason(page) == "another account with a known address"
    assert list_left(page.db, "ap")
    await page.sign_in("ad")
    assert "Release ap@school.example" in (await page.client.get("/people/ap")).text
    assert (await page.act("/people/ap/remove")).status_code == 303
    assert list_left(page.db, "ap") == []
    assert (await page.act("/people/ap/remove")).status_code == 404
    page.client.cookies.clear()
    assert (await sign_in(page, provider)).status_code == 200
    assert await person_of(page) == "A. Principal"


async def test_with_another_client_or_address_the_next_account_is_taken(start, provider):
    for change in ({}, {"client_id": "plumewatch-2"}, {"emails": {"ap": "second@school.example"}}):
        page = start(**change)
        at = {"aud": change.get("client_id", US), "email": page.engine.policy.staff[0].email}
        provider.change = {**at, "sub": f"sub-{len(at['aud'] + at['email'])}"}
        assert (await sign_in(page, provider)).status_code == 200
        provider.change["sub"] = "sub-heir"
        assert (await sign_in(page, provider)).status_code == 403


@pytest.mark.parametrize(
    ("groups", "scopes"), [(["pw-staff"], {"read"}), (["others"], None)], ids=["fewer", "none"]
)
async def test_sessions_and_tokens_end_with_the_groups(start, provider, groups, scopes):
    page = start(GROUPS, groups_claim="groups")
    provider.change = {"groups": ["pw-admins"]}
    await sign_in(page, provider)
    with sqlite.transaction(page.db) as tx:
        wanted = [api_tokens.Scope.READ, api_tokens.Scope.REPORTS]
        token = api_tokens.make(tx, "t", "ap", wanted, by="ad", days=9, now=page.now)
    provider.change = {"groups": groups}
    other = page.browse()
    page.client, before = other, page.client
    await sign_in(page, provider)
    page.client = before
    shown = (await page.client.get("/account")).text
    assert ("Role: staff." in shown, "Role: administrator." in shown) == (scopes is not None, False)
    found = api_tokens.find(page.db, token)
    assert (found and found.scopes) == scopes
    await other.aclose()


@pytest.mark.parametrize(
    ("groups", "scopes"), [(["pw-staff"], {"read"}), (["others"], None)], ids=["fewer", "none"]
)
async def test_a_new_token_has_no_more_rights_than_the_persons_groups(
    start, provider, groups, scopes
):
    page = start(GROUPS, groups_claim="groups")
    for given in (["pw-admins"], groups):
        provider.change = {"groups": given}
        await sign_in(page, provider)
    form = {"name": "t", "person": "ap", "days": "30", "scope.read": "1", "scope.reports": "1"}
    async with page.browse() as other:
        provider.change = {"groups": ["pw-admins"]}
        page.client, before = other, page.client
        await sign_in(page, provider, "sub-fm")
        made = await other.post("/tokens", data={"form_token": await page.form_token(), **form})
        page.client = before
    assert made.status_code == (200 if scopes else 403)
    assert [t.scopes for t in api_tokens.list_tokens(page.db)] == ([scopes] if scopes else [])


def test_whom_the_configuration_names_by_now_is_no_second_person(policy):
    named = replace(policy.staff[0], email="New@School.example")
    policy = replace(policy, staff=(named, *policy.staff[1:]))
    person = DirectoryPerson("new@school.example", "New", ("pw-admins",), 1000.0)
    assert directory.add_people(policy, {person: Rights("admin")}) == policy


async def test_google_is_asked_for_the_groups_that_its_tokens_lack(start, provider):
    page = start(GROUPS, groups_url=f"{provider.url}/directory")
    provider.groups = ["others", "more", "pw-admins"]
    await sign_in(page, provider)
    assert "Role: administrator." in (await page.client.get("/account")).text
    provider.groups = []
    answer = await sign_in(page, provider)
    assert (answer.status_code, "(claim groups: none)" in answer.text) == (403, True)
    provider.groups = None
    answer = await sign_in(page, provider)
    assert (answer.status_code, "must enable the Cloud Identity API" in answer.text) == (503, True)


async def test_a_group_that_is_mapped_no_more_ends_its_sessions(start, provider):
    page = start(GROUPS, groups_claim="groups")
    await sign_in(page, provider, "sub-fm")
    assert await person_of(page) == "F. Manager"
    again = start(replace(GROUPS, groups=GROUPS.groups[:1]), groups_claim="groups")
    again.client.cookies = page.client.cookies
    assert await person_of(again) == ""


async def test_too_many_groups_are_named(start, provider):
    page = start(GROUPS, groups_claim="groups")
    provider.change = {"_claim_names": {"groups": "src1"}}
    assert "too many groups" in (await sign_in(page, provider)).text


async def test_a_session_ends_with_the_token_and_begins_anew_without_a_question(start, provider):
    page = start()
    await sign_in(page, provider)
    page.now += 3601
    asked = await page.client.get("/incidents")
    asked = await page.client.get(asked.headers["location"])
    assert asked.headers["location"] == "/sign-in/provider?next=%2Fincidents&silent=1"
    went = (await page.client.get(asked.headers["location"])).headers["location"]
    query = dict(parse_qsl(urlsplit(went).query))
    assert query["prompt"] == "none"
    state = urlencode({"state": query["state"], "error": "login_required"})
    refused = await page.client.get(f"/sign-in/callback?{state}")
    assert refused.headers["location"] == "/sign-in?next=%2Fincidents"
    form = await page.client.get(refused.headers["location"])
    assert (form.status_code, "Sign in with School ID" in form.text) == (200, True)


async def test_who_cancels_at_the_provider_is_asked_again(start, provider):
    page = start()
    went = (await begin(page)).headers["location"]
    state = parse_qs(urlsplit(went).query)["state"][0]
    answer = await page.client.get(f"/sign-in/callback?error=access_denied&state={state}")
    assert (answer.status_code, "canceled" in answer.text) == (403, True)
    assert reason(page) == "canceled or refused at the provider"


@pytest.mark.parametrize("days", [1, 40])
async def test_no_session_lasts_longer_than_a_day(start, provider, days):
    page = start()
    provider.change = {"exp": int(time.time()) + days * 86_400 + 3600}
    await sign_in(page, provider)
    page.now += 86_399
    assert await person_of(page) == "A. Principal"
    page.now += 2
    assert await person_of(page) == ""


async def test_a_whole_school_may_sign_in_from_one_address_but_not_without_end(start, provider):
    limits = Limits()
    page = start(limits=limits)
    waits = [limits.provider.take("127.0.0.1", page.now) for _ in range(59)]
    assert set(waits) == {0.0}
    assert (await sign_in(page, provider)).status_code == 200
    answer = await sign_in(page, provider)
    assert (answer.status_code, "Wait 1 minute" in answer.text) == (429, True)


async def test_made_up_codes_of_many_addresses_do_not_fill_the_audit_log(start, provider):
    page = start()
    for n in range(70):
        async with page.browse(f"2001:db8:0:{n:x}::1") as browser:
            went = (await begin(page, client=browser)).headers["location"]
            state = parse_qs(urlsplit(went).query)["state"][0]
            answer = await browser.get(f"/sign-in/callback?code=made-up&state={state}")
            assert answer.status_code == 403
    assert len(kinds(page)) == 60


async def test_a_code_and_the_secret_stay_out_of_logs_and_pages(start, provider, caplog):
    caplog.set_level("DEBUG")
    page = start()
    back = await provider.sign_in((await begin(page)).headers["location"], "sub-ap")
    answer = await page.client.get(back)
    code = parse_qs(urlsplit(back).query)["code"][0]
    ours = [r.getMessage() for r in caplog.records if r.name.partition(".")[0] not in FOREIGN]
    for secret in (code, SECRET):
        assert secret not in answer.text
        assert secret not in "\n".join(ours)
    assert SECRET not in repr(page.app) + repr(start().engine)


FOREIGN = ("httpx", "httpcore", "werkzeug", "oidc_provider_mock", "authlib")


async def test_without_a_provider_its_pages_do_not_exist(open_page):
    page = open_page()
    for path in ("/sign-in/provider", "/sign-in/callback?state=x&code=y"):
        assert (await page.client.get(path)).status_code == 404
    assert (await page.sign_in("ap", PASSWORD)).status_code == 303


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("issuer", "https://accounts.example", "match the configuration"),
        ("token_endpoint_auth_methods_supported", None, "is incomplete"),
        ("id_token_signing_alg_values_supported", 7, "is incomplete"),
        *(
            (f"{key}_endpoint", address, "is incomplete")
            for key in ("authorization", "token")
            for address in (
                "",
                5,
                "http://[",
                "x\ud800y",
                "javascript:alert(1)//",
                "https://a/\r\nb",
            )
        ),
    ],
)
async def test_a_document_that_cannot_be_used_is_refused(start, provider, key, value, said):
    page = start()
    provider.extra = {key: value}
    answer = await begin(page)
    assert (answer.status_code, said in answer.text) == (503, True)
