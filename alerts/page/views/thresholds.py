"""The page of alert thresholds, expected false alarms and adjustments from feedback."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access.roles import Right
from alerts.errors import ThresholdAdjustmentError
from alerts.incidents import threshold_adjustments
from alerts.page.guard import get_text
from alerts.page.page_context import to_sentence
from alerts.page.page_group import Access, PageGroup, serves
from language.messages import _

if TYPE_CHECKING:
    from starlette.requests import Request

_MAX_REASON: Final = 200
_SHOWN: Final = 10
_MAX_SHOWN: Final = 500


def to_probability(log_odds: float) -> float:
    """Convert a threshold in log-odds to a probability.

    >>> to_probability(0.0)
    0.5
    """
    return 1.0 / (1.0 + math.exp(-log_odds))


class ThresholdPages(PageGroup):
    """The list of thresholds and adjustments, and the action that undoes an adjustment."""

    @serves("/levels/moves/{seq:row}/undo", Right.SENSORS, methods=("POST",))
    async def _undo(self, request: Request) -> Response:
        seq = request.path_params["seq"]
        if not self._context.sees_sensor(
            await self._context.read(threshold_adjustments.sensor_of, seq)
        ):
            raise HTTPException(404, _("This page does not exist."))
        person, now = request.state.session.person, self._context.settings.clock()
        reason = " ".join(get_text(request.state.form, "reason").split())[:_MAX_REASON]
        if not reason:
            return await self._page(request, _("Please give a reason. It is kept on record."), 400)
        try:
            await self._context.write(
                lambda tx: threshold_adjustments.undo(tx, seq, person, now, reason)
            )
        except ThresholdAdjustmentError as error:
            return await self._page(request, to_sentence(error), 409)
        return RedirectResponse("/levels", 303)

    @serves("/levels", Access.SENSOR_READERS, one_school=True)
    async def _page(self, request: Request, error: str = "", status: int = 200) -> Response:
        registry = self._context.registry
        most = _MAX_SHOWN if "all" in request.query_params else _SHOWN
        thresholds, adjustments = await self._context.read(
            lambda db: (
                threshold_adjustments.load_thresholds(db),
                threshold_adjustments.latest(db, limit=most + 1, sensors=self._context.sensors),
            )
        )

        def percent(sensor: str, feedback: float) -> str:
            known = thresholds.get(sensor)
            if known is None:
                change = _("less readily") if feedback > 0 else _("more readily")
                return change if feedback else _("as usual")
            level = known.level - known.feedback + feedback
            return f"{100 * to_probability(level):.0f}%"

        return self._context.render(
            request,
            "thresholds.html",
            status,
            sensors=[
                (sensor, registry.room_of(sensor), thresholds.get(sensor))
                for sensor in registry.sensors
            ],
            adjustments=adjustments[:most],
            more=len(adjustments) > most,
            max_reason=_MAX_REASON,
            probability=to_probability,
            percent=percent,
            errors=[error],
        )
