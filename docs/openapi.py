"""All that answers HTTP as an OpenAPI document, which ``make docs`` writes to `docs/openapi.json`.

One table for the pages and actions of the staff page, one for HTTP ingest, one for the health of
the service; a test holds all of them to the routes of the applications. What is sent and answered
is fuzzed by this document (`tests/unit/alerts/test_page_api.py`).
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from alerts.page.api.docs import api_document
from plumewatch import __version__

__all__ = ["HEALTH", "HTTP_INGEST", "STAFF", "Operation", "document"]


class Operation(NamedTuple):
    """One method of one path.

    Attributes
    ----------
    method, path, about : str
    kind : str
        Media type of the answer.
    fields : tuple of str
        Of the form that is posted.
    query : tuple of str
        Parameters behind the question mark.
    answers : tuple of int
        Statuses beside those of every operation of its table.
    """

    method: str
    path: str
    about: str
    kind: str = "text/html"
    fields: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    answers: tuple[int, ...] = ()


_JSON: Final = "application/json"
_WINDOW: Final = ("span", "quantity")
_TOKEN: Final = ("form_token",)

STAFF: Final = (
    Operation("get", "/", "Rooms and what goes on in them"),
    Operation("get", "/partials/board", "The same, for renewal in place"),
    Operation("get", "/rooms/{id}", "A room"),
    Operation("get", "/rooms/{id}/series", "Readings of a room", _JSON, query=_WINDOW),
    Operation("get", "/rooms/{id}/history", "A room over days", query=_WINDOW),
    Operation("get", "/rooms/{id}/history/series", "Its readings", _JSON, query=_WINDOW),
    Operation("get", "/incidents", "Incidents"),
    Operation("get", "/partials/incidents", "The same, for renewal in place"),
    Operation("get", "/incidents/{id}", "An incident with its evidence"),
    Operation("get", "/incidents/{id}/series", "Readings around it", _JSON),
    Operation("get", "/incidents/{id}/evidence.svg", "Its picture", "image/svg+xml"),
    Operation("get", "/incidents/{id}/evidence.png", "Its picture", "image/png"),
    Operation("get", "/incidents/{id}/cap.xml", "As CAP 1.2", "application/cap+xml"),
    Operation("post", "/incidents/{id}/acknowledge", "Take it", fields=_TOKEN),
    Operation("post", "/incidents/{id}/arrive", "Say that one is there", fields=_TOKEN),
    Operation("post", "/incidents/{id}/decline", "Say that one cannot go", fields=_TOKEN),
    Operation("post", "/incidents/{id}/hand-over", "Hand it over", fields=(*_TOKEN, "to")),
    Operation("post", "/incidents/{id}/resolve", "End it", fields=_TOKEN),
    Operation(
        "post",
        "/incidents/{id}/feedback",
        "Say what was found",
        fields=(*_TOKEN, "verdict", "cause", "note", "no_name"),
    ),
    Operation(
        "post",
        "/incidents/{id}/followed",
        "Say what followed",
        fields=(*_TOKEN, "action", "case_number"),
    ),
    Operation("get", "/duty", "Who is on duty"),
    Operation("get", "/sign", "A sign for the door, to print"),
    Operation("get", "/silences", "What is silenced"),
    Operation(
        "post",
        "/silences",
        "Silence something",
        fields=(*_TOKEN, "place", "kind", "hours", "later", "reason", "no_name"),
    ),
    Operation("post", "/silences/{id}/end", "End a silence", fields=_TOKEN),
    Operation("get", "/air", "Air quality by room", query=_WINDOW),
    Operation("get", "/figures", "How alerting does", query=_WINDOW),
    Operation("get", "/figures/series", "The same as numbers", _JSON, query=_WINDOW),
    Operation("get", "/reports", "Reports"),
    Operation(
        "post",
        "/reports",
        "Ask for a report",
        fields=(
            *(*_TOKEN, "name", "kind", "span", "start", "end", "week", "month", "term"),
            *("school_year", "site", "building", "intervention"),
        ),
    ),
    Operation("get", "/partials/reports", "Reports, for renewal in place"),
    Operation("get", "/reports/{id}", "A report that is ready", "application/octet-stream"),
    Operation("get", "/sensors", "Sensors"),
    Operation("get", "/sensor-health", "How each sensor does"),
    Operation("get", "/unmatched", "A topic that nothing reads", query=("topic",)),
    Operation("get", "/levels", "At which level each sensor alerts"),
    Operation("post", "/levels/moves/{seq}/undo", "Take a move back", fields=(*_TOKEN, "reason")),
    Operation(
        "post",
        "/levels/adaptations/{number}/apply",
        "Use an adaptation",
        fields=(*_TOKEN, "reason"),
    ),
    Operation(
        "post",
        "/levels/adaptations/undo",
        "Return to what was before",
        fields=(*_TOKEN, "reason"),
    ),
    Operation("get", "/commission", "Rooms and their last tests"),
    Operation("get", "/commission/{id}", "The test of a room"),
    Operation("get", "/commission/{id}/series", "Its readings as JSON"),
    Operation("post", "/commission/{id}/begin", "Begin a test", fields=_TOKEN),
    Operation("post", "/commission/{id}/next", "Begin its next step", fields=_TOKEN),
    Operation("post", "/commission/{id}/stop", "End it without a result", fields=_TOKEN),
    Operation("get", "/dead-letters", "What was refused"),
    Operation("get", "/dead-letters/{id}", "One that was refused"),
    Operation("get", "/sign-in", "Sign in", query=("next",)),
    Operation("post", "/sign-in", "Sign in", fields=("account", "password", "after")),
    Operation("post", "/sign-out", "Sign out", fields=_TOKEN),
    Operation("get", "/account", "One's own account"),
    Operation(
        "post",
        "/account/language",
        "Choose the language of notices and pages",
        fields=(*_TOKEN, "language"),
    ),
    Operation("post", "/account/password", "Change the password", fields=(*_TOKEN, "old", "new")),
    Operation(
        "post", "/account/sign-out-everywhere", "End all sessions", fields=(*_TOKEN, "person")
    ),
    Operation("get", "/answer", "The page behind the links in notices"),
    Operation("post", "/answer", "Take an incident by its link", _JSON, ("token", "via")),
    Operation("post", "/answer/look", "What a link is for", _JSON, ("token",)),
    Operation("post", "/answer/decline", "Say that one cannot go", _JSON, ("token", "via")),
    Operation("post", "/answer/arrive", "Say that one is there", _JSON, ("token", "via")),
    Operation(
        "post", "/answer/feedback", "Say what was found", _JSON, ("token", "verdict", "cause")
    ),
    Operation("get", "/settings", "What can be changed on the page"),
    Operation("post", "/settings/undo", "Undo the last change", fields=_TOKEN),
    Operation("post", "/settings/test", "Send a test notice", fields=(*_TOKEN, "person")),
    Operation("get", "/settings/{form}", "Entries of a section"),
    Operation("get", "/settings/{form}/{entry}", "An entry, or a new one"),
    Operation(
        "post",
        "/settings/{form}/{entry}",
        "Save an entry",
        fields=(*_TOKEN, "version", "id", "name", "start", "end"),
    ),
    Operation(
        "post", "/settings/{form}/{entry}/remove", "Remove an entry", fields=(*_TOKEN, "version")
    ),
    Operation("get", "/wall", "Rooms on a large screen"),
    Operation("get", "/wall/state", "The same, for renewal in place"),
    Operation("get", "/wall/plan", "Its floor plan", "image/png"),
    Operation("post", "/wall/open", "Open it on a screen", fields=("token",), answers=(204,)),
    Operation("get", "/wall/setup", "Its screens and floor plan"),
    Operation("post", "/wall/screens", "Make the link of a screen", fields=(*_TOKEN, "name")),
    Operation("post", "/wall/screens/{id}/revoke", "Revoke it", fields=_TOKEN),
    Operation("post", "/wall/plan", "Upload or remove a floor plan", fields=(*_TOKEN, "remove")),
    Operation("post", "/wall/places", "Place rooms on it", fields=_TOKEN),
    Operation("get", "/tokens", "Tokens of the API for programs"),
    Operation(
        "post",
        "/tokens",
        "Make a token",
        fields=(*_TOKEN, "name", "person", "days", "scope.read"),
    ),
    Operation("post", "/tokens/{id}/revoke", "Revoke it", fields=_TOKEN),
    Operation("get", "/api/v1/openapi.json", "The API for programs as OpenAPI", _JSON),
    Operation("get", "/api/v1/docs", "The same, to read"),
    Operation("get", "/manifest.webmanifest", "For installation", "application/manifest+json"),
    Operation("get", "/service-worker.js", "For installation", "text/javascript"),
    Operation(
        "post",
        "/push/subscribe",
        "Send notices to a browser",
        fields=(*_TOKEN, "endpoint", "p256dh", "auth", "label"),
        answers=(204,),
    ),
    Operation("post", "/push/{id}/remove", "Send no more of them", fields=_TOKEN),
    Operation("get", "/live", "Server-sent events: something changed", "text/event-stream"),
    Operation("get", "/wall/live", "The same for the wall", "text/event-stream", answers=(204,)),
)
"""The staff page. A POST needs the session's cookie and form token, or the token of a link."""

