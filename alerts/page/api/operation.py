"""Define API operations, with their input, output and description.

An operation is a method of a `PageGroup` marked with `operation`. The OpenAPI document is generated
from its Pydantic models, so it matches what the code checks. Errors are problem details (RFC 9457).
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from alerts.access import api_tokens
from alerts.access.api_tokens import NEEDS, Scope
from alerts.access.roles import list_roles_with
from alerts.page.guard import Session, find_client, read_body, refuse_for_now
from alerts.page.page_group import serves
from language.value_errors import describe_allowed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from starlette.requests import Request

    from alerts.page.page_context import PageContext
    from storage.registry import Site

PREFIX: Final = "/api/v1"
JSON: Final = "application/json"
CSV: Final = "text/csv"
_PROBLEM: Final = "application/problem+json"


class Model(BaseModel):
    """Base of all request and response models; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Problem(BaseModel):
    """An error, as problem details (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = Field([], description="Each invalid field and its problem.")


_EXAMPLE: Final = "2026-09-07T10:05:00Z"
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Allowed times; the databases can store them in nanoseconds."""


def _split_words(value: object) -> object:
    return [w for w in value.split(",") if w] if isinstance(value, str) else value


def _fix_time(value: object) -> object:
    return value.replace(" ", "+") if isinstance(value, str) and "T" in value else value


def _check_storable(value: datetime) -> datetime:
    if not _FIRST <= value <= _LAST:
        raise ValueError(f"from {_FIRST.year} to {_LAST.year}")
    return value


class OfSite(Model):
    """Filters by site."""

    site: Annotated[
        str, Field(max_length=200, description="Id of a site. If omitted, all sites.")
    ] = ""


Words = Annotated[tuple[str, ...], BeforeValidator(_split_words, json_schema_input_type=str)]
"""Several values, separated by commas."""
Time = Annotated[
    AwareDatetime,
    BeforeValidator(_fix_time),  # an unencoded plus sign arrives as a space
    AfterValidator(_check_storable),
    Field(examples=[_EXAMPLE]),
]
"""A time in RFC 3339 format, with its zone."""


def round_number(value: float) -> float:
    """Round a measured or computed number to six significant digits.

    >>> round_number(0.1 + 0.2), round_number(1013.25)
    (0.3, 1013.25)
    """
    return float(f"{value:.6g}")


Number = Annotated[float, AfterValidator(round_number)]
"""A measured or computed number."""


def to_moment(at: float) -> datetime:
    """Convert Unix seconds to a time for a response."""
    return datetime.fromtimestamp(at, UTC)


def to_moment_if_known(at: float | None) -> datetime | None:
    """Convert Unix seconds to a time for a response; None stays None."""
    return None if at is None else to_moment(at)


class Operation(NamedTuple):
    """One method of one path, for the OpenAPI document."""

    method: str
    path: str
    scope: Scope
    about: str
    query: type[Model] | None
    body: type[Model] | None
    answer: type[BaseModel] | None
    status: int
    kinds: tuple[str, ...]


_BEARER: Final = {"WWW-Authenticate": 'Bearer realm="plumewatch"'}


async def _admit(scope: Scope, context: PageContext, request: Request) -> None:
    """Authenticate an API request as the token's person.

    Raises 401 without a valid token, 403 without permission, and 429 after too many requests.
    """
    limits, now = context.access.limits, context.settings.clock()
    scheme, _space, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise HTTPException(401, "Send a token: Authorization: Bearer plumewatch_...", _BEARER)
    found = await context.find_token(text.strip())
    if found is None or now >= found[0].expires_at:
        if (wait := limits.api.take(find_client(request), (), now)) > 0:
            raise refuse_for_now(wait, "At most 5 requests a minute with an invalid token.")
        why = "is not valid" if found is None else "has expired"
        raise HTTPException(401, f"This token {why}.", _BEARER)
    token, member = found
    limit = limits.writes if request.method == "POST" else limits.token_reads
    most = limit.bounds[0].attempts
    context.count(limit, f"token {token.id}", f"At most {most:,} such requests a minute.")
    if not token.may(scope, now):
        raise HTTPException(403, f"This token and its person's role don't allow {scope}.")
    sites = context.find_site_names(token.sites)
    if why := context.explain_closed(member.id, sites):
        raise HTTPException(403, f"This token no longer has access to anything: {why}.")
    request.state.session = Session(
        *(member.id, member.name, member.role, secrets.token_urlsafe()), sites
    )
    if api_tokens.is_use_due(token, now):
        await context.write(lambda tx: api_tokens.use(tx, token, now))


def operation(
    path: str,
    scope: Scope,
    answer: type[BaseModel] | None,
    *,
    query: type[Model] | None = None,
    body: type[Model] | None = None,
    method: str = "GET",
    status: int = 200,
    kinds: tuple[str, ...] = (JSON,),
) -> Callable[[Callable[..., Awaitable[BaseModel | Response]]], Any]:
    """Serve an API path to tokens with a scope.

    The method gets the request, and the query and body if their models are given.
    """

    def mark(handler: Callable[..., Awaitable[BaseModel | Response]]) -> Any:
        async def serve(pages: Any, request: Request) -> Response:
            inputs: list[Model] = [_read_query(query or Model, request)]
            if isinstance(inputs[0], OfSite) and inputs[0].site:
                context: PageContext = pages._context  # noqa: SLF001 - its own group's context
                context.show_only(find_site(context, inputs[0].site))
            inputs = inputs if query else []
            if body is not None:
                inputs.append(await _read_body_of(body, request))
            found = await handler(pages, request, *inputs)
            if isinstance(found, Response):
                return found
            return Response(found.model_dump_json(by_alias=True), status, media_type=JSON)

        about = " ".join((handler.__doc__ or "").split("\n\n", maxsplit=1)[0].split())
        described = Operation(
            method, PREFIX + path, scope, about, query, body, answer, status, kinds
        )
        marked = serves(PREFIX + path, partial(_admit, scope), methods=(method,))(serve)
        marked.__dict__["operation"] = described
        return marked

    return mark


