"""What the API can do, as OpenAPI and as a page; both are the same for everyone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse

from alerts.page.api.incidents import IncidentApi
from alerts.page.api.operation import PREFIX, document, tagged
from alerts.page.api.reports import ReportApi
from alerts.page.api.rooms import RoomApi
from alerts.page.api.series import ReadingApi
from alerts.page.page_group import Access, PageGroup, serves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

API: Final[tuple[type[PageGroup], ...]] = (IncidentApi, RoomApi, ReadingApi, ReportApi)
OPERATIONS: Final = tuple(
    found.operation
    for group in API
    for found in vars(group).values()
    if hasattr(found, "operation")
)


def api_document() -> dict[str, Any]:
    """Return the OpenAPI document of the API."""
    return document(OPERATIONS)


class ApiDocs(PageGroup):
    """The document and its page."""

    @serves(f"{PREFIX}/openapi.json", Access.PUBLIC)
    async def _openapi(self, request: Request) -> Response:
        return tagged(request, JSONResponse(api_document()))

    @serves(f"{PREFIX}/docs", Access.PUBLIC)
    async def _page(self, request: Request) -> Response:
        await self._context.session(request)
        base = self._context.policy.page_url or f"{request.url.scheme}://{request.url.netloc}"
        return self._context.render(
            request,
            "api.html",
            document=api_document(),
            operations=OPERATIONS,
            base=base,
            type_of=_type_of,
        )


def _type_of(schema: Mapping[str, Any]) -> str:
    """Return the type of a field in words.

    >>> _type_of({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]})
    'date-time or null'
    >>> _type_of({"type": "array", "items": {"$ref": "#/components/schemas/Room"}})
    'list of Room'
    >>> _type_of({"type": "integer", "minimum": 1, "maximum": 500, "default": 50})
    'integer, 1 to 500; 50 if absent'
    """
    if "anyOf" in schema:
        return " or ".join(map(_type_of, schema["anyOf"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type_of(schema['items'])}"
    words = ", ".join(schema.get("enum", ())) or schema.get("format") or schema.get("type", "any")
    if "maximum" in schema:
        words += f", {schema.get('minimum', 0)} to {schema['maximum']}"
    return words + (f"; {schema['default']} if absent" if "default" in schema else "")
