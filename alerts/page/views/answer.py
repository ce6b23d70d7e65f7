"""Answering from a phone, by the token of a notice and without signing in.

``GET /answer`` shows one page for everybody and knows no token: that is behind the ``#``, where
script finds it. ``POST /answer/look`` says what the token is for and changes nothing. ``POST
/answer`` takes the incident and gives a token for what is said from there: ``POST /answer/arrive``
takes that, that its person is there, and ``POST /answer/feedback``, what was found. All of it is in
the body, ``token=...``, as a form, which is also what the button of an ntfy notice sends. See
`alerts.access.action_tokens` for what a token may do.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from alerts.access import action_tokens
from alerts.access.action_tokens import Action
from alerts.access.limits import TryLimit
from alerts.access.roles import Right, may
from alerts.errors import FeedbackError
from alerts.incidents.incident import Status, Verdict
from alerts.notify.notice import KIND_WORDS
from alerts.page import queries as reading
from alerts.page.page_context import PageGroup, form_of, text_of
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from alerts.access.action_tokens import Grant
    from alerts.page.page_context import PageContext

_LOG: Final = logging.getLogger(__name__)
_CHANNELS: Final = frozenset({"link", "ntfy"})
_MAX_TOKEN: Final = 64
_ANYWHERE: Final = {"Access-Control-Allow-Origin": "*"}
"""The button of a notice may be pressed in a web app of another address; no cookie goes along."""
_OVER: Final = "This link has run out. Sign in to answer."


class AnswerPages(PageGroup):
    """The page behind the links in notices, and what its buttons do."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._limit = TryLimit()

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [
            Route("/answer", self.page),
            Route("/answer", _in_json(self.acknowledge), methods=["POST"]),
            Route("/answer/look", _in_json(self.look), methods=["POST"]),
            Route("/answer/arrive", _in_json(self.arrive), methods=["POST"]),
            Route("/answer/feedback", _in_json(self.feedback), methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """Show the page; it is the same whoever asks."""
        return self._context.render(request, "answer.html", None)

    async def look(self, request: Request) -> Response:
        """Say what a token is for; changes nothing."""
        _, _, grant = await self._granted(request)
        return await self._said(grant)

    async def acknowledge(self, request: Request) -> Response:
        """Take the incident in the name of the token's person, once."""
        form, token, grant = await self._granted(request, Action.ACKNOWLEDGE)
        settings, now = self._context.settings, self._context.settings.clock()

        def take(tx: sqlite3.Connection) -> str:
            again = action_tokens.find(tx, token)
            if again is None or again.used_at is None:
                settings.engine.acknowledge(
                    tx, grant.incident, grant.person, now, channel=_channel(form)
                )
                action_tokens.use(tx, token, now)
            return action_tokens.issue(tx, grant.incident, grant.person, Action.FEEDBACK, now)

        feedback = await self._context.write(take)
        return await self._said(grant, feedback=feedback)

    async def arrive(self, request: Request) -> Response:
        """Say, in the name of the token's person, that they are there."""
        form, token, grant = await self._granted(request, Action.FEEDBACK)
        now = self._context.settings.clock()

        def say(tx: sqlite3.Connection) -> None:
            self._context.settings.engine.arrive(
                tx, grant.incident, grant.person, now, channel=_channel(form)
            )
            action_tokens.use(tx, token, now)

        await self._context.write(say)
        return await self._said(grant)

    async def feedback(self, request: Request) -> Response:
        """Say what was found, in the name of the token's person."""
        form, token, grant = await self._granted(request, Action.FEEDBACK)
        now = self._context.settings.clock()
        try:
            verdict = Verdict(text_of(form, "verdict"))
        except ValueError:
            raise HTTPException(400, "There is no such answer.") from None
        cause = text_of(form, "cause") if verdict is Verdict.FALSE_ALARM else ""

        def say(tx: sqlite3.Connection) -> None:
            self._context.settings.engine.feedback(
                tx, grant.incident, grant.person, verdict, now, cause=cause
            )
            action_tokens.use(tx, token, now)

        try:
            await self._context.write(say)
        except FeedbackError as error:
            raise HTTPException(400, f"{error}.".capitalize()) from None
        return await self._said(grant)

    async def _granted(
        self, request: Request, action: Action | None = None
    ) -> tuple[FormData, str, Grant]:
        """Form, token and what it grants.

        Raises
        ------
        HTTPException
            400 without a token, 403 with one that is unknown, expired, for something else, or of
            another person than who is signed in, 429 after too many of those.
        """
        form = await form_of(request)
        token = text_of(form, "token").strip()
        if not token:
            raise HTTPException(400, "Press the button on the page that the link opens.")
        now = self._context.settings.clock()
        grant = None
        if len(token) <= _MAX_TOKEN:
            grant = await self._context.read(lambda db: action_tokens.find(db, token))
        member = None if grant is None else self._context.member(grant.person)
        if grant is None or member is None or (action is not None and grant.action is not action):
            address = request.client.host if request.client else ""
            wait = self._limit.take(address, "", now)
            if wait > 0:  # so that the log stays readable; a good token is never guessed
                after = {"Retry-After": str(math.ceil(wait))}
                raise HTTPException(429, "Too many links that do not work. Wait a while.", after)
            _LOG.warning("a token from %s was refused", address)
            raise HTTPException(403, "This link does not work. Sign in to answer.")
        if now >= grant.expires_at or not may(member.role, Right.ANSWER):
            raise HTTPException(403, _OVER)
        session = await self._context.session(request)
        if session is not None and session.person != grant.person:
            raise HTTPException(
                403, f"This link is for {member.name}. You are {session.name}: answer as yourself."
            )
        return form, token, grant

    async def _said(self, grant: Grant, **more: str) -> Response:
        """Where the incident stands, in the words of the page."""
        found = await self._context.threads.run(
            reading.incident, self._context.settings.database, grant.incident
        )
        if found is None:
            raise HTTPException(404, "There is no such incident.")
        shown = self._context.named([found])[0]
        by = shown["acknowledged_by"]
        why = shown["events"][0]["why"]["sentence"] if shown["events"] else ""
        answer: dict[str, Any] = {
            "incident": grant.incident,
            "room": shown["room_name"],
            "place": shown["place"],
            "what": KIND_WORDS.get(shown["kind"], shown["kind"]),
            "since": self._context.times.when(shown["onset"]),
            "why": why,
            "mine": by == grant.person,
            "taken_by": self._context.name_of(by) if by else "",
            "here": grant.person in shown["there"],
            "first_there": self._context.name_of(shown["there"][0]) if shown["there"] else "",
            "awaited": shown["awaited"],
            "over": shown["status"] == Status.RESOLVED.value,
            "verdict": shown["verdict"] or "",
            "you": self._context.name_of(grant.person),
            **more,
        }
        return JSONResponse(answer, headers=_ANYWHERE)


def _in_json(handler: Callable[[Request], Awaitable[Response]]) -> Any:
    """Answer with JSON, also to what is refused."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except HTTPException as error:
            headers = {**_ANYWHERE, **(error.headers or {})}
            return JSONResponse({"error": error.detail}, error.status_code, headers=headers)
        except (StorageError, sqlite3.Error, TimeoutError) as error:
            _LOG.warning("an answer could not be stored: %s", error or type(error).__name__)
            said = "This could not be stored just now. Try again in a moment."
            return JSONResponse({"error": said}, 503, headers={**_ANYWHERE, "Retry-After": "5"})

    return answer


def _channel(form: FormData) -> str:
    via = text_of(form, "via")
    return via if via in _CHANNELS else "link"
