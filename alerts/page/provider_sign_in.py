"""Sign-in through an OpenID Connect provider.

State, nonce and PKCE verifier are kept in a browser cookie for ten minutes, so nobody can be signed
in with someone else's code (login CSRF). The user's e-mail address must belong to a staff member.
If groups have roles, the user must also be in a group with a role, and people who are not
configured can join through such a group.

Our session cookie is `SameSite=Strict`, so browsers do not send it when another site started the
navigation. Therefore, the provider's redirect leads to a page that continues automatically. A
session ends when the provider's token expires, usually after an hour. The browser then signs in
again without asking. No session lasts longer than a day.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access import api_tokens, directory, sessions
from alerts.access.directory import DirectoryPerson, ProviderAccount, is_from_directory
from alerts.access.limits import make_address_key
from alerts.access.passwords import remove_person
from alerts.access.sessions import AtProvider
from alerts.access.sign_in_rules import Refusal, Rights, fold_address
from alerts.errors import NotAuthenticatedError, ProviderError
from alerts.page.guard import find_client
from alerts.page.page_group import Access, serves
from alerts.page.sign_in import SignInGroup, keep_inside
from language.messages import _

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request

    from alerts.page.identity_provider import Identity, IdentityProvider
    from alerts.policy import StaffMember

_SIGNING_IN_S: Final = 600
_REMEMBERED_S: Final = 90 * 86_400
_LONGEST_S: Final = 86_400.0
_MAX_CHARACTERS: Final = 4000
_SECRETS: Final = ("state", "nonce", "verifier")


class ProviderPages(SignInGroup):
    """Redirects to the provider and back."""

    @serves("/sign-in/provider", Access.PUBLIC)
    async def _to_provider(self, request: Request) -> Response:
        provider, after = self._get_provider(), keep_inside(request.query_params.get("next", "/"))
        silent = bool(request.query_params.get("silent"))
        begun = {name: secrets.token_urlsafe(32) for name in _SECRETS}
        try:
            address = await provider.build_sign_in_address(**begun, silent=silent)
        except ProviderError as error:
            return await self._render_form(request, after, error=str(error.message), status=503)
        kept = json.dumps({**begun, "after": after, "silent": silent})
        response = RedirectResponse(address, 303)
        response.set_cookie(
            self._name_cookie("signing-in"),
            base64.urlsafe_b64encode(kept.encode()).decode(),
            max_age=_SIGNING_IN_S,
            **self._redirect_flags,
        )
        return response

    @serves("/sign-in/callback", Access.PUBLIC)
    async def _callback(self, request: Request) -> Response:
        provider, asked = self._get_provider(), request.query_params
        begun = _read_state_cookie(request.cookies.get(self._name_cookie("signing-in"), ""))
        after = keep_inside(begun.get("after", "/"))
        state = asked.get("state", "").encode()
        if not begun or not hmac.compare_digest(begun["state"].encode(), state):
            fault = _("This sign-in did not begin in this browser, or took too long. Try again.")
            response = await self._render_form(request, "/", error=fault, status=403)
        elif "code" not in asked:
            response = await self._refuse_denied(request, after, silent=bool(begun.get("silent")))
        else:
            response = await self._sign_in(request, provider, begun, after)
        response.delete_cookie(self._name_cookie("signing-in"), **self._redirect_flags)
        return response

    async def _refuse_denied(self, request: Request, after: str, *, silent: bool) -> Response:
        if not silent:
            fault = _("The sign-in was canceled, or the provider refused this account.")
            if self._may_record():
                await self._record(request, "unknown", Refusal.CANCELED)
            return await self._render_form(request, after, error=fault, status=403)
        response = RedirectResponse(f"/sign-in?{urlencode({'next': after})}", 303)
        response.delete_cookie(self._name_cookie("provider"), **self._redirect_flags)
        return response

    async def _sign_in(
        self, request: Request, provider: IdentityProvider, begun: dict[str, Any], after: str
    ) -> Response:
        address = make_address_key(find_client(request))
        limit = self._context.access.limits.provider
        wait = limit.take(address, self._now())
        if wait > 0:
            return await self._refuse_too_many(request, after, "", wait)
        try:
            found = await provider.fetch_identity(
                request.query_params["code"][:_MAX_CHARACTERS], begun["nonce"], begun["verifier"]
            )
        except NotAuthenticatedError as error:
            reason, words = Refusal.NOT_AUTHENTICATED, str(error.message)
            if not self._may_record():
                return await self._render_form(request, after, error=words, status=403)
            why = error.message.pattern % {**error.message.values, "email": "..."}
            return await self._refuse(request, "unknown", reason, after, words, why=why)
        except ProviderError as error:
            return await self._render_form(request, after, error=str(error.message), status=503)
        email, staff = fold_address(found.email), self._context.policy.staff
        member = next((m for m in staff if m.email and fold_address(m.email) == email), None)
        account = ProviderAccount(
            provider.settings.issuer, provider.settings.client_id, found.subject
        )
        person, now, write = member.id if member else email, self._now(), self._context.write
        if await write(lambda tx: directory.end_earlier(tx, account, person, now)):
            await self._context.run_in_thread(self._context.settings.notices.read_channels)
        if member is None or is_from_directory(member.id):
            member = await self._update_directory(email, found, account)
        refusal = self._find_refusal(provider, found, member)
        if member is not None:
            refusal = await self._update_account(account, found, member, refusal)
        if member is None or refusal is not None:
            reason, words = refusal or (Refusal.NO_SUCH_ADDRESS, "")
            actor = member.id if member else "unknown"
            return await self._refuse(request, actor, reason, after, words)
        rules, lasts_s = self._context.access.sign_in, found.expires_at - self._now()
        response = await self._context.render(request, "signed_in.html", after=after)
        response.set_cookie(
            self._name_cookie("provider"), "1", max_age=_REMEMBERED_S, **self._redirect_flags
        )
        at = AtProvider(email, rules.select_mapped(found.groups))
        return await self._start(
            request,
            member,
            response,
            by="provider",
            provider=at,
            lasts_s=max(1.0, min(lasts_s, _LONGEST_S)),
        )

    async def _update_directory(
        self, email: str, found: Identity, account: ProviderAccount
    ) -> StaffMember | None:
        """Update a directory person from their groups, or remove them if no group admits them.

        If the address belonged to another account, its earlier person is removed first.
        """
        context, now = self._context, self._now()
        groups = context.access.sign_in.select_mapped(found.groups)
        if not context.access.sign_in.groups:
            return None
        joins = context.access.sign_in.find_joining_rights(groups) is not None
        name = found.name or email.partition("@")[0]

        def keep(tx: sqlite3.Connection) -> None:
            before = directory.find_account(tx, email, email)
            is_other = before is not None and before != account
            if (is_other or not joins) and directory.remove(tx, email):
                why = "another account with this address" if is_other else Refusal.NO_ROLE
                remove_person(tx, email, why, now)
            if joins:
                directory.save_person(tx, DirectoryPerson(email, name, groups, now))

        await context.write_people(keep)
        return context.policy.find_member(email)

    async def _update_account(
        self,
        account: ProviderAccount,
        found: Identity,
        member: StaffMember,
        refusal: tuple[Refusal, str] | None,
    ) -> tuple[Refusal, str] | None:
        """Bind a person to their account, and limit their tokens to the rights of its groups.

        Return why the person has no access, or None. If another account of the same provider signed
        in with this address before, an administrator must release the address first.
        """
        context, email, now = self._context, fold_address(found.email), self._now()
        rights = context.access.sign_in.find_rights(member.role, found.groups)
        role, sites = rights if rights and not refusal else Rights("", frozenset())
        groups = context.access.sign_in.select_mapped(found.groups)

        def update(tx: sqlite3.Connection) -> bool:
            before = directory.find_account(tx, member.id, email) or account
            if before != account and before[:2] == account[:2]:
                return False
            api_tokens.limit(tx, member.id, role, context.find_site_ids(sites))
            if refusal:
                sessions.end_all(tx, member.id, now)
            else:
                directory.bind_account(tx, member.id, email, account)
            directory.save_groups(tx, member.id, groups)
            return True

        if await context.write(update):
            return refusal
        return Refusal.OTHER_ACCOUNT, _(
            "Another account at %(provider)s had the address %(email)s before. An administrator can"
            " release the address on the person's page.",
            provider=self._get_provider().settings.label,
            email=found.email[:100],
        )

    def _may_record(self) -> bool:
        """Return whether to record this refusal; limited because anyone can cause many refusals."""
        return self._context.access.limits.refusals.take("", self._now()) == 0

    def _find_refusal(
        self, provider: IdentityProvider, found: Identity, member: StaffMember | None
    ) -> tuple[Refusal, str] | None:
        """Return why an authenticated user has no access here, or None if they have access."""
        own, context = provider.settings, self._context
        if member is None:
            return Refusal.NO_SUCH_ADDRESS, _(
                "Nobody here has the address %(email)s (claim %(claim)s), and none of the"
                " account's groups has a role and schools here. An administrator can map"
                " one in [[sign_in.group]].",
                email=found.email[:100],
                claim=own.email_claim,
            )
        rights = context.access.sign_in.find_rights(member.role, found.groups)
        if rights is None:
            return Refusal.NO_ROLE, _(
                "None of your groups has a role here (claim %(claim)s: %(groups)s). An"
                " administrator can map one in [[sign_in.group]].",
                claim=own.groups_claim or "groups",
                groups=", ".join(found.groups[:5])[:200] or _("none"),
            )
        sites = context.policy.find_sites(member.id)
        if rights.sites is not None and sites is not None and not rights.sites & sites:
            return Refusal.OTHER_SITES, _(
                "Your groups belong to other schools than you do. Ask an"
                " administrator to change sites in [[sign_in.group]] or in"
                " [[staff]]."
            )
        return None

    @property
    def _redirect_flags(self) -> dict[str, Any]:
        """Return the flags of cookies that must survive the redirect from the provider."""
        return {**self._flags, "samesite": "lax"}

    def _get_provider(self) -> IdentityProvider:
        provider = self._context.access.provider
        if provider is None:
            raise HTTPException(404, _("This page doesn't exist."))
        return provider


def _read_state_cookie(cookie: str) -> dict[str, Any]:
    """Return the content of the sign-in cookie, or an empty dict if it is missing or invalid."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cookie[:_MAX_CHARACTERS]))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    texts = [found.get(key) for key in (*_SECRETS, "after")]
    is_ours = all(isinstance(text, str) and text.isprintable() for text in texts)
    return found if is_ours else {}
