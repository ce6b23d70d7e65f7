"""Test that people see nothing of other schools, and district roles see all of theirs."""

import asyncio
import re
import tomllib
from dataclasses import replace

import pytest
from starlette.routing import Route

from alerts.access import action_tokens, api_tokens, directory, passwords
from alerts.access.action_tokens import Action
from alerts.access.api_tokens import Scope
from alerts.access.directory import Directory, DirectoryPerson, ProviderAccount, save_person
from alerts.access.limits import Limits
from alerts.access.sign_in_rules import GroupRole, SignInRules
from alerts.duty.roster import Roster
from alerts.incidents import repository, silences, threshold_adjustments
from alerts.incidents.incident import Verdict
from alerts.page import visibility
from alerts.page.forms import build_fields
from alerts.page.report_jobs import ReportJobs
from alerts.page.setting_forms import FORMS
from alerts.page.settings import PipelineStatus, SensorStatus
from alerts.page.views import board
from alerts.policy import BUILT_IN_ROUTES, AlertPolicy, StaffMember, build_role_receivers
from alerts.secrets import Secret
from plumewatch.config.editor import ConfigEditor
from storage import sqlite
from storage.rate_limit import Bound
from storage.registry import Quarantined, Registry, Room, Sensor, Site
from tests.support.alert_records import add_silence, change_incidents
from tests.support.config_entries import entry, shift
from tests.unit.alerts.test_page import NOW
from tests.unit.alerts.test_page_reports import make
from tests.unit.alerts.test_page_settings import send

SITES = (
    Site("north", "North High", "America/New_York"),
    Site("south", "South High", "America/Denver"),
)
ROOMS = tuple(Room(f"{s.id}-boys", "Boys", "2", "Main", s.name, "restroom", s.zone) for s in SITES)
SENSORS = tuple(Sensor(f"{s.id}-1", f"{s.id}-boys") for s in SITES)
OF = {name: re.compile(rf"{name} High|[AF]\. {name}", re.IGNORECASE) for name in ("north", "south")}
OF_SOUTH = re.compile(r"south|F\. South", re.IGNORECASE)
STAFF = (
    StaffMember("north-ap", "A. North", "staff", (Secret("json://127.0.0.1:9/n"),)),
    StaffMember("north-ad", "Ad North", "admin"),
    StaffMember("north-an", "An North", "analyst"),
    StaffMember("south-ap", "F. South", "staff", (Secret("json://127.0.0.1:9/s"),)),
    StaffMember("all-ad", "District admin", "admin"),
    StaffMember("all-an", "District analyst", "analyst"),
    StaffMember("all-hd", "Helpdesk", "helpdesk"),
)
HERE = {"north": frozenset({"North High"}), "south": frozenset({"South High"}), "all": None}
POLICY = AlertPolicy(
    staff=STAFF,
    zone="America/New_York",
    page_url="https://plumewatch.example",
    roster=Roster(
        BUILT_IN_ROUTES,
        build_role_receivers((m.id, m.role) for m in STAFF),
        everyone=tuple(m.id for m in STAFF),
        reachable=frozenset(m.id for m in STAFF if m.targets),
        sites={m.id: HERE[m.id.partition("-")[0]] for m in STAFF},
    ),
)


class Series:
    """A series without readings."""

    def read_latest(self):
        return {}

    def read_window(self, _sensor, _start, _end):
        return [], {}

    def aggregate_readings(self, *_asked):
        return [], {}

    def read_health(self, *_asked):
        return []

    def sum_health(self, *_asked):
        return {}


def pipeline():
    return PipelineStatus(
        {"bad_json": 2},
        quarantine=(Quarantined("south-new", NOW, NOW, 3),),
        sensors={s.id: SensorStatus("silent", NOW, 5.0) for s in SENSORS},
    )


@pytest.fixture
def district(open_page, make_event, tmp_path):
    page = open_page(
        POLICY,
        Registry.build(ROOMS, SENSORS, SITES),
        one_click=False,
        pipeline=pipeline,
        series=Series(),
        limits=(limits := Limits()),
    )
    page.limits = limits
    with sqlite.transaction(page.db) as tx:
        events = [make_event(NOW - 5, sensor=sensor.id) for sensor in SENSORS]
        records = page.engine.on_events(tx, events, NOW)
        place = {"room": "south-boys"}
        page.silence = add_silence(tx, place, NOW + 60, NOW + 3600, owner="south-ap", now=NOW)
        page.token = action_tokens.issue(
            tx, records[1].incident, "north-ap", Action.ACKNOWLEDGE, NOW
        )
    page.make_token("south-ap", Scope.WALL, sites=frozenset({"south"}))
    page.north, page.south = (record.incident for record in records)
    return page


