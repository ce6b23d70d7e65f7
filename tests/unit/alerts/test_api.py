"""Test the HTTP API: tokens, scopes, limits, paging, problems, and what it never reveals."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from alerts.access import api_tokens
from alerts.access.api_tokens import Scope
from alerts.page.api.docs import OPERATIONS, build_api_document
from alerts.page.report_jobs import ReportJobs
from alerts.policy import StaffMember
from detection.events import EventKind
from storage import audit, sqlite
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.unit.alerts.test_page import NOW
from tests.unit.alerts.test_page_reports import make

API = "/api/v1"
DAY_S = 86_400.0
ALL = tuple(Scope)
SCHOOL = {"site": "Lincoln High", "site_name": "Lincoln High"}


@pytest.fixture
def series(tmp_path):
    with SqliteSeries(tmp_path / "series.db", Retention(30, 30, 30), lambda: NOW) as opened:
        opened.write(
            [Reading("s1", NOW - 600 + k, NOW, {"pm25": 5.0 + k, "temp": -3.5}) for k in range(600)]
        )
        yield opened


@pytest.fixture
def page(open_page, series):
    return open_page(one_click=False, series=series)


def token_of(page, *scopes, person="ap", days=30.0):
    return page.make_token(person, *scopes, name="test", days=days)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def ask(page, path, token, method="GET", **more):
    headers = {**(bearer(token) if token else {}), **more.pop("headers", {})}
    return await page.client.request(method, f"{API}{path}", headers=headers, **more)


def path_of(operation, incident="x"):
    return re.sub(r"{\w+}", incident, operation.path.removeprefix(API))


def is_problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.path}")
async def test_no_operation_answers_without_a_valid_token_of_its_scope(page, operation):
    path, method = path_of(operation), operation.method
    answer = await ask(page, path, "", method)
    is_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    is_problem(await ask(page, path, "plumewatch_wrong", method), 401)
    others = [scope for scope in Scope if scope is not operation.scope]
    is_problem(await ask(page, path, token_of(page, *others, person="ad"), method), 403)
    short = token_of(page, days=1.0, person="ad")
    page.now += DAY_S
    expired = is_problem(await ask(page, path, short, method), 401)
    assert "expired" in expired["detail"]
    await page.sign_in("ad")
    is_problem(await ask(page, path, "", method), 401)  # a cookie is not a token


SPAN = {"from": "2026-09-07T14:00:00Z", "to": "2026-09-07T14:00:03Z"}
WEEK = {"report": "incidents", "format": "csv", "first": "2026-09-01", "last": "2026-09-07"}
REQUESTS = {
    "GET /incidents": {},
    "GET /incidents/{id}": {},
    "POST /incidents/{id}/acknowledge": {},
    "POST /incidents/{id}/arrive": {},
    "POST /incidents/{id}/decline": {},
    "POST /incidents/{id}/resolve": {},
    "POST /incidents/{id}/answer": {"json": {"verdict": "confirmed"}},
    "GET /sites": {},
    "GET /rooms": {},
    "GET /rooms/{id}": {},
    "GET /sensors": {"params": {"room": "n2-boys"}},
    "GET /sensors/{id}": {},
    "GET /readings": {"params": SPAN},
    "GET /reports": {},
    "POST /reports": {"json": WEEK},
    "GET /reports/{id}": {},
    "GET /reports/{id}/file": {},
}
"""A request that succeeds for each operation."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.path}")
async def test_every_operation_succeeds_and_answers_as_the_document_says(
    open_page, series, make_event, tmp_path, operation
):
    jobs = ReportJobs(tmp_path / "made", make, lambda: NOW)
    jobs.open()
    page = open_page(one_click=False, series=series, reports=jobs)
    token, known = token_of(page, person="ad"), {"rooms": "n2-boys", "sensors": "s1"}
    known["incidents"] = page.incident(make_event)
    started = await ask(page, "/reports", token, "POST", json=WEEK)
    known["reports"] = started.json()["id"]
    await jobs.list_jobs("ad")[0].task
    path = path_of(operation, known.get(operation.path.split("/")[3], ""))
    name = f"{operation.method} {operation.path.removeprefix(API)}"
    answer = await ask(page, path, token, operation.method, **REQUESTS[name])
    described = build_api_document()["paths"][operation.path][operation.method.lower()]["responses"]
    (success,) = [code for code in described if code.startswith("2")]
    assert (str(answer.status_code), bool(answer.content)) == (success, True), answer.text
    assert answer.headers["content-type"].partition(";")[0] in described[success]["content"]
    await jobs.close()


