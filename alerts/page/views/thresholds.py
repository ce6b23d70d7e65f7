"""The page of alert thresholds: expected false alarms, missed vaping, adjustments from feedback.

Reverting an adjustment is for people who look after the sensors, an adaptation of the detector for
administrators. Both are recorded with a name and a reason.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from alerts.access.roles import Right
from alerts.errors import AdaptationError, ThresholdAdjustmentError
from alerts.incidents import adaptations, threshold_adjustments
from alerts.page.page_context import Access, PageGroup, sentence, serves, text_of
from detection.model import Model
from language.messages import _

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.requests import Request

_MAX_REASON: Final = 200
_SHOWN: Final = 50


def probability(log_odds: float) -> float:
    """Return the probability of log-odds.

    >>> probability(0.0)
    0.5
    """
    return 1.0 / (1.0 + math.exp(-log_odds))


class ThresholdPages(PageGroup):
    """The list of thresholds and adjustments, reverting one, and the adaptation to the school."""

    @serves("/levels", Access.SENSOR_READERS)
    async def show(self, request: Request) -> Response:
        """Show thresholds by sensor, and the newest adjustments."""
        return await self._page(request)

    @serves("/levels/moves/{seq:row}/undo", Right.SENSORS, methods=("POST",))
    async def undo(self, request: Request) -> Response:
        """Revert an adjustment."""
        seq = request.path_params["seq"]
        if not self._context.sees_sensor(
            await self._context.read(threshold_adjustments.sensor_of, seq)
        ):
            raise HTTPException(404, _("This page does not exist."))
        return await self._change(request, lambda tx, *by: threshold_adjustments.undo(tx, seq, *by))

    @serves(
        "/levels/adaptations/{number:row}/apply", Right.SETTINGS, methods=("POST",), all_sites=True
    )
    async def apply(self, request: Request) -> Response:
        """Use an adaptation from the next readings on."""
        number = request.path_params["number"]
        return await self._change(request, lambda tx, *by: adaptations.apply(tx, number, *by))

    @serves("/levels/adaptations/undo", Right.SETTINGS, methods=("POST",), all_sites=True)
    async def undo_adaptation(self, request: Request) -> Response:
        """Return to what was used before the active adaptation."""
        return await self._change(request, adaptations.undo)

    async def _change(
        self, request: Request, change: Callable[[sqlite3.Connection, str, float, str], object]
    ) -> Response:
        """Make a change with a person, a moment and a reason, all of which are recorded."""
        person, now = request.state.session.person, self._context.settings.clock()
        reason = " ".join(text_of(request.state.form, "reason").split())[:_MAX_REASON]
        if not reason:
            return await self._page(request, _("Please give a reason. It is kept on record."), 400)
        try:
            await self._context.write(lambda tx: change(tx, person, now, reason))
        except (AdaptationError, ThresholdAdjustmentError) as error:
            return await self._page(request, sentence(error), 409)
        return RedirectResponse("/levels", 303)

    async def _page(self, request: Request, error: str = "", status: int = 200) -> Response:
        registry = self._context.registry
        thresholds, adjustments, ready, active = await self._context.read(
            lambda db: (
                threshold_adjustments.load_thresholds(db),
                threshold_adjustments.latest(db, limit=_SHOWN, sensors=self._context.sensors),
                adaptations.ready(db, Model.shipped()),
                adaptations.active_number(db),
            )
        )

        def percent(sensor: str, feedback: float) -> str:
            """Write the probability at which a sensor alerts with an adjustment by feedback."""
            known = thresholds.get(sensor)
            if known is None:
                change = _("less readily") if feedback > 0 else _("more readily")
                return change if feedback else _("as usual")
            return f"{100 * probability(known.level - known.feedback + feedback):.0f} %"

        return self._context.render(
            request,
            "thresholds.html",
            status,
            sensors=[
                (sensor, registry.room_of(sensor), thresholds.get(sensor))
                for sensor in registry.sensors
            ],
            adjustments=adjustments,
            ready=ready if self._context.sites is None else None,
            active=active if self._context.sites is None else None,
            max_reason=_MAX_REASON,
            probability=probability,
            percent=percent,
            error=error,
        )