def concrete(route, page):
    """Return a route's path with the other school's ids."""
    path = route.path
    ids = {
        "/sensors/": "south-1",
        "/incidents/": page.south,
        "/rooms/": "south-boys",
        "/silences/": page.silence.id,
    }
    found = next((ids[part] for part in ids if part in path), 1)
    path = re.sub(r"\{id(:\w+)?\}", str(found), path)
    return re.sub(r"\{\w+(:\w+)?\}", "1", path)


PUBLIC = ("/answer", "/sign-", "/wall", "/welcome")
ABOUT_ONE = (
    "/incidents/{id}",
    "/rooms/{id}",
    "/silences/{id",
    "/sensors/{id}",
)


@pytest.mark.parametrize("account", ["north-ap", "north-ad", "north-an"])
async def test_no_route_shows_anything_of_another_school(district, account):
    page = district
    await page.sign_in(account)
    token = await page.form_token("/account")
    page.make_token("south-ap", name="south")
    bearer = page.make_token(account)
    seen = 0
    for route in page.app.routes:
        if not isinstance(route, Route) or "live" in route.path or route.path == "/sign-out":
            continue
        path = concrete(route, page)
        for method in sorted(route.methods - {"HEAD"}):
            form = {"form_token": token, "reason": "x", "person": "south-ap"}
            sent = {} if method == "GET" else {"data": form}
            if route.path.startswith("/api/v1/"):
                sent = {"headers": {"Authorization": f"Bearer {bearer}"}}
            page.now += 30.0  # a token can make only a few changes per minute
            answer = await page.client.request(method, path, **sent)
            where = f"{method} {route.path}: {answer.status_code}"
            assert answer.status_code < 500, where
            if any(part in route.path for part in ABOUT_ONE):
                assert answer.status_code in {303, 400, 401, 403, 404}, where
            shown = answer.text.replace(path, "").replace(page.south, "")
            assert not OF_SOUTH.search(shown), f"{where}: {OF_SOUTH.search(shown)}"
            assert page.south not in answer.text.replace(path, ""), where
            seen += 1
    assert seen > 60
    assert len(api_tokens.list_tokens(page.db)) == 3
    assert repository.load(page.db, page.south).status in {"open", "notified"}


async def test_nobody_makes_a_token_for_people_of_more_schools(district):
    await district.sign_in("north-ad")
    form = {"form_token": await district.form_token("/tokens"), "name": "x", "days": "90"}
    form |= {"scope.read": "on", "person": "all-ad"}
    assert (await district.client.post("/tokens", data=form)).status_code == 400
    form["person"] = "north-an"
    assert (await district.client.post("/tokens", data=form)).status_code == 200


async def test_labels_are_those_of_the_own_school(district):
    for account, asked, sensors in (
        ("north-ad", "", ["north-1"]),
        ("north-ad", "?site=south", ["north-1"]),
        ("all-hd", "", ["north-1", "south-1"]),
        ("all-hd", "?site=south", ["south-1"]),
    ):
        await district.sign_in(account)
        text = (await district.client.get(f"/sensors/labels{asked}")).text
        assert re.findall(r'<b class="long">([\w-]+)</b>', text) == sensors


async def test_incidents_of_a_removed_school_are_for_the_district_alone(open_page, district):
    left = open_page(
        POLICY,
        Registry.build(ROOMS[:1], SENSORS[:1], SITES[:1]),
        one_click=False,
        series=Series(),
    )
    for account, status in (("north-ad", 404), ("south-ap", 404), ("all-ad", 200)):
        await left.sign_in(account)
        found = await left.client.get(f"/incidents/{district.south}")
        assert found.status_code == status, account
        assert ("south-boys" in (await left.client.get("/incidents")).text) == (status == 200)


async def test_a_link_of_a_person_who_left_the_school_is_dead(district):
    for path in ("/answer/look", "/answer", "/answer/decline"):
        answer = await district.client.post(path, data={"token": district.token})
        assert answer.status_code == 404
        assert not OF_SOUTH.search(answer.text)


async def test_a_link_gives_no_more_than_the_groups(open_page, district):
    rules = SignInRules(
        groups=(GroupRole("n", "staff", frozenset({"North High"})), GroupRole("an", "analyst"))
    )
    page = open_page(POLICY, district.engine.registry, one_click=False, sign_in=rules)
    with sqlite.transaction(page.db) as tx:
        link = action_tokens.issue(tx, district.south, "south-ap", Action.ACKNOWLEDGE, NOW)
        directory.bind_account(tx, "south-ap", "s@x.example", ProviderAccount("i", "c", "s"))
    for groups, status in ((None, 200), (("n",), 404), (("an",), 403), (("left",), 403)):
        if groups:
            with sqlite.transaction(page.db) as tx:
                directory.save_groups(tx, "south-ap", groups)
        answer = await page.client.post("/answer/look", data={"token": link})
        assert answer.status_code == status, groups


