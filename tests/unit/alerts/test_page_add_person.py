"""Test adding a person who signs in with a link and enters their own addresses."""

import re
from contextlib import closing
from dataclasses import replace
from functools import partial
from html import unescape

import pytest

from alerts.access import own_channels, passwords
from alerts.access.own_channels import Gateways, OwnChannels
from alerts.access.sign_in_rules import SignInRules
from alerts.notify.trial_notices import TrialNotice
from alerts.policy import StaffMember
from alerts.secrets import Secret
from storage import audit
from tests.unit.alerts.test_page_settings import send, setup, tree  # noqa: F401 - a fixture

NEW = "seven blue kettles"
MAIL = Secret("mailtos://user:marked-password@smtp.example?to={to}")


@pytest.fixture
def open_page(open_page):
    return partial(open_page, one_click=False)


@pytest.fixture
def known(setup, policy):  # noqa: F811
    """Add a person; once the service knows them, return the page and the invite link."""

    async def add(name="B. Principal", **form):
        await setup.sign_in("ad")
        answer = await send(setup, "/settings/people/new", name=name, **form)
        assert answer.status_code == 200, answer.text
        made = tree(setup)["staff"][-1]
        member = StaffMember(made["id"], made["name"], made.get("role", "staff"))
        setup.engine.use_policy(replace(policy, staff=(*policy.staff, member)))
        link = re.search(r'id="link" readonly value="([^"]+)"', answer.text)
        return answer, unescape(link[1]) if link else ""

    return setup, add


async def choose(page, link, password=NEW, **headers):
    """Open a link in another browser, and submit its form as the script does."""
    async with page.browse() as browser:
        await browser.get("/welcome")
        form = {"token": link.partition("#")[2], "new": password}
        answer = await browser.post("/welcome", data=form, headers=headers)
        shown = await browser.get("/account", follow_redirects=False)
        return answer, shown


async def test_a_person_is_added_by_name_and_role_without_any_address(known):
    page, add = known
    await page.sign_in("ad")
    listed = (await page.client.get("/settings/people")).text
    assert 'href="/settings/people/new"' in listed
    form = (await page.client.get("/settings/people/new")).text
    assert not re.search(r"ntfy|mailto|://", re.sub(r"<head>.*?</head>", "", form, flags=re.DOTALL))
    passwords.store_hash(page.db, "b-principal", "of a former person of this id", page.now)
    answer, link = await add(role="facilities")
    assert passwords.load_hash(page.db, "b-principal") is None
    assert tree(page)["staff"][-1] == {
        "id": "b-principal",
        "name": "B. Principal",
        "role": "facilities",
    }
    assert link.startswith("https://plumewatch.example/welcome#")
    assert "data:image/svg+xml" in answer.text
    path = "/settings/shifts/new?people=b-principal&receiver=facilities"
    assert f'href="{path}"' in unescape(answer.text)  # the next step is their shift
    form = (await page.client.get(path)).text
    assert re.findall(r'name="people" value="([^"]+)" checked', form) == ["b-principal"]
    assert 'value="facilities" selected' in form
    assert 'value="staff" selected' in (await page.client.get("/settings/shifts/new")).text
    assert "email_url_file, phone_url_file" in answer.text
    assert "workflows://" not in answer.text
    assert 'action="/people/b-principal/channels"' in answer.text


async def test_an_invite_link_lets_its_person_choose_a_password_once(known, caplog):
    page, add = known
    with caplog.at_level("DEBUG"):
        _, link = await add()
        answer, shown = await choose(page, link)
        assert answer.headers["location"] == "/people/b-principal"
        assert "B. Principal" in shown.text
        again, shown = await choose(page, link, "eight green kettles")
    assert (again.status_code, shown.status_code) == (403, 303)
    assert "already been used" in again.text
    token = link.partition("#")[2]
    assert token not in caplog.text
    assert token not in "".join(e.detail for e in audit.read_entries(page.db))
    assert token not in "\n".join(page.db.iterdump())
    await page.client.post("/sign-out", data={"form_token": await page.form_token("/account")})
    assert (await page.sign_in("b-principal", NEW)).status_code == 303