@pytest.mark.parametrize(
    ("person", "path", "status"),
    [("an", "/incidents/x/acknowledge", 403), ("ap", "/reports", 403), ("ap", "/incidents", 200)],
)
async def test_a_token_may_no_more_than_the_role_of_its_person(page, person, path, status):
    method = "POST" if path.endswith("acknowledge") else "GET"
    answer = await ask(page, path, token_of(page, person=person), method)
    assert answer.status_code == status


async def test_the_token_of_who_left_is_not_valid(page):
    is_problem(await ask(page, "/rooms", token_of(page, person="gone")), 401)


async def test_guessing_is_throttled_and_valid_tokens_are_not_kept_out(page):
    statuses = [(await ask(page, "/rooms", f"plumewatch_{k}")).status_code for k in range(6)]
    assert statuses == [401] * 5 + [429]
    assert (await ask(page, "/rooms", token_of(page))).status_code == 200


async def test_requests_of_one_token_are_limited(page):
    token, other = token_of(page), token_of(page)
    for _ in range(20):
        await ask(page, "/incidents/none/acknowledge", token, "POST")
    answer = await ask(page, "/incidents/none/acknowledge", token, "POST")
    is_problem(answer, 429)
    assert 0 < int(answer.headers["retry-after"]) <= 60
    is_problem(await ask(page, "/incidents/none/acknowledge", other, "POST"), 404)
    page.now += 61
    is_problem(await ask(page, "/incidents/none/acknowledge", token, "POST"), 404)


async def test_acknowledge_and_answer_an_incident(page, make_event):
    token, incident = token_of(page), page.incident(make_event)
    listed = (await ask(page, "/incidents?status=open,notified", token)).json()
    assert [one["id"] for one in listed["items"]] == [incident]
    assert listed["next"] is None
    room = {"id": "n2-boys", "name": "Boys N2", "floor": "2", "building": "North"}
    assert listed["items"][0]["room"] == {
        **room,
        "site": "Lincoln High",
        "site_name": "Lincoln High",
    }
    assert listed["items"][0]["opened_at"] == "2026-09-07T14:04:55Z"
    found = (await ask(page, f"/incidents/{incident}/acknowledge", token, "POST")).json()
    assert found["status"] == "acknowledged"
    assert found["acknowledged_by"] == {"id": "ap", "name": "A. Principal"}
    assert found["history"][-1]["by"]["id"] == "ap"
    assert found["events"][0]["probabilities"]["vape"] == pytest.approx(0.9)
    given = {"verdict": "false_alarm", "cause": "spray", "note": "Deodorant"}
    found = (await ask(page, f"/incidents/{incident}/answer", token, "POST", json=given)).json()
    assert (found["verdict"], found["cause"]) == ("false_alarm", "spray")
    named = {**given, "note": "Student id 1234567"}
    answer = await ask(page, f"/incidents/{incident}/answer", token, "POST", json=named)
    assert is_problem(answer, 400)["errors"][0]["field"] == "note"


async def test_nobodys_address_is_in_any_answer(open_page, series, policy, make_event):
    """Not even the ids of people of the directory, who are there or have left."""
    kim = StaffMember("kim@x.example", "Kim", role="admin")
    page = open_page(replace(policy, staff=(*policy.staff, kim)), one_click=False, series=series)
    token, incident = token_of(page, person=kim.id), page.incident(make_event)
    taken = (await ask(page, f"/incidents/{incident}/acknowledge", token, "POST")).json()
    assert taken["acknowledged_by"]["name"] == "Kim"
    without = open_page(one_click=False, series=series)
    own = token_of(without, person="ad")
    for path in ("/incidents", f"/incidents/{incident}", "/rooms", "/sensors", "/openapi.json"):
        for text in ((await ask(page, path, token)).text, (await ask(without, path, own)).text):
            for word in ("127.0.0.1", "json://", "email", "e-mail", "@"):
                assert word not in text.lower()


