"""Who is on duty now, and who would be notified of an incident in each room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from alerts.duty.reasons import reason_text
from alerts.duty.roster import NEAR, incident_labels
from alerts.page.page_group import Access, PageGroup, serves
from detection.events import EventKind
from language.messages import gettext, mark

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.duty.roster import Ring

_CASES: Final = (
    (mark("Vaping"), EventKind.VAPE, "critical"),
    (mark("Sensor tampering"), EventKind.TAMPER, "warning"),
)


class DutyPages(PageGroup):
    """The duty page."""

    @serves("/duty", Access.STAFF, one_school=True)
    async def _show(self, request: Request) -> Response:
        now = self._context.settings.clock()
        on_duty, cases = await self._context.in_thread(self._chains, now)
        return self._context.render(
            request,
            "duty.html",
            on_duty=on_duty,
            unreachable=[m for m in self._context.staff if not m.targets],
            cases=cases,
            rooms=self._context.registry.rooms,
            now=now,
        )

    def _chains(self, now: float) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Return why each person is on duty, and the chains with their rooms, in each case."""
        policy = self._context.policy
        on_duty: dict[str, str] = {}
        cases: list[dict[str, Any]] = []
        for words, kind, severity in _CASES:
            chains: dict[tuple[Ring, ...], list[str]] = {}
            for room in self._context.registry.rooms.values():
                labels = incident_labels(room, kind=kind.value, severity=severity, sensor="")
                rings = policy.rings(labels, now)
                for ring in rings:
                    if ring.name in NEAR:
                        for found in ring.people:
                            on_duty.setdefault(found.person, reason_text(found.why))
                chains.setdefault(rings, []).append(room.id)
            cases.append({"words": gettext(words), "chains": chains})
        return on_duty, cases
