"""API tokens for programs and screens: create, show once, list and revoke them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access import api_tokens
from alerts.access.api_tokens import Scope
from alerts.access.roles import Right
from alerts.incidents.free_text import clean_text
from alerts.page.guard import get_text
from alerts.page.page_group import PageGroup, serves
from language.messages import Words, _, mark
from storage.audit import AuditKind

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request

    from alerts.access.api_tokens import ApiToken

_SCOPES: Final = Words(
    {
        "read": mark("read incidents, rooms and sensors"),
        "respond": mark("respond to incidents"),
        "readings": mark("read readings"),
        "reports": mark("create reports"),
        "wall": mark("show the wall view on a screen"),
    }
)
_DAYS: Final = (30, 90, 365)


class TokenPages(PageGroup):
    """The token pages, for administrators."""

    @serves("/tokens", Right.ACCOUNTS, methods=("POST",))
    async def _add(self, request: Request) -> Response:
        session, form = request.state.session, request.state.form
        name = clean_text(get_text(form, "name"))[: api_tokens.LONGEST_NAME]
        person, days = get_text(form, "person"), get_text(form, "days")
        scopes = [scope for scope in Scope if get_text(form, f"scope.{scope}")]
        if not name or not scopes:
            return await self._page(request, _("Enter a name and choose permissions."), 400)
        member = self._context.find_own_member(person)
        if member is None or days not in map(str, _DAYS):
            return await self._page(request, _("Choose from the lists."), 400)
        if len(await self._context.read(self._list_tokens)) >= api_tokens.MAX_TOKENS:
            return await self._page(request, _("There are too many tokens. Revoke some."), 400)
        now = self._context.settings.clock()

        def make(tx: sqlite3.Connection) -> str:
            made = {"name": name, "for": person, "scopes": " ".join(scopes)}
            self._context.record(tx, request, AuditKind.TOKEN, "made", **made)
            token = api_tokens.make(
                tx,
                name,
                person,
                scopes,
                by=session.person,
                days=float(days),
                now=now,
                sites=self._context.find_site_ids(self._context.policy.find_sites(person)),
            )
            role, sites = self._context.find_rights(tx, member)
            api_tokens.limit(tx, person, role, self._context.find_site_ids(sites))
            return token if api_tokens.find(tx, token) else ""

        token = await self._context.write(make)
        if not token:
            fault = _("This person's groups don't allow any of these permissions.")
            return await self._page(request, fault, 403)
        return await self._page(request, token=token, is_screen=Scope.WALL in scopes)

    @serves("/tokens/{id:row}/revoke", Right.ACCOUNTS, methods=("POST",))
    async def _revoke(self, request: Request) -> Response:
        def revoke(tx: sqlite3.Connection) -> str:
            if request.path_params["id"] not in {token.id for token in self._list_tokens(tx)}:
                return ""
            name = api_tokens.revoke(tx, request.path_params["id"])
            if name:
                self._context.record(tx, request, AuditKind.TOKEN, "revoked", name=name)
            return name

        if not await self._context.write(revoke):
            raise HTTPException(404, _("This token doesn't exist."))
        return RedirectResponse("/tokens", 303)

    def _list_tokens(self, db: sqlite3.Connection) -> list[ApiToken]:
        people = {member.id for member in self._context.own_staff}
        every = self._context.sites is None
        return [token for token in api_tokens.list_tokens(db) if every or token.person in people]

    @serves("/tokens", Right.ACCOUNTS)
    async def _page(
        self,
        request: Request,
        error: str = "",
        status: int = 200,
        *,
        token: str = "",
        is_screen: bool = False,
    ) -> Response:
        base = self._context.policy.page_url or f"{request.url.scheme}://{request.url.netloc}"
        return await self._context.render(
            request,
            "tokens.html",
            status,
            tokens=await self._context.read(self._list_tokens),
            now=self._context.settings.clock(),
            staff=self._context.own_staff,
            scopes=_SCOPES,
            days=_DAYS,
            token=token,
            link=f"{base}/wall#{token}" if is_screen else "",
            errors=[error],
        )
