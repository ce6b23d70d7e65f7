"""Respond from a phone with a notice's token, without signing in.

``GET /answer`` shows the same page to everyone. The token is in the address's fragment, and only
the page's script reads it. The script and the buttons in notices POST ``token=...`` to these
paths:

- ``/answer/look`` returns the incident's state, and ``/answer/evidence`` its picture. Neither
  changes the incident.
- ``/answer`` acknowledges the incident and returns a second token.
- ``/answer/arrive`` records that the person is on site. It accepts either token.
- ``/answer/feedback`` records what was found. It needs the second token.
- ``/answer/decline`` records that the person cannot go, and the next people are notified.

Once a button has been pressed or the incident is over, ``/answer/look`` also returns the second
token.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from alerts.access import action_tokens
from alerts.access.action_tokens import Action
from alerts.access.directory import find_last_sign_in
from alerts.access.roles import Right, may
from alerts.errors import AnsweredError, FeedbackError
from alerts.incidents import repository
from alerts.incidents.history import Happened
from alerts.incidents.incident import Status
from alerts.page.guard import find_client, get_text, read_form, refuse_for_now
from alerts.page.page_context import to_sentence
from alerts.page.page_group import Access, PageGroup, serves
from alerts.page.rendering import list_answers, write_status
from alerts.page.views.incidents import build_question, read_replaces, read_verdict
from language.messages import _

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.datastructures import FormData
    from starlette.requests import Request

    from alerts.access.action_tokens import Grant
    from alerts.incidents.incident import Incident

_LOG: Final = logging.getLogger(__name__)
_CHANNELS: Final = frozenset({"link", "ntfy", "push"})
_MAX_TOKEN: Final = 64
_ANYWHERE: Final = {"Access-Control-Allow-Origin": "*"}
"""Any origin is allowed, because a notice can be shown by another web app. No cookie is sent."""


class _FurtherError(HTTPException):
    """An error with data for the script in `more`: a page to open, or a question."""

    def __init__(self, status: int, error: str, **more: object) -> None:
        super().__init__(status, error)
        self.more = more


def build_refusal(error: HTTPException) -> Response:
    """Return an error as JSON, for the page's script and the buttons in notices."""
    more = error.more if isinstance(error, _FurtherError) else {}
    headers = {**_ANYWHERE, **(error.headers or {})}
    return JSONResponse({"error": error.detail, **more}, error.status_code, headers=headers)


