"""All that answers HTTP as an OpenAPI document, which ``make docs`` writes to `docs/openapi.json`.

The tables of `operations.toml` are the staff page, HTTP ingest and the health of the service; a
test compares them with the routes of the applications. What is sent and answered is fuzzed by this
document (`tests/unit/alerts/test_page_api.py`).
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

from alerts.page.api.docs import api_document
from plumewatch import __version__


class Operation(NamedTuple):
    """One method of one path, as ``operations.toml`` describes it."""

    method: str
    path: str
    about: str
    kind: str = "text/html"
    fields: str = ""
    query: str = ""
    answers: tuple[int, ...] = ()


_JSON: Final = "application/json"
OPERATIONS: Final = {
    tag: [
        Operation(*name.split(" "), **{**about, "answers": tuple(about.get("answers", ()))})
        for name, about in table.items()
    ]
    for tag, table in tomllib.loads(
        Path(__file__).with_name("operations.toml").read_text(encoding="utf-8")
    ).items()
}
"""All operations by tag."""
STAFF, HTTP_INGEST, HEALTH = OPERATIONS.values()

_STAFF_ANSWERS: Final = (200, 303, 400, 401, 403, 404, 503)
_POST_ANSWERS: Final = (409, 413, 422, 429)
_HTTP_INGEST_ANSWERS: Final = (200, 400, 401, 403, 404, 408, 413, 415, 422, 429, 503)
_MEANING: Final = {
    200: "Done",
    204: "Done, and nothing to show",
    303: "Go on there",
    400: "Not understood",
    401: "Sign in, or send the token",
    403: "Not allowed",
    404: "There is no such thing",
    408: "It did not come in time",
    409: "It cannot be done now",
    413: "Too large",
    415: "A type that nothing reads",
    422: "Refused by what reads it",
    429: "Too often; Retry-After says when",
    503: "Not now; Retry-After says when",
}
_NUMBERS: Final = frozenset({"seq", "number"})


def document() -> dict[str, Any]:
    """Return the document, as OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for tag, table in OPERATIONS.items():
        for operation in table:
            described = _described(operation, tag)
            paths.setdefault(operation.path, {})[operation.method] = described
    api = api_document()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Plumewatch",
            "version": __version__,
            "description": "Staff page and health on one port, the HTTP ingest on another.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths | api["paths"],
        "components": {
            "schemas": api["components"]["schemas"],
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "plumewatch_session"},
                "bearer": {"type": "http", "scheme": "bearer"},
                **api["components"]["securitySchemes"],
            },
        },
    }


def _described(operation: Operation, tag: str) -> dict[str, Any]:
    answers = set(operation.answers)
    if tag == "staff page":
        answers |= set(_STAFF_ANSWERS)
        answers |= set(_POST_ANSWERS) if operation.method == "post" else set()
    else:
        answers |= set(_HTTP_INGEST_ANSWERS) if tag == "http ingest" else {200}
    found: dict[str, Any] = {
        "tags": [tag],
        "summary": operation.about,
        "parameters": [*_in_path(operation.path), *map(_in_query, operation.query.split())],
        "responses": {
            str(status): {"description": _MEANING[status]}
            | ({"content": {operation.kind: {}}} if status == 200 else {})
            for status in sorted(answers)
        },
        "security": [{"bearer": []}] if tag != "staff page" else [{"session": []}, {}],
    }
    if operation.fields:
        properties = {
            name: {"type": "string", "maxLength": 4000} for name in operation.fields.split()
        }
        form = {"schema": {"type": "object", "properties": properties}}
        content = {"application/x-www-form-urlencoded": form}
        found["requestBody"] = {"content": content}
    elif tag == "http ingest":
        found["requestBody"] = {"content": {_JSON: {"schema": {}}}}
    return found


def _in_path(path: str) -> list[dict[str, Any]]:
    parts = re.findall(r"{(\w+)}", path)
    return [
        {"name": name, "in": "path", "required": True, "schema": _schema(name, path)}
        for name in parts
    ]


def _schema(name: str, path: str) -> dict[str, Any]:
    if name in _NUMBERS or path.startswith(("/silences/", "/push/", "/wall/screens/", "/tokens/")):
        return {"type": "integer", "minimum": 0}
    return {"type": "string", "minLength": 1, "maxLength": 200}


def _in_query(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string", "maxLength": 200}}
