"""Settings that people change on the page; each form edits entries of one configuration section.

The changed configuration is checked as a whole. Then the change is recorded in the audit log,
written to the file and applied.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access.directory import is_from_directory, list_people
from alerts.access.own_channels import name_target
from alerts.access.passwords import remove_account
from alerts.access.roles import Right
from alerts.errors import ConfigFaultsError, ConfigFileError
from alerts.page.config_file import Edit
from alerts.page.forms import Kind, build_fields, find_changes
from alerts.page.guard import get_text, require_found
from alerts.page.page_context import explain_role
from alerts.page.page_group import Access, PageGroup, serves
from alerts.page.setting_forms import FORMS, LIMITED, NEW_PERSON, UNREGISTERED
from alerts.page.sign_in import keep_inside
from alerts.page.views.people import invite, is_own, render_person
from alerts.policy import STAFF, StaffMember
from language.messages import _, mark
from storage import audit
from storage.audit import AuditKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from alerts.access.directory import DirectoryPerson
    from alerts.errors import EntryFault
    from alerts.page.config_file import ConfigFile, ConfigVersion
    from alerts.page.forms import Form
    from alerts.page.guard import Session

_DUTY: Final = "duty"
_PEOPLE: Final = "people"
_NEW: Final = "new"
_LONGEST: Final = 1300
"""Maximum characters of the old and of the new values in the audit log."""
_LONGEST_DUTY: Final = timedelta(days=14)
_NOT_HERE: Final = mark(
    "This service was started without a configuration file that can be changed."
)


class ConfigPages(PageGroup):
    """The list of settings, their forms, and test notices."""

    @serves("/settings/test", Access.STAFF, methods=("POST",))
    async def _test(self, request: Request) -> Response:
        context, session = self._context, request.state.session
        person = get_text(request.state.form, "person") or session.person
        if person != session.person and not session.may(Right.SETTINGS):
            raise HTTPException(403, _("Only administrators can send test notices to others."))
        find = context.policy.find_member if person == session.person else context.find_own_member
        member = require_found(find(person), _("This person doesn't exist."))
        limits, words = context.access.limits, _("Too many test notices. Try again later.")
        context.count(limits.tests, session.person, words)
        for _target in member.targets:
            context.count(limits.test_notices, member.id, words)
            context.count(limits.all_test_notices, "", words)
        results = await context.settings.notices.send_test(member)
        return await self._context.render(
            request,
            "settings_test.html",
            member=member,
            results=results,
            channels=await context.load_own_channels(member.id),
            name_target=name_target,
        )

    @serves("/settings/{form}/{entry}", Access.STAFF)
    async def _one(self, request: Request) -> Response:
        form, version, index = await self._find_entry(request)
        asked, lists = request.query_params, {f.key for f in form.fields if f.kind is Kind.SEVERAL}
        given = {k: asked.getlist(k) if k in lists else asked[k] for k in asked}
        start = dict(form.start(self._now(), version.whole)) | given
        values = start if index is None else version.whole[form.section][index]
        return await self._render_form(request, form, version, index, values)

    @serves("/settings/{form}/{entry}", Access.STAFF, methods=("POST",))
    async def _save_entry(self, request: Request) -> Response:
        form, version, index = await self._find_entry(request)
        session = request.state.session
        self._context.count_change(request)
        typed = form.read_values(request.state.form)
        old = {} if index is None else version.whole[form.section][index]
        number = len(version.tree.get(form.section, ())) if index is None else index
        refused = form.find_refused(self._build_tree(version), old, typed)
        if form.slug == _DUTY and not session.may(Right.SETTINGS):
            refused |= self._check_length(typed)
        if refused:
            return await self._render_form(request, form, version, index, typed, refused)
        try:
            known = version.whole.get(form.section, ())
            allowed = self._limit_sites(form, old, typed)
            edits = form.build_edits(version.whole, index, allowed, known)
            link = await self._save(request, form, version, edits)
        except ConfigFaultsError as error:
            own, elsewhere = self._hide_other_faults(form, number, error.faults)
            beside, others = form.split_faults(own, number)
            others += elsewhere
            return await self._render_form(request, form, version, index, typed, beside, others)
        except ConfigFileError as error:
            return await self._render_form(request, form, version, index, typed, {}, [str(error)])
        made = edits[0].entry
        if form.slug == _PEOPLE and index is None and made:
            member = StaffMember(made["id"], made["name"], made.get("role", STAFF))
            return await render_person(self._context, request, member, link=link)
        after = keep_inside(get_text(request.state.form, "after"))
        after = after if after.startswith("/duty/") else f"/settings/{form.slug}?saved=yes"
        return RedirectResponse(after, 303)

    @serves("/settings/{form}/{entry}/remove", Access.STAFF, methods=("POST",))
    async def _remove(self, request: Request) -> Response:
        form, version, index = await self._find_entry(request)
        if index is None or not self._may_remove(form, version, index):
            raise HTTPException(404, _("This entry doesn't exist."))
        self._context.count_change(request)
        try:
            await self._save(request, form, version, [Edit(form.section, index, None)])
        except ConfigFaultsError as error:
            own, elsewhere = self._hide_other_faults(form, index, error.faults)
            words = [f"{f.place}: {f.value}: {f.allowed}" for f in own]
            return await self._list(request, words + elsewhere, 400)
        except ConfigFileError as error:
            return await self._list(request, [str(error)], 409)
        return RedirectResponse(f"/settings/{form.slug}?saved=yes", 303)

    async def _find_entry(self, request: Request) -> tuple[Form, ConfigVersion, int | None]:
        """Return a request's form, the configuration, and the entry's index (None if it is new)."""
        form, version = self._find_form(request), await self._read_version()
        index = self._find_index(request, form, version)
        if form.slug == _PEOPLE and index is None:
            return replace(form, fields=NEW_PERSON), version, None
        in_table = index is not None and version.is_table_entry(form.section, index)
        hidden = {f.key for f in form.fields if in_table and f.kind is Kind.ROWS}
        if form.slug == _PEOPLE and self._context.sites is not None:
            hidden.add("email")  # it decides who signs in as this person
        if hidden:
            form = replace(form, fields=tuple(f for f in form.fields if f.key not in hidden))
        return form, version, index

    def _may_remove(self, form: Form, version: ConfigVersion, index: int) -> bool:
        return form.may_add and not version.is_table_entry(form.section, index)

    def _get_config(self) -> ConfigFile:
        return require_found(self._context.settings.config, _(_NOT_HERE))

    async def _read_version(self) -> ConfigVersion:
        try:
            return await self._context.run_in_thread(self._get_config().read)
        except ConfigFileError as error:
            raise HTTPException(409, str(error)) from None

    def _now(self) -> Any:
        return self._context.times.to_local(self._context.settings.clock())

    def _find_form(self, request: Request) -> Form:
        """Return the form in a path; raise 404 if there is none, 403 if the role may not use it."""
        slug = request.path_params["form"]
        found = next((f for f in FORMS if f.slug == slug and self._is_open(f)), None)
        form = require_found(found, _("This setting doesn't exist."))
        if not (request.state.session.may(form.right) or form.own):
            raise HTTPException(403, explain_role(form.right))
        return form

    def _is_open(self, form: Form) -> bool:
        """Return whether a form affects only the requester's schools."""
        return self._context.sites is None or form.own or form.slug in {_DUTY, _PEOPLE}

    def _list_visible(
        self, session: Session, form: Form, version: ConfigVersion
    ) -> list[tuple[int, dict[str, Any]]]:
        tree = version.whole
        found = form.list_entries(tree, self._now())
        if self._context.sites is not None and form.slug == _DUTY:
            shifts = {shift.get("id") for shift in self._limit_tree(tree)["shift"]}
            found = [(k, entry) for k, entry in found if entry.get("shift") in shifts]
        if form.slug == _PEOPLE and self._context.sites is not None:
            return [(k, entry) for k, entry in found if is_own(self._context, entry)]
        if session.may(form.right) and (self._context.sites is None or form.slug == _DUTY):
            return found
        return [(k, entry) for k, entry in found if entry.get("id") == session.person]

    def _find_index(self, request: Request, form: Form, version: ConfigVersion) -> int | None:
        """Return the index of the entry in a path, None if it is new; raise 404 if missing."""
        text, session = request.path_params["entry"], request.state.session
        if text == _NEW and form.may_add:
            return None
        visible = {
            str(k): k
            for k, _ in self._list_visible(session, form, version)
            if not version.name_file(form.section, k)
        }
        return require_found(visible.get(text), _("This entry doesn't exist."))

    async def _save(
        self, request: Request, form: Form, seen: ConfigVersion, edits: Sequence[Edit]
    ) -> str:
        """Save changes; return the invite link if a person was added, or an empty string."""
        version, config = get_text(request.state.form, "version"), self._get_config()
        change = await self._context.run_in_thread(config.prepare, version, edits)
        if change.after == change.before:
            return ""
        edit, now = edits[0], self._context.settings.clock()
        old = {} if edit.index is None else seen.whole[form.section][edit.index]
        new = edit.entry or {}
        before, after = find_changes(old, new)
        detail = {
            "section": form.section,
            "form": form.slug,
            "entry": form.title({**old, **new}, self._build_tree(seen))[:80],
            "what": "added" if edit.index is None else "changed" if edit.entry else "removed",
            "before": _shorten(before),
            "after": _shorten(after),
            "file_before": change.before,
            "file_after": change.after,
        }

        def record_and_write(tx: sqlite3.Connection) -> str:
            audit.append(tx, AuditKind.SETTINGS, request.state.session.person, detail, now)
            if form.section == "staff" and not (edit.entry and old):  # removed or added
                remove_account(tx, str({**old, **new}.get("id", "")), now)
            is_added = form.slug == _PEOPLE and edit.index is None
            link = invite(self._context, tx, request, str(new["id"])) if is_added else ""
            config.commit(change)  # last, so that nothing is recorded if it fails
            return link

        link = await self._context.write(record_and_write)
        config.apply()
        return link

    def _limit_tree(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Limit a configuration to the schools, shifts and staff that the requester can see.

        With access to all schools, add the people of the directory to the staff.
        """
        sites = {site.id for site in self._context.registry.sites.values()}
        if self._context.sites is None:
            members = (m for m in self._context.staff if is_from_directory(m.id))
            joined = [{"id": m.id, "name": m.name, "role": m.role} for m in members]
            return {"shift": (), **tree, "staff": [*tree.get("staff", ()), *joined]}
        people = {member.id for member in self._context.staff}
        schools = [s for s in tree.get("sites", ()) if s.get("id") in sites]
        shifts = [s for s in tree.get("shift", ()) if s.get("site") in sites]
        staff = [p for p in tree.get("staff", ()) if p.get("id") in people]
        return {**tree, "sites": schools, "shift": shifts, "staff": staff, LIMITED: True}

    def _limit_sites(
        self, form: Form, old: Mapping[str, Any], typed: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Limit a person to the requester's schools; raise 403 if other schools are chosen."""
        if form.slug != _PEOPLE or self._context.sites is None:
            return typed
        own = self._context.find_site_ids(self._context.sites) or frozenset()
        asked = typed.get("sites") or old.get("sites") or sorted(own)
        if not (own and own.issuperset(asked)):
            raise HTTPException(403, _("Choose from your own schools."))
        return {**typed, "sites": asked}

    def _hide_other_faults(
        self, form: Form, number: int, faults: Sequence[EntryFault]
    ) -> tuple[Sequence[EntryFault], list[str]]:
        """Return the faults that the requester can see, and a sentence if there are others."""
        if self._context.sites is None:
            return faults, []
        place = f"{form.section}.{number}"
        own = [f for f in faults if f.path == place or f.path.startswith(f"{place}.")]
        elsewhere = _(
            "The configuration has a fault elsewhere. Only an administrator of all schools can see"
            " it."
        )
        return own, [] if len(own) == len(faults) else [elsewhere]

    def _check_length(self, typed: Mapping[str, Any]) -> dict[str, str]:
        end, latest = typed.get("end"), self._now().replace(tzinfo=None) + _LONGEST_DUTY
        if isinstance(end, datetime) and end.replace(tzinfo=None) > latest:
            return {
                "end": _("At most two weeks ahead. For a permanent change, ask an administrator.")
            }
        return {}

    def _build_tree(self, version: ConfigVersion) -> dict[str, Any]:
        found = self._context.read_pipeline()
        unregistered = [q.name for q in found.quarantine if q.name not in found.closed]
        return {**self._limit_tree(version.whole), UNREGISTERED: unregistered}

    @serves("/settings", Access.STAFF)
    async def _index(self, request: Request) -> Response:
        session = request.state.session
        version = None if self._context.settings.config is None else await self._read_version()
        return await self._context.render(
            request,
            "settings.html",
            forms=[
                f for f in FORMS if version and (session.may(f.right) or f.own) and self._is_open(f)
            ],
            errors=[_(_NOT_HERE) if version is None else version.problem],
        )

    @serves("/settings/{form}", Access.STAFF)
    async def _list(
        self, request: Request, errors: Sequence[str] = (), status: int = 200
    ) -> Response:
        form = self._find_form(request)
        session = request.state.session
        version = await self._read_version()
        tree = self._build_tree(version)
        return await self._context.render(
            request,
            "settings_list.html",
            status,
            form=form,
            entries=[
                (
                    k,
                    form.title(entry, tree),
                    form.describe(entry, tree),
                    entry.get("id", ""),
                    version.name_file(form.section, k),
                )
                for k, entry in self._list_visible(session, form, version)
            ],
            may_change=session.may(form.right),
            reachable={m.id for m in self._context.policy.staff if m.targets},
            problem=version.problem,
            errors=[*errors, version.problem],
            joined=[
                (m, self._context.describe_sites(m.id))
                for m in self._context.own_staff
                if is_from_directory(m.id)
            ],
            absent=await self._list_absent() if form.slug == _PEOPLE else {},
            done=_("Saved.") if "saved" in request.query_params else "",
        )

    async def _list_absent(self) -> dict[str, DirectoryPerson]:
        """Return the people of the directory who haven't signed in for a long time, by id."""
        rules, own = self._context.access.sign_in, self._context.sites
        before, found = self._context.settings.clock() - rules.warned_s, {}
        for person in await self._context.read(list_people):
            rights = rules.find_joining_rights(person.groups)
            sites = None if rights is None else rights.sites
            if person.seen_at <= before and (own is None or (sites and sites <= own)):
                found[person.id] = person
        return found

    async def _render_form(
        self,
        request: Request,
        form: Form,
        version: ConfigVersion,
        index: int | None,
        values: Mapping[str, Any],
        beside: Mapping[str, str] | None = None,
        others: Sequence[str] = (),
    ) -> Response:
        tree = self._build_tree(version)
        old = {} if index is None else version.whole[form.section][index]
        seen = get_text(request.state.form, "version") if beside is not None else version.hash
        return await self._context.render(
            request,
            "settings_form.html",
            400 if beside is not None else 200,
            form=form,
            index=_NEW if index is None else index,
            name="" if index is None else form.title(old, tree),
            fields=build_fields(form.fields, values, tree, beside or {}),
            version=seen,
            problem=version.problem,
            errors=[version.problem, *others],
            removable=index is not None
            and self._may_remove(form, version, index)
            and request.state.session.may(form.right),
        )


def _shorten(values: Mapping[str, Any]) -> str:
    written: Callable[[Any], str] = str
    text = short = json.dumps(dict(values), default=written, ensure_ascii=False)
    while len(json.dumps(short)) > _LONGEST:  # as the audit log stores it
        text = text[: len(text) * 9 // 10]
        short = f"{text}..."
    return short
