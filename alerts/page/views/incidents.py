"""Incidents: the list, a single incident with its evidence, and responses."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access.roles import Right
from alerts.errors import AnsweredError, FeedbackError
from alerts.incidents import repository
from alerts.incidents.history import Happened
from alerts.incidents.incident import (
    VERDICT_WORDS,
    ActionClass,
    Status,
    Verdict,
    find_answer_choices,
    write_answer,
)
from alerts.page import queries
from alerts.page.guard import get_session, get_text, require_found
from alerts.page.page_context import to_sentence
from alerts.page.page_group import PageGroup, serves
from detection.events import EventKind
from language.messages import _, ngettext
from storage.registry import make_sort_key

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping

    from starlette.datastructures import FormData
    from starlette.requests import Request

    from alerts.incidents.incident import Incident
    from alerts.page.page_context import PageContext

_SHOWN: Final = 50
_FILTERS: Final = ("number", "room", "kind", "answer", "from", "to")
_LONGEST: Final = 200
_LONGEST_NUMBER: Final = 19
_AT_ONCE: Final = (Verdict.TEST, Verdict.NOTHING_FOUND)
"""Answers for several incidents at once; they fit every kind."""
_CHANNEL: Final = "page"


class IncidentPages(PageGroup):
    """The list of incidents, the page of one incident, and the actions on it."""

    @serves("/incidents", one_school=True, of_any_size=True)
    async def _index(
        self, request: Request, fault: str = "", done: str = "", unsure: Collection[str] = ()
    ) -> Response:
        context, asked = self._context, request.query_params
        chosen = {name: asked.get(name, "").strip()[:_LONGEST] for name in _FILTERS}
        is_filtered = any(chosen.values())
        site = asked.get("site", "")[:_LONGEST]
        opened, before = [], queries.parse_position("")
        with suppress(ValueError):
            before = queries.parse_position(asked.get("before", ""))
        if not is_filtered:
            opened = await context.read(queries.find_open_incidents, rooms=context.room_ids)
        found = await context.read(
            queries.find_incidents,
            statuses=() if is_filtered else (Status.RESOLVED.value,),
            kinds=[*filter(None, [chosen["kind"]])],
            room=chosen["room"],
            answer=chosen["answer"],
            number=chosen["number"],
            start=self._parse_midnight(chosen["from"], -math.inf),
            end=self._parse_midnight(chosen["to"], math.inf, days=1),
            before=before,
            limit=_SHOWN + 1,
            rooms=context.room_ids,
        )
        shown = context.add_place_names(found[:_SHOWN])
        return await context.render(
            request,
            "incidents.html",
            400 if fault else 200,
            opened=context.add_place_names(opened),
            found=shown,
            chosen=chosen,
            is_filtered=is_filtered,
            filters=urlencode({k: v for k, v in {**chosen, "site": site}.items() if v}),
            of_school=urlencode({"site": site} if site else {}),
            older=queries.write_position(found[_SHOWN - 1]) if len(found) > _SHOWN else "",
            places=sorted(
                ((room.id, room.full_name) for room in context.registry.rooms.values()),
                key=lambda one: make_sort_key(one[1]),
            ),
            at_once={verdict.value: VERDICT_WORDS[verdict] for verdict in _AT_ONCE},
            errors=[fault],
            done=done,
            unsure=unsure,
        )

    def _parse_midnight(self, text: str, otherwise: float, days: int = 0) -> float:
        """Return when a date plus `days` begins at the school; `otherwise` if it isn't a date."""
        try:
            day = date.fromisoformat(text) + timedelta(days)
        except (ValueError, OverflowError):
            return otherwise
        return datetime.combine(day, time(), self._context.times.zone).timestamp()

    @serves(
        "/incidents/answers",
        Right.ANSWER,
        methods=("POST",),
        one_school=True,
        of_any_size=True,
    )
    async def _answer_several(self, request: Request) -> Response:
        """Give the same answer to several incidents that have none yet."""
        form, person = request.state.form, request.state.session.person
        verdict, now = get_text(form, "verdict"), self._context.settings.clock()
        note, fault = self._context.read_free_text(form, "note")
        ids = {*map(str, form.getlist("all" if "every" in form else "id"))}
        if verdict not in _AT_ONCE or not 0 < len(ids) <= _SHOWN or fault:
            fault = fault or _("Choose incidents and an answer.")
            return await self._index(request, fault)
        if "sure" not in form:
            return await self._index(request, unsure=sorted(ids))

        def answer(tx: sqlite3.Connection) -> int:
            known = [repository.load(tx, one) for one in sorted(ids)]
            own = [i for i in known if i and not i.verdict and self._context.can_see_room(i.room)]
            for found in own:
                self._context.engine.record_feedback(
                    tx, found.id, person, Verdict(verdict), now, note=note
                )
            return len(own)

        number, words = await self._context.write(answer), VERDICT_WORDS[verdict]
        done = ngettext("%(n)d incident answered:", "%(n)d incidents answered:", number)
        left = len(ids) - number
        more = ngettext(
            "%(n)d already had an answer and was left unchanged.",
            "%(n)d already had an answer and were left unchanged.",
            left,
        )
        return await self._index(request, done=f"{done} {words}. {more if left else ''}".strip())

    @serves("/incidents/{id}")
    async def _page(
        self,
        request: Request,
        error: str = "",
        status: int = 200,
        note: str = "",
        asked: Mapping[str, Any] | None = None,
    ) -> Response:
        found = await self._context.load_incident(request.path_params["id"])
        session = get_session(request)
        person = session.person if session else ""
        done = [h["what"] for h in found["history"] if h["who"] == person]
        return await self._context.render(
            request,
            "incident.html",
            status,
            incident=found,
            errors=[error],
            note=note,
            asked=asked,
            declined=bool(done) and done[-1] == Happened.DECLINED,
        )

    @serves("/incidents/{id}/evidence.svg")
    async def _evidence(self, request: Request) -> Response:
        picture = await self._context.run_in_thread(
            self._context.pictures.draw_svg,
            request.path_params["id"],
            request.query_params.get("event", ""),
        )
        found = require_found(picture, _("This incident doesn't exist."))
        return Response(found, media_type="image/svg+xml")

    @serves("/incidents/{id}/acknowledge", Right.ANSWER, methods=("POST",))
    async def _acknowledge(self, request: Request) -> Response:
        return await self._act(request, self._context.engine.acknowledge, channel=_CHANNEL)

    @serves("/incidents/{id}/arrive", Right.ANSWER, methods=("POST",))
    async def _arrive(self, request: Request) -> Response:
        return await self._act(request, self._context.engine.arrive, channel=_CHANNEL)

    @serves("/incidents/{id}/decline", Right.ANSWER, methods=("POST",))
    async def _decline(self, request: Request) -> Response:
        return await self._act(request, self._context.engine.decline, channel=_CHANNEL)

    @serves("/incidents/{id}/resolve", Right.ANSWER, methods=("POST",))
    async def _resolve(self, request: Request) -> Response:
        return await self._act(request, self._context.engine.resolve, channel=_CHANNEL)

    @serves("/incidents/{id}/feedback", Right.ANSWER, methods=("POST",))
    async def _feedback(self, request: Request) -> Response:
        form = request.state.form
        kind = (await self._context.load_incident(request.path_params["id"]))["kind"]
        verdict, cause = read_verdict(form, kind)
        note, fault = self._context.read_free_text(form, "note")
        if fault:
            return await self._page(request, fault, 400, note=note)
        given = {"cause": cause, "note": note, "replaces": read_replaces(form)}
        try:
            return await self._act(request, self._context.engine.record_feedback, verdict, **given)
        except AnsweredError as error:
            asked = build_question(self._context, error, verdict, cause)
            return await self._page(request, status=409, note=note, asked=asked)

    @serves("/incidents/{id}/followed", Right.ANSWER, methods=("POST",))
    async def _follow_up(self, request: Request) -> Response:
        form = request.state.form
        chosen, number = get_text(form, "action"), get_text(form, "case_number").strip()
        if chosen not in {"", *ActionClass}:
            raise HTTPException(400, _("Choose an action from the list."))
        action = ActionClass(chosen) if chosen else None
        return await self._act(
            request, self._context.engine.record_action, action, case_number=number
        )

    async def _act(
        self, request: Request, work: Callable[..., Incident], *arguments: object, **more: Any
    ) -> Response:
        try:
            await self._context.change_incident(request, work, *arguments, **more)
        except FeedbackError as error:
            return await self._page(request, to_sentence(error), 400, note=more.get("note", ""))
        return RedirectResponse(f"/incidents/{quote(request.path_params['id'], safe='')}", 303)