async def test_the_helpdesk_sees_no_incident_on_any_route(district):
    with sqlite.transaction(district.db) as tx:
        for incident in (district.north, district.south):
            change_incidents(tx, incident, paged=True)
            district.engine.record_feedback(tx, incident, "Ms. Answer", Verdict.CONFIRMED, NOW)
    await district.sign_in("all-hd")
    seen = 0
    for route in district.app.routes:
        if not isinstance(route, Route) or "GET" not in route.methods or "live" in route.path:
            continue
        path = concrete(route, district)
        if "/commission/{id}" in route.path:
            path = route.path.replace("{id}", "south-boys")
        answer = await district.client.get(path)
        shown = answer.text.replace(path, "")
        for hidden in (district.north, district.south, "Ms. Answer", "Confirmed", "on duty"):
            assert hidden not in shown, f"{route.path}: {hidden}"
        assert 'href="/rooms/' not in shown, route.path
        seen += answer.status_code == 200
        if "series" in route.path and answer.status_code == 200:
            assert not answer.json()["marks"], route.path
    assert seen > 10
    await district.sign_in("all-an")
    assert district.south in (await district.client.get("/levels")).text


async def test_the_helpdesk_cannot_silence_a_school_by_tests(open_page, district):
    rooms = [replace(ROOMS[0], id=f"n{i}", name=f"Room {i}") for i in range(9)]
    district.engine.registry = Registry.build(
        (*ROOMS, *rooms), (*SENSORS, *(Sensor(f"s{i}", f"n{i}") for i in range(9))), SITES
    )
    page = open_page(POLICY, district.engine.registry, one_click=False)
    await page.sign_in("all-hd")
    form = {"form_token": await page.form_token("/account")}

    async def begun(rooms):
        return [
            (await page.client.post(f"/commission/{room}/begin", data=form)).status_code
            for room in rooms
        ]

    assert await begun(["n0", "n1", "n2", "n3", "south-boys"]) == [303, 303, 303, 409, 303]
    with sqlite.transaction(page.db) as tx:
        for room in ("n4", "n5", "n6", "n7"):
            add_silence(tx, {"room": room}, NOW, NOW + 3600, owner="north-ad")
    await page.client.post("/commission/n0/stop", data=form)
    assert await begun(["n8", "n0"]) == [303, 409]


async def test_a_silence_of_a_school_is_its_own(district):
    await district.sign_in("north-ap")
    token = await district.form_token("/silences")
    form = {
        "form_token": token,
        "place": "building Main at north",
        "kind": "all",
        "hours": "1",
        "later": "0",
        "reason": "cleaning",
    }
    await district.sign_in("north-ad")
    form["form_token"] = await district.form_token("/silences")
    assert (await district.client.post("/silences", data=form)).status_code == 303
    form["place"] = "school"
    assert (await district.client.post("/silences", data=form)).status_code == 303
    rows = silences.list_recent(district.db, NOW)
    assert [s.labels for s in rows if s.owner == "north-ad"] == [
        {"site": "North High"},
        {"building": "Main", "site": "North High"},
    ]


@pytest.mark.parametrize(("by", "site"), [("left", None), ("north-ad", "closed")])
async def test_a_screen_that_shows_no_room_any_more_says_so_and_not_that_all_is_well(
    district, by, site
):
    token = district.make_token(by, Scope.WALL, sites=site and frozenset({site}))
    await district.client.post("/wall/open", data={"token": token})
    answer = await district.client.get("/wall")
    assert (answer.status_code, "This screen is not set up" in answer.text) == (403, True)
    assert "Boys" not in answer.text


def policy_with(**moved):
    sites = {**POLICY.roster.sites, **moved}
    return replace(POLICY, roster=replace(POLICY.roster, sites=sites))


