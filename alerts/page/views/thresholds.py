"""The page of alert thresholds, expected false alarms, and adjustments from feedback."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from alerts.incidents import threshold_adjustments
from alerts.page.page_group import Access, PageGroup, serves

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_SHOWN: Final = 10
_MAX_SHOWN: Final = 500


def to_probability(log_odds: float) -> float:
    """Convert a threshold in log-odds to a probability.

    >>> to_probability(0.0)
    0.5
    """
    return 1.0 / (1.0 + math.exp(-log_odds))


class ThresholdPages(PageGroup):
    """The list of thresholds and adjustments."""

    @serves("/levels", Access.SENSOR_READERS, one_school=True)
    async def _page(self, request: Request) -> Response:
        registry = self._context.registry
        most = _MAX_SHOWN if "all" in request.query_params else _SHOWN
        pipeline = self._context.settings.pipeline
        thresholds = await pipeline.read_thresholds(registry.sensors.keys())
        adjustments = await self._context.read(
            lambda db: threshold_adjustments.list_adjustments(
                db, limit=most + 1, sensors=self._context.sensor_ids
            )
        )

        def percent(sensor: str, feedback: float) -> str:
            known = thresholds.get(sensor)
            if known is None:
                return "—"
            level = known.level - known.feedback + feedback
            return f"{100 * to_probability(level):.0f}%"

        return await self._context.render(
            request,
            "thresholds.html",
            sensors=[
                (sensor, registry.find_room(sensor), thresholds.get(sensor))
                for sensor in registry.sensors
            ],
            adjustments=adjustments[:most],
            more=len(adjustments) > most,
            probability=to_probability,
            percent=percent,
        )
