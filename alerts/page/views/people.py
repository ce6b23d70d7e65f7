"""The page of one person: sign-in, channels and test notices."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access import directory, own_channels, second_factor, sessions
from alerts.access.directory import is_from_directory
from alerts.access.own_channels import CHANNEL_WORDS, ChannelKind, make_address
from alerts.access.passwords import INVITE_S, list_with_password, make_invite, remove_account
from alerts.access.roles import Right
from alerts.access.sign_in_rules import fold_address
from alerts.channels import SERVICES
from alerts.errors import NotifyReason
from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from alerts.page.guard import get_text, require_found
from alerts.page.page_context import explain_role
from alerts.page.page_group import Access, PageGroup, serves
from alerts.policy import STAFF, StaffMember
from alerts.secrets import Secret, find_scheme, write_channel
from language.messages import _
from storage.audit import AuditKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from alerts.access.own_channels import Gateways
    from alerts.page.page_context import PageContext


class PeoplePages(PageGroup):
    """A person's page, for that person and for administrators."""

    @serves("/people/{id}", Access.STAFF)
    async def _one(self, request: Request) -> Response:
        return await render_person(self._context, request, await self._find_member(request))

    @serves("/people/{id}/invite", Right.ACCOUNTS, methods=("POST",))
    async def _invite(self, request: Request) -> Response:
        member = await self._find_member(request)
        # An open session doesn't prove that a person knows their password.
        if member.id == request.state.session.person:
            raise HTTPException(403, _("Change your own password under Your account."))
        if not self._context.access.sign_in.may_use_password(member.id):
            raise HTTPException(403, _("%(name)s signs in without a password.", name=member.name))
        link = await self._context.write(lambda tx: invite(self._context, tx, request, member.id))
        return await render_person(self._context, request, member, link=link)

    @serves("/people/{id}/channels", Access.STAFF, methods=("POST",))
    async def _add(self, request: Request) -> Response:
        context, member, form = self._context, await self._find_member(request), request.state.form
        gateways, now = context.settings.notices.gateways, context.settings.clock()
        kind, typed = get_text(form, "kind"), get_text(form, "to").strip()
        if kind not in _list_kinds(gateways, request):
            raise HTTPException(400, _("Choose from the list."))
        channel, address, fault = ChannelKind(kind), make_address(kind, typed), ""
        if channel is ChannelKind.OTHER:
            private = context.settings.notices.allow_private_targets
            fault = await context.run_in_thread(_check_url, Secret(address), allow_private=private)
        elif not address:
            fault = (
                _("Enter a phone number with its area code, like 312-555-0123.")
                if channel is ChannelKind.PHONE
                else _("“%(typed)s” isn't an e-mail address.", typed=typed[:80])
            )
        if fault:
            kept = {} if channel is ChannelKind.OTHER else {kind: typed}
            return await render_person(context, request, member, errors=[fault], typed=kept)
        context.count_change(request)
        label = "" if channel is ChannelKind.PUSH else address
        if channel is ChannelKind.OTHER:
            label = write_channel(find_scheme(Secret(address)))

        def add(tx: sqlite3.Connection) -> None:
            own_channels.add(tx, member.id, channel, (address, "", ""), label, now)
            context.record(tx, request, AuditKind.PUSH, f"{kind} added", person=member.id)

        await context.write_people(add)
        if channel is ChannelKind.PUSH:
            return await render_person(context, request, member, topic=address)
        return self._go_back(member)

    @serves("/people/{id}/channels/{channel:row}/remove", Access.STAFF, methods=("POST",))
    async def _remove_channel(self, request: Request) -> Response:
        context, member = self._context, await self._find_member(request)

        def remove(tx: sqlite3.Connection) -> bool:
            context.record(tx, request, AuditKind.PUSH, "channel removed", person=member.id)
            return own_channels.remove(tx, member.id, request.path_params["channel"])

        context.count_change(request)
        if not await context.write_people(remove):
            raise HTTPException(404, _("This channel doesn't exist."))
        return self._go_back(member)

    @serves("/people/{id}/remove", Right.SETTINGS, methods=("POST",))
    async def _remove_person(self, request: Request) -> Response:
        """Remove a directory person, or let a configured one sign in with another account.

        If a group admits a directory person, their next sign-in adds them again.
        """
        context, member = self._context, await self._find_member(request)

        def remove(tx: sqlite3.Connection) -> bool:
            is_bound = directory.find_account(tx, member.id, fold_address(member.email)) is not None
            if not (directory.remove(tx, member.id) or is_bound):
                return False
            what = "removed" if is_from_directory(member.id) else "address released"
            context.record(tx, request, AuditKind.SETTINGS, what, person=member.id)
            remove_account(tx, member.id, context.settings.clock())
            return True

        if not await context.write_people(remove):
            raise HTTPException(404, _("This person doesn't exist."))
        return RedirectResponse("/settings/people", 303)

    def _go_back(self, member: StaffMember) -> Response:
        return RedirectResponse(f"/people/{quote(member.id, safe='')}", 303)

    async def _find_member(self, request: Request) -> StaffMember:
        """Return the person in a path, even if just added to the file; raise 403 or 404."""
        context, session, person = self._context, request.state.session, request.path_params["id"]
        if person == session.person:
            return next(m for m in context.policy.staff if m.id == person)
        if not session.may(Right.SETTINGS):
            raise HTTPException(403, explain_role(Right.SETTINGS))
        if found := context.find_own_member(person):
            return found
        _number, known = await _find_configured(context, person)
        entry = require_found(known, _("This person doesn't exist."))
        return StaffMember(entry["id"], entry["name"], entry.get("role", STAFF))


