"""What every page is given: who asks and may they, reading off the loop, writing, rendering.

Pages that belong together are a subclass of `PageGroup`: the routes they serve and, where people
should find them, links in the navigation. One line in `alerts.page.app.PAGES` adds them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeVar
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.templating import Jinja2Templates

from alerts.access import sessions
from alerts.access.roles import Right, who_may
from alerts.errors import UnknownIncidentError
from alerts.incidents.free_text import cleaned, findings, words_known
from alerts.page import queries as reading
from alerts.page.guard import Session, cookie_name, same_origin
from alerts.page.rendering import Times, environment
from storage import sqlite

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from alerts.page.settings import StaffPageSettings
    from alerts.policy import StaffMember

_T = TypeVar("_T")
_MAX_FORM_BYTES: Final = 10_000
_FORM_S: Final = 10.0
"""Longest that a form may take to come."""
_MAX_FREE_TEXT: Final = 1000
_MAX_COOKIE: Final = 100


@dataclass(frozen=True, slots=True)
class NavLink:
    """One entry of the navigation.

    Attributes
    ----------
    path : str
        Where it leads.
    label : str
        One word.
    below : tuple of str
        Beginnings of further paths at which it is the current one.
    right : Right, optional
        Shown only to who has it; None is everybody.
    """

    path: str
    label: str
    below: tuple[str, ...] = ()
    right: Right | None = None

    def is_current(self, path: str) -> bool:
        """Whether a person at `path` is on this page or below it."""
        return path == self.path or path.startswith(self.below or ("\0",))


class PageContext:
    """Shared by all pages.

    Parameters
    ----------
    nav : iterable of NavLink
        In the order in which they are shown.
    """

    def __init__(self, settings: StaffPageSettings, nav: Iterable[NavLink]) -> None:
        self.settings = settings
        self.registry = settings.engine.registry
        self.threads = reading.Threads()
        self.times = Times(settings)
        self._templates = Jinja2Templates(
            env=environment(settings, self.times, nav=tuple(nav), Right=Right)
        )

    # who asks

    @property
    def cookie(self) -> str:
        """Name of the session's cookie."""
        return cookie_name(secure=self.settings.secure_cookie)

    async def session(self, request: Request) -> Session | None:
        """Session behind a request; None without one."""
        identity = request.cookies.get(self.cookie)
        if not identity or len(identity) > _MAX_COOKIE:
            return None
        now = self.settings.clock()
        row = await self.read(lambda db: sessions.find(db, identity, now))
        member = None if row is None else self.member(row.person)
        if member is None:
            return None
        return Session(member.id, member.name, member.role, sessions.form_token(identity))

    async def may_read(self, request: Request) -> Session | None:
        """Session of who reads, None where reading is open; others go to the sign-in."""
        session = await self.session(request)
        if session is None and not self.settings.open_reading:
            self._to_sign_in(request)
        return session

    async def signed_in(self, request: Request, right: Right | None = None) -> Session:
        """Session of a request; those without one go to the sign-in.

        Raises
        ------
        HTTPException
            403 if the person's role lacks the right.
        """
        session = await self.session(request)
        if session is None:
            self._to_sign_in(request)
        return _with_right(session, right)

    async def may_act(
        self, request: Request, right: Right | None = None
    ) -> tuple[Session, FormData]:
        """Session and form of an action that our own page sent, or refuse it.

        Raises
        ------
        HTTPException
            403 if it came from elsewhere, or the person's role lacks the right.
        """
        if not same_origin(request):
            raise HTTPException(403, "The form did not come from this page.")
        session = await self.session(request)
        if session is None:
            self._to_sign_in(request)
        form = await form_of(request)
        if not session.allows(text_of(form, "form_token")):
            raise HTTPException(403, "The form is too old. Go back, reload and try again.")
        return _with_right(session, right), form

    def member(self, person: str) -> StaffMember | None:
        """Staff member of an id; None if the configuration has none, or not any more."""
        return next((m for m in self.settings.engine.policy.staff if m.id == person), None)

    def name_of(self, person: str) -> str:
        """Name of a staff member; what was given if there is none of this id."""
        member = self.member(person)
        return person if member is None else member.name

    def _to_sign_in(self, request: Request) -> NoReturn:
        path = request.url.path
        inner = path.endswith(("/series", "/evidence.svg", "/evidence.png"))
        if request.method == "POST" or path.startswith("/partials/") or inner:
            path = path.rpartition("/")[0] if path.startswith("/incidents/") else "/"
        elif request.url.query:
            path = f"{path}?{request.url.query}"
        where = f"/sign-in?next={quote(path)}"
        if "hx-request" in request.headers:
            raise HTTPException(401, "Please sign in again.", {"HX-Redirect": where})
        raise HTTPException(303, headers={"Location": where})

    # rows

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Read the state database in a thread."""

        def reading_it() -> _T:
            with closing(sqlite.connect(self.settings.database, read_only=True)) as db:
                return work(db)

        return await self.threads.run(reading_it)

    async def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do something to the state database in one transaction, then tell the service."""

        def commit() -> _T:
            with (
                closing(sqlite.connect(self.settings.database)) as connection,
                sqlite.transaction(connection) as tx,
            ):
                return work(tx)

        try:
            done = await self.threads.run(commit)
        except UnknownIncidentError:
            raise HTTPException(404, "There is no such incident.") from None
        self.settings.changes.tell()
        self.settings.on_change()
        return done

    def named(self, incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add the names of the place to each incident."""
        for found in incidents:
            room = self.registry.rooms.get(found["room"])
            found["room_name"] = room.name if room else found["room"]
            found["place"] = room.place if room else ""
            found["known_room"] = room is not None
        return incidents

    def free_text(self, form: FormData, name: str) -> tuple[str, str, bool]:
        """Take free text that names nobody, as far as a program can tell.

        Parameters
        ----------
        form : FormData
            A field ``no_name`` says that what looks like a name is none.
        name : str
            Of the field.

        Returns
        -------
        text : str
            Cleaned.
        fault : str
            Why it cannot be taken, as a sentence; empty if it can.
        askable : bool
            Whether the person may say that it is no name.
        """
        text = cleaned(text_of(form, name))
        staff = (m.name for m in self.settings.engine.policy.staff)
        known = words_known(self.registry.rooms.values(), staff, self.settings.school)
        found = findings(text[:_MAX_FREE_TEXT], known)
        certain = [f.text for f in found if f.certain]
        asked = [f.text for f in found if not f.certain]
        if certain:
            return text, f"Leave out what names a person: {', '.join(certain)}.", False
        if asked and text_of(form, "no_name") != "yes":
            return text, f"Is this a name? {', '.join(asked)}. Names do not belong here.", True
        return text, "", bool(asked)

    # what people see

    def render(
        self,
        request: Request,
        template: str,
        session: Session | None,
        status_code: int = 200,
        **content: Any,
    ) -> Response:
        """Fill a template for a person."""
        content.update(session=session, path=request.url.path)
        return self._templates.TemplateResponse(request, template, content, status_code=status_code)


class PageGroup(ABC):
    """Some pages that belong together."""

    nav: ClassVar[tuple[NavLink, ...]] = ()
    """Where people find them; empty for pages that others lead to."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    @abstractmethod
    def routes(self) -> Sequence[BaseRoute]:
        """Return what they answer."""


def _with_right(session: Session, right: Right | None) -> Session:
    if right is not None and not session.may(right):
        raise HTTPException(403, f"This is for the roles {who_may(right)}.")
    return session


async def form_of(request: Request) -> FormData:
    """Read a form that is small.

    Raises
    ------
    HTTPException
        413 if it is large, or its length is not given; 408 if it does not come, 400 if its sender
        goes away.
    """
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > _MAX_FORM_BYTES:
        raise HTTPException(413, "The form is too large.")
    try:
        async with asyncio.timeout(_FORM_S):
            return await request.form(max_files=0, max_fields=20, max_part_size=5000)
    except TimeoutError:
        raise HTTPException(408, "The form did not come in time.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The form ended early.") from None


def text_of(form: FormData, name: str) -> str:
    """Text of a field; empty if there is none."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
