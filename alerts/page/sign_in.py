"""Sign-in by password, followed by a code if there is a second factor, and sign-out."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access import second_factor, sessions
from alerts.access.passwords import SHORTEST, find_fault, find_invited, load_hash, set_password
from alerts.access.sign_in_rules import Refusal
from alerts.page.guard import (
    PendingSignIn,
    find_client,
    get_text,
    name_cookie,
    read_form,
    require_same_origin,
)
from alerts.page.page_group import Access, PageGroup, serves
from alerts.page.rendering import draw_code
from language.messages import _, ngettext
from storage import audit
from storage.audit import AuditKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.requests import Request

    from alerts.access.sessions import AtProvider
    from alerts.page.page_context import PageContext
    from alerts.policy import StaffMember

_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")
_MAX_WAITING: Final = 8
"""Maximum password checks at once; each takes 0.1 s in the single thread."""
_CODE_S: Final = 300.0
"""Time to enter the code after the password, in seconds."""
_SESSION_S: Final = 12 * 3600.0
_LONGEST_PATH: Final = 1500
_LONGEST_TOKEN: Final = 64
_MAX_PENDING: Final = 1000


class SignInGroup(PageGroup):
    """Base class of sign-in and account pages: checks passwords and starts sessions."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._limit = context.access.limits.sign_in
        self._pending = context.pending_sign_ins
        self._waiting = 0
        self._flags: dict[str, Any] = {
            "httponly": True,
            "samesite": "strict",
            "secure": context.access.secure_cookie,
        }

    def _now(self) -> float:
        return self._context.settings.clock()

    def _name_cookie(self, what: str) -> str:
        return name_cookie(secure=self._context.access.secure_cookie, what=what)

    def _audit(
        self, tx: sqlite3.Connection, kind: AuditKind, actor: str, request: Request, **detail: str
    ) -> None:
        now = self._now()
        audit.append(tx, kind, actor, {"address": find_client(request), **detail}, now)

    async def _check_password(self, member: StaffMember | None, password: str) -> bool:
        """Return whether a person has this password; takes the same time for None."""
        kept = await self._context.read(load_hash, member.id) if member else None
        return await self._hash(lambda: self._context.access.hasher.verify(kept, password))

    def _find_account(self, account: str) -> StaffMember | None:
        """Return the person with this id, or else the only local person with this name."""
        staff, key = self._context.policy.staff, account.casefold()
        may_use_password = self._context.access.sign_in.may_use_password
        named = [m for m in staff if m.name.casefold() == key and may_use_password(m.id)]
        found = [m for m in staff if m.id.casefold() == key] or named
        return found[0] if len(found) == 1 else None

    async def _hash(self, work: Callable[[], _T]) -> _T:
        """Run in the single password thread, so that many sign-ins at once need little memory."""
        if self._waiting >= _MAX_WAITING:
            fault = _("Too many people are signing in. Try again in a few seconds.")
            raise HTTPException(429, fault, {"Retry-After": "5"})
        self._waiting += 1
        try:
            async with asyncio.timeout(20.0):
                return await asyncio.get_running_loop().run_in_executor(self._context.hashing, work)
        finally:
            self._waiting -= 1

    async def _start(
        self,
        request: Request,
        member: StaffMember,
        response: Response,
        kind: AuditKind = AuditKind.SIGN_IN,
        *,
        by: str = "password",
        provider: AtProvider | None = None,
        lasts_s: float = _SESSION_S,
    ) -> Response:
        """Start a new session, end the request's old one, and set the response's cookie."""
        before, now = request.cookies.get(self._context.cookie, ""), self._now()

        def renew(tx: sqlite3.Connection) -> str:
            sessions.end(tx, before)
            self._audit(tx, kind, member.id, request, by=by)
            return sessions.start(tx, member.id, now, lasts_s, provider)

        identity = await self._context.write(renew)
        _LOG.info("%s signed in from %s by %s", member.id, find_client(request), by)
        response.set_cookie(self._context.cookie, identity, max_age=int(lasts_s), **self._flags)
        return response

    def _redirect_signed_out(self) -> Response:
        response = RedirectResponse("/", 303)
        response.delete_cookie(self._context.cookie, **self._flags)
        response.delete_cookie(self._name_cookie("provider"), **self._flags)
        return response

    async def _refuse_too_many(
        self, request: Request, after: str, account: str, wait: float, actor: str = "unknown"
    ) -> Response:
        if self._context.access.limits.locked.take(actor, self._now()) == 0:
            await self._record(request, actor, Refusal.LOCKED)
        error = ngettext(
            "Too many failed attempts. Wait %(n)d minute.",
            "Too many failed attempts. Wait %(n)d minutes.",
            math.ceil(wait / 60),
        )
        response = await self._render_form(request, after, account, error, 429)
        response.headers["Retry-After"] = str(math.ceil(wait))
        return response

    async def _refuse(
        self,
        request: Request,
        actor: str,
        reason: Refusal,
        after: str,
        error: str,
        account: str = "",
        **detail: str,
    ) -> Response:
        """Record a refused sign-in; the page shows `error`, which can be less specific."""
        await self._record(request, actor, reason, **detail)
        return await self._render_form(request, after, account, error, 403)

    async def _record(self, request: Request, actor: str, reason: Refusal, **detail: str) -> None:
        kind = AuditKind.SIGN_IN_REFUSED
        _LOG.warning("a sign-in from %s was refused: %s", find_client(request), reason)
        await self._context.write(
            lambda tx: self._audit(tx, kind, actor, request, reason=reason, **detail)
        )

    async def _render_form(
        self, request: Request, after: str, account: str = "", error: str = "", status: int = 200
    ) -> Response:
        staff, provider = self._context.policy.staff, self._context.access.provider
        return await self._context.render(
            request,
            "sign_in.html",
            status,
            after=after,
            account=account,
            errors=[error],
            one_click=staff if self._context.is_open_to(request) else (),
            provider="" if provider is None else provider.settings.label,
        )

    async def _ask_for_code(self, member: StaffMember, after: str, secret: str) -> Response:
        """Redirect to the code form; `secret` is for setting up an app, or empty."""
        given = await self._context.read(load_hash, member.id)
        if len(self._pending) >= _MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        key, until = secrets.token_urlsafe(32), self._now() + _CODE_S
        self._pending[key] = PendingSignIn(member, after, until, secret, given)
        response = RedirectResponse("/sign-in/code", 303)
        response.set_cookie(self._name_cookie("code"), key, max_age=int(_CODE_S), **self._flags)
        return response

    async def _render_code_form(
        self, request: Request, secret: str, person: str, error: str = ""
    ) -> Response:
        """Render the code form, with a new secret as text and as a QR code."""
        shown = {"secret": " ".join(secret[k : k + 4] for k in range(0, len(secret), 4))}
        if secret:
            address = second_factor.make_app_address(
                secret, person, self._context.settings.school.name
            )
            shown |= {"address": address, "picture": draw_code(address)}
        status = 403 if error else 200
        return await self._context.render(request, "code.html", status, errors=[error], **shown)