def build_invalid(faults: Iterable[tuple[str, str]]) -> HTTPException:
    """Return a 400 error that lists invalid fields."""
    found = list(faults)
    sentences = (
        f"{what}: {where}" if what.startswith("Unknown") else f"{where}: {what}"
        for where, what in found
    )
    error = HTTPException(400, "; ".join(sentences))
    error.__dict__["errors"] = [{"field": where, "problem": what} for where, what in found]
    return error


def build_problem(error: HTTPException) -> Response:
    """Return an error as a problem details response."""
    status = HTTPStatus(error.status_code)
    described = Problem(
        title=status.phrase,
        status=status,
        detail=str(error.detail),
        errors=error.__dict__.get("errors", []),
    )
    return JSONResponse(
        described.model_dump(), status, headers=dict(error.headers or {}), media_type=_PROBLEM
    )


def find_site(context: PageContext, site: str) -> Site:
    """Return a site by its id; raise 400 if the token has no access to it."""
    found = context.find_school(site)
    if found is None:
        known = [one.id for one in context.permitted.list_sites(with_closed=True)]
        raise build_invalid([("site", f"one of {', '.join(sorted(known))}")])
    return found


def _read_query(model: type[Model], request: Request) -> Model:
    pairs = request.query_params.multi_items()
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise build_invalid((name[:40], "given twice; separate values by commas") for name in twice)
    return _validate(model.model_validate, dict(pairs), "Unknown parameter")


async def _read_body_of(model: type[Model], request: Request) -> Model:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await read_body(request)
    if raw and kind != JSON:
        raise HTTPException(415, f"Send JSON: Content-Type: {JSON}")
    return _validate(model.model_validate_json, raw or b"{}", "Unknown field")


def _validate(validate: Callable[[Any], Model], given: object, unknown: str) -> Model:
    try:
        return validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise build_invalid(
            (".".join(map(str, f["loc"]))[:80] or "body", _describe_fault(f, unknown))
            for f in faults[:20]
        ) from None


def _describe_fault(fault: Mapping[str, Any], unknown: str) -> str:
    kind = str(fault["type"])
    if kind == "extra_forbidden":
        return unknown
    if kind.startswith("datetime_"):
        return f"must be a time with its zone, such as {_EXAMPLE}"
    return str(describe_allowed(fault))


# the document

_ANSWERS: Final[Mapping[int, str]] = {
    400: "The request is invalid. `errors` lists each invalid field.",
    401: "The token is missing, invalid or expired.",
    403: "The token, or the role of its person, doesn't allow this.",
    404: "Not found.",
    408: "The request body didn't arrive in time.",
    413: "The request body is too large.",
    415: "The request body isn't JSON.",
    429: "Too many requests. `Retry-After` says how many seconds to wait.",
    503: "The database can't be read right now. Try again later.",
}
_OF_BODIES: Final = frozenset({408, 413, 415})
_LIMITS: Final = (
    "Create tokens on the staff page, under Settings, API tokens. Times are in RFC 3339 format."
    " Numbers have at most six significant digits. Each list has `next`: the path of the next page,"
    " or null on the last page. Errors are problem details (RFC 9457)."
)


@cache
def build_document(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Return the OpenAPI document of these operations."""
    answers = {one.answer for one in operations if one.answer} | {Problem}
    bodies = {one.body for one in operations if one.body}
    _keys, schemas = models_json_schema(
        [
            *((model, "serialization") for model in sorted(answers, key=_name)),
            *((model, "validation") for model in sorted(bodies, key=_name)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _describe(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Plumewatch", "version": "1", "description": _LIMITS},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _name(model: type) -> str:
    return model.__name__


def _refer_to(model: type[BaseModel], kind: str = JSON) -> dict[str, Any]:
    return {kind: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _describe(one: Operation) -> dict[str, Any]:
    roles = list_roles_with(NEEDS[one.scope])
    content: dict[str, Any] = {kind: {} for kind in one.kinds}
    responses: dict[str, Any] = {
        str(one.status): {
            "description": "Success.",
            "content": content | (_refer_to(one.answer) if one.answer else {}),
        }
    }
    for status, text in _ANSWERS.items():
        if status in _OF_BODIES and not one.body:
            continue
        responses[str(status)] = {"description": text, "content": _refer_to(Problem, _PROBLEM)}
    found: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{one.method.lower()}{one.path.removeprefix(PREFIX)}"),
        "tags": [one.path.split("/")[3]],
        "summary": one.about,
        "description": f"Requires the scope `{one.scope}`, available to the roles {roles}.",
        "security": [{"token": []}],
        "parameters": [*_list_path_parameters(one.path), *_list_query_parameters(one.query)],
        "responses": responses,
    }
    if one.body is not None:
        found["requestBody"] = {"content": _refer_to(one.body), "required": True}
    return found


def _list_path_parameters(path: str) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 200}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _list_query_parameters(query: type[Model] | None) -> list[dict[str, Any]]:
    described = query.model_json_schema() if query else {"properties": {}}
    return [
        {
            "name": name,
            "in": "query",
            "required": name in described.get("required", ()),
            "description": given.get("description", ""),
            "schema": {  # without null, which a parameter cannot have
                k: v for k, v in given.get("anyOf", [given])[0].items() if v or k != "default"
            },
        }
        for name, given in described["properties"].items()
    ]
