"""Code that all pages share: sessions and rights, database access in threads, and rendering."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from alerts.access import api_tokens, directory, second_factor, sessions
from alerts.access.api_tokens import Scope
from alerts.access.own_channels import load_channels
from alerts.access.roles import Right, list_roles_with
from alerts.access.sign_in_rules import Rights, fold_address
from alerts.errors import UnknownIncidentError
from alerts.incidents import repository
from alerts.incidents.free_text import clean_text, find_fault
from alerts.notify.pictures import IncidentPictures
from alerts.page import queries
from alerts.page.guard import (
    PendingSignIn,
    Session,
    get_session,
    get_text,
    is_local,
    is_proxied,
    name_cookie,
    read_form,
    refuse_for_now,
    require_found,
    require_same_origin,
    send_to_sign_in,
)
from alerts.page.rendering import NAV, build_environment
from alerts.page.visibility import Visibility
from language.messages import LANGUAGES, _, agree, capitalize, choose_language, set_language
from storage import audit, sqlite
from storage.audit import AuditKind
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.access.api_tokens import ApiToken
    from alerts.access.own_channels import OwnChannel
    from alerts.access.sessions import Started
    from alerts.incidents.incident import Incident
    from alerts.page.settings import StaffPageSettings
    from alerts.policy import StaffMember
    from storage.rate_limit import RateLimit
    from storage.registry import Room, Sensor
    from storage.timeseries import LatestReading

_T = TypeVar("_T")
_P = ParamSpec("_P")
WALL_COOKIE: Final = "plumewatch_wall"
"""Cookie of a screen that shows the wall view; browsers send it only to that view's paths."""
READ_S: Final = 10.0
_MAX_FREE_TEXT: Final = 1000
_MAX_COOKIE: Final = 100
_SHARED_S: Final = 1.0
_AT_ONCE: Final = 2