async def test_pages_follow_each_other_without_loss(page, make_event):
    token, known = token_of(page), []
    for sensor in ("s1", "s3"):
        for kind in (EventKind.VAPE, EventKind.SMOKE, EventKind.TAMPER):
            with sqlite.transaction(page.db) as tx:
                event = make_event(page.now - 5, sensor=sensor, kind=kind)
                known += [r.incident for r in page.engine.on_events(tx, [event], page.now)]
    found, path = [], "/incidents?limit=2&kind=vape,smoke"
    while path:
        answer = (await ask(page, path.removeprefix(API), token)).json()
        assert 0 < len(answer["items"]) <= 2
        found += answer["items"]
        path = answer["next"]
    assert {one["kind"] for one in found} == {"vape", "smoke"}
    assert len(found) == len({one["id"] for one in found}) == 4
    times = [one["opened_at"] for one in found]
    assert times == sorted(times, reverse=True)
    until = {"from": "2026-09-07T00:00:00-04:00", "to": found[0]["opened_at"]}
    assert (await ask(page, "/incidents", token, params=until)).json()["items"] == []


def readings_path(start, end, **more):
    asked = {"from": start, "to": end, **more}
    return "/readings", {"sensors": "s1", **{k: str(v) for k, v in asked.items()}}


@pytest.mark.parametrize(
    ("damage", "left"),
    [("id = CAST(x'32ff' AS TEXT)", ["2\ufffd"]), ("opened_at = 1e15", []), ("onset = 9e99", [])],
)
async def test_a_damaged_incident_does_not_hide_the_others(page, make_event, damage, left):
    page.incident(make_event)
    page.db.execute("PRAGMA foreign_keys=OFF")
    page.db.execute(f"UPDATE incident SET {damage}")  # noqa: S608 - constants
    other = page.incident(make_event, sensor="s3")
    answer = await ask(page, "/incidents", token_of(page))
    assert sorted(one["id"] for one in answer.json()["items"]) == sorted([*left, other])


async def test_readings_as_each_and_as_averages_in_json_and_csv(page):
    token = token_of(page)
    path, asked = readings_path("2026-09-07T14:00:00Z", "2026-09-07T14:00:03Z")
    found = (await ask(page, path, token, params=asked)).json()
    assert found["units"] == {"pm25": "µg/m³", "temp": "°C"}
    assert found["items"][0] == {
        "sensor": "s1",
        **SCHOOL,
        "time": "2026-09-07T14:00:00Z",
        "pm25": 305.0,
        "temp": -3.5,
    }
    assert len(found["items"]) == 3
    path, asked = readings_path("2026-09-07T16:00:00+02:00", "2026-09-07T14:05:00Z", step=60)
    found = (await ask(page, path, token, params={**asked, "quantities": "pm25"})).json()
    assert [row["pm25"] for row in found["items"]] == [334.5 + 60 * k for k in range(5)]
    text = (await ask(page, path, token, params={**asked, "format": "csv"})).text
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[:2] == [
        ["sensor", "site", "site_name", "time", "pm25", "temp"],
        ["s1", "Lincoln High", "Lincoln High", "2026-09-07T14:00:00Z", "334.5", "-3.5"],
    ]