class SignInPages(SignInGroup):
    """The forms for password, code and invite link, and sign-out."""

    @serves("/sign-in", Access.PUBLIC, methods=("GET", "POST"))
    async def _sign_in(self, request: Request) -> Response:
        after = keep_inside(request.query_params.get("next", "/"))
        if request.method == "GET":
            session = await self._context.find_session(request)
            if session is None and self._asks_provider(request):
                query = urlencode({"next": after, "silent": "1"})
                return RedirectResponse(f"/sign-in/provider?{query}", 303)
            return await self._render_form(request, after)
        require_same_origin(request)
        form = await read_form(request)
        after = keep_inside(get_text(form, "after"))
        account = " ".join(get_text(form, "account").split())[:80]
        member = self._find_account(account)
        if member is not None and self._context.is_open_to(request):
            return await self._start(request, member, RedirectResponse(after, 303))
        actor = member.id if member else "unknown"  # the text may be a password
        counted = member.id if member else account
        wait = self._limit.take(find_client(request), [counted], self._now())
        if wait > 0:
            return await self._refuse_too_many(request, after, account, wait, actor)
        is_right = await self._check_password(member, get_text(form, "password"))
        if member is not None and is_right:
            return await self._continue_after_password(request, member, after)
        reason = Refusal.UNKNOWN_ACCOUNT
        if member is not None:
            has_password = await self._context.read(load_hash, member.id) is not None
            reason = Refusal.WRONG_PASSWORD if has_password else Refusal.NO_PASSWORD
        fault = _("Wrong name or password.")
        return await self._refuse(request, actor, reason, after, fault, account)

    async def _continue_after_password(
        self, request: Request, member: StaffMember, after: str
    ) -> Response:
        rules = self._context.access.sign_in
        if not rules.may_use_password(member.id):
            provider = self._context.access.provider
            name = "" if provider is None else provider.settings.label
            fault = _("You sign in with %(provider)s. Use the button above.", provider=name)
            return await self._refuse(request, member.id, Refusal.NOT_LOCAL, after, fault)
        has_factor = await self._context.read(second_factor.find_enrollment, member.id) is not None
        if not has_factor and member.role not in rules.second_factor:
            self._limit.record_success(find_client(request), member.id)
            return await self._start(request, member, RedirectResponse(after, 303))
        secret = "" if has_factor else second_factor.make_secret()
        return await self._ask_for_code(member, after, secret)

    @serves("/sign-in/code", Access.PUBLIC, methods=("GET", "POST"))
    async def _code(self, request: Request) -> Response:
        key = request.cookies.get(self._name_cookie("code"), "")
        pending = self._pending.get(key)
        if pending is None or not await self._is_current(pending):
            self._pending.pop(key, None)
            return RedirectResponse("/sign-in", 303)
        await self._context.find_session(request)
        self._context.choose_request_language(request, pending.member.language)
        asked = pending.secret, pending.member.id
        if request.method == "GET":
            return await self._render_code_form(request, *asked)
        require_same_origin(request)
        given, member = get_text(await read_form(request), "code"), pending.member
        limits, now = self._context.access.limits, self._now()
        wait = self._limit.take(find_client(request), [member.id], now)
        wait = wait or limits.codes.take(member.id, now)
        if wait > 0:
            return await self._refuse_too_many(request, pending.after, "", wait, member.id)
        by, codes = await self._context.write(
            lambda tx: self._use_code(tx, request, pending, given)
        )
        if not by:
            await self._record(request, member.id, Refusal.WRONG_CODE, by="code")
            fault = _(
                "This code isn't valid. Each code works only once, so wait for the next one."
                " If that fails, check the time on your phone."
            )
            return await self._render_code_form(request, *asked, fault)
        self._pending.pop(key, None)
        for _counted in ("password", "code"):
            self._limit.record_success(find_client(request), member.id)
        response: Response = RedirectResponse(pending.after, 303)
        if codes:
            response = await self._context.render(
                request, "recovery_codes.html", codes=codes, after=pending.after
            )
        response.delete_cookie(self._name_cookie("code"), **self._flags)
        return await self._start(request, member, response, by=by)

    @serves("/welcome", Access.PUBLIC, methods=("GET", "POST"))
    async def _accept_invite(self, request: Request) -> Response:
        """Let a person with an invite link set a password, once, and sign them in."""
        if request.method == "GET":
            return await self._context.render(request, "welcome.html", shortest=SHORTEST, token="")
        require_same_origin(request)
        form, now = await read_form(request), self._now()
        token, new = get_text(form, "token")[:_LONGEST_TOKEN], get_text(form, "new")
        wait = self._limit.take(find_client(request), (), now)
        if wait > 0:
            return await self._refuse_too_many(request, "/", "", wait)
        member = self._context.policy.find_member(
            await self._context.read(find_invited, token, now)
        )
        if member is None or not self._context.access.sign_in.may_use_password(member.id):
            fault = _("This link has already been used or has expired. Ask for a new one.")
            return await self._refuse(request, "unknown", Refusal.NO_INVITE, "/", fault)
        fault = find_fault(new, (member.id, member.name, self._context.settings.school.name))
        if fault:
            more: dict[str, Any] = {"shortest": SHORTEST, "token": token, "errors": [fault]}
            return await self._context.render(request, "welcome.html", 400, **more)
        kept = await self._hash(lambda: self._context.access.hasher.hash(new))

        def use(tx: sqlite3.Connection) -> bool:
            is_first = find_invited(tx, token, now) == member.id
            if is_first:
                set_password(tx, member.id, kept, now)
                self._audit(tx, AuditKind.PASSWORD, member.id, request, by="invite link")
            return is_first

        if not await self._context.write(use):
            fault = _("This link has already been used or has expired. Ask for a new one.")
            return await self._refuse(request, member.id, Refusal.NO_INVITE, "/", fault)
        after = f"/people/{quote(member.id, safe='')}"
        return await self._continue_after_password(request, member, after)

    async def _is_current(self, pending: PendingSignIn) -> bool:
        kept = await self._context.read(load_hash, pending.member.id)
        return self._now() < pending.expires_at and kept == pending.given

    def _use_code(
        self, tx: sqlite3.Connection, request: Request, pending: PendingSignIn, given: str
    ) -> tuple[str, tuple[str, ...]]:
        """Use up a code; return its kind (empty if it is invalid), and any new recovery codes."""
        person, now = pending.member.id, self._now()
        if not pending.secret:
            return second_factor.use_code(tx, person, given, now), ()
        codes = second_factor.confirm(tx, person, pending.secret, given, now)
        if codes:
            sessions.end_all(tx, person, now)
            self._audit(tx, AuditKind.SECOND_FACTOR, person, request, what="set up")
        return "code" if codes else "", codes

    def _asks_provider(self, request: Request) -> bool:
        asked = "next" in request.query_params and self._name_cookie("provider") in request.cookies
        return asked and self._context.access.provider is not None

    @serves("/sign-out", Access.STAFF, methods=("POST",))
    async def _sign_out(self, request: Request) -> Response:
        session = request.state.session
        identity = request.cookies.get(self._context.cookie, "")

        def end(tx: sqlite3.Connection) -> None:
            sessions.end(tx, identity)
            self._audit(tx, AuditKind.SIGN_OUT, session.person, request)

        await self._context.write(end)
        return self._redirect_signed_out()


def keep_inside(path: str) -> str:
    """Return a path if it is on this site, or else the start page."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if inside and "\\" not in path and len(path) <= _LONGEST_PATH else "/"