class PageContext(Visibility):
    """Sessions, database access and rendering, shared by all pages."""

    def __init__(self, settings: StaffPageSettings) -> None:
        super().__init__(settings)
        self.threads = ThreadPoolExecutor(4, thread_name_prefix="plumewatch-page")
        self.hashing = ThreadPoolExecutor(1, thread_name_prefix="plumewatch-password")
        self.pending_sign_ins: dict[str, PendingSignIn] = {}
        """People who entered their password and still have to enter a code, by cookie."""
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._has_noted_proxy = False
        self._latest: asyncio.Future[Mapping[str, LatestReading]] | None = None
        self._latest_at = -math.inf
        self.pictures = IncidentPictures(
            settings.database, self.registry, settings.series, self.policy.zone
        )
        self.cookie = name_cookie(secure=settings.access.secure_cookie)
        self._templates = build_environment(settings, self.times, nav=NAV, Right=Right)

    async def find_session(self, request: Request) -> Session | None:
        """Return the session of a request, or None, and store it in `request.state`."""
        request.state.session = None
        self.choose_request_language(request)
        if is_proxied(request) and not self._has_noted_proxy:
            self._has_noted_proxy = True
            await self._note_proxy()
        identity = request.cookies.get(self.cookie)
        if not identity or len(identity) > _MAX_COOKIE:
            return None
        started = await self.read(sessions.find, identity, self.settings.clock())
        member = None if started is None else self.policy.find_member(started.person)
        if started is None or member is None or not self._is_current(started, member):
            return None
        rights = self.access.sign_in.find_rights(member.role, started.groups)
        if rights is not None and not await self._lacks_factor(started, member):
            request.state.session = Session(
                member.id,
                member.name,
                rights.role,
                sessions.make_form_token(identity),
                rights.sites,
            )
            self.limit_to_sites_of(member.id, rights.sites)
            self.choose_request_language(request, member.language)
        return get_session(request)

    async def _note_proxy(self) -> None:
        """Record that requests come through a proxy, for `plumewatch check`."""
        now = self.settings.clock()
        with suppress(sqlite3.Error, StorageError):  # the page must work even with a full disk
            await self.write(lambda tx: audit.append(tx, AuditKind.PROXY, "service", {}, now))

    def _is_current(self, started: Started, member: StaffMember) -> bool:
        if started.email is not None and started.email != fold_address(member.email):
            return False
        is_local = self.access.one_click or self.access.sign_in.may_use_password(member.id)
        return started.groups is not None or is_local

    async def _lacks_factor(self, started: Started, member: StaffMember) -> bool:
        """Return whether a person signed in without the second factor that their role needs."""
        needs_factor = member.role in self.access.sign_in.second_factor
        if started.groups is not None or self.access.one_click or not needs_factor:
            return False
        return await self.read(second_factor.find_enrollment, member.id) is None

    def count(self, limit: RateLimit, key: str, words: str) -> None:
        """Count a request; raise 429 with a sentence if there are too many."""
        wait = limit.take(key, self.settings.clock())
        if wait > 0:
            raise refuse_for_now(wait, words)

    def count_change(self, request: Request) -> None:
        """Count a change of settings; raise 429 if too many, since most restart the service."""
        session = request.state.session
        if not session.may(Right.SETTINGS):  # for others, the limit on all forms is enough
            limit = self.access.limits.changes
            self.count(limit, session.person, _("Wait a minute before the next change."))

    def choose_request_language(self, request: Request, own: str = "") -> None:
        """Set the language: the requested one, or else the person's, browser's or school's."""
        asked = request.query_params.get("lang", "")
        browser = choose_language(request.headers.get("accept-language", ""))
        set_language(
            (asked if asked in LANGUAGES else "") or own or browser or self.policy.language
        )

    async def require_reader(self, request: Request, right: Right = Right.INCIDENTS) -> None:
        """Require a session with this right or `INCIDENTS`, except in the demo.

        Roles that can't open the start page are redirected to the sensors.
        """
        session = await self.find_session(request)
        if session is None and not self.is_open_to(request):
            send_to_sign_in(request)
        if session is not None and not (session.may(right) or session.may(Right.INCIDENTS)):
            if request.url.path == "/":
                raise HTTPException(303, headers={"Location": "/sensors"})
            raise HTTPException(403, explain_role(right))

    def is_open_to(self, request: Request) -> bool:
        """Return whether no password is needed, because this is a demo on the same machine."""
        return self.access.one_click and is_local(request)

    async def may_see_wall(self, request: Request) -> bool:
        """Return whether a screen or a person can see the wall view."""
        session = await self.find_session(request)
        screen = await self.find_screen(request.cookies.get(WALL_COOKIE, ""))
        if screen is not None:
            request.state.session = None
            self.limit_to_sites_of(screen.person, self.find_site_names(screen.sites))
            return bool(self.permitted.rooms)  # an empty view would suggest that all is well
        may = session is not None and session.may(Right.INCIDENTS)
        return self.is_open_to(request) or may

    def find_rights(self, db: sqlite3.Connection, member: StaffMember) -> Rights:
        """Return a person's rights, by the groups at their latest sign-in; maybe none."""
        groups = directory.find_groups(db, member.id)
        return self.access.sign_in.find_rights(member.role, groups) or Rights("", frozenset())

    async def find_token(self, text: str) -> tuple[ApiToken, StaffMember] | None:
        """Return a token, limited to its person's rights now, and the person with that role."""
        token = await self.read(api_tokens.find, text)
        member = token and self.policy.find_member(token.person)
        if not token or not member:
            return None
        role, sites = await self.read(self.find_rights, member)
        token = api_tokens.restrict(token, role, self.find_site_ids(sites))
        return token, replace(member, role=role)

    async def find_screen(self, text: str) -> ApiToken | None:
        """Return a screen's valid token for the wall view, or None."""
        found, now = await self.find_token(text), self.settings.clock()
        if found is None or not (token := found[0]).may(Scope.WALL, now):
            return None
        if api_tokens.is_use_due(token, now):
            await self.write(lambda tx: api_tokens.use(tx, token, now))
        return token

    async def require_session(self, request: Request, right: Right | None = None) -> Session:
        """Return the session of a request, or redirect to sign-in; raise 403 without the right."""
        session = await self.find_session(request)
        if session is None:
            send_to_sign_in(request)
        if right is not None and not session.may(right):
            raise HTTPException(403, explain_role(right))
        return session

    async def require_form(self, request: Request, right: Right | None = None) -> None:
        """Check and store an action's form; raise 403 if it is not allowed or not from our page."""
        require_same_origin(request)
        session = await self.require_session(request, right)
        request.state.form = await read_form(request)
        if not session.allows(get_text(request.state.form, "form_token")):
            raise HTTPException(403, _("This form has expired. Go back, reload and try again."))
        part = request.url.path.split("/")[1]  # other forms must not use up responses to alerts
        words = _("Too many requests. Try again later.")
        self.count(self.access.limits.writes, f"{session.person} {part}", words)

    async def run_in_thread(
        self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a blocking call; on timeout, raise TimeoutError and leave the thread running."""
        call = partial(copy_context().run, work, *args, **kwargs)
        async with asyncio.timeout(READ_S):
            return await asyncio.get_running_loop().run_in_executor(self.threads, call)

    def limit_concurrent(self, request: Request) -> AbstractAsyncContextManager[None]:
        """Return a context manager that lets a person load `_AT_ONCE` pages at a time.

        Otherwise, one person's requests could occupy all threads.
        """
        session = get_session(request)
        if session is None:
            return nullcontext()
        return self._slots.setdefault(session.person, asyncio.Semaphore(_AT_ONCE))

    async def read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Read the state database in a thread; damaged text doesn't hide the other rows."""

        def connect_and_read() -> _T:
            with closing(sqlite.connect(self.settings.database, read_only=True)) as db:
                db.text_factory = partial(str, encoding="utf-8", errors="replace")
                return work(db, *args, **kwargs)

        return await self.run_in_thread(connect_and_read)

    async def load_room_states(
        self, rooms: Collection[Room] | None = None
    ) -> list[queries.RoomState]:
        """Return the current state of `rooms`, or of all rooms in `registry`.

        Requests within `_SHARED_S` share one query of the newest readings.
        """
        settings, now = self.settings, asyncio.get_running_loop().time()
        if self._latest is None or now - self._latest_at >= _SHARED_S:
            self._latest_at = now
            self._latest = asyncio.ensure_future(self.run_in_thread(settings.series.read_latest))
        latest, intervals = await asyncio.shield(self._latest), settings.pipeline.get_intervals()
        return await self.read(
            queries.load_rooms, self.registry, latest, settings.clock(), intervals, rooms
        )

    async def change_incident(
        self, request: Request, work: Callable[..., Incident], *arguments: object, **more: object
    ) -> None:
        """Change the incident named in the request's path, as the signed-in person."""
        incident, now = request.path_params["id"], self.settings.clock()
        person = request.state.session.person
        await self.write(lambda tx: work(tx, incident, person, *arguments, now, **more))

    async def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Change the state database in one transaction, then wake the service."""

        def commit() -> _T:
            with (
                closing(sqlite.connect(self.settings.database)) as connection,
                sqlite.transaction(connection) as tx,
            ):
                return work(tx)

        try:
            done = await self.run_in_thread(commit)
        except UnknownIncidentError:
            raise HTTPException(404, _("This incident doesn't exist.")) from None
        self.settings.changes.notify()
        return done

    async def write_people(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Change people or their channels, as `write` does, and reload them."""
        done = await self.write(work)
        await self.run_in_thread(self.settings.notices.read_channels)
        return done

    async def load_own_channels(self, person: str) -> list[OwnChannel]:
        """Return the channels that a person set up on the page."""
        found = await self.read(load_channels, self.settings.notices.gateways)
        return found.get(person, [])

    def record(
        self, tx: sqlite3.Connection, request: Request, kind: AuditKind, what: str, **more: str
    ) -> None:
        """Record an action of the signed-in person in the audit log."""
        detail = {"what": what, **more}
        audit.append(tx, kind, request.state.session.person, detail, self.settings.clock())

    async def require_incident(self, incident_id: str) -> None:
        """Raise 404 unless the requester can see the incident."""
        if self.sites is None:
            return
        found = await self.read(repository.load, incident_id)
        if found is None or self.registry.get_room(found.room) is None:
            raise HTTPException(404, _("This incident doesn't exist."))

    async def load_incident(self, incident_id: str) -> dict[str, Any]:
        """Return one incident with its place names; raise 404 if missing or not visible."""
        await self.require_incident(incident_id)
        found = await self.read(queries.load_incident, incident_id)
        found = require_found(found, _("This incident doesn't exist."))
        named = self.add_place_names([found])[0]
        self.times.use(named["zone"])
        return named

    def add_place_names(self, incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the incidents that the requester can see, with their place names added."""
        shown = []
        for found in incidents:
            room = self.registry.get_room(found["room"])
            if self.sites is not None and room is None:
                continue
            shown.append(found)
            found["room_name"] = room.name if room else found["room"] or "Plumewatch"
            found["short_name"] = room.short_name if room else found["room"] or "Plumewatch"
            found["zone"] = room.zone if room else ""
            found["place"] = room.place if room else ""
            found["known_room"] = found["room"] in self.registry.rooms
        return shown

    def find_room(self, request: Request) -> Room:
        """Return the room in the request's path; raise 404 if it is not visible."""
        found = self.registry.rooms.get(request.path_params["id"])
        room = require_found(found, _("This room doesn't exist."))
        self.times.use(room.zone)
        return room

    def find_sensor(self, request: Request) -> Sensor:
        """Return the sensor in the request's path; raise 404 if it is not visible."""
        found = self.registry.sensors.get(request.path_params["id"])
        return require_found(found, _("This sensor doesn't exist."))

    def read_free_text(self, form: Mapping[str, Any], name: str) -> tuple[str, str]:
        """Return a field's cleaned text, and why it is refused (empty if accepted)."""
        text = clean_text(get_text(form, name))
        return text, find_fault(text[:_MAX_FREE_TEXT])

    async def render(
        self,
        request: Request,
        template: str,
        status_code: int = 200,
        *,
        errors: Sequence[str] = (),
        done: str = "",
        **content: Any,
    ) -> Response:
        """Render a template in a thread.

        `errors` and `done` are sentences shown above the content.
        """
        content.update(request=request, session=get_session(request), path=request.url.path)
        content.update(errors=[*filter(None, errors)], done=done)
        content["may_read"] = content["session"] is not None or self.is_open_to(request)
        content["schools"], content["school_shown"], content["one_school"] = getattr(
            request.state, "schools", ((), None, False)
        )
        fill = partial(copy_context().run, self.fill, template, content)
        html = await asyncio.get_running_loop().run_in_executor(self.threads, fill)
        return HTMLResponse(html, status_code)

    def fill(self, template: str, content: Mapping[str, Any]) -> str:
        """Return the HTML of a template; blocks."""
        return agree(self._templates.get_template(template).render(content))


def explain_role(right: Right) -> str:
    """Explain that a person lacks a right, and which roles have it."""
    return _("Your role can't open this. It's for: %(roles)s.", roles=list_roles_with(right))


def to_sentence(text: object) -> str:
    """Turn an error message into a sentence.

    >>> to_sentence("this move does not exist")
    'This move does not exist.'
    """
    return f"{capitalize(str(text))}."