class AnswerPages(PageGroup):
    """The page that links in notices open, and the actions of its buttons."""

    @serves("/answer", Access.PUBLIC)
    async def _page(self, request: Request) -> Response:
        return await self._context.render(request, "answer.html", s=None)

    @serves("/answer/look", Access.PUBLIC, methods=("POST",))
    async def _look(self, request: Request) -> Response:
        _, token, grant = await self._check_grant(request)
        incident = await self._context.read(repository.load, grant.incident)
        if grant.used_at is None and (incident is None or incident.is_open):
            return await self._send_state(grant)
        return await self._send_state_after_press(token, grant)

    async def _send_state_after_press(self, token: str, grant: Grant) -> Response:
        """Return the state; for a first token, also the token for later steps."""
        if grant.action is not Action.ACKNOWLEDGE:
            return await self._send_state(grant)
        now = self._context.settings.clock()
        feedback = await self._context.write(
            lambda tx: action_tokens.issue_feedback(tx, token, now)
        )
        return await self._send_state(grant, feedback=feedback)

    @serves("/answer", Access.PUBLIC, methods=("POST",))
    async def _acknowledge(self, request: Request) -> Response:
        form, token, grant = await self._check_grant(request, Action.ACKNOWLEDGE)
        engine, now = self._context.engine, self._context.settings.clock()

        def acknowledge(tx: sqlite3.Connection) -> None:
            again = action_tokens.find(tx, token)
            declined = repository.has_declined(tx, grant.incident, grant.person)
            if again is None or again.used_at is None or declined:
                engine.acknowledge(
                    tx, grant.incident, grant.person, now, channel=_read_channel(form)
                )
                action_tokens.use(tx, token, now)

        await self._context.write(acknowledge)
        return await self._send_state_after_press(token, grant)

    @serves("/answer/evidence", Access.PUBLIC, methods=("POST",))
    async def _evidence(self, request: Request) -> Response:
        _, _, grant = await self._check_grant(request)
        picture = await self._context.run_in_thread(self._context.pictures.draw_svg, grant.incident)
        return Response(picture or b"", media_type="image/svg+xml")

    @serves("/answer/decline", Access.PUBLIC, methods=("POST",))
    async def _decline(self, request: Request) -> Response:
        form, token, grant = await self._check_grant(request, Action.ACKNOWLEDGE)
        await self._act(grant, token, self._context.engine.decline, channel=_read_channel(form))
        return await self._send_state(grant)

    @serves("/answer/arrive", Access.PUBLIC, methods=("POST",))
    async def _arrive(self, request: Request) -> Response:
        form, token, grant = await self._check_grant(request, Action.ACKNOWLEDGE, Action.FEEDBACK)
        await self._act(grant, token, self._context.engine.arrive, channel=_read_channel(form))
        return await self._send_state_after_press(token, grant)

    @serves("/answer/feedback", Access.PUBLIC, methods=("POST",))
    async def _feedback(self, request: Request) -> Response:
        form, token, grant = await self._check_grant(request, Action.FEEDBACK)
        kind = (await self._context.load_incident(grant.incident))["kind"]
        verdict, cause = read_verdict(form, kind)
        given = {"cause": cause, "replaces": read_replaces(form)}
        try:
            await self._act(grant, token, self._context.engine.record_feedback, verdict, **given)
        except FeedbackError as error:
            raise HTTPException(400, to_sentence(error)) from None
        except AnsweredError as error:
            raise _FurtherError(
                409, **build_question(self._context, error, verdict, cause)
            ) from None
        return await self._send_state(grant)

    async def _act(
        self, grant: Grant, token: str, work: Callable[..., Incident], *values: object, **more: Any
    ) -> None:
        now = self._context.settings.clock()

        def record(tx: sqlite3.Connection) -> None:
            work(tx, grant.incident, grant.person, *values, now, **more)
            action_tokens.use(tx, token, now)

        await self._context.write(record)

    async def _check_grant(self, request: Request, *actions: Action) -> tuple[FormData, str, Grant]:
        """Return the form, token and grant; `actions`, if given, must include its action.

        Raises 400 without a token, 403 if it is not valid here, and 429 after too many requests.
        """
        form = await read_form(request)
        token = get_text(form, "token").strip()
        if not token:
            raise HTTPException(400, _("Press the button on the page that the link opens."))
        now = self._context.settings.clock()
        grant = None
        if len(token) <= _MAX_TOKEN:
            grant = await self._context.read(action_tokens.find, token)
        member = None if grant is None else self._context.policy.find_member(grant.person)
        if grant is None or member is None or (actions and grant.action not in actions):
            address = find_client(request)
            wait = self._context.access.limits.answers.take(address, (), now)
            if wait > 0:  # only keeps the log readable: tokens cannot be guessed anyway
                raise refuse_for_now(wait, _("Too many invalid links. Wait a few minutes."))
            _LOG.warning("a token from %s was refused", address)
            raise HTTPException(403, _("This link is not valid. Sign in to respond."))
        rights = await self._context.read(self._context.find_rights, member)
        if now >= grant.expires_at or not may(rights.role, Right.ANSWER):
            raise HTTPException(403, _("This link has expired. Sign in to respond."))
        limits = self._context.access.limits
        limit = limits.link_answers if actions else limits.link_views
        words = _("Too many requests with this link. Sign in to respond.")
        self._context.count(limit, token, words)
        session = await self._context.find_session(request)
        self._context.limit_to_sites_of(grant.person, rights.sites)
        await self._context.require_incident(grant.incident)
        if session is not None and session.person != grant.person:
            fault = _(
                "This link is for %(name)s, but you are signed in as %(other)s.",
                name=member.name,
                other=session.name,
            )
            raise _FurtherError(403, fault, open=f"/incidents/{quote(grant.incident, safe='')}")
        return form, token, grant

    async def _send_state(self, grant: Grant, **more: str) -> Response:
        shown = await self._context.load_incident(grant.incident)
        by, name_of = shown["acknowledged_by"], self._context.policy.find_name
        own = [h for h in shown["history"] if h["who"] == grant.person]
        declined = bool(own) and own[-1]["what"] == Happened.DECLINED
        notified = (
            n["person"]
            for n in shown["notices"]
            if declined and n["created_at"] >= own[-1]["at"] and n["person"] != grant.person
        )
        rules = self._context.access.sign_in
        seen = await self._context.read(find_last_sign_in, grant.person)
        is_due = seen is not None and self._context.settings.clock() - seen >= rules.warned_s
        until = self._context.times.write_when((seen or 0.0) + rules.absent_s)
        answer: dict[str, Any] = {
            "incident": grant.incident,
            "sign_in_by": _("Sign in by %(when)s to keep getting alerts", when=until)
            if is_due
            else "",
            "room": shown["room_name"],
            "place": shown["place"],
            "what": write_status(shown, self._context.times.write_when(shown["onset"])),
            "answers": list_answers(shown["kind"]),
            "answered": bool(shown["verdict"]),
            "why": shown["events"][0]["why"]["sentence"] if shown["events"] else "",
            "mine": by == grant.person,
            "taken_by": name_of(by) if by else "",
            "here": grant.person in shown["there"],
            "first_there": name_of(shown["there"][0]) if shown["there"] else "",
            "awaited": shown["awaited"],
            "over": shown["status"] == Status.RESOLVED.value,
            "verdict": shown["verdict"] or "",
            "cause": shown["cause"] or "",
            "answered_by": ""
            if shown["answered_by"] in ("", grant.person)
            else name_of(shown["answered_by"]),
            "declined": declined,
            "notified": list(dict.fromkeys(map(name_of, notified))),
            "state": shown["state"],
            "you": name_of(grant.person),
            "may_report": "feedback" in more or grant.action is Action.FEEDBACK,
            **more,
        }
        page = await self._context.run_in_thread(
            self._context.fill, "answer_state.html", {"s": answer}
        )
        return JSONResponse({**answer, "page": page}, headers=_ANYWHERE)


def _read_channel(form: FormData) -> str:
    via = get_text(form, "via")
    return via if via in _CHANNELS else "link"
