"""Pages of sensors: registered and unregistered ones, rejected messages, and unmatched topics.

An unmatched topic is one that no decoder reads. Its page suggests a mapping to copy into the
configuration, and changes nothing. What an unregistered device sent is untrusted text: shown
escaped, only to people who look after the sensors.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Final

from starlette.exceptions import HTTPException

from alerts.access.roles import Right
from alerts.notify import outbox
from alerts.page.page_context import Access, NavLink, PageGroup, serves
from alerts.page.views.commission import is_due, tested_at
from language.messages import _, mark
from storage import dead_letters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.page.settings import PipelineStatus

_SHOWN: Final = 20
_MAX_TOPIC: Final = 1024


class SensorPages(PageGroup):
    """All sensors, and one unmatched topic."""

    nav: ClassVar[tuple[NavLink, ...]] = (
        NavLink(
            "/sensors",
            mark("Sensors"),
            ("/sensor-health", "/commission", "/levels", "/dead-letters", "/unmatched"),
            icon='<path d="M12 10v4m-5 3a7 7 0 1 1 10 0M4 20a11 11 0 1 1 16 0" class="line"/>',
            of_sensors=True,
        ),
    )

    @serves("/sensors", Access.SENSOR_READERS)
    async def index(self, request: Request) -> Response:
        """Show registered and unregistered sensors, and counts of messages and notices."""
        context = self._context
        latest = await context.in_thread(context.settings.series.latest)
        tests, now = await context.in_thread(context.settings.room_tests), context.settings.clock()
        rooms = {sensor.room for sensor in context.registry.sensors.values()}
        due = sum(is_due(tested_at(tests.get(room)), now) for room in rooms)
        pipeline = context.pipeline()
        notices = await context.read(outbox.backlog) if context.sites is None else {}
        return context.render(
            request,
            "sensors.html",
            pipeline=pipeline,
            summary=summary(pipeline, notices, len(context.registry.sensors)),
            most=sys.maxsize if "all" in request.query_params else _SHOWN,
            notices=notices,
            due=due,
            sensors=[
                (s, context.registry.rooms.get(s.room), latest.get(s.id))
                for s in context.registry.sensors.values()
            ],
        )

    @serves("/unmatched", Right.SENSORS, all_sites=True)
    async def unmatched(self, request: Request) -> Response:
        """Show the last message of an unmatched topic, and the mapping that it suggests."""
        topic = request.query_params.get("topic", "")
        found = None
        if 0 < len(topic) <= _MAX_TOPIC:
            found = self._context.settings.suggest_mapping(topic)
        if found is None:
            raise HTTPException(404, _("No unmatched message was received on this topic recently."))
        return self._context.render(
            request,
            "unmatched.html",
            topic=topic,
            found=found,
            sample=dead_letters.visible(found.sample),
        )


def summary(
    pipeline: PipelineStatus, notices: Mapping[str, int], registered: int
) -> list[tuple[str, str, str]]:
    """Return the ten figures that matter: name, value, and whether it is well."""
    states = Counter(life.state for life in pipeline.sensors.values())
    problems = sum(
        any(n for name, n in life.counts.items() if name != "readings")
        for life in pipeline.sensors.values()
    )
    rejected, unsent = sum(pipeline.dead_letters.values()), notices.get("failed", 0)
    figures = (
        (_("Registered"), registered, "none"),
        (_("Reporting"), states["alive"], "ok" if states["alive"] else "attention"),
        (_("Silent"), states["silent"], "attention"),
        (_("Offline"), states["offline"], "attention"),
        (_("Never heard"), states["never heard"], "attention"),
        (_("With data problems"), problems, "attention"),
        (_("Unregistered"), len(pipeline.quarantine), "attention"),
        (_("Unknown formats"), len(pipeline.unmatched), "attention"),
        (_("Messages rejected"), rejected, "attention"),
        (_("Notices failed"), unsent, "attention"),
    )
    return [
        (name, f"{n:,}", level if n or level == "none" or name == "Reporting" else "ok")
        for name, n, level in figures
    ]