async def test_no_csv_cell_is_a_formula(open_page, series):
    registry = Registry.build([Room("r", "Boys", "1", "North", "=1+1")], [Sensor("s1", "r")])
    page = open_page(one_click=False, registry=registry, series=series)
    path, asked = readings_path("2026-09-07T14:00:00Z", "2026-09-07T14:00:03Z", format="csv")
    text = (await ask(page, path, token_of(page), params=asked)).text
    assert {row["site_name"] for row in csv.DictReader(io.StringIO(text))} == {"'=1+1"}


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"to": "2026-09-07T13:00:00Z"}, "to", "to: must be after from"),
        ({"to": "2027-09-07T14:00:00Z"}, "to", "at most 86,400 s of 1 sensor"),
        ({"to": "2027-09-07T14:00:00Z", "step": "1"}, "step", "50,000 averages in one answer: 631"),
        ({"step": "NaN"}, "step", "step: must be a number"),
        ({"step": "inf"}, "step", "step: must be a number"),
        ({"step": "0"}, "step", "step: must be at least 1"),
        ({"step": "1; DROP TABLE reading"}, "step", "step: must be a number"),
        ({"from": "yesterday"}, "from", "from: must be a time with its zone, such as 2026-09-07T"),
        ({"from": "2026-09-07T14:00:00"}, "from", "from: must have a time zone, such as Z"),
        ({"from": "1812-09-07T14:00:00Z"}, "from", "from: must be from 1970 to 2200"),
        ({"quantities": "pm25,sensor"}, "quantities", "quantities: one or more of pm1, pm25"),
        ({"aggregate": "count(*)"}, "aggregate", "aggregate: must be one of: 'mean', 'min', 'max'"),
        ({"format": "xml"}, "format", "format: must be one of: 'json', 'csv'"),
        ({"sql": "SELECT 1"}, "sql", "Unknown parameter: sql"),
    ],
)
async def test_a_wrong_question_is_answered_with_what_is_wrong(page, asked, field, said):
    path, given = readings_path("2026-09-07T14:00:00Z", "2026-09-07T14:05:00Z", **asked)
    found = is_problem(await ask(page, path, token_of(page), params=given), 400)
    assert [fault["field"] for fault in found["errors"]] == [field]
    assert said in found["detail"]


@pytest.mark.parametrize("kind", ["rooms", "sensors"])
async def test_rooms_and_sensors_come_in_pages(page, kind):
    token, path, found = token_of(page), f"/api/v1/{kind}?limit=1", []
    every = [item["id"] for item in (await ask(page, f"/{kind}", token)).json()["items"]]
    while path:
        answer = (await ask(page, path.removeprefix("/api/v1"), token)).json()
        found, path = [*found, *(item["id"] for item in answer["items"])], answer["next"]
    assert found == every


@pytest.mark.parametrize(
    "path",
    [
        "/incidents?limit=1000000000",
        "/incidents?site=none",
        "/sensors?site=none",
        "/readings?from=2026-09-07T14:00:00Z&to=2026-09-07T14:00:03Z&sensors=s1,none",
        "/readings?from=2026-09-07T14:00:00Z&to=2026-09-07T14:00:03Z&site=none",
        "/incidents?limit=0",
        "/incidents?cursor=AAAA",
        "/incidents?cursor=%00",
        "/rooms?cursor=none",
        "/incidents?status=open&status=closed",
        "/incidents?status=open' OR 1=1 --",
        "/rooms?room=x",
    ],
)
async def test_a_wrong_list_is_refused(page, path):
    is_problem(await ask(page, path, token_of(page)), 400)


@pytest.mark.parametrize(
    "path",
    ["/sensors/..%2f..%2fetc%2fpasswd", "/rooms/x' OR 1=1", "/incidents/%00", "/none"],
)
async def test_what_is_not_there_is_a_problem_too(page, path):
    is_problem(await ask(page, path, token_of(page)), 404)
    is_problem(await ask(page, "/rooms", token_of(page), "DELETE"), 405)


async def test_a_body_is_small_json(page, make_event):
    token, path = token_of(page), f"/incidents/{page.incident(make_event)}/answer"
    form = await ask(page, path, token, "POST", data={"verdict": "confirmed"})
    is_problem(form, 415)
    is_problem(await ask(page, path, token, "POST", json={"verdict": "x" * 20_000}), 413)
    is_problem(await ask(page, path, token, "POST"), 400)
    answer = await ask(page, path, token, "POST", json={"verdict": "confirmed", "student": "A"})
    assert is_problem(answer, 400)["detail"] == "Unknown field: student"


async def test_tokens_are_made_shown_once_listed_and_revoked_on_the_page(page):
    await page.sign_in("ad")
    form = {"name": "Grafana", "person": "ap", "scope.read": "yes", "days": "90"}
    form["form_token"] = await page.form_token("/tokens")
    made = await page.client.post("/tokens", data=form)
    token = re.search(r'value="(plumewatch_[^"]+)"', made.text)[1]
    assert (await ask(page, "/rooms", token)).status_code == 200
    shown = (await page.client.get("/tokens")).text
    assert "Grafana" in shown
    assert token not in shown
    assert b"Grafana" in page.db.serialize()
    assert token.encode() not in page.db.serialize()
    (listed,) = api_tokens.list_tokens(page.db)
    revoked = await page.client.post(f"/tokens/{listed.id}/revoke", data=form)
    assert revoked.status_code == 303
    is_problem(await ask(page, "/rooms", token), 401)
    entries = [
        (e.actor, json.loads(e.detail)) for e in audit.read_entries(page.db) if e.kind == "token"
    ]
    assert [(who, what["what"], what["name"]) for who, what in entries] == [
        ("ad", "revoked", "Grafana"),
        ("ad", "made", "Grafana"),
    ]
    assert token not in str(entries)