def _list_kinds(gateways: Gateways, request: Request) -> list[ChannelKind]:
    """Return the channels that a person can add; only administrators can enter URLs."""
    may_give_urls = request.state.session.may(Right.SETTINGS)
    return [k for k in gateways.list_kinds() if may_give_urls or k is not ChannelKind.OTHER]


def _check_url(address: Secret, *, allow_private: bool) -> str:
    """Explain why an Apprise URL is refused, without quoting it; empty if it is accepted."""
    words = {
        NotifyReason.FORBIDDEN_SCHEME: _(
            "It must begin with one of: %(schemes)s.",
            schemes=", ".join(f"{scheme}://" for scheme in sorted(SERVICES)),
        ),
        NotifyReason.BAD_TARGET: _(
            "It must be the complete address of one recipient, without unsupported"
            " options or characters."
        ),
        NotifyReason.FORBIDDEN_ADDRESS: _(
            "It is not encrypted. Unencrypted addresses need alerts.allow_private_targets"
            " in the configuration."
        ),
    }
    faults = check_target(address, NotifySettings(allow_private=allow_private))
    return " ".join(words[fault.reason] for fault in faults)


def invite(context: PageContext, tx: sqlite3.Connection, request: Request, person: str) -> str:
    """Create and return an invite link, and record who created it."""
    context.record(tx, request, AuditKind.PASSWORD, "invited", person=person)
    token = make_invite(tx, person, context.settings.clock())
    return f"{context.policy.page_url}/welcome#{token}"


async def _find_configured(
    context: PageContext, person: str
) -> tuple[int | None, Mapping[str, Any] | None]:
    """Return the index and entry of a person whom the requester can change, or (None, None)."""
    if context.settings.config is None:
        return None, None
    version = await context.run_in_thread(context.settings.config.read)
    for k, entry in enumerate(version.whole.get("staff", ())):
        may_change = is_own(context, entry) and not version.name_file("staff", k)
        if may_change and entry.get("id") == person:
            return k, entry
    return None, None


def is_own(context: PageContext, entry: Mapping[str, Any]) -> bool:
    """Return whether the requester can see all of a person's schools, and so manage the person."""
    own = context.find_site_ids(context.sites)
    return own is None or (bool(entry.get("sites")) and own.issuperset(entry["sites"]))


def find_account_state(db: sqlite3.Connection, person: str, now: float) -> dict[str, float]:
    """Return when password and second factor were set (0 if not), and the number of sessions."""
    return {
        "password": list_with_password(db).get(person, 0.0),
        "factor": second_factor.list_enrolled(db).get(person, 0.0),
        "count": sessions.count_by_person(db, now).get(person, 0),
    }


async def render_person(
    context: PageContext,
    request: Request,
    member: StaffMember,
    *,
    link: str = "",
    topic: str = "",
    errors: Sequence[str] = (),
    typed: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """Render a person's page; `link` and `topic` are new ones, shown only once."""
    notices, session = context.settings.notices, request.state.session
    server = notices.gateways.push.rstrip("/")
    number, _entry = await _find_configured(context, member.id)
    own = await context.load_own_channels(member.id)
    return await context.render(
        request,
        "person.html",
        400 if errors else 200,
        errors=errors,
        member=member,
        channels=own,
        configured=[
            own_channels.name_target(target, own)
            for target in member.targets
            if target not in {channel.target for channel in own}
        ],
        kinds=_list_kinds(notices.gateways, request),
        no_sender=notices.gateways.list_missing(),
        may_add_shift=context.sites is None,
        channel_words=CHANNEL_WORDS,
        number=number,
        server=server.partition("://")[2],
        topic=topic,
        typed=typed,
        topic_address=f"{server}/{topic}",
        link=link,
        until=context.settings.clock() + INVITE_S,
        is_local=context.is_for_this_computer,
        account=await context.read(find_account_state, member.id, context.settings.clock())
        if session.may(Right.ACCOUNTS) and member.id != session.person
        else None,
        may_invite=session.may(Right.ACCOUNTS)
        and (bool(link) or context.access.sign_in.may_use_password(member.id)),
        provider=context.access.provider,
        has_joined=is_from_directory(member.id),
        is_bound=await context.read(directory.find_account, member.id, fold_address(member.email))
        is not None,
    )
