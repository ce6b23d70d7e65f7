"""Test that the HTTP API matches its documentation, and that no request breaks the staff page."""

import contextlib
import functools
import itertools
import json
import os
import random
import re
from typing import NamedTuple
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from alerts.page.api.docs import OPERATIONS, build_api_document
from alerts.page.api.operation import PREFIX
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.unit.alerts.test_page import NOW

VALID, INVALID = "positive", "negative"
ROLES = ["nobody", "ap", "fm", "an", "ad"]
FEW = {VALID: 6, INVALID: 2}
"""Numbers of generated requests by mode; generating invalid requests is slow."""
EXAMPLES = {mode: int(os.environ.get("FUZZ_EXAMPLES", few)) for mode, few in FEW.items()}
PAGE_ANSWERS = {200, 204, 303, 400, 401, 403, 404, 503}
POST_ANSWERS = PAGE_ANSWERS | {409, 413, 422, 429}
FIELDS = {
    "/incidents/{id}/feedback": "verdict cause note no_name",
    "/incidents/{id}/followed": "action case_number",
    "/silences": "place kind hours later reason no_name",
    "/reports": "name kind span start end week month term school_year site building",
    "/sign-in": "account password after",
    "/sign-in/code": "code",
    "/answer": "token via",
    "/answer/look": "token",
    "/answer/decline": "token via",
    "/answer/arrive": "token via",
    "/answer/feedback": "token verdict cause",
    "/settings/test": "person",
    "/settings/{form}/{entry}": "version id name start end",
    "/settings/{form}/{entry}/remove": "version",
    "/wall/open": "token",
    "/tokens": "name person days scope.read",
    "/push/subscribe": "endpoint p256dh auth label",
}
"""Fields of the staff page's forms, in addition to the form token."""
QUERY = {
    **dict.fromkeys(
        ("/rooms/{id}", "/rooms/{id}/series", "/air", "/figures"),
        "span quantity",
    ),
    "/sensors/labels": "site",
    "/sign-in": "next",
    "/sign-in/provider": "next silent",
    "/sign-in/callback": "state code error",
}
NOT_FUZZED = ("/sign-out", "/account/")
"""Routes that end the session."""


class Asked(NamedTuple):
    """A path and method; `operation` describes its requests for schemathesis."""

    method: str
    path: str

    @property
    def operation(self):
        found = {
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": self._schema(name)}
                for name in re.findall(r"{(\w+)}", self.path)
            ],
            "responses": {"200": {"description": ""}},
        }
        words = {"type": "string", "maxLength": 200}
        if self.method == "get":
            for name in QUERY.get(self.path, "").split():
                found["parameters"].append({"name": name, "in": "query", "schema": words})
        elif self.path.startswith("/ingest/"):
            found["requestBody"] = {"content": {"application/json": {"schema": {}}}}
        else:
            names = ["form_token", *FIELDS.get(self.path, "").split()]
            fields = {name: {"type": "string", "maxLength": 4000} for name in names}
            form = {"schema": {"type": "object", "properties": fields}}
            found["requestBody"] = {"content": {"application/x-www-form-urlencoded": form}}
        return found

    def _schema(self, name):
        if name in ("seq", "number") or self.path.startswith(("/silences/", "/push/", "/tokens/")):
            return {"type": "integer", "minimum": 0}
        return {"type": "string", "minLength": 1, "maxLength": 200}


def routes_of(app):
    """Return the method and path of every route, without Starlette's converters."""
    for route in app.routes:
        for method in getattr(route, "methods", None) or ():
            if method != "HEAD":
                yield Asked(method.lower(), route.path.replace(":row}", "}"))


async def test_the_document_has_every_operation_of_the_api_and_no_other(open_page):
    staff = {(o.method, o.path) for o in routes_of(open_page().app) if o.path.startswith(PREFIX)}
    described = {(o.method.lower(), o.path) for o in OPERATIONS}
    assert staff == described | {("get", f"{PREFIX}/openapi.json")}


