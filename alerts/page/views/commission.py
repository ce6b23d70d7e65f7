"""The commissioning test: choose a room, follow the steps, and read the result.

A test is evaluated in its own process. It is stored after each step, so it continues after a
restart. Each step extends the room's silence. If nobody begins the next step in time, the test and
the silence end, and people are notified of incidents still in progress.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from alerts import sensor_tests
from alerts.access.roles import Right
from alerts.errors import SilenceError
from alerts.incidents import silences
from alerts.incidents.silences import Purpose
from alerts.page.page_context import to_sentence
from alerts.page.page_group import PageGroup, serves
from alerts.page.views import charts
from alerts.page.views.silences import record_silence
from alerts.sensor_tests import RunningTest, SensorTest, find_valid_test
from detection.commissioning import STEPS, Detected, conclude
from language.messages import _, gettext
from storage.registry import make_sort_key

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.page_context import PageContext

_SETTLE_S: Final = 5.0
"""Seconds to wait until the last reading is stored."""
_GRACE_S: Final = 120.0
"""Seconds after a step in which the next one must begin; otherwise, the test ends."""
_EVALUATED_S: Final = 330.0
_SILENCED_S: Final = sum(step.seconds + _GRACE_S for step in STEPS) + _EVALUATED_S
_SHOWN_BEFORE_S: Final = 60.0
_MAX_TESTS: Final = 3
"""Maximum concurrent tests in one school, because each one silences a room."""


class CommissionPages(PageGroup):
    """The list of rooms with their last test, and a room's test page."""

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._evaluations: dict[str, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Resume evaluations that a restart interrupted."""
        await self._find_live(self._context.settings.clock())

    async def close(self) -> None:
        """Stop evaluations; they are resumed after a restart."""
        tasks = [*self._evaluations.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @serves("/commission", Right.SENSORS, one_school=True)
    async def _index(self, request: Request) -> Response:
        context = self._context
        tests = await context.read(sensor_tests.load_latest)
        rooms = []
        for room in context.registry.rooms.values():
            found = [
                find_valid_test(tests, sensor) for sensor in context.registry.list_sensors(room.id)
            ]
            if found:
                at = max((test.at for test in found if test), default=None)
                passed = all(test.is_right for test in found if test)
                is_done = all(test.is_done for test in found if test)
                rooms.append((room, None if None in found else at, passed, is_done))
        rooms.sort(key=lambda row: (row[1] or 0.0, make_sort_key(row[0].short_name)))
        return await context.render(request, "commission_list.html", rooms=rooms)

    @serves("/commission/{id}/series", Right.SENSORS)
    async def _series(self, request: Request) -> Response:
        room, now = self._context.find_room(request), self._context.settings.clock()
        running = (await self._find_live(now)).get(room.id)
        start = running.starts[0] - _SHOWN_BEFORE_S if running else now - 1800.0
        with_marks = request.state.session.may(Right.INCIDENTS)
        return await charts.send_series(self._context, room.id, start, now, with_marks=with_marks)

    @serves("/commission/{id}/begin", Right.SENSORS, methods=("POST",))
    async def _begin(self, request: Request) -> Response:
        context, room = self._context, self._context.find_room(request)
        session, now = request.state.session, context.settings.clock()

        def silence(tx: sqlite3.Connection) -> None:
            added = silences.add(
                tx,
                labels={"room": room.id},
                owner=session.person,
                purpose=Purpose.ROOM_TEST,
                starts_at=now,
                ends_at=now + _SILENCED_S,
                now=now,
                registry=school,
                is_admin=session.may(Right.ACCOUNTS),
            )
            record_silence(tx, added, "added for a room test", session.person, now)
            test = RunningTest(session.person, added.id, [now])
            silences.move_end(tx, added.id, _find_end(test))
            sensor_tests.save_running(tx, {**live, room.id: test})

        async with self._changing:
            live = await self._find_live(now)
            if room.id in live and not live[room.id].error:
                raise HTTPException(409, _("A test of this room is already running."))
            school = context.registry.limit_to({room.site})
            if not school.list_sensors(room.id):
                raise HTTPException(409, _("No sensors are registered in this room."))
            running = [k for k, test in live.items() if k in school.rooms and not test.error]
            if len(running) >= _MAX_TESTS:
                words = _("%(n)d tests are already running. End one of them.", n=_MAX_TESTS)
                raise HTTPException(409, words)
            try:
                await context.write(silence)
            except SilenceError as error:
                return await self._page(request, to_sentence(error), 409)
        return self._go_back(room.id)

    @serves("/commission/{id}/next", Right.SENSORS, methods=("POST",))
    async def _advance(self, request: Request) -> Response:
        room, now = self._context.find_room(request), self._context.settings.clock()
        async with self._changing:
            live = await self._find_live(now)
            running = live.get(room.id)
            if running is None or running.is_over:
                raise HTTPException(409, _("No test of this room is running."))
            left_s = _count_left_s(running, now)
            if left_s > 0:
                words = _("This step takes %(n)d more seconds.", n=int(left_s) + 1)
                return await self._page(request, words, 409)
            if len(running.starts) < len(STEPS):
                running.starts.append(now)
                ends_at = _find_end(running)
            else:
                running.is_over, ends_at = True, now + _EVALUATED_S
                self._evaluate_soon(room.id, running)

            def extend(tx: sqlite3.Connection) -> None:
                silences.move_end(tx, running.silence, ends_at)
                sensor_tests.save_running(tx, live)

            await self._context.write(extend)
        return self._go_back(room.id)

    @serves("/commission/{id}/stop", Right.SENSORS, methods=("POST",))
    async def _stop(self, request: Request) -> Response:
        room, now = self._context.find_room(request), self._context.settings.clock()
        async with self._changing:
            running = (await self._find_live(now)).get(room.id)
            if running is not None and room.id not in self._evaluations:
                running.error = ""
                await self._finish(room.id, running)
        return self._go_back(room.id)

    async def _find_live(self, now: float) -> dict[str, RunningTest]:
        """Return the current tests by room; resume evaluations that a restart interrupted."""
        found = await self._context.read(sensor_tests.load_running)
        for room, test in list(found.items()):
            if not test.is_over and now >= _find_end(test):
                del found[room]
            elif test.is_over and not test.error and room not in self._evaluations:
                self._evaluate_soon(room, test)
        return found

    def _evaluate_soon(self, room: str, running: RunningTest) -> None:
        self._evaluations[room] = asyncio.create_task(
            self._evaluate(room, running), name=f"room test {room}"
        )

    async def _evaluate(self, room: str, running: RunningTest) -> None:
        evaluate = self._context.settings.evaluate_room
        try:
            await asyncio.sleep(_SETTLE_S)
            running.error = await evaluate(room, running.starts, running.person)
            async with self._changing:
                await self._finish(room, running)
        finally:
            del self._evaluations[room]

    async def _finish(self, room: str, running: RunningTest) -> None:
        """Answer "test" to a test's incidents, and end its silence; keep its error, if any."""
        engine, now = self._context.engine, self._context.settings.clock()
        last = running.starts[-1] + STEPS[-1].seconds + _SETTLE_S if running.is_over else now

        def end(tx: sqlite3.Connection) -> None:
            engine.answer_test(tx, room, (running.starts[0], min(last, now)), running.person)
            ended = engine.end_silence(tx, running.silence, running.person, now)
            record_silence(tx, ended, "ended after a room test", running.person, now)
            live = {**sensor_tests.load_running(tx), room: running}
            kept = {k: v for k, v in live.items() if k != room or v.error}
            sensor_tests.save_running(tx, kept)

        await self._context.write(end)

    @staticmethod
    def _go_back(room: str) -> Response:
        return RedirectResponse(f"/commission/{room}", 303)

    @serves("/commission/{id}", Right.SENSORS)
    async def _page(self, request: Request, error: str = "", status: int = 200) -> Response:
        context, now = self._context, self._context.settings.clock()
        room = context.find_room(request)
        sensors = context.registry.list_sensors(room.id)
        tests = await context.read(sensor_tests.load_latest)
        found = [test for sensor in sensors if (test := find_valid_test(tests, sensor))]
        running = (await self._find_live(now)).get(room.id)
        scanned = request.query_params.get("sensor", "")
        step = None if running is None else STEPS[len(running.starts) - 1]
        return await context.render(
            request,
            "commission.html",
            status,
            room=room,
            fault=error or (running.error if running else ""),
            running=running,
            evaluating=running is not None and running.is_over,
            number=len(running.starts) if running else 0,
            steps=[(each.name, gettext(each.instruction), each.seconds) for each in STEPS],
            instruction=gettext(step.instruction) if step else "",
            left_s=max(0, int(_count_left_s(running, now)) + 1) if running else 0,
            ends_at=_find_end(running) if running else 0.0,
            total_s=int(step.seconds) if step else 0,
            sensors=sensors,
            scanned=scanned if any(sensor.id == scanned for sensor in sensors) else "",
            untested=[sensor.id for sensor in sensors if find_valid_test(tests, sensor) is None],
            undone=[test.sensor for test in found if not test.is_done],
            tested_at=max((test.at for test in found if test.is_done), default=None),
            verdicts=[(describe_result(test), test.is_right) for test in found],
        )


def _find_end(running: RunningTest) -> float:
    """Return when a test ends if nobody continues it."""
    return running.starts[-1] + STEPS[len(running.starts) - 1].seconds + _GRACE_S


def _count_left_s(running: RunningTest, now: float) -> float:
    return running.starts[-1] + STEPS[len(running.starts) - 1].seconds - now


def describe_result(test: SensorTest) -> str:
    """Describe a sensor's test result."""
    found = json.loads(test.result)
    if found["interval_s"] is None:
        return _("%(sensor)s sent nothing during the test", sensor=test.sensor)
    said = {step: tuple(Detected(**e) for e in each) for step, each in found["said"].items()}
    return conclude(
        test.sensor,
        found["interval_s"],
        said,
        has_particles=found["has_particles"],
        sees_puff=found["sees_puff"],
    )