def read_verdict(form: FormData, kind: str) -> tuple[Verdict, str]:
    """Read the verdict and cause from a form; raise 400 for an unknown verdict."""
    cause, explained = get_text(form, "cause"), find_answer_choices(EventKind(kind)).explained
    try:
        verdict = Verdict(get_text(form, "verdict") or (explained.value if cause else ""))
    except ValueError:
        raise HTTPException(400, _("Choose one of the answers.")) from None
    return verdict, cause if verdict is explained else ""


def read_replaces(form: FormData) -> int:
    """Read the number of the answer that a form replaces; 0 for none."""
    text = get_text(form, "replaces")
    return int(text) if text.isdecimal() and len(text) < _LONGEST_NUMBER else 0


def build_question(
    context: PageContext, error: AnsweredError, verdict: Verdict, cause: str
) -> dict[str, Any]:
    """Build the question whether to replace somebody else's answer, with that answer's number."""
    old, new = write_answer(error.verdict, error.cause), write_answer(verdict, cause)
    values = {
        "name": context.policy.find_name(error.person),
        "when": context.times.write_time_ago(error.at),
    }
    return {
        "error": _("%(name)s answered %(answer)s %(when)s. Replace?", answer=old, **values),
        "replace": _("Replace with %(answer)s", answer=new),
        "keep": _("Keep %(answer)s", answer=old),
        "replaces": error.number,
        "verdict": verdict.value,
        "cause": cause,
    }
