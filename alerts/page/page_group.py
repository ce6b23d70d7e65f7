"""Define groups of pages: methods of a `PageGroup` that are marked with `serves`.

To add a group, list it in `alerts.page.app.PAGES`, and its link, if any, in
`alerts.page.rendering.NAV`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from alerts.access.roles import Right
from alerts.page.guard import get_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.page_context import PageContext

    Admit = Callable[[PageContext, Request], Awaitable[None]]

_Handler = TypeVar("_Handler", bound="Callable[..., Awaitable[Response]]")
_INCIDENT: Final = "/incidents/{id}"
"""Path of a single incident; the requester must be allowed to see it."""


class Access(Enum):
    """Who has access to a page that doesn't require one specific right."""

    PUBLIC = auto()
    """Everyone; the page can check requests itself."""
    READERS = auto()
    """People who can view incidents; in the demo, anyone on this machine."""
    SENSOR_READERS = auto()
    """`READERS`, and people who look after sensors."""
    STAFF = auto()
    """Everyone who is signed in."""


@dataclass(frozen=True, slots=True)
class _Served:
    path: str
    access: Access | Right | Admit
    methods: tuple[str, ...]
    one_school: bool = False
    of_any_size: bool = False

    async def admit(self, context: PageContext, request: Request) -> None:
        """Check access, and limit the request to the schools that the requester can see."""
        context.limit_to_sites_of(None)
        await self._admit(context, request)
        session = get_session(request)
        if session is not None:
            context.limit_to_sites_of(session.person, session.sites)
        if self.one_school:
            context.choose_school(request, of_any_size=self.of_any_size)
        if _INCIDENT in self.path:
            await context.require_incident(request.path_params["id"])

    async def _admit(self, context: PageContext, request: Request) -> None:
        right = self.access if isinstance(self.access, Right) else None
        if not isinstance(self.access, Access | Right):
            await self.access(context, request)
        elif self.access is Access.READERS:
            await context.require_reader(request)
        elif self.access is Access.SENSOR_READERS:
            await context.require_reader(request, Right.SENSORS)
        elif self.access is not Access.PUBLIC:
            if "POST" in self.methods:
                await context.require_form(request, right)
            else:
                await context.require_session(request, right)


def serves(
    path: str,
    access: Access | Right | Admit = Access.READERS,
    *,
    methods: tuple[str, ...] = ("GET",),
    one_school: bool = False,
    of_any_size: bool = False,
) -> Callable[[_Handler], _Handler]:
    """Serve a path with a method of a `PageGroup`, to requests that have access.

    If `access` is a function, that function checks access and stores the session in
    `request.state`. A POST that requires a right or `Access.STAFF` needs a session and a form from
    our own page, which is stored in `request.state` as well. With `one_school`, people who can see
    several schools can choose one. If there are too many rooms for one page, they must, unless
    `of_any_size` is set.
    """

    def mark(handler: _Handler) -> _Handler:
        handler.__dict__["served"] = _Served(path, access, methods, one_school, of_any_size)
        return handler

    return mark


class _RowConvertor(Convertor[int]):
    """``{id:row}`` in a path matches a row number that fits into SQLite; other values give 404."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)


register_url_convertor("row", _RowConvertor())


class PageGroup:
    """A group of pages: the methods marked with `serves`."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    async def open(self) -> None:
        """Start background work, if the group has any."""

    async def close(self) -> None:
        """Stop background work."""

    def list_routes(self) -> list[Route]:
        """Return the group's routes, in the order of its methods."""
        return [
            Route(found.served.path, self._endpoint(found), methods=list(found.served.methods))
            for found in vars(type(self)).values()
            if hasattr(found, "served")
        ]

    def _endpoint(self, handler: Any) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            self._context.choose_request_language(request)
            await handler.served.admit(self._context, request)
            async with self._context.limit_concurrent(request):
                response: Response = await handler(self, request)
            return response

        return answer