@pytest.mark.parametrize(
    ("sites", "seen"),
    [
        ({"North High"}, ["north-boys"]),
        ({"North High", "South High"}, ["north-boys"]),
        ({"South High"}, []),
        (None, ["north-boys"]),
    ],
)
async def test_tokens_and_screens_do_not_follow_a_person_to_another_school(district, sites, seen):
    await district.sign_in("north-ad")
    form = {"form_token": await district.form_token("/tokens"), "name": "sync", "days": "90"}
    form["person"] = "north-ad"
    made = await district.client.post("/tokens", data={**form, "scope.read": "on"})
    token = re.search(r"plumewatch_[\w-]{40,}", made.text)[0]
    screen = await district.client.post("/tokens", data={**form, "scope.wall": "on"})
    link = re.search(r"/wall#([\w-]+)", screen.text)[1]
    district.client.cookies.clear()
    await district.client.post("/wall/open", data={"token": link})
    district.engine.policy = policy_with(
        **{"north-ad": None if sites is None else frozenset(sites)}
    )
    answer = await district.client.get(
        "/api/v1/incidents", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == (200 if seen else 403)
    assert [i["room"]["id"] for i in answer.json().get("items", ())] == seen
    wall = (await district.client.get("/wall")).text
    assert ["north-boys"] * ("North High" in wall) == seen
    assert not OF_SOUTH.search(wall)


async def test_a_renamed_school_keeps_its_tokens_and_screens(open_page, district):
    own = frozenset({"north"})
    token = district.make_token("all-an", Scope.READ, sites=own)
    screen = district.make_token("all-an", Scope.WALL, sites=own)
    sites = (replace(SITES[0], name="Northfield Prep"), SITES[1])
    rooms = (replace(ROOMS[0], site="Northfield Prep"), ROOMS[1])
    page = open_page(POLICY, Registry.build(rooms, SENSORS, sites), one_click=False)
    bearer = {"Authorization": f"Bearer {token}"}
    (incident,) = (await page.client.get("/api/v1/incidents", headers=bearer)).json()["items"]
    named = ("id", "site", "site_name")
    assert [incident["room"][key] for key in named] == ["north-boys", "north", "Northfield Prep"]
    await page.client.post("/wall/open", data={"token": screen})
    assert "Northfield Prep" in (await page.client.get("/wall")).text


async def test_a_program_asks_for_one_site_by_its_id(district):
    token = district.make_token("all-ad")

    async def asked(path, **query):
        headers = {"Authorization": f"Bearer {token}"}
        answer = await district.client.get(f"/api/v1/{path}", headers=headers, params=query)
        return answer.json()

    of_north = {"id": "north", "name": "North High", "timezone": "America/New_York"}
    sites = (await asked("sites"))["items"]
    assert [site["id"] for site in sites] == ["north", "south"]
    assert sites[0] == {**of_north, "rooms": 1, "sensors": 1, "closed": None}
    (incident,) = (await asked("incidents", site="south"))["items"]
    assert incident["room"]["site"] == "south"
    assert [r["site"] for r in (await asked("rooms", site="south"))["items"]] == ["south"]
    assert [s["id"] for s in (await asked("sensors", site="south"))["items"]] == ["south-1"]
    assert len((await asked("incidents"))["items"]) == 2
    detail = (await asked("incidents", site="South High"))["detail"]
    assert detail == "site: one of north, south"


async def test_another_school_does_not_use_up_tokens(district, monkeypatch):
    monkeypatch.setattr(api_tokens, "MAX_TOKENS", 1)
    district.make_token("south-ap", Scope.READ)
    await district.sign_in("north-ad")
    form = {"form_token": await district.form_token("/tokens"), "name": "x", "days": "90"}
    form |= {"scope.read": "on", "person": "north-an"}

    async def made():
        return (await district.client.post("/tokens", data=form)).status_code

    assert [await made(), await made()] == [200, 400]


async def test_changes_of_another_school_do_not_push_out_ones_own(district):
    with sqlite.transaction(district.db) as tx:
        for sensor, incident, times in (
            ("north-1", district.north, 1),
            ("south-1", district.south, 60),
        ):
            for _ in range(times):
                threshold_adjustments.adjust_from_test(
                    tx,
                    incident=incident,
                    sensor=sensor,
                    step=0.1,
                    who="lee",
                    at=NOW,
                )
    await district.sign_in("north-ad")
    assert "Test" in (await district.client.get("/levels")).text


def test_forms_ask_for_the_school_only_where_there_are_several():
    rooms = next(form for form in FORMS if form.slug == "rooms")
    two = {"site": [{"id": "north", "name": "North"}, {"id": "south", "name": "South"}]}
    for tree, asked in (({"site": "North"}, []), (two, [["north", "south"]])):
        fields = build_fields(rooms.fields, {}, tree, {})
        assert [list(f.choices) for f in fields if f.name == "site"] == asked


DISTRICT = """\
district = "District"
timezone = "America/New_York"
data_dir = "data"
""" + "".join(
    entry("site", id=name, name=f"{name.title()} High")
    + entry("room", id=f"{name}-boys", name="Boys", building="Main", floor="2", site=name)
    + entry("sensor", id=f"{name}-1", room=f"{name}-boys")
    + entry("staff", id=f"{name}-ap", name=f"Principal of {name}", sites=[name])
    + entry("staff", id=f"{name}-two", name=f"Second of {name}", sites=[name])
    + shift(f"{name}-hall", [f"{name}-ap"], site=name, start="07:00", end="16:00")
    for name in ("north", "south")
)


async def test_a_change_of_duty_names_no_fault_of_another_school(open_page, tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(DISTRICT)
    config = ConfigEditor(path, tmp_path / "history", lambda: None)
    page = open_page(POLICY, Registry.build(ROOMS, SENSORS, SITES), config=config)
    path.write_text(DISTRICT.replace('room = "south-boys"', 'room = "south-attic"'))
    await page.sign_in("north-ap")
    text = (await page.client.get("/settings/duty/new")).text
    fields = dict(re.findall(r'name="(form_token|version)" value="([^"]+)"', text))
    times = {"start": "2026-09-07T10:00", "end": "2026-09-07T15:00"}
    change = {"shift": "north-hall", "remove": "north-ap", **times}
    answer = await page.client.post("/settings/duty/new", data={**fields, **change})
    assert answer.status_code == 400
    assert "The configuration has a fault elsewhere." in answer.text
    assert not OF_SOUTH.search(answer.text)


@pytest.mark.parametrize(
    "path",
    ["/air", "/duty", "/sensors", "/levels", "/commission"],
)
async def test_a_page_of_rooms_shows_one_school_where_all_have_too_many(
    district, monkeypatch, path
):
    async def shown(asked=""):
        page = (await district.client.get(path + asked)).text
        body = re.sub(r"<form.*?</form>", "", page, flags=re.DOTALL)
        return page, {name for name in ("north", "south") if OF[name].search(body)}

    await district.sign_in("all-ad")
    page, schools = await shown()
    assert '<option value="">All schools</option>' in page
    assert schools == {"north", "south"}
    page, schools = await shown("?site=south")
    assert schools == {"south"}
    monkeypatch.setattr(visibility, "MAX_ROOMS", 1)
    page, schools = await shown()
    assert '<option value="north" selected>North High</option>' in page
    assert "All schools" not in page
    assert schools == {"north"}
    await district.sign_in("north-ad")
    page, schools = await shown("?site=south")
    assert schools <= {"north"}
    assert 'name="site"' not in page


def figures(text):
    """Return the figures in each list on a page."""
    lists = re.findall(r"<dl class=\"figures\">(.*?)</dl>", text, re.DOTALL)
    return [dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", found)) for found in lists]


async def test_figures_of_sensors_are_those_of_the_school_shown(open_page, monkeypatch):
    one, other = (s.id for s in SENSORS)
    lives = {
        one: SensorStatus("silent", NOW, 5.0, {"late": 3}),
        other: SensorStatus("alive", NOW, 5.0),
    }
    unknown = (
        Quarantined("new", NOW, NOW, 3),
        Quarantined("old", NOW, NOW, 3),
    )
    status = PipelineStatus(quarantine=unknown, sensors=lives, closed={"old"})
    registry = Registry.build(ROOMS, SENSORS, SITES)
    page = open_page(POLICY, registry, pipeline=lambda: status, series=Series())

    async def shown(path):
        return figures((await page.client.get(path)).text)

    await page.sign_in("all-ad")
    (both,) = await shown("/sensors")
    assert (both["Registered"], both["Reporting"], both["Unregistered"]) == ("2", "1", "2")
    for limit in (300, 1):
        monkeypatch.setattr(visibility, "MAX_ROOMS", limit)
        south, district = await shown("/sensors?site=south")
        assert south == {"Registered": "1", "Reporting": "1"}
        assert district["Unregistered"] == "2"
    text = (await page.client.get("/sensors")).text
    assert re.findall(r"<th scope=\"row\">(old|new)(?: <span[^>]+>([^<]+))?", text) == [
        ("new", ""),
        ("old", "its school is closed"),
    ]
    for path, words in (
        ("/", "1 of 2 sensors reporting"),
        ("/?site=south", "All sensors reporting"),
    ):
        assert words in (await page.client.get(path)).text
    await page.sign_in("north-ad")
    (north,) = await shown("/sensors")
    assert (north["Registered"], north["With data problems"]) == ("1", "1")
    assert "Unregistered" not in north


async def test_schools_stand_beside_each_other_on_the_first_page_and_in_statistics(
    district, monkeypatch
):
    for module in (visibility, board):
        monkeypatch.setattr(module, "MAX_ROOMS", 1)
    for account, seen in (("all-ad", ["North High", "South High"]), ("north-ad", [])):
        await district.sign_in(account)
        for path in ("/", "/figures?span=week"):
            text = (await district.client.get(path)).text
            rows = re.findall(
                r'<tr><th scope="row"><a href="(/[^"]*site=\w+)"[^>]*>(\w+ High).*?Alerts">(\d+) ',
                text,
            )
            assert [(name, n) for _link, name, n in rows] == [(name, "1") for name in seen]
            for link, name, _n in rows:
                assert name in (await district.client.get(link.replace("&amp;", "&"))).text


async def test_more_missed_incidents_are_those_of_the_chosen_school(district):
    page = district
    with sqlite.transaction(page.db) as tx:
        for incident in (page.north, page.south):
            page.engine.resolve(tx, incident, "all-ad", NOW)
            tx.execute("UPDATE incident SET missed_at = opened_at WHERE id = ?", (incident,))
            (columns,) = tx.execute("SELECT group_concat(name) FROM pragma_table_info('incident')")
            names = columns[0].replace("id,", "", 1)
            for k in range(4):
                again = "INSERT INTO incident (id,{0}) SELECT ?,{0} FROM incident WHERE id = ?"
                tx.execute(
                    again.format(names), (f"{incident[:-3]}{k + 1}{incident[-2:]}", incident)
                )
    await page.sign_in("all-ad")
    shown = (await page.client.get("/?site=north")).text
    more = re.search(r'<a href="(/incidents\?[^"]+)">2 more</a>', shown)[1].replace("&amp;", "&")
    listed = (await page.client.get(more)).text.partition("<main")[2]
    assert listed.count('<a href="/incidents/2') == 5
    assert "South" not in listed.replace(">South High</option>", "")
    for path in re.findall(r'(?:action|hx-get)="(/incidents[^"]*)"', listed):
        assert "site=north" in path, "filters and answers stay at the school"
    assert '<input type="hidden" name="site" value="north">' in listed


async def test_a_wall_shows_one_school_if_asked_and_else_all(district, monkeypatch):
    async def shown(asked=""):
        wall = (await district.client.get("/wall" + asked)).text
        return re.search(r'data-needing="(\d+)"', wall)[1], wall.count('class="tile ')

    monkeypatch.setattr(visibility, "MAX_ROOMS", 1)
    await district.sign_in("all-ad")
    assert await shown() == ("2", len(ROOMS))
    assert await shown("?site=north") == await shown("?site=south") == ("1", 1)
    await district.sign_in("north-ad")
    assert await shown() == ("1", 1)


@pytest.fixture
async def reporting(open_page, district, tmp_path):
    """Open a district whose reports are created at once."""
    jobs = ReportJobs(tmp_path / "made", make, lambda: NOW)
    jobs.open()
    yield open_page(POLICY, district.engine.registry, one_click=False, reports=jobs)
    await jobs.close()


@pytest.mark.parametrize(
    ("site", "sites", "is_there"),
    [
        ("north", {"North High"}, True),
        ("north", {"North High", "South High"}, True),
        ("north", {"South High"}, False),
        ("north", set(), False),
        ("", {"North High", "South High"}, False),
        ("", None, True),
    ],
)
async def test_a_report_belongs_to_the_schools_that_it_is_about(reporting, site, sites, is_there):
    page = reporting
    await page.sign_in("all-an")
    asked = {"name": "incidents", "kind": "csv", "start": "2026-09-01", "end": "2026-09-07"}
    form = {"form_token": await page.form_token("/account"), **asked, "site": site}
    assert (await page.client.post("/reports", data=form)).status_code == 303
    async with asyncio.timeout(60):
        while "every 1s" in (shown := (await page.client.get("/reports")).text):  # noqa: ASYNC110 - another program
            await asyncio.sleep(0.02)
    key = re.search(r'href="/reports/([^"]+)"', shown)[1]
    limit = None if sites is None else frozenset(sites)
    ids = None if sites is None else frozenset(s.id for s in SITES if s.name in sites)
    token = page.make_token("all-an", Scope.REPORTS, sites=ids)
    bearer = {"Authorization": f"Bearer {token}"}
    listed = (await page.client.get("/api/v1/reports", headers=bearer)).json()
    assert [report["id"] for report in listed.get("items", ())] == ([key] if is_there else [])
    page.engine.policy = policy_with(**{"all-an": limit})
    found = 200 if is_there else 404
    assert (await page.client.get(f"/reports/{key}")).status_code == found
    assert (key in (await page.client.get("/reports")).text) is is_there
    found = found if limit != frozenset() else 403  # a token without any remaining school
    for path in (f"/api/v1/reports/{key}", f"/api/v1/reports/{key}/file"):
        assert (await page.client.get(path, headers=bearer)).status_code == found


PEOPLE = """\
id,name,sites,email
aide,Aide,north,
both,Both,north south,
all,All,*,
boss,Boss,south,boss@south.example
"""


@pytest.fixture
def managed(open_page, tmp_path):
    path = tmp_path / "plumewatch.toml"
    path.write_text(f'{DISTRICT}[[staff]]\nid = "south-2"\nname = "Warden"\nsites = ["south"]\n')
    config = ConfigEditor(path, tmp_path / "history", lambda: None)
    groups = (GroupRole(f"pw-{site}", "staff", HERE[site]) for site in ("north", "south"))
    rules = SignInRules(groups=tuple(groups))
    page = open_page(POLICY, Registry.build(ROOMS, SENSORS, SITES), config=config, sign_in=rules)
    nowhere, near = (
        StaffMember(f"{who}@x.example", f"Joined {who}", "staff") for who in ("nowhere", "near")
    )
    sites = {nowhere.id: frozenset(), near.id: HERE["north"]}
    roster = replace(POLICY.get_roster(), sites={**POLICY.get_roster().sites, **sites})
    page.engine.policy = replace(POLICY, staff=(*STAFF, nowhere, near), roster=roster)
    page.rules = rules
    page.staff = lambda: tomllib.loads(path.read_text())["staff"]
    (tmp_path / "people.csv").write_text(PEOPLE)
    page.whole = lambda: config.read().whole["staff"]
    return page


async def test_an_administrator_adds_people_of_the_own_school(managed):
    await managed.sign_in("north-ad")
    shown = [(await managed.client.get(path)).text for path in ("/settings", "/settings/people")]
    form = (await managed.client.get("/settings/people/new")).text
    assert "/settings/people" in shown[0]
    assert not re.search(r'class="fine">[^<]*north', shown[1])  # the only school is not named
    assert "Principal of north" in shown[1]
    assert not OF_SOUTH.search("".join(shown) + form)
    assert "Joined nowhere" not in shown[1]
    assert "All schools" not in form
    before = managed.staff()
    answer = await send(managed, "/settings/people/new", name="New", role="admin")
    assert "/welcome#" in answer.text
    new = {"id": "new", "name": "New", "role": "admin", "sites": ["north"]}
    assert managed.staff() == [*before, new]
    assert (await managed.client.get("/people/new")).status_code == 200  # not reloaded yet
    added = f"/settings/people/{[one['id'] for one in managed.whole()].index('new')}"
    assert (await send(managed, f"{added}/remove", look=added)).status_code == 303
    assert managed.staff() == before
    assert not managed.db.execute("SELECT 1 FROM invite WHERE person = 'new'").fetchall()


async def test_people_of_the_directory_are_listed_with_their_schools(managed):
    for person, expected in (
        ("all-ad", {"near": "North High", "nowhere": "No school"}),
        ("north-ad", {"near": "North High"}),
    ):
        await managed.sign_in(person)
        text = (await managed.client.get("/settings/people")).text
        found = re.findall(r"<strong>Joined (\w+)</strong><span class=\"fine\">([^<]+)<", text)
        assert {name: detail.split(" · ")[1] for name, detail in found} == expected
    answer = await managed.client.get("/people/nowhere@x.example")
    assert answer.status_code == 404


async def test_people_who_have_not_signed_in_for_long_are_named(managed):
    for person, days, group in (
        ("near@x.example", 61, "pw-north"),
        ("fresh@x.example", 59, "pw-north"),
        ("left@x.example", 91, "pw-north"),
        ("far@x.example", 91, "pw-south"),
    ):
        with sqlite.transaction(managed.db) as tx:
            seen = managed.now - days * 86_400
            save_person(tx, DirectoryPerson(person, person, (group,), seen))
            Directory(None, managed.rules).remove_absent(tx, managed.now)
    for person, gone in (
        ("all-ad", ["far@x.example", "left@x.example"]),
        ("north-ad", ["left@x.example"]),
    ):
        await managed.sign_in(person)
        text = (await managed.client.get("/settings/people")).text
        warned = re.findall(r"Joined (\w+)</strong>(?:(?!<li).)*Alerts stop unless", text)
        removed = re.findall(r"<strong>([^<]+)</strong><span class=\"fine\">Removed\. Last", text)
        assert (warned, removed) == (["near"], gone)


@pytest.mark.parametrize("person", ["north-two", "aide"])
async def test_an_administrator_of_a_school_corrects_its_people(managed, person):
    await managed.sign_in("north-ad")
    listed = (await managed.client.get(f"/people/{person}")).text
    (path,) = re.findall(r'href="(/settings/people/\d+)"', listed)
    form = (await managed.client.get(path)).text
    assert not OF_SOUTH.search(form)
    assert ("/remove" in form) is (person == "north-two")  # not in a table
    answer = await send(managed, path, look=path, role="staff", name="Second of north")
    assert answer.status_code == 303
    found = next(one for one in managed.whole() if one["id"] == person)
    assert found == {"id": person, "sites": ["north"], "name": "Second of north"}


@pytest.mark.attack
async def test_an_administrator_of_a_school_changes_nobody_into_somebody_else(managed):
    await managed.sign_in("north-ad")
    before, ids = managed.whole(), [one["id"] for one in managed.whole()]
    path = f"/settings/people/{ids.index('aide')}"
    for form, status in (
        ({"sites": ["south"]}, 400),
        ({"sites": ["*"]}, 400),
        ({"role": "king"}, 400),
        ({"email": "nobody-yet@x.example"}, 303),  # left out: it decides who signs in
        ({"email": "near@x.example"}, 303),
        ({"quiet_hours.0.start": "22:00", "quiet_hours.0.end": "23:00"}, 303),  # not in a table
    ):
        answer = await send(managed, path, look=path, **{"name": "Aide", **form})
        assert (answer.status_code, form) == (status, form)
        assert not OF_SOUTH.search(re.sub(r'value="[^"]*"', "", answer.text)), form
    for person in ("south-two", "both", "all"):
        for end in ("", "/remove"):
            url = f"/settings/people/{ids.index(person)}{end}"
            assert (await send(managed, url, look=path, name="X")).status_code == 404
    assert (await send(managed, f"{path}/remove", look=path)).status_code == 404
    assert managed.whole() == before


@pytest.mark.attack
async def test_every_form_is_limited_and_none_uses_up_responses_to_alerts(district):
    await district.sign_in("all-ad")
    data = {"form_token": await district.form_token("/account")}
    forms = [r for r in district.app.routes if isinstance(r, Route) and "POST" in r.methods]
    paths = [concrete(r, district) for r in forms if not r.path.startswith((*PUBLIC, "/api/"))]
    assert len(paths) > 25
    district.limits.writes.bounds = (Bound(1, 60.0),)
    for path in paths:
        district.now += 61
        first, second = [await district.client.post(path, data=data) for _ in range(2)]
        assert (first.status_code == 429, second.status_code) == (False, 429), path


@pytest.mark.attack
async def test_an_administrator_of_a_school_gives_nobody_another_school(managed):
    await managed.sign_in("north-ad")
    before = managed.staff()
    numbers = {entry["id"]: k for k, entry in enumerate(before)}
    for sites in (["south"], ["*"], ["north", "south"], ["North High"]):
        answer = await send(managed, "/settings/people/new", name="New", sites=sites)
        assert answer.status_code in {400, 403}
        assert not OF_SOUTH.search(answer.text)
    form = {"id": "south-ap", "name": "New", "email": "ap@south.example", "sites": ["*"]}
    other = f"/settings/people/{numbers['south-ap']}"
    for path in (other, f"{other}/remove", "/settings/people/new/remove"):
        answer = await send(managed, path, look="/settings/people/new", **form)
        assert answer.status_code == 404
    for person in ("south-ap", "all-ad", "all-an"):
        answer = await send(managed, f"/people/{person}/invite", look="/settings/people/new")
        assert answer.status_code == 404
    assert managed.staff() == before


async def test_only_an_administrator_of_all_schools_sees_the_field_for_addresses(managed):
    number = [one["id"] for one in managed.whole()].index("aide")
    for person, is_there in (("north-ad", False), ("all-ad", True)):
        await managed.sign_in(person)
        form = (await managed.client.get(f"/settings/people/{number}")).text
        assert ('name="email"' in form) is is_there


@pytest.mark.attack
@pytest.mark.parametrize("name", ["South AP", "south-ap", "warden", "South 2", "Gone"])
async def test_a_new_person_of_a_school_is_nobody_who_is_there_or_was(managed, name):
    with sqlite.transaction(managed.db) as tx:
        passwords.store_hash(tx, "gone", "hash of somebody who left", NOW)
    await managed.sign_in("north-ad")
    taken = {entry[key].casefold() for entry in managed.staff() for key in ("id", "name")}
    form = {"name": name, "id": "all-ad", "email": "all-ad@x.example", "role": "admin"}
    answer = await send(managed, "/settings/people/new", **form)
    assert answer.status_code == 200
    new = managed.staff()[-1]
    assert new["id"] not in taken
    assert new == {"id": new["id"], "name": name, "role": "admin", "sites": ["north"]}
    assert passwords.load_hash(managed.db, new["id"]) is None