HTTP_INGEST: Final = (
    Operation("post", "/ingest/{decoder}", "Readings of a device", _JSON),
    Operation("post", "/ingest/{decoder}/", "The same", _JSON),
    Operation("post", "/ingest/{decoder}/{sensor}", "Readings of a named device", _JSON),
)
"""The HTTP ingest, on a port of its own: see `docs/http.md`."""

HEALTH: Final = (
    Operation("get", "/healthz", "The process answers", _JSON),
    Operation("get", "/readyz", "Whether each part works", _JSON, answers=(503,)),
    Operation("get", "/metrics", "Numbers for Prometheus", "text/plain", answers=(401,)),
)
"""Beside the staff page."""

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
    for tag, table in (("staff page", STAFF), ("http ingest", HTTP_INGEST), ("health", HEALTH)):
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
        "parameters": [*_in_path(operation.path), *map(_in_query, operation.query)],
        "responses": {
            str(status): {"description": _MEANING[status]}
            | ({"content": {operation.kind: {}}} if status == 200 else {})
            for status in sorted(answers)
        },
        "security": [{"bearer": []}] if tag != "staff page" else [{"session": []}, {}],
    }
    if operation.fields:
        properties = {name: {"type": "string", "maxLength": 4000} for name in operation.fields}
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
