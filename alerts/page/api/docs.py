"""The OpenAPI document of the API, which everyone can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse

from alerts.page.api.incidents import IncidentApi
from alerts.page.api.operation import PREFIX, build_document
from alerts.page.api.reports import ReportApi
from alerts.page.api.rooms import RoomApi
from alerts.page.api.series import ReadingApi
from alerts.page.page_group import Access, PageGroup, serves

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

API: Final[tuple[type[PageGroup], ...]] = (IncidentApi, RoomApi, ReadingApi, ReportApi)
OPERATIONS: Final = tuple(
    found.operation
    for group in API
    for found in vars(group).values()
    if hasattr(found, "operation")
)


def build_api_document() -> dict[str, Any]:
    """Return the OpenAPI document of the API."""
    return build_document(OPERATIONS)


class ApiDocs(PageGroup):
    """Serves the OpenAPI document."""

    @serves(f"{PREFIX}/openapi.json", Access.PUBLIC)
    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(build_api_document())
