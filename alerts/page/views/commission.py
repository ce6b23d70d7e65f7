"""The commissioning test of a room on the phone: choose it, follow the steps, read the verdict.

The same test as `plumewatch commission`, evaluated by the same code in a process of its own. A test
that runs is remembered by this page alone: a restart of the service ends it, and the silence of the
room ends by itself. What was found is kept with the data; after `RETEST_S` a room is due again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from alerts.access.roles import Right
from alerts.errors import SilenceError
from alerts.incidents import silences
from alerts.page.page_context import PageGroup, sentence, serves
from alerts.page.views import charts
from detection.commissioning import (
    STEPS,
    CommissioningResult,
    Detected,
    conclusion,
)
from detection.commissioning import Response as SensorResponse
from language.messages import _, gettext

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.page_context import PageContext

RETEST_S: Final = 365 * 86_400.0
_SETTLE_S: Final = 5.0
"""Until the last reading is stored."""
_SILENCED_S: Final = 3 * sum(step.seconds for step in STEPS)
_SHOWN_BEFORE_S: Final = 60.0
_MOST: Final = 3
"""Tests of one school at once, each of which silences a room."""


@dataclass(slots=True)
class _Running:
    """A test that runs: when each step began, and its evaluation once the last is over."""

    person: str
    silence: int
    starts: list[float]
    evaluation: asyncio.Task[None] | None = None
    error: str = ""

    def left_s(self, now: float) -> float:
        """Seconds until the step is over."""
        return self.starts[-1] + STEPS[len(self.starts) - 1].seconds - now


class CommissionPages(PageGroup):
    """The rooms with their last test, and the test of one."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._running: dict[str, _Running] = {}
        self._beginning = asyncio.Lock()

    @serves("/commission", Right.SENSORS)
    async def index(self, request: Request) -> Response:
        """List the rooms that have a sensor, those that are due first."""
        context, now = self._context, self._context.settings.clock()
        results = await context.in_thread(context.settings.room_tests)
        rooms = []
        for room in context.registry.rooms.values():
            if context.registry.sensors_in(room.id):
                at = tested_at(results.get(room.id))
                rooms.append((room, at, is_due(at, now), _is_right(results.get(room.id))))
        rooms.sort(key=lambda row: (not row[2], row[1] or 0.0, row[0].name))
        return context.render(request, "commission_list.html", rooms=rooms)

    @serves("/commission/{id}", Right.SENSORS)
    async def room(self, request: Request) -> Response:
        """Show the step that runs, or the last result."""
        return await self._page(request)

    @serves("/commission/{id}/series", Right.SENSORS)
    async def series(self, request: Request) -> Response:
        """Return the readings of the test so far, or of the last half hour, as JSON."""
        room, now = self._context.room(request), self._context.settings.clock()
        running = self._running.get(room.id)
        start = running.starts[0] - _SHOWN_BEFORE_S if running else now - 1800.0
        with_marks = request.state.session.may(Right.INCIDENTS)
        return await charts.series(self._context, room.id, start, now, with_marks=with_marks)

    @serves("/commission/{id}/begin", Right.SENSORS, methods=("POST",))
    async def begin(self, request: Request) -> Response:
        """Silence the room for the test and begin the first step."""
        async with self._beginning:
            return await self._begin(request)

    async def _begin(self, request: Request) -> Response:
        context, room = self._context, self._context.room(request)
        session, now = request.state.session, context.settings.clock()
        live = self._live(now)
        if room.id in live:
            raise HTTPException(409, _("A test of this room runs already."))
        school = context.registry.within({room.site})
        if not school.sensors_in(room.id):
            raise HTTPException(409, _("No sensors are registered in this room."))
        if sum(each in school.rooms and not test.error for each, test in live.items()) >= _MOST:
            raise HTTPException(409, _("%(n)d tests run already. End one of them.", n=_MOST))

        def silence(tx: sqlite3.Connection) -> int:
            return silences.add(
                tx,
                matchers=[f'room="{room.id}"'],
                owner=session.person,
                reason="commissioning test",
                starts_at=now,
                ends_at=now + _SILENCED_S,
                now=now,
                registry=school,
                is_admin=session.may(Right.ACCOUNTS),
            ).id

        try:
            number = await context.write(silence)
        except SilenceError as error:
            return await self._page(request, sentence(error), 409)
        self._running[room.id] = _Running(session.person, number, [now])
        return self._back(room.id)

    @serves("/commission/{id}/next", Right.SENSORS, methods=("POST",))
    async def advance(self, request: Request) -> Response:
        """Begin the next step; after the last, evaluate the test."""
        room, now = self._context.room(request), self._context.settings.clock()
        running = self._live(now).get(room.id)
        if running is None or running.evaluation is not None:
            raise HTTPException(409, _("No test of this room runs."))
        left_s = running.left_s(now)
        if left_s > 0:
            words = _("This step takes %(n)d seconds more.", n=int(left_s) + 1)
            return await self._page(request, words, 409)
        if len(running.starts) < len(STEPS):
            running.starts.append(now)
        else:
            running.evaluation = asyncio.create_task(
                self._evaluate(room.id, running), name=f"room test {room.id}"
            )
        return self._back(room.id)

    @serves("/commission/{id}/stop", Right.SENSORS, methods=("POST",))
    async def stop(self, request: Request) -> Response:
        """End a test without a result."""
        room = self._context.room(request)
        running = self._running.get(room.id)
        if running is not None and (running.evaluation is None or running.evaluation.done()):
            del self._running[room.id]
            await self._end_silence(running)
        return self._back(room.id)

    def _live(self, now: float) -> dict[str, _Running]:
        """Return the tests that run; one whose silence is over is forgotten."""
        for room, running in list(self._running.items()):
            if running.evaluation is None and now > running.starts[0] + _SILENCED_S:
                del self._running[room]
        return self._running

    async def _evaluate(self, room: str, running: _Running) -> None:
        try:
            await asyncio.sleep(_SETTLE_S)
            evaluate = self._context.settings.evaluate_room
            running.error = await evaluate(room, running.starts, running.person)
        finally:
            await self._end_silence(running)
            if not running.error:
                self._running.pop(room, None)
            self._context.settings.changes.notify()

    async def _end_silence(self, running: _Running) -> None:
        engine, now = self._context.engine, self._context.settings.clock()
        await self._context.write(
            lambda tx: engine.end_silence(tx, running.silence, running.person, now)
        )

    @staticmethod
    def _back(room: str) -> Response:
        return RedirectResponse(f"/commission/{room}", 303)

    async def _page(self, request: Request, error: str = "", status: int = 200) -> Response:
        context, now = self._context, self._context.settings.clock()
        room = context.room(request)
        results = await context.in_thread(context.settings.room_tests)
        running, result = self._live(now).get(room.id), results.get(room.id)
        at = tested_at(result)
        step = None if running is None else STEPS[len(running.starts) - 1]
        return context.render(
            request,
            "commission.html",
            status,
            room=room,
            error=error or (running.error if running else ""),
            running=running,
            evaluating=running is not None and running.evaluation is not None,
            number=len(running.starts) if running else 0,
            steps=[(each.name, gettext(each.instruction), each.seconds) for each in STEPS],
            instruction=gettext(step.instruction) if step else "",
            left_s=max(0, int(running.left_s(now)) + 1) if running else 0,
            total_s=int(step.seconds) if step else 0,
            sensors=context.registry.sensors_in(room.id),
            tested_at=at,
            verdicts=list(_verdicts(result)) if result else [],
        )


def tested_at(result: Mapping[str, Any] | None) -> float | None:
    """Return when a room was tested, Unix seconds; None if never."""
    return None if result is None else float(result["steps"][0]["start"])


def is_due(at: float | None, now: float) -> bool:
    """Whether a room is to be tested again, or for the first time."""
    return at is None or now - at > RETEST_S


def _is_right(result: Mapping[str, Any] | None) -> bool:
    return result is not None and all(found["right"] for found in result["sensors"])


def _verdicts(result: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Say what each sensor of a stored result saw, in the reader's language."""
    for found in result["sensors"]:
        if found["interval_s"] is None:
            yield _("%(sensor)s sent nothing during the test", sensor=found["sensor"]), False
            continue
        seen = {
            step: [SensorResponse(**one) for one in each] for step, each in found["answers"].items()
        }
        said = {step: tuple(Detected(**e) for e in each) for step, each in found["said"].items()}
        test = CommissioningResult(found["level_moved"], is_right=found["right"], detections=said)
        yield conclusion(found["sensor"], found["interval_s"], seen, test), found["right"]