@pytest.mark.parametrize("name", ["Service", "plumewatch", "Unknown"])
async def test_nobody_gets_an_id_of_the_program(known, name):
    page, add = known
    await add(name)
    assert tree(page)["staff"][-1]["id"] == f"{name.lower()}-2"


@pytest.mark.parametrize("ended", ["expired", "newer", "signed out", "removed", "guessed"])
async def test_an_invite_link_that_has_ended_opens_nothing(known, ended):
    page, add = known
    _, link = await add()
    token = {"form_token": await page.form_token("/account")}
    if ended == "expired":
        page.now += 3 * 86_400
    elif ended == "newer":
        shown = await page.client.post("/people/b-principal/invite", data=token)
        assert 'id="link"' in shown.text
    elif ended == "signed out":
        form = {**token, "person": "b-principal"}
        await page.client.post("/account/sign-out-everywhere", data=form)
    elif ended == "removed":
        await send(page, "/settings/people/3/remove", look="/settings/people/3")
    else:
        link = link[:-2]
    answer, _ = await choose(page, link)
    assert (answer.status_code, "already been used" in answer.text) == (403, True)
    assert passwords.load_hash(page.db, "b-principal") is None


async def test_a_bad_password_or_another_site_does_not_use_an_invite_up(known):
    page, add = known
    _, link = await add()
    answer, _ = await choose(page, link, "short")
    assert (answer.status_code, "at least 12" in answer.text) == (400, True)
    answer, _ = await choose(page, link, Origin="https://evil.example")
    assert answer.status_code == 403
    assert (await choose(page, link))[0].status_code == 303


async def test_guesses_at_invite_links_are_limited(known):
    page, add = known
    await add()
    codes = [(await choose(page, f"#{k}"))[0].status_code for k in range(8)]
    assert codes[:3] == [403] * 3
    assert codes[-1] == 429


@pytest.mark.parametrize("person", ["ap", "fm", "an"])
async def test_only_administrators_invite_and_change_others(open_page, person):
    page = open_page()
    await page.sign_in(person)
    token = {"form_token": await page.form_token("/account"), "kind": "push"}
    for path in ("/people/ad/invite", "/people/ad/channels", "/people/ad/channels/1/remove"):
        assert (await page.client.post(path, data=token)).status_code == 403
    assert (await page.client.get("/people/ad")).status_code == 403
    assert (await page.client.post("/settings/people/new", data=token)).status_code in {403, 404}
    assert (await page.client.post(f"/people/{person}/invite", data=token)).status_code == 403


@pytest.mark.parametrize(("person", "local"), [("ad", None), ("ap", frozenset({"ad"}))])
async def test_there_is_no_invite_for_oneself_or_who_signs_in_elsewhere(open_page, person, local):
    page = open_page(sign_in=SignInRules(local=local) if local else SignInRules())
    await page.sign_in("ad")
    assert "/invite" not in (await page.client.get(f"/people/{person}")).text
    assert (await page.act(f"/people/{person}/invite")).status_code == 403
    assert page.db.execute("SELECT count(*) FROM invite").fetchone()[0] == 0


@pytest.fixture
def page_of(open_page, policy, database):
    """Open a page that reloads channels as the service does."""

    gateways = Gateways(email=MAIL)

    def start(**options):
        def read():
            page.engine.use_policy(OwnChannels(database, gateways).add_to(policy))

        page = open_page(read_channels=read, gateways=gateways, **options)
        return page

    return start


async def test_the_page_makes_the_topic_of_a_phone_and_sends_a_test(page_of, caplog):
    tested = []

    async def send_test(member):
        tested.extend(target.reveal() for target in member.targets)
        return [TrialNotice(member.id, 1, None)]

    page = page_of(send_test=send_test)
    await page.sign_in("ad")
    with caplog.at_level("DEBUG"):
        answer = await page.act("/people/an/channels", kind="push")
    topic = re.search(r"<b>([a-z-]{39})</b>", answer.text)[1]
    assert "data:image/svg+xml" in answer.text
    assert topic not in (await page.client.get("/people/an")).text
    assert topic not in caplog.text + "".join(e.detail for e in audit.read_entries(page.db))
    sent = await send(page, "/settings/test", look="/people/an", person="an")
    assert tested == [f"ntfys://ntfy.sh/{topic}"]
    assert "Push notifications on a phone: delivered." in sent.text


