"""Show who is on duty now and this week, and who would be notified about each room."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from alerts.access.roles import Right, may
from alerts.duty.reasons import write_reason
from alerts.duty.roster import NEAR, build_labels
from alerts.duty.timetable import DAY_MIN, find_instant
from alerts.errors import ConfigFileError
from alerts.escalation.coverage import (
    find_coverage_gaps,
    find_stretches,
    join_gaps,
    list_paged_labels,
)
from alerts.page.page_group import Access, PageGroup, serves
from detection.events import EventKind
from language.messages import gettext, mark, write_date

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from alerts.duty.roster import Ring

_CASES: Final = (
    (mark("Vaping"), EventKind.VAPE, "critical"),
    (mark("Sensor tampering"), EventKind.TAMPER, "warning"),
)
_MOST_YEARS: Final = 10
"""Weeks can be shown up to this many years from today."""


class DutyPages(PageGroup):
    """The duty page."""

    @serves("/duty", Access.STAFF, one_school=True)
    async def _show(self, request: Request) -> Response:
        now = self._context.settings.clock()
        on_duty, cases = await self._context.run_in_thread(self._find_chains, now)
        return self._context.render(
            request,
            "duty.html",
            on_duty=on_duty,
            unreachable=[m for m in self._context.staff if not m.targets],
            cases=cases,
            rooms=self._context.registry.rooms,
            now=now,
        )

    @serves("/duty/week", Access.STAFF, one_school=True)
    async def _week(self, request: Request) -> Response:
        context = self._context
        today = context.times.to_local(context.settings.clock()).date()
        first = today - timedelta(days=today.weekday())
        with suppress(ValueError):
            asked = date.fromisoformat(request.query_params.get("from", ""))
            first = asked if abs(asked.year - today.year) <= _MOST_YEARS else first
        version, config = "", context.settings.config
        if config is not None and request.state.session.may(Right.DUTY):
            with suppress(ConfigFileError):
                found = await context.run_in_thread(config.read)
                version = "" if found.problem else found.hash
        return context.render(
            request,
            "week.html",
            days=await context.run_in_thread(self._list_days, first),
            today=today,
            first=first,
            before=first - timedelta(days=7),
            after=first + timedelta(days=7),
            version=version,
            people=[m for m in context.staff if may(m.role, Right.ANSWER)],
            rooms=context.registry.rooms,
            zone=context.times.zone,
            date_text=write_date,
        )

    def _list_days(self, first: date) -> list[dict[str, Any]]:
        """Return the shifts, and the coverage gaps for vaping alerts, on seven days."""
        context, roster = self._context, self._context.policy.get_roster()
        sites = {"", *(room.site for room in context.registry.rooms.values())}
        shifts = [shift for shift in roster.shifts if shift.site in sites]
        vaping = [
            labels
            for labels in list_paged_labels(context.registry.rooms.values())
            if labels["kind"] == EventKind.VAPE
        ]
        quiet = {member.id: member.quiet for member in context.policy.staff}
        days = []
        for day in (first + timedelta(days=n) for n in range(7)):
            start, end = (find_instant(context.times.zone, day, minute) for minute in (0, DAY_MIN))
            found = (stretch for shift in shifts for stretch in find_stretches(shift, start, end))
            gaps = find_coverage_gaps(roster, vaping, start, end, quiet)
            days.append(
                {
                    "date": day,
                    "stretches": sorted(found, key=lambda one: (one.start, one.shift.id)),
                    "gaps": join_gaps(gap for gap in gaps if start <= gap.start < end),
                }
            )
        return days

    def _find_chains(self, now: float) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Return why each person is on duty, and each case's escalation chains with their rooms."""
        policy = self._context.policy
        on_duty: dict[str, str] = {}
        cases: list[dict[str, Any]] = []
        for words, kind, severity in _CASES:
            chains: dict[tuple[Ring, ...], list[str]] = {}
            for room in self._context.registry.rooms.values():
                labels = build_labels(room, kind=kind.value, severity=severity, sensor="")
                rings = policy.plan_rings(labels, now)
                for ring in rings:
                    if ring.name in NEAR:
                        for found in ring.people:
                            on_duty.setdefault(found.person, write_reason(found.why))
                chains.setdefault(rings, []).append(room.id)
            cases.append({"words": gettext(words), "chains": chains})
        return on_duty, cases
