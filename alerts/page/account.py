"""The signed-in person's account: password, second factor, language and sessions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access import own_channels, second_factor, sessions
from alerts.access.passwords import SHORTEST, find_fault, set_password
from alerts.access.roles import Right
from alerts.page.guard import find_client, get_text
from alerts.page.page_group import Access, serves
from alerts.page.sign_in import SignInGroup
from alerts.page.views.people import find_account_state
from language.messages import LANGUAGES, _
from storage.audit import AuditKind

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request

    from alerts.policy import StaffMember

_LOG: Final = logging.getLogger(__name__)


class AccountPages(SignInGroup):
    """The account page and its forms."""

    @serves("/account/password", Access.STAFF, methods=("POST",))
    async def _password(self, request: Request) -> Response:
        form, settings, now = request.state.form, self._context.settings, self._now()
        member = await self._confirm_password(request)
        if isinstance(member, Response):
            return member
        new = get_text(form, "new")
        fault = find_fault(new, (member.id, member.name, settings.school.name))
        if fault:
            return await self._account(request, fault, 400)
        kept = await self._hash(lambda: settings.access.hasher.hash(new))
        await self._context.write(lambda tx: set_password(tx, member.id, kept, now))
        _LOG.info("%s changed their password", member.id)
        response = RedirectResponse("/account?changed=yes", 303)
        return await self._start(request, member, response, AuditKind.PASSWORD)

    @serves("/account/second-factor", Access.STAFF, methods=("POST",))
    async def _set_up(self, request: Request) -> Response:
        member = await self._confirm_password(request)
        if isinstance(member, Response):
            return member
        if await self._context.read(second_factor.find_enrollment, member.id) is not None:
            return self._go_back()
        secret = second_factor.make_secret()
        return await self._ask_for_code(member, "/account#second-factor", secret)

    @serves("/account/second-factor/remove", Access.STAFF, methods=("POST",))
    async def _remove(self, request: Request) -> Response:
        member = await self._confirm_password(request)
        if isinstance(member, Response):
            return member

        def remove(tx: sqlite3.Connection) -> None:
            if second_factor.remove(tx, member.id):
                self._audit(tx, AuditKind.SECOND_FACTOR, member.id, request, what="removed")

        await self._context.write(remove)
        return self._go_back()

    def _go_back(self) -> Response:
        return RedirectResponse("/account#second-factor", 303)

    def _has_password(self, request: Request) -> bool:
        person = request.state.session.person
        rules = self._context.access.sign_in
        return rules.may_use_password(person) and not self._context.is_open_to(request)

    async def _confirm_password(self, request: Request) -> StaffMember | Response:
        """Return the signed-in person if the form contains their password, or else a response."""
        session, now = request.state.session, self._now()
        if not self._has_password(request):
            raise HTTPException(403, _("You sign in without a password on this page."))
        if self._limit.take(find_client(request), [session.person], now) > 0:
            fault = _("Too many failed attempts. Wait a few minutes.")
            return await self._account(request, fault, 429)
        member = self._context.policy.find_member(session.person)
        is_right = await self._check_password(member, get_text(request.state.form, "old"))
        if member is None or not is_right:
            return await self._account(request, _("The current password is wrong."), 403)
        self._limit.record_success(find_client(request), session.person)
        return member

    @serves("/account/sign-out-everywhere", Access.STAFF, methods=("POST",))
    async def _end_all(self, request: Request) -> Response:
        session, form = request.state.session, request.state.form
        person = get_text(form, "person")
        if person != session.person and not session.may(Right.ACCOUNTS):
            raise HTTPException(403, _("Only administrators can sign others out."))
        if person not in {session.person, *(m.id for m in self._context.own_staff)}:
            raise HTTPException(404, _("This person doesn't exist."))

        def end_all(tx: sqlite3.Connection) -> None:
            sessions.end_all(tx, person, self._now())
            self._audit(tx, AuditKind.SIGN_OUT, session.person, request, person=person[:80])

        await self._context.write(end_all)
        _LOG.info(
            "%s signed %.64s out everywhere", session.person, person.encode("ascii", "replace")
        )
        if person == session.person:
            return self._redirect_signed_out()
        return RedirectResponse(f"/people/{quote(person, safe='')}", 303)

    @serves("/account/language", Access.STAFF, methods=("POST",))
    async def _language(self, request: Request) -> Response:
        person, code = request.state.session.person, get_text(request.state.form, "language")
        if code not in {"", *LANGUAGES}:
            raise HTTPException(400, _("Choose a language from the list."))
        await self._context.write_people(lambda tx: own_channels.choose_language(tx, person, code))
        return RedirectResponse("/account", 303)

    @serves("/account", Access.STAFF)
    async def _account(self, request: Request, error: str = "", status: int = 200) -> Response:
        person = request.state.session.person
        account, codes_left, languages = await self._context.read(
            lambda db: (
                find_account_state(db, person, self._now()),
                second_factor.count_recovery_codes(db, person),
                own_channels.load_languages(db),
            )
        )
        return await self._context.render(
            request,
            "account.html",
            status,
            count=account["count"],
            push_key=self._context.settings.notices.push_key,
            shortest=SHORTEST,
            has_password=self._has_password(request),
            since=account["factor"],
            codes_left=codes_left,
            errors=[error],
            chosen=languages.get(person, ""),
            done=_("Your password has been changed.") if "changed" in request.query_params else "",
        )
