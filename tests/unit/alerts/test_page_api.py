"""Test that the HTTP API matches its documentation, and that no request breaks the staff page."""

import contextlib
import functools
import itertools
import json
import os
import random
import re
from typing import NamedTuple
from urllib.parse import quote, urlencode

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
FEW = {VALID: 4, INVALID: 2}
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
QUERY = (
    *("span", "quantity", "site", "lang", "from", "next", "silent", "state", "code", "error"),
    *("all", "sensor", "place", "kind", "hours", "start", "end", "before", "answer", "room"),
)
"""Parameters of pages."""
NOT_FUZZED = ("/sign-out", "/account/")
"""Routes that end the session."""
WORDS = (
    *("", " ", "0", "1", "-1", "9" * 400, "1e999", "nan", "true", "ap", "s1", "n2-boys", "North"),
    *("week", "2026-09-07", "2026-13-45", "2026-09-07T10:05", "24:00", "vape", "csv", "pm25"),
    *("/", "//evil.example", "https://evil.example/", "../..", ".", "%2e%2e%2f", "?a=b#c", "\\"),
    *("<script>alert(1)</script>", "' OR 1=1 --", "{{7*7}}", "=1+1", "a\r\nSet-Cookie: a=b"),
    *("\x00", "\u202e", "é", "e\u0301", "\ufdfa", "\U0001f6ac", "\uffff", "\ud800", "[]", "{}"),
)
BODIES = (b"", b"{}", b"[]", b"null", b"5", b'"x"', b"[" * 3000, b"{", b"\xff", b'{"a": NaN}')


def make_value(chance):
    """Return a word, any characters, or bytes that are not UTF-8; up to 4,000."""
    size = chance.choice((1, 3, 20, 200, 4000))
    match chance.randrange(4):
        case 0:
            return chance.randbytes(size)
        case 1:
            top = chance.choice((0x80, 0x3000, 0x110000))
            return "".join(chr(chance.randrange(top)) for _ in range(size)).encode(errors="ignore")
    return chance.choice(WORDS).encode(errors="surrogatepass")


class Asked(NamedTuple):
    """A path and method."""

    method: str
    path: str

    def make_request(self, chance, real, token):
        """Return a request's path, query and body, with existing data if there are any."""
        value = functools.partial(make_value, chance)
        path = re.sub(
            r"{(\w+)}",
            lambda name: quote(
                chance.choice(real.get(name[1], ["1"])) if real else value()[:200] or "0", safe=""
            ),
            self.path,
        )
        query = [(name, value()[:200]) for name in chance.sample(QUERY, 5)]
        if self.path.startswith("/ingest/"):
            return path, query, chance.choice(BODIES)
        names = FIELDS.get(self.path, "").split()
        form = [(name, value()) for name in names for _ in range(chance.choice((0, 1, 1, 1, 2)))]
        return path, query, urlencode([("form_token", token if real else value()), *form]).encode()


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
def schema():
    """Return the API document's schema."""
    import schemathesis  # takes seconds

    return schemathesis.openapi.from_dict(build_api_document())


def described(operation):
    """Return schemathesis's description of an operation."""
    return schema()[operation.path][operation.method]


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


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.timeout(300 * EXAMPLES[VALID])
async def test_no_request_breaks_the_page(open_page, make_event, series, role):
    page = open_page(one_click=role == "nobody", series=series)
    incident = page.incident(make_event)
    token = ""
    if role != "nobody":
        await page.sign_in(role)
        token = await page.form_token()
    chance = random.Random(f"{role}")
    real = {"id": [incident, "n2-boys", "1"], "seq": ["1"]}
    asked = [o for o in routes_of(page.app) if not o.path.startswith((PREFIX, *NOT_FUZZED))]
    statuses = set()
    for operation, number in itertools.product(asked, range(EXAMPLES[VALID])):
        known = number % 2 == 0
        path, query, body = operation.make_request(chance, real if known else {}, token)
        answer = await page.client.request(
            operation.method,
            path,
            params=urlencode(query) if operation.method == "get" else None,
            content=body if operation.method == "post" else None,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        context = f"{operation.method} {path!r} {query} {body}: {answer}"
        allowed = POST_ANSWERS if operation.method == "post" else PAGE_ANSWERS
        assert answer.status_code in (allowed if known else allowed | {307, 405}), context
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
    page = open_page(one_click=False, series=series)
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
