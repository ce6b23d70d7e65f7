"""The document of the HTTP API is true, and no request that it allows breaks the staff page."""

import asyncio
import contextlib
import functools
import itertools
import json
import os
import random
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from alerts.access import api_tokens
from alerts.page.api.docs import OPERATIONS
from alerts.secrets import Secret
from docs import make_tables, openapi
from ingest.commit import GroupCommit
from ingest.decoders import DECODERS
from ingest.http import HttpIngest, HttpIngestSettings
from ingest.http_sources import HttpSource
from ingest.intake import Intake
from plumewatch.service.health import HEALTH_PATHS
from storage import sqlite
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.unit.alerts.test_page import NOW

VALID, INVALID = "positive", "negative"
ROLES = ["nobody", "ap", "fm", "an", "ad"]
FEW = {VALID: 6, INVALID: 2}
"""Wrong requests take long to make up."""
EXAMPLES = {mode: int(os.environ.get("FUZZ_EXAMPLES", few)) for mode, few in FEW.items()}
DOCUMENT = openapi.document()


def routes_of(app):
    """Method and path of every route, without the converters of Starlette."""
    for route in app.routes:
        for method in getattr(route, "methods", None) or ():
            if method != "HEAD":
                yield method.lower(), route.path.replace(":row}", "}")


def test_the_document_is_kept_as_the_code_has_it():
    kept = make_tables.OPENAPI.read_text(encoding="utf-8")
    assert kept == make_tables.api_text(), "is old: run make docs"


async def test_the_document_has_every_route_and_no_other(open_page):
    staff = set(routes_of(open_page().app))
    api = {(o.method.lower(), o.path) for o in OPERATIONS}
    assert {(o.method, o.path) for o in openapi.STAFF} | api == staff
    ingest = HttpIngest((), Intake(), GroupCommit(None))
    assert {(o.method, o.path) for o in openapi.HTTP_INGEST} == set(routes_of(ingest.app))
    assert {o.path for o in openapi.HEALTH} == HEALTH_PATHS


@pytest.fixture
def series(tmp_path):
    with SqliteSeries(tmp_path / "series.db", Retention(30, 30, 30)) as opened:
        yield opened


@functools.cache
def schema():
    import schemathesis  # takes seconds

    return schemathesis.openapi.from_dict(DOCUMENT)


@functools.cache
def cases_of(operation, mode=VALID):
    """Requests that the document allows for one operation, or does not allow."""
    from schemathesis.generation import GenerationMode

    found = []

    @settings(
        max_examples=EXAMPLES[mode],
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        schema()[operation.path][operation.method].as_strategy(generation_mode=GenerationMode(mode))
    )
    def collect(case):
        with contextlib.suppress(httpx.InvalidURL):  # longer than the client can ask
            where = quote(f"{case.path_parameters}")
            httpx.URL(f"http://page/{where}", params=dict(case.query or {}))
            found.append(case)

    with contextlib.suppress(Unsatisfiable):  # nothing about it can be wrong
        collect()
    return found


