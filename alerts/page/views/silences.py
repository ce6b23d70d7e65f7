"""Silences: list those that are active, pending or ended recently; add and end them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access.roles import Right
from alerts.duty.roster import build_labels
from alerts.errors import SilenceError
from alerts.incidents import silences
from alerts.incidents.silences import MAX_REASON
from alerts.page.guard import get_text
from alerts.page.page_context import to_sentence
from alerts.page.page_group import PageGroup, serves
from detection.events import KIND_NAMES
from language.messages import Words, _, capitalize, mark
from storage import audit
from storage.audit import AuditKind
from storage.registry import format_floor

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

    from starlette.datastructures import FormData
    from starlette.requests import Request

    from alerts.incidents.silences import Silence
    from alerts.page.guard import Session
    from storage.registry import Registry, Room

_STARTS: Final = Words({"now": mark("Now"), "later": mark("At a day and time")})
_LENGTHS: Final = Words(
    {
        "1": mark("1 hour"),
        "2": mark("2 hours"),
        "4": mark("4 hours"),
        "8": mark("8 hours"),
        "24": mark("1 day"),
        "72": mark("3 days"),
        "336": mark("2 weeks"),
    }
)
"""Possible durations of a silence, by number of hours."""
_HOUR_S: Final = 3600.0
_AHEAD_S: Final = 366 * 86_400.0
"""How far ahead a silence can begin, in seconds."""
_FIELDS: Final = ("place", "kind", "starts", "start", "hours", "reason")
_SCHOOL: Final = "school"
_PLACES: Final = frozenset({"site", "building", "floor", "room"})
_ALL: Final = "all"


def record_silence(
    tx: sqlite3.Connection, silence: Silence, what: str, person: str, now: float
) -> None:
    """Record in the audit log what a person did to a silence."""
    until = datetime.fromtimestamp(silence.ends_at, UTC).isoformat(timespec="seconds")
    mutes = ", ".join(f"{label}={value}" for label, value in sorted(silence.labels.items()))
    detail = {"what": what, "mutes": mutes, "until": until}
    audit.append(tx, AuditKind.SILENCE, person, detail, now)


class SilencePages(PageGroup):
    """The list of silences, and the actions on them."""

    @serves("/silences", Right.SILENCE, methods=("POST",))
    async def _add(self, request: Request) -> Response:
        session, form = request.state.session, request.state.form
        now = self._context.settings.clock()
        reason, fault = self._context.read_free_text(form, "reason")
        typed = {**{name: get_text(form, name) for name in _FIELDS}, "reason": reason}
        length_s = _HOUR_S * float(_read_choice(form, "hours", _LENGTHS))
        labels = self._read_labels(session, form)
        registry = self._context.registry.limit_to(self._find_sites(labels))
        starts = now
        if _read_choice(form, "starts", _STARTS, "now") != "now":
            starts, late = self._parse_start(typed["start"], registry, now)
            fault = fault or late
        if fault:
            return await self._page(request, fault, 400, **typed)

        def add(tx: sqlite3.Connection) -> None:
            added = silences.add(
                tx,
                labels=labels,
                owner=session.person,
                reason=reason,
                starts_at=starts,
                ends_at=starts + length_s,
                now=now,
                registry=registry,
                is_admin=session.may(Right.ACCOUNTS),
            )
            record_silence(tx, added, "added", session.person, now)

        try:
            await self._context.write(add)
        except SilenceError as error:
            faults = " ".join(map(to_sentence, error.faults))
            return await self._page(request, faults, 400, **typed)
        return RedirectResponse("/silences", 303)

    @serves("/silences/{id:row}/end", Right.SILENCE, methods=("POST",))
    async def _end(self, request: Request) -> Response:
        session = request.state.session
        number, now = request.path_params["id"], self._context.settings.clock()
        found = [s for s in await self._context.read(silences.list_recent, now) if s.id == number]
        if not all(self._may_end(silence) for silence in found):
            raise HTTPException(404, _("This silence doesn't exist."))

        def end(tx: sqlite3.Connection) -> None:
            ended = self._context.engine.end_silence(tx, number, session.person, now)
            record_silence(tx, ended, "ended", session.person, now)

        try:
            await self._context.write(end)
        except SilenceError:
            raise HTTPException(404, _("This silence doesn't exist.")) from None
        return RedirectResponse("/silences", 303)

    def _parse_start(self, text: str, registry: Registry, now: float) -> tuple[float, str]:
        """Parse a start in local time; return it with an error message, empty if it is valid."""
        zones = {site.zone for site in registry.sites.values() if site.zone}
        zone = ZoneInfo(zones.pop()) if len(zones) == 1 else self._context.times.zone
        try:
            at = datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()
        except (ValueError, OverflowError):
            return now, _("Choose the day and time it starts.")
        if at < now - 60.0:
            return at, _("That time has passed. To start right away, choose Now.")
        return at, _("Choose a start within a year.") if at > now + _AHEAD_S else ""

    def _read_labels(self, session: Session, form: FormData) -> dict[str, str]:
        """Return the labels of the chosen place and kind; raise 400 or 403 if not allowed."""
        place, kind = get_text(form, "place"), get_text(form, "kind")
        places = self._list_places()
        if place not in places or kind not in {*KIND_NAMES, _ALL}:
            raise HTTPException(400, _("Choose a place and a kind from the lists."))
        if place == _SCHOOL and not session.may(Right.ACCOUNTS):
            raise HTTPException(403, _("Only administrators can silence the whole school."))
        wanted = {**places[place][1], **({} if kind == _ALL else {"kind": kind})}
        if place == _SCHOOL and self._context.sites is not None:
            (site,) = self._context.sites
            wanted["site"] = site
        return wanted

    def _list_places(self) -> dict[str, tuple[str, dict[str, str]]]:
        rooms = self._context.registry.rooms.values()
        several = any(room.names_site for room in rooms)
        found: dict[str, tuple[str, dict[str, str]]] = {}
        for r in rooms:
            found[f"room {r.id}"] = (r.full_name, {"room": r.id})
        places = {(r.site, r.building, r.floor): r for r in rooms}
        for (_s, b, f), r in places.items():
            if f:
                labels = {"floor": f, **_label_building(r)}
                found[f"floor {f} of {b}{self._name_site(r)}"] = (capitalize(r.place), labels)
        for (_s, b, _f), r in places.items():
            if b:
                words = _("All of %(place)s", place=r.whole_building)
                found[f"building {b}{self._name_site(r)}"] = (words, _label_building(r))
        for site in self._context.registry.sites.values() if several else ():
            words = _("All of %(place)s", place=site.name)
            found[f"site {site.id}"] = (words, {"site": site.name})
        if self._context.sites is None or len(self._context.sites) == 1:
            found[_SCHOOL] = (_("The whole school"), {})
        return found

    def _find_sites(self, labels: Mapping[str, str]) -> set[str]:
        """Return the sites of the visible rooms that match a place's labels."""
        own = {name: value for name, value in labels.items() if name in _PLACES}.items()
        rooms = self._context.registry.rooms.values()
        return {
            room.site
            for room in rooms
            if own <= build_labels(room, kind="", severity="", sensor="").items()
        }

    def _may_see(self, silence: Silence) -> bool:
        return self._context.sites is None or bool(self._find_sites(silence.labels))

    def _may_end(self, silence: Silence) -> bool:
        """Return whether a silence mutes only rooms that the requester can see."""
        bound = not silence.labels.keys().isdisjoint(("site", "room"))
        return self._context.sites is None or (bound and self._may_see(silence))

    def _name_site(self, room: Room) -> str:
        """Return the site's part of a place's key; empty if there is only one site."""
        return f" at {room.site_id}" if room.names_site else ""

    def _describe(self, silence: Silence) -> str:
        labels = {**silence.labels}
        room = self._context.registry.rooms.get(labels.get("room", ""))
        if room:
            labels["room"] = room.full_name
        labels["floor"] = format_floor(labels.get("floor", ""))
        place = ", ".join(v for name, v in labels.items() if v and name != "kind")
        return capitalize(": ".join(filter(None, (place, silence.what))))

    @serves("/silences")
    async def _page(
        self, request: Request, error: str = "", status: int = 200, **typed: str
    ) -> Response:
        now = self._context.settings.clock()
        every = await self._context.read(silences.list_recent, now)
        found = [silence for silence in every if self._may_see(silence)]
        return await self._context.render(
            request,
            "silences.html",
            status,
            silences=[(s, self._describe(s), s.find_state(now).value) for s in found],
            places=[(key, words) for key, (words, _) in self._list_places().items()],
            starts=_STARTS,
            lengths=_LENGTHS,
            max_reason=MAX_REASON,
            typed={name: typed.get(name, request.query_params.get(name, "")) for name in _FIELDS},
            errors=[error],
        )


def _label_building(room: Room) -> dict[str, str]:
    own = {"building": room.building, "site": room.shown_site}
    return {name: value for name, value in own.items() if value}


def _read_choice(form: FormData, name: str, choices: Collection[str], usual: str = "") -> str:
    given = get_text(form, name) or usual
    if given not in choices:
        raise HTTPException(400, _("Choose a value from the list."))
    return given
