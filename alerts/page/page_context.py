"""What every page shares: session and rights, reading off the loop, writing, rendering.

Pages that belong together are a subclass of `PageGroup`: methods marked with the path they serve
and who has access (`serves`) and, where people should find them, links in the navigation. One line
in `alerts.page.app.PAGES` adds them.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Final, NoReturn, ParamSpec, TypeVar
from urllib.parse import quote

from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from alerts.access import api_tokens, kiosks, languages, sessions
from alerts.access.api_tokens import NEEDS, Scope
from alerts.access.roles import Right, may, who_may
from alerts.errors import UnknownIncidentError
from alerts.incidents import repository
from alerts.incidents.free_text import cleaned, identifiers
from alerts.page import queries
from alerts.page.guard import Session, client_of, cookie_name, same_origin
from alerts.page.rendering import Times, environment, said
from alerts.page.settings import PipelineStatus
from language.messages import LANGUAGES, _, accepted, speak
from storage import sqlite

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.incidents.incident import Incident
    from alerts.page.settings import StaffPageSettings
    from alerts.policy import AlertPolicy, StaffMember
    from storage.registry import Registry, Room

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Handler = TypeVar("_Handler", bound="Callable[..., Awaitable[Response]]")
_FORM_S: Final = 10.0
_UPLOAD_S: Final = 60.0
"""Longest times a form may take to arrive."""
_SITES: ContextVar[frozenset[str] | None] = ContextVar("sites of the request", default=None)
"""Names of the sites that who sent the request may see; None for all."""
WALL_COOKIE: Final = "plumewatch_wall"
"""Cookie of a screen with the wall view, for its paths alone."""
READ_S: Final = 10.0
_MAX_FREE_TEXT: Final = 1000
_MAX_COOKIE: Final = 100
_BEARER: Final = {"WWW-Authenticate": 'Bearer realm="plumewatch"'}
_IN_ADDRESS: Final = frozenset(
    {"token", "access_token", "api_key", "apikey", "auth", "authorization", "bearer", "key"}
)
"""Parameters of an address in which people send tokens."""
_INCIDENT: Final = "/incidents/{id}"
"""Paths of one incident, which their people must be allowed to see."""


@dataclass(frozen=True, slots=True)
class NavLink:
    """One entry of the navigation, for those with the `right`; None is everyone.

    It is the current entry also for paths that begin with one of `below`. On a phone, only those
    with an icon are in the row; the others are behind *More*.
    """

    path: str
    label: str
    below: tuple[str, ...] = ()
    right: Right | None = None
    icon: str = ""
    """Paths of an SVG, 24 wide."""
    of_sensors: bool = False
    """Whether people see it who may not read about incidents."""

    def is_for(self, session: Session | None) -> bool:
        """Whether a person, or anybody without signing in, may open it."""
        if session is None:
            return self.right is None
        needed = self.right or (Right.SENSORS if self.of_sensors else Right.INCIDENTS)
        return session.may(needed) or (self.right is None and session.may(Right.INCIDENTS))

    def is_current(self, path: str) -> bool:
        """Whether a person at `path` is on this page or below it."""
        return path == self.path or path.startswith(self.below or ("\0",))


class PageContext:
    """Shared by all pages."""

    def __init__(self, settings: StaffPageSettings, nav: Iterable[NavLink]) -> None:
        self.settings = settings
        self.engine = settings.engine
        self._registry = settings.engine.registry
        self._parts: dict[frozenset[str], Registry] = {}
        self.threads = ThreadPoolExecutor(4, thread_name_prefix="plumewatch-page")
        self.times = Times(settings.clock, settings.engine.policy.zone)
        self.cookie = cookie_name(secure=settings.secure_cookie)
        self._templates = Jinja2Templates(
            env=environment(settings, self.times, nav=tuple(nav), Right=Right)
        )

    # what a request may see

    @property
    def sites(self) -> frozenset[str] | None:
        """Return the names of the sites that the request may see; None for all."""
        return _SITES.get()

    @property
    def registry(self) -> Registry:
        """Return the rooms and sensors that the request may see."""
        sites = _SITES.get()
        if sites is None:
            return self._registry
        return self._parts.setdefault(sites, self._registry.within(sites))

    @property
    def rooms(self) -> str | None:
        """Return the ids of the rooms that the request may see as JSON; None for all."""
        return None if _SITES.get() is None else json.dumps(list(self.registry.rooms))

    @property
    def sensors(self) -> str | None:
        """Return the ids of the sensors that the request may see as JSON; None for all."""
        return None if _SITES.get() is None else json.dumps(list(self.registry.sensors))

    @property
    def staff(self) -> tuple[StaffMember, ...]:
        """Return the staff that the request may see: those of its sites."""
        sites = _SITES.get()
        if sites is None:
            return self.policy.staff
        own = ((member, self.policy.sites_of(member.id)) for member in self.policy.staff)
        return tuple(member for member, their in own if their is None or their & sites)

    @property
    def own_staff(self) -> tuple[StaffMember, ...]:
        """Return the staff whom the request may manage: those of no site beyond its own."""
        sites = _SITES.get()
        if sites is None:
            return self.policy.staff
        own = ((member, self.policy.sites_of(member.id)) for member in self.policy.staff)
        return tuple(member for member, their in own if their is not None and their <= sites)

    def see_as(self, person: str | None, limit: frozenset[str] | None = None) -> None:
        """See from now on what a person sees; None for all, where nobody needs to sign in.

        A `limit` leaves only those sites.
        """
        sites = None if person is None else self.policy.sites_of(person)
        if limit is not None:
            sites = limit if sites is None else sites & limit
        _SITES.set(sites)
        only = next(iter(sites)) if sites and len(sites) == 1 else ""
        self.times.use(self._registry.sites[only].zone if only in self._registry.sites else "")

    def sees_sensor(self, sensor: str) -> bool:
        """Whether the request may see a sensor; unregistered ones belong to no site."""
        return _SITES.get() is None or sensor in self.registry.sensors

    def sees_all(self) -> None:
        """Raise 404 for what belongs to no site, unless the request may see all sites."""
        if _SITES.get() is not None:
            raise HTTPException(404, _("This page does not exist."))

    async def sees_incident(self, incident_id: str) -> None:
        """Raise 404 unless the request may see an incident."""
        if _SITES.get() is None:
            return
        found = await self.read(repository.load, incident_id)
        if found is None or found.room not in self.registry.rooms:
            raise HTTPException(404, _("There is no such incident."))

    def pipeline(self) -> PipelineStatus:
        """Return the status of the pipeline, without what belongs to no site that is seen."""
        found = self.settings.pipeline()
        if _SITES.get() is None:
            return found
        known = self.registry.sensors
        own = {name: status for name, status in found.sensors.items() if name in known}
        return PipelineStatus(sensors=own)

    # session and rights

    @property
    def policy(self) -> AlertPolicy:
        """The settings of alerting, which may change while pages are open."""
        return self.engine.policy

    async def session(self, request: Request) -> Session | None:
        """Return the session behind a request, and keep it for templates; None without one."""
        request.state.session = None
        self.speak(request)
        identity = request.cookies.get(self.cookie)
        if not identity or len(identity) > _MAX_COOKIE:
            return None
        person = await self.read(sessions.person_of, identity, self.settings.clock())
        member = None if person is None else self.policy.member(person)
        if member is not None:
            request.state.session = Session(
                member.id, member.name, member.role, sessions.form_token(identity)
            )
            self.see_as(member.id)
            own = await self.read(languages.language_of, member)
            self.speak(request, own)
        return session_of(request)

    def count_change(self, person: str, now: float) -> None:
        """Count a change of one's own settings; raise 429 if too many, as each is a restart."""
        wait = self.settings.limits.changes.take(person, now, answers=True)
        if wait > 0:
            after = {"Retry-After": str(int(wait) + 1)}
            raise HTTPException(429, _("Wait a minute before the next change."), after)

    def speak(self, request: Request, own: str = "") -> None:
        """Answer in the language that was asked for, else the person's, the browser's, ours."""
        asked = request.query_params.get("lang", "")
        browser = accepted(request.headers.get("accept-language", ""))
        speak((asked if asked in LANGUAGES else "") or own or browser or self.policy.language)

    async def may_read(self, request: Request, right: Right = Right.INCIDENTS) -> None:
        """Send people to the sign-in who may not read; raise 403 if their role may not."""
        session = await self.session(request)
        if session is None and not self.settings.open_reading:
            self._to_sign_in(request)
        if session is not None and not (session.may(right) or session.may(Right.INCIDENTS)):
            if request.url.path == "/":
                raise HTTPException(303, headers={"Location": "/sensors"})
            raise HTTPException(403, not_for_role(right))

    async def may_see_wall(self, request: Request) -> bool:
        """Whether a request may see the wall view: of a screen, or of who may read other pages."""
        session = await self.session(request)
        screen = await self.read(kiosks.find, request.cookies.get(WALL_COOKIE, ""))
        if screen is not None:
            request.state.session = None
            self.see_as(screen.made_by, screen.sites)
        may = session is not None and session.may(Right.INCIDENTS)
        return screen is not None or self.settings.open_reading or may

    async def signed_in(self, request: Request, right: Right | None = None) -> Session:
        """Return the session of a request; raise 403 if its role lacks the right."""
        session = await self.session(request)
        if session is None:
            self._to_sign_in(request)
        if right is not None and not session.may(right):
            raise HTTPException(403, not_for_role(right))
        return session

    async def may_act(
        self, request: Request, right: Right | None = None, *, size: FormSize | None = None
    ) -> None:
        """Keep the form of an action; raise 403 if it is not from our page or not allowed."""
        if not same_origin(request):
            raise HTTPException(403, _("This form was not sent from this page."))
        session = await self.signed_in(request, right)
        request.state.form = await form_of(request, size)
        if not session.allows(text_of(request.state.form, "form_token")):
            raise HTTPException(403, _("This form has expired. Go back, reload and try again."))

    async def may_call(self, request: Request, scope: Scope) -> None:
        """Act as the person of the token of a request to the API.

        Raises 400 for a token in the address, 401 without a valid one, 403 for one that may not do
        this, and 429 after too many requests.
        """
        limits, now = self.settings.limits, self.settings.clock()
        if not _IN_ADDRESS.isdisjoint(name.lower() for name in request.query_params):
            fault = "Send the token in the Authorization header. One in an address is in logs."
            raise HTTPException(400, f"{fault} Revoke it.")
        scheme, _space, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise HTTPException(401, "Send a token: Authorization: Bearer plumewatch_...", _BEARER)
        token = await self.read(api_tokens.find, text.strip())
        member = None if token is None else self.policy.member(token.person)
        if token is None or member is None or now >= token.expires_at:
            if (wait := limits.api.take(client_of(request), "", now)) > 0:
                raise _too_often(wait, "Too many requests with a token that is not valid.")
            is_over = member is not None
            raise HTTPException(
                401, "This token has expired." if is_over else "This token is not valid.", _BEARER
            )
        wait = limits.tokens.take(str(token.id), now, answers=request.method == "POST")
        if wait > 0:
            raise _too_often(wait, "Too many requests with this token.")
        needed = NEEDS.get(scope)
        if scope not in token.scopes or not (needed is None or may(member.role, needed)):
            raise HTTPException(403, f"This token, as {member.role}, lacks the scope {scope}.")
        request.state.session = Session(
            member.id, member.name, member.role, secrets.token_urlsafe(), token.sites
        )
        if api_tokens.is_use_due(token, now):
            await self.write(lambda tx: api_tokens.use(tx, token, now))

    def _to_sign_in(self, request: Request) -> NoReturn:
        path = request.url.path
        inner = path.endswith(("/series", "/evidence.svg", "/evidence.png"))
        if request.method == "POST" or path.startswith("/partials/") or inner:
            path = path.rpartition("/")[0] if path.startswith("/incidents/") else "/"
        elif request.url.query:
            path = f"{path}?{request.url.query}"
        where = f"/sign-in?next={quote(path)}"
        if "hx-request" in request.headers:
            raise HTTPException(401, _("Please sign in again."), {"HX-Redirect": where})
        raise HTTPException(303, headers={"Location": where})

    # rows

    async def in_thread(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a blocking call; raise TimeoutError after the deadline, while the thread runs on."""
        call = partial(copy_context().run, work, *args, **kwargs)
        async with asyncio.timeout(READ_S):
            return await asyncio.get_running_loop().run_in_executor(self.threads, call)

    async def read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Read the state database in a thread."""
        return await self.read_from(self.settings.database, lambda db: work(db, *args, **kwargs))

    async def read_from(self, path: Path, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Read a database in a thread."""

        def connect_and_read() -> _T:
            with closing(sqlite.connect(path, read_only=True)) as db:
                return work(db)

        return await self.in_thread(connect_and_read)

    async def change_incident(
        self, request: Request, work: Callable[..., Incident], *arguments: object, **more: str
    ) -> None:
        """Change the incident of a path for who sent the request, now."""
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
            done = await self.in_thread(commit)
        except UnknownIncidentError:
            raise HTTPException(404, _("There is no such incident.")) from None
        self.settings.changes.notify()
        self.settings.on_change()
        return done

    async def incident(self, incident_id: str) -> dict[str, Any]:
        """Return one incident with the names of its place; raise 404 if there is none to see."""
        await self.sees_incident(incident_id)
        found = await self.read(queries.incident, incident_id)
        if found is None:
            raise HTTPException(404, _("There is no such incident."))
        named = self.named([found])[0]
        self.times.use(named["zone"])
        return named

    def named(self, incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add the names of the place to each incident that the request may see."""
        shown = []
        for found in incidents:
            if _SITES.get() is not None and found["room"] not in self.registry.rooms:
                continue
            shown.append(found)
            room = self.registry.rooms.get(found["room"])
            found["room_name"] = room.name if room else found["room"]
            found["short_name"] = room.short_name if room else found["room"]
            found["zone"] = room.zone if room else ""
            found["place"] = room.place if room else ""
            found["known_room"] = room is not None
        return shown

    def room(self, request: Request) -> Room:
        """Return the room of a path; raise 404 if it is not registered."""
        room = self.registry.rooms.get(request.path_params["id"])
        if room is None:
            raise HTTPException(404, _("There is no such room."))
        self.times.use(room.zone)
        return room

    def free_text(self, form: Mapping[str, Any], name: str) -> tuple[str, str]:
        """Return a cleaned field of free text, and why it is refused; empty if it is not."""
        text = cleaned(text_of(form, name))
        found = identifiers(text[:_MAX_FREE_TEXT])
        if found:
            listed = ", ".join(found)
            return text, _("Leave out anything that identifies a person: %(found)s.", found=listed)
        return text, ""

    # responses

    def render(
        self,
        request: Request,
        template: str,
        status_code: int = 200,
        **content: Any,
    ) -> Response:
        """Fill a template; `session` in it is that of the request, if it was looked up."""
        content.update(session=session_of(request), path=request.url.path)
        return self._templates.TemplateResponse(request, template, content, status_code=status_code)


class FormSize(Enum):
    """Limits of a form: bytes, fields and files."""

    SMALL = (10_000, 20, 0)
    LARGE = (60_000, 800, 0)
    UPLOAD = (4_100_000, 20, 1)


class Access(Enum):
    """Who gets a page without a special right; a public one may check requests itself."""

    PUBLIC = auto()
    READERS = auto()
    """Everyone who may read about incidents."""
    SENSOR_READERS = auto()
    """Everyone who may read about incidents or sensors."""
    STAFF = auto()


@dataclass(frozen=True, slots=True)
class _Served:
    path: str
    access: Access | Right | Scope
    methods: tuple[str, ...]
    size: FormSize | None
    all_sites: bool = False

    async def admit(self, context: PageContext, request: Request) -> None:
        """Refuse or redirect those who have no access; from then on, see what they may see."""
        context.see_as(None)
        await self._admit(context, request)
        session = session_of(request)
        if session is not None:
            context.see_as(session.person, session.sites)
        if self.all_sites:
            context.sees_all()
        if _INCIDENT in self.path:
            await context.sees_incident(request.path_params["id"])

    async def _admit(self, context: PageContext, request: Request) -> None:
        right = self.access if isinstance(self.access, Right) else None
        if isinstance(self.access, Scope):
            await context.may_call(request, self.access)
        elif self.access is Access.READERS:
            await context.may_read(request)
        elif self.access is Access.SENSOR_READERS:
            await context.may_read(request, Right.SENSORS)
        elif self.access is not Access.PUBLIC:
            if "POST" in self.methods:
                await context.may_act(request, right, size=self.size)
            else:
                await context.signed_in(request, right)


def serves(
    path: str,
    access: Access | Right | Scope = Access.READERS,
    *,
    methods: tuple[str, ...] = ("GET",),
    size: FormSize | None = None,
    all_sites: bool = False,
) -> Callable[[_Handler], _Handler]:
    """Serve a path with a method of a `PageGroup`, for those who have access.

    A scope is for programs with a token that has it, and no form.
    A POST is an action: unless it is public, it needs a session and a form of our own page, which
    the method finds in `request.state`; `size` is for forms with rows or files. What is of
    `all_sites` does not exist for people of some.
    """

    def mark(handler: _Handler) -> _Handler:
        handler.__dict__["served"] = _Served(path, access, methods, size, all_sites)
        return handler

    return mark


class _RowConvertor(Convertor[int]):
    """``{id:row}`` in a path: the number of a row, which SQLite can hold; others are no path."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("row", _RowConvertor())


class PageGroup:
    """Pages that belong together: the methods that are marked with `serves`."""

    nav: ClassVar[tuple[NavLink, ...]] = ()
    """Their links in the navigation; empty for pages that others link to."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes they serve, in the order of the methods."""
        return [
            Route(found.served.path, self._endpoint(found), methods=list(found.served.methods))
            for found in vars(type(self)).values()
            if hasattr(found, "served")
        ]

    def _endpoint(self, handler: Any) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            self._context.speak(request)
            await handler.served.admit(self._context, request)
            response: Response = await handler(self, request)
            return response

        return answer


def _too_often(wait: float, detail: str) -> HTTPException:
    return HTTPException(429, detail, {"Retry-After": str(math.ceil(wait))})


def session_of(request: Request) -> Session | None:
    """Return the session that was found for a request; None without one."""
    found: Session | None = getattr(request.state, "session", None)
    return found


async def form_of(request: Request, size: FormSize | None = None) -> FormData:
    """Read a small form; raise 413, 408 or 400 if it is large, slow or cut off."""
    most, fields, files = (size or FormSize.SMALL).value
    read = partial(request.form, max_files=files, max_fields=fields, max_part_size=5000)
    return await _arrived(request, read, most, _UPLOAD_S if files else _FORM_S)


async def body_of(request: Request) -> bytes:
    """Read a small body, which may be absent, as `form_of` reads a form."""
    if request.headers.get("content-length", "0") == "0":
        return b""
    return await _arrived(request, request.body, FormSize.SMALL.value[0], _FORM_S)


async def _arrived(
    request: Request, read: Callable[[], Awaitable[_T]], most: int, patience_s: float
) -> _T:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > most:
        raise HTTPException(413, _("The form is too large."))
    try:
        async with asyncio.timeout(patience_s):
            return await read()
    except TimeoutError:
        raise HTTPException(408, _("The form did not arrive in time.")) from None
    except ClientDisconnect:
        raise HTTPException(400, _("The form was cut off.")) from None


def text_of(form: Mapping[str, Any], name: str) -> str:
    """Return the text of a field; empty if there is none."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def not_for_role(right: Right) -> str:
    """Say who has a right that a person does not have."""
    return _("Your role cannot open this. It is for: %(roles)s.", roles=who_may(right))


def sentence(text: object) -> str:
    """Write the message of an error as a sentence.

    >>> sentence("there is no such move")
    'There is no such move.'
    """
    words = said(str(text))
    return f"{words[:1].upper()}{words[1:]}."