def share_of(number, cases):
    """The cases of one person, each with whether it asks for what there is: a third of many."""
    parts = max(1, min(3, len(cases) // 2))
    return [(c, i % 2 == 0) for i, c in enumerate(cases) if i // 2 % parts == number % parts]


@pytest.mark.parametrize("mode", [VALID, INVALID], ids=str)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.timeout(300 * EXAMPLES[VALID])
async def test_no_request_breaks_the_page(open_page, make_event, series, role, mode):
    page = open_page(open_reading=role == "nobody", series=series)
    incident = page.incident(make_event)
    token = ""
    if role != "nobody":
        await page.sign_in(role)
        token = await page.form_token()
    chance = random.Random(f"{role}")
    real = {"id": [incident, "n2-boys", "1"], "seq": ["1"]}
    asked = [o for o in openapi.STAFF if o.path not in {"/live", "/wall/live", "/sign-out"}]
    asked = [o for o in asked if not o.path.startswith("/account/")]  # these end the session
    statuses = set()
    for operation in asked:
        for case, known in share_of(ROLES.index(role), cases_of(operation, mode)):
            parts = dict(case.path_parameters or {})
            if known:
                parts |= {name: chance.choice(real[name]) for name in parts if name in real}
            case.path_parameters = parts
            form = dict(case.body) if isinstance(case.body, dict) else {}
            if known and "form_token" in operation.fields:
                form["form_token"] = token
            answer = await page.client.request(
                operation.method,
                case.formatted_path,
                params=dict(case.query or {}),
                data=form if operation.method == "post" else None,
            )
            context = f"{operation.method} {case.formatted_path!r} {case.query} {form}: {answer}"
            described = DOCUMENT["paths"][operation.path][operation.method]["responses"]
            allowed = {*described, *(("404", "405") if mode is INVALID else ())}
            assert str(answer.status_code) in allowed, context
            assert "default-src 'none'" in answer.headers["content-security-policy"], context
            assert "Traceback" not in answer.text
            statuses.add(answer.status_code)
    assert {200, 404} <= statuses
    assert page.now == NOW


@pytest.mark.parametrize("mode", [VALID, INVALID], ids=str)
@pytest.mark.parametrize("person", ["ap", "an", "ad"])
@pytest.mark.timeout(300 * EXAMPLES[VALID])
async def test_no_request_breaks_the_api_and_every_answer_is_as_described(
    open_page, make_event, series, person, mode
):
    page = open_page(open_reading=False, series=series)
    incident = page.incident(make_event)
    with sqlite.transaction(page.db) as tx:
        token = api_tokens.make(tx, "fuzz", person, api_tokens.Scope, by=person, days=1, now=NOW)
    real = {
        "/incidents": incident,
        "/rooms": "n2-boys",
        "/sensors": "s1",
        "/reports": "x",
        "/series": "event",
    }
    statuses = set()
    for operation in OPERATIONS:
        described = schema()[operation.path][operation.method]
        for case, known in zip(cases_of(operation, mode), itertools.cycle((True, False))):
            if known and case.path_parameters:
                case.path_parameters = dict.fromkeys(
                    case.path_parameters, real[f"/{operation.path.split('/')[3]}"]
                )
            page.now += 2  # within the limits of a token
            answer = await page.client.request(
                operation.method,
                case.formatted_path,
                params=dict(case.query or {}),
                content=None if operation.body is None else json.dumps(plain(case.body)),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            context = f"{operation.method} {case.formatted_path!r} {case.query} {case.body}"
            allowed = {*DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]}
            allowed |= {"405"} if mode is INVALID else set()
            assert str(answer.status_code) in allowed, (context, answer.text)
            if str(answer.status_code) != "405":
                described.validate_response(answer)
            statuses.add(answer.status_code)
    assert {200, 404} <= statuses


@pytest.mark.parametrize("mode", [VALID, INVALID], ids=str)
@pytest.mark.parametrize("operation", openapi.HTTP_INGEST, ids=lambda o: o.path)
async def test_no_request_breaks_the_ingest(operation, mode):
    """Every decoder is asked, with the token of its source and without."""
    names = sorted(DECODERS)
    sources = [
        HttpSource(name, name, token=Secret(f"{name}-token-of-the-fuzzer"), rate_per_s=1e9)
        for name in names
    ]

    async def write(_readings, _letters):
        pass

    commits = GroupCommit(write)
    ingest = HttpIngest(sources, Intake(), commits, HttpIngestSettings(wrong_token_s=0.0))
    task = asyncio.create_task(commits.run())
    described = DOCUMENT["paths"][operation.path][operation.method]["responses"]
    allowed = {*described, *(("404", "405") if mode is INVALID else ())}
    chance, statuses = random.Random(operation.path), set()
    transport = httpx.ASGITransport(ingest.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as http:
        for case, name in zip(cases_of(operation, mode), itertools.cycle(["", *names])):
            if name:
                case.path_parameters = {**(case.path_parameters or {}), "decoder": name}
            token = f"{name}-token-of-the-fuzzer" if chance.random() < 0.8 else "wrong"
            body = case.body if isinstance(case.body, bytes) else json.dumps(plain(case.body))
            answer = await http.request(
                operation.method,
                case.formatted_path,
                content=body,
                headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
            )
            context = f"{case.formatted_path!r} {body[:200]!r}: {answer} {answer.text}"
            assert str(answer.status_code) in allowed, context
            assert "token-of-the-fuzzer" not in answer.text
            statuses.add(answer.status_code)
    task.cancel()
    await asyncio.wait((task,))
    assert statuses


def plain(body):
    """A body as JSON; one that is absent is null."""
    return body if isinstance(body, (dict, list, str, int, float, bool)) else None
