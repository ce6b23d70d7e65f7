"""Incidents for programs: list them, show one with evidence and history, and respond."""

from __future__ import annotations

import json
import logging
import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

from pydantic import Field

from alerts.access.api_tokens import Scope
from alerts.errors import FeedbackError
from alerts.history_words import write_line
from alerts.incidents.incident import CAUSE_WORDS, MAX_NOTE, Status, Verdict
from alerts.page import queries
from alerts.page.api.operation import (
    PREFIX,
    Model,
    Number,
    OfSite,
    Time,
    Words,
    build_invalid,
    operation,
    to_moment,
)
from alerts.page.page_context import to_sentence
from alerts.page.page_group import PageGroup
from alerts.secrets import Secret
from detection.events import EventKind
from storage.registry import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from alerts.incidents.incident import Incident as Changed

_LOG: Final = logging.getLogger(__name__)
_CHANNEL: Final = "API"
_Model = TypeVar("_Model", bound=Model)


class Person(Model):
    """A member of staff."""

    id: str
    name: str


class Place(Model):
    """A room and where it is."""

    id: str
    name: str
    floor: str = ""
    building: str = ""
    site: str = Field("", description="Id of the site.")
    site_name: str = ""


class IncidentSummary(Model):
    """An incident. `status` is its step in the workflow; `state` is the name used in reports."""

    id: str
    kind: str
    room: Place
    status: Status
    state: str
    severity: str
    confidence: Number = Field(description="Highest probability so far, from 0 to 1.")
    onset: datetime
    opened_at: datetime
    notified_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: Person | None
    arrived_at: datetime | None
    resolved_at: datetime | None
    verdict: str | None
    cause: str = Field(description="What caused it. Empty if unknown.")
    suppressed_by: str = Field(description="Why nobody was notified. Empty if someone was.")
    detections: int
    updated_at: datetime = Field(description="Time of the last change.")


class Incidents(Model):
    """A page of incidents, newest first."""

    items: list[IncidentSummary]
    next: str | None = Field(description="Path of the next page, or null.")


class Detection(Model):
    """A detection that belongs to an incident, with its latest evidence."""

    id: str
    sensor: str
    kind: str
    phase: str
    onset: datetime
    alerted: datetime
    end: datetime | None
    confidence: Number
    probabilities: dict[str, Number] = Field(description="Probability of each kind, from 0 to 1.")
    sentence: str = Field(description="The evidence in one sentence.")
    model_version: str


class HistoryEntry(Model):
    """An entry in the history of an incident. `by` is null for the system and former staff."""

    at: datetime
    what: str
    note: str = Field(description="Details, such as why the incident was closed.")
    by: Person | None


class IncidentNotice(Model):
    """A notice sent to one person about an incident."""

    person: Person
    channel: str
    reason: str
    status: str
    created_at: datetime
    finished_at: datetime | None


class Incident(IncidentSummary):
    """An incident with its detections, history and notices."""

    events: list[Detection]
    history: list[HistoryEntry]
    notices: list[IncidentNotice]


class IncidentQuery(OfSite):
    """Filters for incidents. Without filters, all incidents are returned."""

    status: Annotated[Words, Field(description=f"One or more of: {', '.join(Status)}.")] = ()
    kind: Annotated[Words, Field(description="One or more kinds, such as `vape,smoke`.")] = ()
    room: Annotated[str, Field(max_length=200, description="Id of a room.")] = ""
    start: Annotated[
        Time | None, Field(alias="from", description="Only incidents opened at or after this time.")
    ] = None
    end: Annotated[
        Time | None, Field(alias="to", description="Only incidents opened before this time.")
    ] = None
    updated_since: Annotated[
        Time | None,
        Field(
            description="Only incidents changed at or after this time. A late answer is a change."
        ),
    ] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[
        str,
        Field(max_length=200, description="Position of the page, taken from `next`."),
    ] = ""


class Answer(Model):
    """What a person found in the room."""

    verdict: Verdict
    cause: str = Field("", description=f"What caused it, if known: {', '.join(CAUSE_WORDS)}.")
    note: str = Field("", max_length=MAX_NOTE, description="Must not name or describe anyone.")