@pytest.fixture
def series(tmp_path):
    with SqliteSeries(tmp_path / "series.db", Retention(30, 30, 30)) as opened:
        yield opened


@functools.cache
def schema(asked=None):
    """Return the API document's schema, extended by the page's routes."""
    import schemathesis  # takes seconds

    document = build_api_document()
    if asked is not None:
        document = {
            "openapi": "3.1.0",
            "info": {"title": "", "version": "1"},
            "paths": {asked.path: {asked.method: asked.operation}},
        }
    return schemathesis.openapi.from_dict(document)


def described(operation):
    """Return schemathesis's description of an operation."""
    found = schema(operation) if isinstance(operation, Asked) else schema()
    return found[operation.path][operation.method]


@functools.cache
def cases_of(operation, mode=VALID):
    """Return requests for one operation that fit its description, or that don't."""
    from schemathesis.generation import GenerationMode

    found = []

    @settings(
        max_examples=EXAMPLES[mode],
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(described(operation).as_strategy(generation_mode=GenerationMode(mode)))
    def collect(case):
        with contextlib.suppress(httpx.InvalidURL):  # longer than the client can send
            where = quote(f"{case.path_parameters}")
            httpx.URL(f"http://page/{where}", params=dict(case.query or {}))
            found.append(case)

    with contextlib.suppress(Unsatisfiable):  # it cannot be invalid
        collect()
    return found


def share_of(number, cases):
    """Return a person's share of the cases, and whether each case asks for existing data."""
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
    asked = [o for o in routes_of(page.app) if not o.path.startswith((PREFIX, *NOT_FUZZED))]
    statuses = set()
    for operation in asked:
        for case, known in share_of(ROLES.index(role), cases_of(operation, mode)):
            parts = dict(case.path_parameters or {})
            if known:
                parts |= {name: chance.choice(real[name]) for name in parts if name in real}
            case.path_parameters = parts
            form = dict(case.body) if isinstance(case.body, dict) else {}
            if known:
                form["form_token"] = token
            answer = await page.client.request(
                operation.method,
                case.formatted_path,
                params=dict(case.query or {}),
                data=form if operation.method == "post" else None,
            )
            context = f"{operation.method} {case.formatted_path!r} {case.query} {form}: {answer}"
            allowed = POST_ANSWERS if operation.method == "post" else PAGE_ANSWERS
            allowed = allowed | ({405} if mode is INVALID else set())
            assert answer.status_code in allowed, context
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
    token = page.make_token(person)
    real = {
        "/incidents": incident,
        "/rooms": "n2-boys",
        "/sensors": "s1",
        "/reports": "x",
        "/series": "event",
    }
    statuses, paths = set(), build_api_document()["paths"]
    for operation in OPERATIONS:
        for case, known in zip(cases_of(operation, mode), itertools.cycle((True, False))):
            if known and case.path_parameters:
                case.path_parameters = dict.fromkeys(
                    case.path_parameters, real[f"/{operation.path.split('/')[3]}"]
                )
            page.now += 2  # within a token's limits
            answer = await page.client.request(
                operation.method,
                case.formatted_path,
                params=dict(case.query or {}),
                content=None if operation.body is None else json.dumps(plain(case.body)),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            context = f"{operation.method} {case.formatted_path!r} {case.query} {case.body}"
            allowed = {*paths[operation.path][operation.method.lower()]["responses"]}
            allowed |= {"405"} if mode is INVALID else set()
            assert str(answer.status_code) in allowed, (context, answer.text)
            if str(answer.status_code) != "405":
                described(operation).validate_response(answer)
            statuses.add(answer.status_code)
    assert {200, 404} <= statuses


def plain(body):
    """Return a body as JSON; a missing body is null."""
    return body if isinstance(body, (dict, list, str, int, float, bool)) else None
