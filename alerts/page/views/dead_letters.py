"""Pages of rejected messages: untrusted text, escaped, bounded, and only after a sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from starlette.exceptions import HTTPException

from alerts.access.roles import Right
from alerts.page.page_group import PageGroup, serves
from language.messages import _
from storage import dead_letters

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response


_T = TypeVar("_T")
_PAGE: Final = 50


class DeadLetterPages(PageGroup):
    """The list and one message."""

    @serves("/dead-letters", Right.SENSORS, all_sites=True)
    async def _index(self, request: Request) -> Response:
        asked = request.query_params
        reason, source = asked.get("reason", "")[:64], asked.get("source", "")[:256]
        before = _whole(asked.get("before", "0"))
        found = await self._read(
            lambda db: dead_letters.find_dead_letters(
                db, reason=reason, source=source, before=before, limit=_PAGE + 1
            )
        )
        return self._context.render(
            request,
            "dead_letters.html",
            letters=found[:_PAGE],
            more=found[_PAGE - 1].id if len(found) > _PAGE else None,
            counts=await self._read(dead_letters.count_dead_letters),
            reason=reason,
            source=source,
        )

    @serves("/dead-letters/{id}", Right.SENSORS, all_sites=True)
    async def _one(self, request: Request) -> Response:
        number = _whole(request.path_params["id"])
        found = await self._read(lambda db: dead_letters.get_dead_letter(db, number))
        if found is None:
            raise HTTPException(404, _("There is no such message. It may have been deleted."))
        return self._context.render(
            request,
            "dead_letter.html",
            found=found,
            payload=dead_letters.visible(found.letter.payload),
        )

    async def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        journal = self._context.settings.files.journal
        if journal is None:
            raise HTTPException(404, _("This page does not exist."))
        return await self._context.read_from(journal, work)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
