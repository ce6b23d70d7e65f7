"""Sign-in, sign-out and accounts."""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access import languages, push_subscriptions, sessions
from alerts.access.passwords import (
    SHORTEST,
    fault_of,
    keep_hash,
    password_hash,
    set_password,
    with_password,
)
from alerts.access.roles import Right
from alerts.page.guard import client_of, same_origin
from alerts.page.page_context import Access, PageGroup, form_of, serves, text_of
from language.messages import LANGUAGES, _, ngettext
from storage import audit
from storage.audit import AuditKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.requests import Request

    from alerts.page.page_context import PageContext
    from alerts.policy import StaffMember

_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")
_MOST_WAITING: Final = 8
"""Passwords waiting to be compared; each takes 0.1 s of the one thread."""


class SignInPages(PageGroup):
    """The sign-in form, and the account of who is signed in."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._limit = context.settings.limits.sign_in
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="plumewatch-password")
        self._waiting = 0
        self._flags: dict[str, Any] = {
            "httponly": True,
            "samesite": "strict",
            "secure": context.settings.secure_cookie,
        }

    # sign-in and sign-out

    @serves("/sign-in", Access.PUBLIC, methods=("GET", "POST"))
    async def sign_in(self, request: Request) -> Response:
        """Show the form; start a new session, whatever cookie was sent."""
        after = _inside(request.query_params.get("next", "/"))
        if request.method == "GET":
            await self._context.session(request)
            return self._form(request, after)
        if not same_origin(request):
            raise HTTPException(403, _("This form was not sent from this page."))
        form = await form_of(request)
        after = _inside(text_of(form, "after"))
        account = " ".join(text_of(form, "account").split())[:80]
        if self._one_click(request):
            member = self._context.policy.member(account)
        else:
            wait = self._limit.take(client_of(request), account, self._context.settings.clock())
            if wait > 0:
                return self._too_many(request, after, account, wait)
            member = await self._known(account, text_of(form, "password"))
            if member is not None:
                self._limit.succeeded(client_of(request), account)
        if member is None:
            _LOG.warning("a sign-in from %s was refused", client_of(request))
            tried = self._member(account)  # an unknown account may be a password in the wrong field
            actor = tried.id if tried else "unknown"
            await self._context.write(
                lambda tx: self._audit(tx, AuditKind.SIGN_IN_REFUSED, actor, request)
            )
            return self._form(request, after, account, _("Wrong name or password."), 403)
        return await self._start(request, member, after, AuditKind.SIGN_IN)

    @serves("/sign-out", Access.STAFF, methods=("POST",))
    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        session = request.state.session
        identity = request.cookies.get(self._context.cookie, "")

        def end(tx: sqlite3.Connection) -> None:
            sessions.end(tx, identity)
            self._audit(tx, AuditKind.SIGN_OUT, session.person, request)

        await self._context.write(end)
        return self._out()

    def _audit(
        self, tx: sqlite3.Connection, kind: AuditKind, actor: str, request: Request, **detail: str
    ) -> None:
        now = self._context.settings.clock()
        audit.append(tx, kind, actor, {"address": client_of(request), **detail}, now)

    async def _known(self, account: str, password: str) -> StaffMember | None:
        """Return the staff member with this account and password."""
        member = self._member(account)
        person = "" if member is None else member.id
        kept = await self._context.read(password_hash, person)
        hasher = self._context.settings.hasher
        if not await self._hash(lambda: hasher.verifies(kept, password)):
            return None
        if member is not None and kept is not None and hasher.is_outdated(kept):
            now = self._context.settings.clock()
            renewed = await self._hash(lambda: hasher.hash(password))
            await self._context.write(lambda tx: keep_hash(tx, member.id, renewed, now))
        return member

    def _member(self, account: str) -> StaffMember | None:
        """Return a staff member by id, or by a unique name."""
        wanted = account.casefold()
        staff = self._context.policy.staff
        by_id = [m for m in staff if m.id.casefold() == wanted]
        found = by_id or [m for m in staff if m.name.casefold() == wanted]
        return found[0] if len(found) == 1 else None

    async def _hash(self, work: Callable[[], _T]) -> _T:
        """Run in the one thread that compares passwords, which bounds the memory of a flood."""
        if self._waiting >= _MOST_WAITING:
            fault = _("Too many people are signing in. Try again in a few seconds.")
            raise HTTPException(429, fault, {"Retry-After": "5"})
        self._waiting += 1
        try:
            async with asyncio.timeout(20.0):
                return await asyncio.get_running_loop().run_in_executor(self._hashing, work)
        finally:
            self._waiting -= 1

    async def _start(
        self, request: Request, member: StaffMember, after: str, kind: AuditKind
    ) -> Response:
        settings = self._context.settings
        before, now = request.cookies.get(self._context.cookie, ""), settings.clock()

        def renew(tx: sqlite3.Connection) -> str:
            sessions.end(tx, before)
            self._audit(tx, kind, member.id, request)
            return sessions.start(tx, member.id, now, settings.session_s)

        identity = await self._context.write(renew)
        _LOG.info("%s signed in from %s", member.id, client_of(request))
        response = RedirectResponse(after, 303)
        response.set_cookie(
            self._context.cookie,
            identity,
            max_age=int(settings.session_s),
            **self._flags,
        )
        return response

    def _out(self) -> Response:
        response = RedirectResponse("/", 303)
        response.delete_cookie(self._context.cookie, **self._flags)
        return response

    def _one_click(self, request: Request) -> bool:
        return self._context.settings.one_click and client_of(request) in {"127.0.0.1", "::1"}

    def _too_many(self, request: Request, after: str, account: str, wait: float) -> Response:
        if wait <= 90:
            error = ngettext(
                "Too many failed attempts. Wait %(n)d second.",
                "Too many failed attempts. Wait %(n)d seconds.",
                math.ceil(wait),
            )
        else:
            error = _("Too many failed attempts. Wait %(n)d minutes.", n=math.ceil(wait / 60))
        response = self._form(request, after, account, error, 429)
        response.headers["Retry-After"] = str(math.ceil(wait))
        return response

    def _form(
        self, request: Request, after: str, account: str = "", error: str = "", status: int = 200
    ) -> Response:
        staff = self._context.policy.staff
        return self._context.render(
            request,
            "sign_in.html",
            status,
            after=after,
            account=account,
            error=error,
            one_click=staff if self._one_click(request) else (),
        )

    # the account

    @serves("/account", Access.STAFF)
    async def account(self, request: Request) -> Response:
        """Show who is signed in, and to administrators all staff."""
        return await self._account(request)

    @serves("/account/password", Access.STAFF, methods=("POST",))
    async def password(self, request: Request) -> Response:
        """Change a password; this browser stays signed in with a new session."""
        session, form = request.state.session, request.state.form
        settings, now = self._context.settings, self._context.settings.clock()
        wait = self._limit.take(client_of(request), session.person, now)
        if wait > 0:
            fault = _("Too many failed attempts. Wait a few minutes.")
            return await self._account(request, fault, 429)
        member = await self._known(session.person, text_of(form, "old"))
        if member is None:
            return await self._account(request, _("The current password is wrong."), 403)
        self._limit.succeeded(client_of(request), session.person)
        new = text_of(form, "new")
        fault = fault_of(new, (member.id, member.name, settings.school))
        if fault:
            return await self._account(request, fault, 400)
        kept = await self._hash(lambda: settings.hasher.hash(new))
        await self._context.write(lambda tx: set_password(tx, member.id, kept, now))
        _LOG.info("%s changed their password", member.id)
        return await self._start(request, member, "/account?changed=yes", AuditKind.PASSWORD)

    @serves("/account/sign-out-everywhere", Access.STAFF, methods=("POST",))
    async def end_all(self, request: Request) -> Response:
        """Sign a person out everywhere; others only as an administrator."""
        session, form = request.state.session, request.state.form
        person = text_of(form, "person")
        if person != session.person and not session.may(Right.ACCOUNTS):
            raise HTTPException(403, _("Only administrators can sign others out."))
        if person not in {session.person, *(m.id for m in self._context.own_staff)}:
            raise HTTPException(404, _("There is no such person."))

        def end_all(tx: sqlite3.Connection) -> None:
            sessions.end_all(tx, person, self._context.settings.clock())
            self._audit(tx, AuditKind.SIGN_OUT, session.person, request, person=person[:80])

        await self._context.write(end_all)
        _LOG.info(
            "%s signed %.64s out everywhere", session.person, person.encode("ascii", "replace")
        )
        return self._out() if person == session.person else RedirectResponse("/account", 303)

    @serves("/account/language", Access.STAFF, methods=("POST",))
    async def language(self, request: Request) -> Response:
        """Choose the language of one's notices and pages."""
        person, code = request.state.session.person, text_of(request.state.form, "language")
        if code not in {"", *LANGUAGES}:
            raise HTTPException(400, _("Choose a language from the list."))
        await self._context.write(lambda tx: languages.choose(tx, person, code))
        return RedirectResponse("/account", 303)

    async def _account(self, request: Request, error: str = "", status: int = 200) -> Response:
        session, now = request.state.session, self._context.settings.clock()
        own = await self._context.read(push_subscriptions.browsers, session.person)
        counts, passwords, chosen = await self._context.read(
            lambda db: (
                sessions.counts(db, now),
                with_password(db),
                languages.chosen(db, session.person),
            )
        )
        return self._context.render(
            request,
            "account.html",
            status,
            staff=self._context.own_staff if session.may(Right.ACCOUNTS) else (),
            passwords=passwords,
            counts=counts,
            browsers=own,
            push_key=self._context.settings.push_key,
            shortest=SHORTEST,
            one_click=self._one_click(request),
            error=error,
            chosen=chosen,
            done=_("Your password has been changed.") if "changed" in request.query_params else "",
        )


def _inside(path: str) -> str:
    """Return a path if it is on this site; otherwise the start page."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if inside and "\\" not in path else "/"
