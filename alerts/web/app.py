"""The staff page as a Starlette application.

Phone first. It loads nothing from other machines, runs no inline script, and works without script
except for charts and live refresh. Reading may be open on loopback; every action needs a session,
a form token and a POST from our own page. A GET changes nothing, so link scanners may fetch what
they like.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote
from zoneinfo import ZoneInfo

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from alerts.errors import FeedbackError, UnknownIncidentError
from alerts.incidents import FALSE_CAUSES, MAX_NOTE, Verdict
from alerts.notice import KIND_WORDS
from alerts.pictures import IncidentPictures
from alerts.web import reading
from alerts.web.dead_letters import DeadLetterPages
from alerts.web.guard import COOKIE, SecurityHeaders, Session, Sessions, SignInLimit, same_origin
from alerts.web.levels import LevelPages
from alerts.web.unmatched import UnmatchedPages
from detection.quantities import QUANTITIES
from storage import sqlite
from storage.errors import StorageError
from storage.registry import floor_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from starlette.datastructures import FormData
    from starlette.requests import Request

    from alerts.web.settings import StaffPageSettings
    from storage.registry import Room

__all__ = ["create_app"]

_LOG: Final = logging.getLogger(__name__)
_HERE: Final = Path(__file__).parent
_ROOM_WINDOW_S: Final = 1800.0
_BEFORE_S: Final = 300.0
_AFTER_S: Final = 600.0
_MAX_POINTS: Final = 1500
_STRANGERS: Final = 20
_CHARTS: Final = (
    ("PM2.5", ("pm25", "pm10", "pm1", "n03")),
    ("VOC", ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw")),
    ("Humidity", ("rh",)),
)
_VERDICT_WORDS: Final = {
    "confirmed": "Confirmed",
    "false_alarm": "False alarm",
    "nothing_found": "Nothing found",
    "test": "Test",
}
_NOTED_WORDS: Final = {
    "clock": "wrong clock",
    "fault": "faulty value",
    "unjudged": "out of order",
    "cached": "repeated by a bridge",
    "simulated": "console test",
    "maintenance": "while cleaning itself",
    "undecoded": "not decoded by the network server",
}
_STATUS_WORDS: Final = {
    "open": "Open",
    "notified": "Staff told",
    "acknowledged": "Taken",
    "resolved": "Over",
}


def create_app(settings: StaffPageSettings) -> Starlette:
    """Build the staff page.

    Parameters
    ----------
    settings : StaffPageSettings

    Returns
    -------
    Starlette
        Serve it on loopback unless the school says otherwise, then with
        ``open_reading=False``.
    """
    page = _Page(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        page.threads.close()

    return Starlette(
        routes=[
            Route("/", page.board),
            Route("/partials/board", page.board_partial),
            Route("/incidents", page.incidents),
            Route("/partials/incidents", page.incidents_partial),
            Route("/incidents/{id}", page.incident),
            Route("/incidents/{id}/series", page.incident_series),
            Route("/incidents/{id}/evidence.svg", page.evidence_svg),
            Route("/incidents/{id}/evidence.png", page.evidence_png),
            Route("/incidents/{id}/acknowledge", page.acknowledge, methods=["POST"]),
            Route("/incidents/{id}/feedback", page.feedback, methods=["POST"]),
            Route("/rooms/{id}", page.room),
            Route("/rooms/{id}/series", page.room_series),
            Route("/sensors", page.sensors),
            Route("/unmatched", page.unmatched.one),
            Route("/levels", page.levels.show),
            Route("/levels/moves/{seq:int}/undo", page.levels.undo, methods=["POST"]),
            Route("/dead-letters", page.dead_letters.list),
            Route("/dead-letters/{id}", page.dead_letters.one),
            Route("/sign-in", page.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", page.sign_out, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts)),
        ],
        exception_handlers={
            HTTPException: page.on_http_error,
            StorageError: page.on_storage_error,
            sqlite3.Error: page.on_storage_error,
            TimeoutError: page.on_storage_error,
        },
        lifespan=lifespan,
    )


class _Page:
    """The handlers and what they share."""

    def __init__(self, settings: StaffPageSettings) -> None:
        self._settings = settings
        self._registry = settings.engine.registry
        self._zone = ZoneInfo(settings.engine.policy.zone)
        self._sessions = Sessions(settings.session_s)
        self._limit = SignInLimit()
        self.threads = reading.Threads()
        self.dead_letters = DeadLetterPages(settings, self.threads, self._signed_in, self._render)
        self.unmatched = UnmatchedPages(settings, self._signed_in, self._render)
        self.levels = LevelPages(
            settings,
            self.threads,
            may_read=self._may_read,
            may_act=self._may_act,
            write=self._write,
            render=self._render,
        )
        self._pictures = IncidentPictures(
            settings.database, self._registry, settings.series, settings.engine.policy.zone
        )
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["clock"] = self._clock_text
        environment.filters["when"] = self._when_text
        environment.filters["ago"] = self._ago_text
        environment.filters["iso"] = lambda t: datetime.fromtimestamp(t, UTC).isoformat()
        environment.filters["path"] = lambda text: quote(text, safe="")
        environment.filters["floor_name"] = floor_name
        environment.globals.update(
            school=settings.school,
            kind_words=KIND_WORDS,
            verdict_words=_VERDICT_WORDS,
            status_words=_STATUS_WORDS,
            noted_words=_NOTED_WORDS,
            causes=FALSE_CAUSES,
            max_note=MAX_NOTE,
        )
        self._templates = Jinja2Templates(env=environment)

    # what people see

    async def board(self, request: Request) -> Response:
        """Rooms now, and what needs somebody."""
        session = self._may_read(request)
        return self._render(request, "board.html", session, **await self._board_content())

    async def board_partial(self, request: Request) -> Response:
        """Return the part of the board that changes."""
        session = self._may_read(request)
        content = await self._board_content()
        return self._render(request, "board_content.html", session, **content)

    async def _board_content(self) -> dict[str, Any]:
        states = await self._room_states()
        open_incidents = await self.threads.run(
            lambda: reading.incidents(self._settings.database, only_open=True)
        )
        levels = [s.level for s in states]
        return {
            "buildings": reading.board(states),
            "open_incidents": self._named(open_incidents),
            "counts": {level: levels.count(level) for level in dict.fromkeys(levels)},
            "reachable": any(m.targets for m in self._settings.engine.policy.staff),
        }

    async def incidents(self, request: Request) -> Response:
        """Open and recent incidents."""
        session = self._may_read(request)
        return self._render(request, "incidents.html", session, incidents=await self._recent())

    async def incidents_partial(self, request: Request) -> Response:
        """Return the list of incidents alone."""
        session = self._may_read(request)
        return self._render(request, "incident_list.html", session, incidents=await self._recent())

    async def incident(self, request: Request) -> Response:
        """Show one incident: what, where, why, who, and the buttons."""
        session = self._may_read(request)
        return await self._incident_page(request, session)

    async def _incident_page(
        self, request: Request, session: Session | None, error: str = "", status: int = 200
    ) -> Response:
        found = await self._incident(request)
        staff = {m.id: m.name for m in self._settings.engine.policy.staff}
        return self._render(
            request,
            "incident.html",
            session,
            status_code=status,
            incident=self._named([found])[0],
            staff=staff,
            error=error,
        )

    async def room(self, request: Request) -> Response:
        """Show one room: the air of the last 30 minutes and its incidents."""
        session = self._may_read(request)
        room = self._room(request)
        states = await self._room_states()
        recent = await self.threads.run(
            lambda: reading.incidents(self._settings.database, room=room.id, limit=10)
        )
        return self._render(
            request,
            "room.html",
            session,
            state=next(s for s in states if s.room.id == room.id),
            sensors=self._registry.sensors_in(room.id),
            incidents=self._named(recent),
        )

    async def sensors(self, request: Request) -> Response:
        """Sensors, strangers among them, and what was refused or not delivered."""
        session = self._may_read(request)
        latest = await self.threads.run(self._settings.series.latest)
        now = self._settings.clock()
        delivery = await self.threads.run(reading.status, self._settings.database, now)
        pipeline = self._settings.pipeline()
        return self._render(
            request,
            "sensors.html",
            session,
            pipeline=pipeline,
            most=sys.maxsize if "all" in request.query_params else _STRANGERS,
            delivery=delivery,
            sensors=[
                (s, self._registry.rooms.get(s.room), latest.get(s.id))
                for s in self._registry.sensors.values()
            ],
        )

    # charts

    async def room_series(self, request: Request) -> Response:
        """Return the last 30 minutes of a room as JSON."""
        self._may_read(request)
        room = self._room(request)
        now = self._settings.clock()
        return await self._series(room.id, now - _ROOM_WINDOW_S, now, [])

    async def incident_series(self, request: Request) -> Response:
        """Return the air around an incident as JSON."""
        self._may_read(request)
        found = await self._incident(request)
        last = max((e["end"] or e["last_heard"] for e in found["events"]), default=found["onset"])
        start = found["onset"] - _BEFORE_S
        end = min(max(last, found["onset"]) + _AFTER_S, start + 6 * 3600.0)
        end = min(end, max(self._settings.clock(), last))
        extra = [e["sensor"] for e in found["events"]]
        return await self._series(found["room"], start, end, extra)

    async def evidence_svg(self, request: Request) -> Response:
        """Return the evidence picture of an incident, for the page and for print."""
        return await self._picture(request, self._pictures.svg, "image/svg+xml")

    async def evidence_png(self, request: Request) -> Response:
        """Return the evidence picture of an incident as pixels, to send on."""
        return await self._picture(request, self._pictures.png, "image/png")

    async def _picture(
        self, request: Request, make: Callable[[str], str | bytes | None], media_type: str
    ) -> Response:
        self._may_read(request)
        picture = await self.threads.run(make, request.path_params["id"])
        if picture is None:
            raise HTTPException(404, "There is no such incident.")
        return Response(picture, media_type=media_type)

    async def _series(
        self, room: str, start: float, end: float, extra: Sequence[str]
    ) -> JSONResponse:
        ids = dict.fromkeys([*(s.id for s in self._registry.sensors_in(room)), *extra])
        read = self._settings.series.window
        columns = {i: await self.threads.run(read, i, start, end) for i in ids}
        charts = []
        for title, keys in _CHARTS:
            for key in keys:
                lines = [
                    {"sensor": i, **_thinned(times, values[key])}
                    for i, (times, values) in columns.items()
                    if key in values and any(math.isfinite(v) for v in values[key])
                ]
                if lines:
                    unit = QUANTITIES[key].unit
                    label = QUANTITIES[key].label if key != "rh" else title
                    charts.append({"title": label, "unit": unit, "lines": lines})
                    break
        marks = await self.threads.run(
            lambda: reading.room_events(self._settings.database, room, start, end)
        )
        for mark in marks:
            mark["words"] = KIND_WORDS.get(mark["kind"], mark["kind"])
        zone = self._zone.key
        body = {"start": start, "end": end, "zone": zone, "charts": charts, "marks": marks}
        return JSONResponse(body)

    # what people do

    async def acknowledge(self, request: Request) -> Response:
        """Take an incident."""
        session, _ = await self._may_act(request)
        incident_id = request.path_params["id"]
        now = self._settings.clock()
        await self._write(
            lambda tx: self._settings.engine.acknowledge(
                tx, incident_id, session.name, now, channel="staff page"
            )
        )
        return RedirectResponse(f"/incidents/{quote(incident_id, safe='')}", 303)

    async def feedback(self, request: Request) -> Response:
        """Say what it was."""
        session, form = await self._may_act(request)
        incident_id = request.path_params["id"]
        now = self._settings.clock()
        try:
            verdict = Verdict(_text(form, "verdict"))
        except ValueError:
            raise HTTPException(400, "There is no such answer.") from None
        cause = _text(form, "cause") if verdict is Verdict.FALSE_ALARM else ""
        note = " ".join(_text(form, "note").split())
        try:
            await self._write(
                lambda tx: self._settings.engine.feedback(
                    tx, incident_id, session.name, verdict, now, cause=cause, note=note
                )
            )
        except FeedbackError as error:
            return await self._incident_page(request, session, f"{error}.", 400)
        return RedirectResponse(f"/incidents/{quote(incident_id, safe='')}", 303)

    async def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def commit() -> None:
            connection = sqlite.connect(self._settings.database)
            try:
                with sqlite.transaction(connection) as tx:
                    work(tx)
            finally:
                connection.close()

        try:
            await self.threads.run(commit)
        except UnknownIncidentError:
            raise HTTPException(404, "There is no such incident.") from None
        self._settings.on_change()

    # signing in and out

    async def sign_in(self, request: Request) -> Response:
        """Ask for name and token; start a session."""
        after = _inside(request.query_params.get("next", "/"))
        names = [m.name for m in self._settings.engine.policy.staff]
        content: dict[str, Any] = {"after": after, "names": names, "error": ""}
        if request.method == "GET":
            return self._render(request, "sign_in.html", self._session(request), **content)
        if not same_origin(request):
            raise HTTPException(403, "The form did not come from this page.")
        now = self._settings.clock()
        client = request.client.host if request.client else ""
        wait = self._limit.wait_s(client, now)
        if wait > 0:
            content["error"] = f"Too many failed tries. Wait {math.ceil(wait)} seconds."
            response = self._render(request, "sign_in.html", None, status_code=429, **content)
            response.headers["Retry-After"] = str(math.ceil(wait))
            return response
        form = await _form(request)
        content["after"] = after = _inside(_text(form, "after"))
        name = " ".join(_text(form, "name").split())[:60]
        if not self._settings.token.matches(_text(form, "token").strip()):
            self._limit.failed(client, now)
            _LOG.warning("a sign-in with a wrong token from %s was refused", client)
            content["error"] = "This is not the staff token."
            return self._render(request, "sign_in.html", None, status_code=403, **content)
        if not name:
            content["error"] = "Please give your name; it goes with what you do here."
            return self._render(request, "sign_in.html", None, status_code=400, **content)
        response = RedirectResponse(after, 303)
        response.set_cookie(
            COOKIE,
            self._sessions.start(name, now),
            max_age=int(self._settings.session_s),
            httponly=True,
            samesite="strict",
            secure=self._settings.secure_cookie,
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        await self._may_act(request)
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    # what machines see

    async def on_http_error(self, request: Request, error: Exception) -> Response:
        """Say what was wrong in a sentence."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        if status in {302, 303, 307}:
            return Response(status_code=status, headers=headers)
        detail = error.detail if isinstance(error, HTTPException) else ""
        if not detail or detail == HTTPStatus(status).phrase:
            detail = {404: "There is nothing here.", 405: "That does not work this way."}.get(
                status, HTTPStatus(status).phrase
            )
        session = self._session(request)
        response = self._render(request, "error.html", session, status_code=status, detail=detail)
        response.headers.update(headers or {})
        return response

    async def on_storage_error(self, request: Request, error: Exception) -> Response:
        """Say that the state cannot be read at the moment."""
        _LOG.warning("page %s: %s", request.url.path, error or type(error).__name__)
        detail = "The state database cannot be read at the moment. Alerts go on without this page."
        return self._render(request, "error.html", None, status_code=503, detail=detail)

    # shared

    def _session(self, request: Request) -> Session | None:
        identity = request.cookies.get(COOKIE)
        return self._sessions.find(identity, self._settings.clock()) if identity else None

    def _may_read(self, request: Request) -> Session | None:
        session = self._session(request)
        if session is None and not self._settings.open_reading:
            self._to_sign_in(request)
        return session

    def _signed_in(self, request: Request) -> Session:
        session = self._session(request)
        if session is None:
            self._to_sign_in(request)
        return session

    async def _may_act(self, request: Request) -> tuple[Session, FormData]:
        if not same_origin(request):
            raise HTTPException(403, "The form did not come from this page.")
        session = self._session(request)
        if session is None:
            self._to_sign_in(request)
        form = await _form(request)
        if session is None or not session.allows(_text(form, "form_token")):
            raise HTTPException(403, "The form is too old. Go back, reload and try again.")
        return session, form

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

    def _room(self, request: Request) -> Room:
        room = self._registry.rooms.get(request.path_params["id"])
        if room is None:
            raise HTTPException(404, "There is no such room.")
        return room

    async def _incident(self, request: Request) -> dict[str, Any]:
        found = await self.threads.run(
            reading.incident, self._settings.database, request.path_params["id"]
        )
        if found is None:
            raise HTTPException(404, "There is no such incident.")
        return found

    async def _recent(self) -> list[dict[str, Any]]:
        return self._named(
            await self.threads.run(lambda: reading.incidents(self._settings.database))
        )

    async def _room_states(self) -> list[reading.RoomState]:
        latest = await self.threads.run(self._settings.series.latest)
        return await self.threads.run(
            reading.rooms,
            self._settings.database,
            self._registry,
            latest,
            self._settings.clock(),
            self._settings.intervals(),
        )

    def _named(self, incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add the names of the place to each incident."""
        for found in incidents:
            room = self._registry.rooms.get(found["room"])
            found["room_name"] = room.name if room else found["room"]
            parts = (floor_name(room.floor), room.building) if room else ()
            found["place"] = ", ".join(p for p in parts if p)
            found["known_room"] = room is not None
        return incidents

    def _render(
        self,
        request: Request,
        template: str,
        session: Session | None,
        status_code: int = 200,
        **content: Any,
    ) -> Response:
        content.update(session=session, path=request.url.path)
        return self._templates.TemplateResponse(request, template, content, status_code=status_code)

    def _local(self, moment: float) -> datetime:
        return datetime.fromtimestamp(moment, UTC).astimezone(self._zone)

    def _clock_text(self, moment: float) -> str:
        return self._local(moment).strftime("%H:%M:%S")

    def _when_text(self, moment: float) -> str:
        local, today = self._local(moment), self._local(self._settings.clock())
        if local.date() == today.date():
            return local.strftime("%H:%M")
        return local.strftime("%a %-d %b %H:%M")

    def _ago_text(self, moment: float) -> str:
        seconds = max(self._settings.clock() - moment, 0.0)
        for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
            if seconds >= size:
                return f"{seconds / size:.0f} {unit}"
        return f"{seconds:.0f} s"


async def _form(request: Request) -> FormData:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > 10_000:
        raise HTTPException(413, "The form is too large.")
    return await request.form(max_files=0, max_fields=20, max_part_size=5000)


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _inside(path: str) -> str:
    """Return a path on this page; the start if it leads elsewhere."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if inside and "\\" not in path else "/"


def _thinned(times: Iterable[float], values: Iterable[float]) -> dict[str, list[float | None]]:
    """At most `_MAX_POINTS` points; of each step the largest value, so that peaks stay."""
    pairs = [(float(t), float(v)) for t, v in zip(times, values, strict=True) if math.isfinite(v)]
    step = max(math.ceil(len(pairs) / _MAX_POINTS), 1)
    if step > 1:
        pairs = [max(pairs[k : k + step], key=lambda tv: tv[1]) for k in range(0, len(pairs), step)]
    return {"times": [t for t, _ in pairs], "values": [v for _, v in pairs]}
