"""Sensor pages: all registered and unregistered sensors, labels, and a single sensor.

Names and messages of unregistered devices are untrusted text, so they are escaped. Messages are
shown only to people who look after the sensors.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts import sensor_tests
from alerts.access.roles import Right
from alerts.notify import outbox
from alerts.outbound.sensor_conditions import Condition, load_active_faults
from alerts.page.guard import get_session, require_found
from alerts.page.page_group import Access, PageGroup, serves
from alerts.page.rendering import SPANS
from alerts.page.settings import SensorStatus
from alerts.page.views.charts import read_span
from alerts.page.views.commission import describe_result
from alerts.sensor_tests import find_valid_test
from detection.commissioning import PUFF_S, SEEN_WELL_S
from detection.events import join_details
from language.messages import Words, _, mark
from language.plain_text import escape_reversibly
from reports.facts import read_sensor_days
from reports.kpis import compute_sensor_time
from storage import dead_letters
from storage.registry import make_sort_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from alerts.outbound.sensor_conditions import ActiveFaults
    from alerts.page.settings import PipelineStatus
    from reports.rows import SensorDay
    from storage.registry import Registry

_SHOWN: Final = 20
_NOTICES_S: Final = 7 * 86_400.0
_FIRST_STEPS: Final = Words(
    {
        Condition.TAMPERED: mark("Go and look at it."),
        "poll": mark("Check its power, and its address and password in the settings."),
        Condition.SILENT: mark("Check its power, then its network."),
        Condition.NEVER_HEARD: mark("Install it, and compare its id with the one it sends."),
        Condition.FAULTY: mark("Clean its inlet and restart it. If that fails, replace it."),
        Condition.LOW_BATTERY: mark("Replace its battery."),
        Condition.DRIFTING: mark("Clean its inlet. If that fails, replace it."),
        "unit": mark("Set the correct unit in a mapping."),
        "particles": mark("Check its particle sensor and its format."),
        "data": mark("Open its page to see which data is wrong."),
    }
)
"""What to do first, by condition or problem, most urgent first."""
_RECENT_S: Final = 900.0


class SensorPages(PageGroup):
    """The list of sensors, their labels, and the page of one sensor."""

    @serves("/sensors", Access.SENSOR_READERS, one_school=True)
    async def _index(self, request: Request) -> Response:
        context, span, now = self._context, read_span(request), self._context.settings.clock()
        active = await context.read(load_active_faults)
        pipeline, spans = context.read_pipeline(), (now - SPANS[span], now)
        rows = await context.run_in_thread(self._load_rows, *spans, pipeline.sensors, active)
        notices = {}
        if context.sites is None:
            notices = await context.read(lambda db: outbox.count_by_status(db, now - _NOTICES_S))
        return await context.render(
            request,
            "sensors.html",
            pipeline=pipeline,
            summary=self._summarize(pipeline, notices, rows),
            most=sys.maxsize if "all" in request.query_params else _SHOWN,
            has_labels=not context.is_for_this_computer,
            rows=rows,
            span=span,
            visible=dead_letters.make_visible,
        )

    def _load_rows(
        self,
        start: float,
        end: float,
        statuses: Mapping[str, SensorStatus],
        active: Mapping[str, ActiveFaults],
    ) -> list[dict[str, Any]]:
        context = self._context
        series = context.settings.series
        days: defaultdict[str, list[SensorDay]] = defaultdict(list)
        for day in read_sensor_days(
            series, context.registry.sensors, start, end, context.times.zone
        ):
            days[day.sensor].append(day)
        checked = {record.sensor for record in series.read_health(end - _RECENT_S, end + 60.0)}
        latest = series.read_latest()
        rows = []
        for sensor in context.registry.sensors.values():
            seen, faulty = latest.get(sensor.id), active.get(sensor.id)
            values = seen.values if seen else {}
            time = compute_sensor_time(days[sensor.id])
            life = statuses.get(sensor.id) or SensorStatus("not checked yet", None, 0.0)
            life = life.merge_stored(seen.time if seen else None)
            rows.append(
                {
                    "sensor": sensor,
                    "room": context.registry.rooms.get(sensor.room),
                    "state": life.state,
                    "silent_since": life.last_seen if life.is_down else None,
                    "is_checked": sensor.id in checked,
                    "first_step": _find_first_step(life, faulty),
                    "seen": seen.time if seen else None,
                    "online": time.availability.value,
                    "received": time.completeness.value,
                    "battery": values.get("battery"),
                    "rssi": values.get("rssi"),
                    "tamper": faulty is not None and faulty.tampered,
                    "fault": join_details(faulty.details) if faulty else "",
                    "life": life,
                }
            )
        return sorted(rows, key=_rank)

    def _summarize(
        self,
        pipeline: PipelineStatus,
        notices: Mapping[str, int],
        rows: Sequence[Mapping[str, Any]],
    ) -> list[list[tuple[str, str, str]]]:
        """Return lists of figures, each with name, value and display level.

        Problems that did not occur are left out. Unregistered sensors, unusable messages and
        notices belong to no school, so if one school is selected, their figures are a separate
        list.
        """

        def warn_about(name: str, number: int) -> list[tuple[str, str, str]]:
            return [(name, f"{number:,}", "attention")] if number else []

        states = Counter(row["state"] for row in rows)
        alive = states["alive"]
        own = [
            (_("Registered"), f"{len(rows):,}", "none"),
            (_("Reporting"), f"{alive:,}", "ok" if alive else "attention"),
            *warn_about(_("Silent"), states["silent"]),
            *warn_about(_("Offline"), states["offline"]),
            *warn_about(_("No reading yet"), states["never heard"]),
            *warn_about(_("With data problems"), sum(row["life"].has_problems for row in rows)),
        ]
        shared = [
            *warn_about(_("Unregistered"), len(pipeline.quarantine)),
            *warn_about(_("Unknown formats"), len(pipeline.unmatched)),
            *warn_about(_("Messages rejected"), sum(pipeline.dead_letters.values())),
            *warn_about(_("Notices failed in 7 days"), notices.get("failed", 0)),
        ]
        if self._context.room_ids is None:
            return [own + shared]
        return [own, shared] if shared and self._context.sites is None else [own]

    @serves("/sensors/labels", Right.SENSORS, one_school=True, of_any_size=True)
    async def _labels(self, request: Request) -> Response:
        context = self._context
        if context.is_for_this_computer:
            raise HTTPException(404, _("This page doesn't exist."))
        labels = list_labels(context.registry, context.policy.page_url)
        return await context.render(request, "labels.html", labels=labels)

    @serves("/sensors/{id}", Right.SENSORS)
    async def _open_scanned(self, request: Request) -> Response:
        found = self._context.registry.sensors.get(request.path_params["id"])
        sensor = require_found(found, _("No sensor with this label is registered."))
        room, scanned = (quote(part, safe="") for part in (sensor.room, sensor.id))
        return RedirectResponse(f"/commission/{room}?sensor={scanned}", 303)

    @serves("/sensors/{id}/device", Access.SENSOR_READERS)
    async def _sensor(self, request: Request) -> Response:
        context, sensor = self._context, self._context.find_sensor(request)
        tests = await context.read(sensor_tests.load_latest)
        latest = await context.run_in_thread(context.settings.series.read_latest)
        life, last = context.read_pipeline().sensors.get(sensor.id), latest.get(sensor.id)
        life = life and life.merge_stored(last.time if last else None)
        active = (await context.read(load_active_faults)).get(sensor.id)
        bare = life and replace(life, counts={}, no_particles_since=None, unlikely=())
        test = find_valid_test(tests, sensor)
        session = get_session(request)
        return await context.render(
            request,
            "sensor.html",
            sensor=sensor,
            room=context.registry.rooms.get(sensor.room),
            life=life,
            first_step=_find_first_step(bare, active) if bare and not bare.poll_error else "",
            puff_s=PUFF_S,
            seen_well_s=SEEN_WELL_S,
            last=last,
            test=test,
            verdict=describe_result(test) if test else "",
            elsewhere=sensor.id in tests,
            may_change=session is not None and session.may(Right.SENSORS),
        )


def list_labels(registry: Registry, page_url: str) -> list[tuple[str, str, str]]:
    """Return each sensor, its room and its address, by site, building, floor and room.

    The address leads to the test of the sensor's current room, so a sensor keeps its label when it
    moves.
    """
    placed = [(registry.rooms[sensor.room], sensor.id) for sensor in registry.sensors.values()]
    placed.sort(
        key=lambda one: [
            *map(make_sort_key, (one[0].site, one[0].building, one[0].floor, one[0].name, one[1]))
        ]
    )
    return [
        (
            escape_reversibly(sensor),
            escape_reversibly(room.full_name),
            f"{page_url}/sensors/{quote(sensor, safe=':')}",
        )
        for room, sensor in placed
    ]


def _find_first_step(life: SensorStatus, active: ActiveFaults | None) -> str:
    """Return the first step to fix a sensor's most urgent problem, or an empty string."""
    found: dict[str, object] = {
        "poll": life.poll_error,
        Condition.SILENT: life.is_down,
        Condition.NEVER_HEARD: life.state == "never heard",
        "unit": life.unlikely,
        "particles": life.no_particles_since is not None,
        "data": life.has_problems,
        **dict.fromkeys(active.since if active else (), True),
    }
    return next((words for key, words in _FIRST_STEPS.items() if found.get(key)), "")


def _rank(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    is_well = not (row["tamper"] or row["fault"] or row["life"].no_particles_since is not None)
    return is_well, row["state"] == "alive", row["online"] or 0.0
