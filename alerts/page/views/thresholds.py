"""The page of decision levels: what sensors alert from, what it costs, and the moves of people.

Everyone who may read the page may see it. Taking a move back is for those who look after the
sensors, as in `alerts.page.views.dead_letters`; it is itself a move with a name and a reason.
"""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from alerts.access.roles import Right
from alerts.consumer import threshold_adjustments
from alerts.errors import ThresholdAdjustmentError
from alerts.page.page_context import PageGroup
from storage import sqlite

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from alerts.page.guard import Session

_MAX_REASON: Final = 200
_MOVES: Final = 50


def probability(log_odds: float) -> float:
    """Probability behind log-odds.

    Examples
    --------
    >>> probability(0.0)
    0.5
    """
    return 1.0 / (1.0 + math.exp(-log_odds))


class LevelPages(PageGroup):
    """The list of levels and moves, and taking one back."""

    def routes(self) -> list[BaseRoute]:
        """Return what they answer."""
        return [
            Route("/levels", self.show),
            Route("/levels/moves/{seq:int}/undo", self.undo, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show levels by sensor, and the newest moves."""
        session = await self._context.may_read(request)
        return await self._page(request, session)

    async def undo(self, request: Request) -> Response:
        """Take a move back."""
        session, form = await self._context.may_act(request, Right.SENSORS)
        given = form.get("reason", "")
        reason = " ".join(given.split())[:_MAX_REASON] if isinstance(given, str) else ""
        seq, now = request.path_params["seq"], self._context.settings.clock()
        if not reason:
            return await self._page(request, session, "Please say why; it stays on record.", 400)
        try:
            await self._context.write(
                lambda tx: threshold_adjustments.undo(tx, seq, session.person, now, reason),
            )
        except ThresholdAdjustmentError as error:
            return await self._page(request, session, f"{error}.".capitalize(), 409)
        return RedirectResponse("/levels", 303)

    async def _page(
        self, request: Request, session: Session | None, error: str = "", status: int = 200
    ) -> Response:
        reports, moves = await self._context.threads.run(self._load)
        registry = self._context.settings.engine.registry
        return self._context.render(
            request,
            "levels.html",
            session,
            status_code=status,
            levels=[
                (sensor, registry.room_of(sensor), reports.get(sensor))
                for sensor in registry.sensors
            ],
            moves=moves,
            may_undo=session is not None and session.may(Right.SENSORS),
            max_reason=_MAX_REASON,
            probability=probability,
            error=error,
        )

    def _load(self) -> tuple[dict[str, Any], list[threshold_adjustments.ThresholdAdjustment]]:
        with closing(sqlite.connect(self._context.settings.database, read_only=True)) as db:
            return threshold_adjustments.load_thresholds(db), threshold_adjustments.latest(
                db, limit=_MOVES
            )