async def test_the_document_is_served(page):
    served = await page.client.get(f"{API}/openapi.json")
    assert served.json() == build_api_document()
    assert served.json()["openapi"].startswith("3.1")


async def test_a_warehouse_gets_incidents_that_were_answered_late(page, make_event):
    token, incident = token_of(page), page.incident(make_event)
    (listed,) = (await ask(page, "/incidents", token)).json()["items"]
    page.now += DAY_S
    asked = {"updated_since": "2026-09-08T00:00:00Z"}
    assert (await ask(page, "/incidents", token, params=asked)).json()["items"] == []
    given = {"json": {"verdict": "confirmed"}}
    answered = await ask(page, f"/incidents/{incident}/answer", token, "POST", **given)
    (found,) = (await ask(page, "/incidents", token, params=asked)).json()["items"]
    assert (found["id"], found["verdict"]) == (incident, "confirmed")
    assert found["updated_at"] == answered.json()["updated_at"] > listed["updated_at"]


async def test_numbers_have_no_digits_of_binary_arithmetic(page, series, make_event):
    series.write([Reading("s3", NOW - 300 + k, NOW, {"rh": v}) for k, v in enumerate((0.1, 0.2))])
    series.write([Reading("s3", NOW - 10, NOW, {"rh": 0.1 + 0.2, "co2": 2000 / 3})])
    incident, token = page.incident(make_event, confidence=2 / 3), token_of(page)
    asked = {"from": "2026-09-07T14:00:00Z", "to": "2026-09-07T14:10:00Z", "sensors": "s3"}
    answers = [
        (await ask(page, path, token, params=params)).text
        for path, params in (
            ("/readings", asked),
            ("/readings", asked | {"step": "60"}),
            ("/readings", asked | {"step": "60", "format": "csv"}),
            ("/sensors/s3", {}),
            (f"/incidents/{incident}", {}),
        )
    ]
    assert [re.findall(r"\d\.\d{7,}", text) for text in answers] == [[]] * len(answers)
    assert '"rh":0.3,' in answers[3]
    assert '"confidence":0.666667' in answers[4]


async def test_readings_of_several_sensors_at_once(page, series):
    series.write([Reading("s3", NOW - 300, NOW, {"rh": 40.0})])
    token = token_of(page)
    asked = {"from": "2026-09-07T14:00:00Z", "to": "2026-09-07T14:01:00Z", "step": "60"}
    found = (await ask(page, "/readings", token, params=asked)).json()
    assert found["units"] == {"pm25": "µg/m³", "rh": "%", "temp": "°C"}
    time = "2026-09-07T14:00:00Z"
    of_first = {"sensor": "s1", **SCHOOL, "time": time, "pm25": 334.5, "temp": -3.5}
    of_third = {"sensor": "s3", **SCHOOL, "time": time, "rh": 40.0}
    assert found["items"] == [of_first, of_third]
    for chosen in ({"sensors": "s3,s3"}, {"room": "n1-girls"}):
        found = (await ask(page, "/readings", token, params={**asked, **chosen})).json()
        assert found["items"] == [of_third]
    text = (await ask(page, "/readings", token, params={**asked, "format": "csv"})).text
    assert text.splitlines()[1:] == [
        f"s1,Lincoln High,Lincoln High,{time},334.5,,-3.5",
        f"s3,Lincoln High,Lincoln High,{time},,40.0,",
    ]
    too_much = {**asked, "to": "2026-09-08T14:00:00Z"}
    del too_much["step"]
    answer = is_problem(await ask(page, "/readings", token, params=too_much), 400)
    assert "sensors; for longer, give a step" in answer["detail"]