class IncidentApi(PageGroup):
    """Incidents for programs."""

    @operation("/incidents", Scope.READ, Incidents, query=IncidentQuery)
    async def index(self, _request: Request, query: IncidentQuery) -> Incidents:
        """List incidents, newest first."""
        _check_words("status", query.status, Status)
        _check_words("kind", query.kind, EventKind)
        start, end = read_bounds(query.start, query.end)
        found = await self._context.read(
            queries.find_incidents,
            statuses=query.status,
            kinds=query.kind,
            room=query.room,
            start=start,
            end=end,
            updated=query.updated_since.timestamp() if query.updated_since else None,
            before=_read_position(query.cursor),
            limit=query.limit + 1,
            rooms=self._context.room_ids,
        )
        shown = self._context.add_place_names(found[: query.limit])
        more = len(found) > query.limit
        return Incidents(
            items=[item for item in map(self._find_summary, shown) if item],
            next=link_next("incidents", query, queries.write_position(shown[-1])) if more else None,
        )

    @operation("/incidents/{id}", Scope.READ, Incident)
    async def get_incident(self, request: Request) -> Incident:
        """Get an incident with its detections, history and notices."""
        return await self._load_incident(request)

    @operation("/incidents/{id}/acknowledge", Scope.RESPOND, Incident, method="POST")
    async def acknowledge(self, request: Request) -> Incident:
        """Acknowledge an incident as the token's person. Nobody else is paged."""
        return await self._act(request, self._context.engine.acknowledge, channel=_CHANNEL)

    @operation("/incidents/{id}/arrive", Scope.RESPOND, Incident, method="POST")
    async def arrive(self, request: Request) -> Incident:
        """Record that the token's person is in the room."""
        return await self._act(request, self._context.engine.arrive, channel=_CHANNEL)

    @operation("/incidents/{id}/decline", Scope.RESPOND, Incident, method="POST")
    async def decline(self, request: Request) -> Incident:
        """Record that the token's person can't go. The next person is paged."""
        return await self._act(request, self._context.engine.decline, channel=_CHANNEL)

    @operation("/incidents/{id}/resolve", Scope.RESPOND, Incident, method="POST")
    async def resolve(self, request: Request) -> Incident:
        """Resolve an incident."""
        return await self._act(request, self._context.engine.resolve, channel=_CHANNEL)

    @operation("/incidents/{id}/answer", Scope.RESPOND, Incident, body=Answer, method="POST")
    async def answer(self, request: Request, given: Answer) -> Incident:
        """Record what the token's person found."""
        note, fault = self._context.read_free_text({"note": given.note}, "note")
        if fault:
            raise build_invalid([("note", fault)])
        work = self._context.engine.record_feedback
        return await self._act(request, work, given.verdict, cause=given.cause, note=note)

    async def _act(
        self, request: Request, work: Callable[..., Changed], *arguments: object, **more: str
    ) -> Incident:
        try:
            await self._context.change_incident(request, work, *arguments, **more)
        except FeedbackError as error:
            raise build_invalid([("body", to_sentence(error))]) from None
        return await self._load_incident(request)

    async def _load_incident(self, request: Request) -> Incident:
        found = await self._context.load_incident(request.path_params["id"])
        events = [
            _fill(
                Detection,
                event,
                probabilities=json.loads(event["probabilities"]),
                sentence=event["now"]["sentence"],
            )
            for event in found["events"]
        ]
        return Incident(
            **self._summarize({**found, "detections": len(events)}),
            events=events,
            history=[
                _fill(
                    HistoryEntry,
                    line,
                    by=self._find_person(line["who"]),
                    note=write_line(line["what"], line["params"], self._find_name)[1],
                )
                for line in found["history"]
            ],
            notices=[
                _fill(
                    IncidentNotice,
                    n,
                    person=Person(id=_hide_address(n["person"]), name=self._find_name(n["person"])),
                )
                for n in found["notices"]
            ],
        )

    def _find_summary(self, row: Mapping[str, Any]) -> IncidentSummary | None:
        try:
            return IncidentSummary(**self._summarize(row))
        except (ValueError, OverflowError):  # the service repairs it at its next start
            _LOG.warning("incident %r has a damaged value and is left out", row["id"][:40])
            return None

    def _summarize(self, row: Mapping[str, Any]) -> dict[str, Any]:
        unknown = Room(row["room"], row["room_name"], "", "", "")
        room = self._context.registry.get_room(row["room"]) or unknown
        return {key: row[key] for key in IncidentSummary.model_fields} | {
            "onset": to_moment(row["onset"]),
            "room": describe_place(room),
            "acknowledged_by": self._find_person(row["acknowledged_by"]),
            "cause": row["cause"] or "",
        }

    def _find_person(self, person: str) -> Person | None:
        if not person or self._context.policy.find_member(person) is None:
            return None
        return Person(id=_hide_address(person), name=self._find_name(person))

    def _find_name(self, person: str) -> str:
        member = self._context.policy.find_member(person)
        return _hide_address(person) if member is None else member.name


def _hide_address(person: str) -> str:
    """Return a person's id, or a fingerprint of it if it is an e-mail address."""
    return f"person-{Secret(person).compute_fingerprint()}" if "@" in person else person


def describe_place(room: Room) -> dict[str, str]:
    """Return the fields of a `Place`."""
    own = {key: getattr(room, key) for key in ("id", "name", "floor", "building")}
    return own | {"site": room.site_id, "site_name": room.site}


def _fill(model: type[_Model], row: Mapping[str, Any], **more: object) -> _Model:
    return model(**{key: row[key] for key in model.model_fields if key in row} | more)


def read_bounds(start: datetime | None, end: datetime | None) -> tuple[float, float]:
    """Return a span in Unix seconds, infinite if a bound is missing; raise 400 if it is empty."""
    if start is not None and end is not None and end <= start:
        raise build_invalid([("to", "must be after from")])
    first = -math.inf if start is None else start.timestamp()
    return first, math.inf if end is None else end.timestamp()


def _check_words(name: str, given: Sequence[str], known: Any) -> None:
    allowed = [*known]
    if any(word not in allowed for word in given):
        raise build_invalid([(name, f"one or more of {', '.join(allowed)}")])


def link_next(path: str, query: Model, cursor: str) -> str:
    """Return the path of a list's next page, with the same filters."""
    again = query.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    chosen = {k: ",".join(v) if isinstance(v, list | tuple) else v for k, v in again.items()}
    return f"{PREFIX}/{path}?{urlencode(chosen | {'cursor': cursor}, safe=',:')}"


def _read_position(cursor: str) -> tuple[float, str]:
    try:
        return queries.parse_position(cursor)
    except ValueError:
        raise build_invalid([("cursor", "is not valid; begin without one")]) from None