async def test_people_set_up_and_remove_their_own_channels(page_of):
    page = page_of()
    await page.sign_in("ap")
    shown = (await page.client.get("/people/ap")).text
    assert "<li>Webhook, from the configuration</li>" in shown
    await page.sign_in("an")
    assert 'href="/people/an"' in (await page.client.get("/account")).text
    assert (
        await page.act("/people/an/channels", kind="email", to="me@school.example")
    ).status_code == 303
    (target,) = page.engine.policy.find_member("an").targets
    assert target.reveal() == "mailtos://user:marked-password@smtp.example?to=me@school.example"
    shown = (await page.client.get("/people/an")).text
    assert "E-mail (me@school.example)" in shown
    assert "from the configuration" not in shown
    assert "marked-password" not in shown
    (own,) = own_channels.load_channels(page.db, Gateways())["an"]
    removed = await page.act(f"/people/an/channels/{own.id}/remove")
    assert removed.status_code == 303
    assert page.engine.policy.find_member("an").targets == ()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"kind": "email", "to": "front office"}, 'value="front office"'),
        ({"kind": "email", "to": "a@b.example&to=c@d.example,e"}, "an e-mail address"),
        ({"kind": "phone", "to": "5550100199"}, "Choose from the list"),
        ({"kind": "browser", "to": "x"}, "Choose from the list"),
        ({"kind": "other", "to": "carrier pigeon kx7"}, "It must begin with one of"),
        ({"kind": "other", "to": "gopher://kx7"}, "It must begin with one of"),
        ({"kind": "other", "to": "slack://kx7"}, "the complete address of one recipient"),
        ({"kind": "other", "to": "json://kx7.example"}, "not encrypted"),
    ],
)
async def test_what_is_no_channel_is_refused(page_of, form, words):
    page = page_of()
    await page.sign_in("ad")
    answer = await page.act("/people/an/channels", **form)
    assert (answer.status_code, words in answer.text) == (400, True)
    assert "kx7" not in answer.text
    assert "an" not in own_channels.load_channels(page.db, Gateways())


async def test_administrators_alone_give_the_url_of_another_service(page_of, caplog):
    page, url = page_of(), "ntfys://ntfy.sh/kx7-long-secret-topic"
    await page.sign_in("an")
    assert (await page.act("/people/an/channels", kind="other", to=url)).status_code == 400
    assert 'value="other"' not in (await page.client.get("/people/an")).text
    await page.sign_in("ad")
    with caplog.at_level("DEBUG"):
        assert (await page.act("/people/an/channels", kind="other", to=url)).status_code == 303
    assert [t.reveal() for t in page.engine.policy.find_member("an").targets] == [url]
    assert "kx7" not in (await page.client.get("/people/an")).text
    logged = [r.getMessage() for r in caplog.records if r.name != "apprise"]  # only pytest notices
    assert "kx7" not in "".join([*logged, *(e.detail for e in audit.read_entries(page.db))])


def test_an_address_is_quoted_into_the_url_of_its_gateway():
    found = Gateways(email=MAIL).build_target("email", "a&b=c@x.example").reveal()
    assert found.endswith("?to=a%26b%3Dc@x.example")


async def test_two_people_may_share_an_address(page_of, database):
    page = page_of()
    await page.sign_in("ad")
    for person in ("an", "ap"):
        await page.act(f"/people/{person}/channels", kind="email", to="office@school.example")
    with closing(page.db):
        found = own_channels.load_channels(page.db, Gateways())
    assert {person: len(own) for person, own in found.items()} == {"an": 1, "ap": 1}
