"""Show who is on duty now, the weekly shifts, and who would be notified about each room."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from alerts.access.roles import Right, may
from alerts.duty.reasons import write_reason
from alerts.duty.roster import NEAR, build_labels
from alerts.duty.timetable import find_instant
from alerts.errors import ConfigFileError
from alerts.escalation.coverage import (
    find_coverage_gaps,
    find_stretches,
    join_gaps,
    list_paged_labels,
)
from alerts.notify.notice_writer import find_quiet_end
from alerts.page.page_group import PageGroup, serves
from alerts.policy import Severity, grade
from detection.events import EventKind
from language.messages import Fact, _, capitalize, gettext, mark, write_date
from storage.registry import format_floor, join_place

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from storage.registry import Room

    _Step = tuple[str, tuple[str, ...]]
    """A ring's name and its people."""
    _Chain = tuple[tuple[_Step, ...], tuple[str, ...]]
    """The rings that are notified, and the people who are skipped."""

_CASES: Final = ((mark("Vaping"), EventKind.VAPE), (mark("Sensor tampering"), EventKind.TAMPER))
_MAX_YEARS: Final = 10
"""Weeks can be shown up to this many years from today."""


class DutyPages(PageGroup):
    """The page of people on duty now, and the weekly shifts."""

    @serves("/duty", Right.INCIDENTS, one_school=True)
    async def _show(self, request: Request) -> Response:
        now = self._context.settings.clock()
        on_duty, cases = await self._context.run_in_thread(self._find_chains, now)
        return await self._context.render(
            request,
            "duty.html",
            on_duty=on_duty,
            cases=cases,
            problem=partial(self._explain_unreachable, now),
            errors=[self._context.warn_unreachable()],
            now=now,
        )

    @serves("/duty/week", Right.INCIDENTS, one_school=True)
    async def _week(self, request: Request) -> Response:
        context = self._context
        today = context.times.to_local(context.settings.clock()).date()
        first = today - timedelta(days=today.weekday())
        with suppress(ValueError):
            asked = date.fromisoformat(request.query_params.get("from", ""))
            first = asked if abs(asked.year - today.year) <= _MAX_YEARS else first
        saved = request.query_params.get("saved", "")
        version, config = "", context.settings.config
        if config is not None and request.state.session.may(Right.DUTY):
            with suppress(ConfigFileError):
                found = await context.run_in_thread(config.read)
                version = "" if found.problem else found.hash
        days = await context.run_in_thread(self._list_days, first)
        skipped = Counter(
            each for day in days for each in {one for *_gap, found in day["gaps"] for one in found}
        )
        return await context.render(
            request,
            "week.html",
            days=days,
            places={
                zone.id: capitalize(join_place(format_floor(zone.floor), zone.building))
                for zone in context.policy.get_roster().zones.zones
            },
            every_day=[each for each, n in skipped.items() if n > 1],
            room_count=len(context.registry.rooms),
            today=today,
            first=first,
            before=first - timedelta(days=7),
            after=first + timedelta(days=7),
            version=version,
            saved=int(saved) if saved in {*"123456789"} else 0,
            done=_("Saved. The shifts change within seconds.") if saved else "",
            unreachable=[m.id for m in context.policy.staff if not m.targets],
            people=[m for m in context.staff if may(m.role, Right.ANSWER)],
            errors=[context.warn_unreachable()],
            zone=context.times.zone,
            date_text=write_date,
        )

    def _list_days(self, first: date) -> list[dict[str, Any]]:
        """Return the shifts of seven days, and their coverage gaps for vaping alerts."""
        context, roster = self._context, self._context.policy.get_roster()
        sites = {"", *(room.site for room in context.registry.rooms.values())}
        shifts = [shift for shift in roster.shifts if shift.site in sites]
        vaping = [
            labels
            for labels in list_paged_labels(context.registry.rooms.values())
            if labels["kind"] == EventKind.VAPE
        ]
        quiet = {member.id: member.quiet for member in context.policy.staff}
        rooms, days = context.registry.rooms, []
        dates = [first + timedelta(days=n) for n in range(8)]
        edges = [find_instant(context.times.zone, day, 0) for day in dates]
        gaps = [*find_coverage_gaps(roster, vaping, edges[0], edges[-1], quiet)]
        for day, start, end in zip(dates, edges, edges[1:], strict=False):
            found = (stretch for shift in shifts for stretch in find_stretches(shift, start, end))
            joined = [
                (
                    gap,
                    [rooms[room] for room in gap.rooms],
                    [(p, self._explain_unreachable(gap.start.timestamp(), p)) for p in gap.people],
                )
                for gap in join_gaps(gap for gap in gaps if start <= gap.start < end)
            ]
            days.append(
                {
                    "date": day,
                    "stretches": sorted(found, key=lambda one: (one.start, one.shift.id)),
                    "gaps": joined,
                }
            )
        return days

    def _explain_unreachable(self, at: float, person: str, severity: str = "") -> str:
        """Explain why a person can't be notified at a time; empty if they can."""
        member = self._context.policy.find_member(person)
        if member is None or not member.targets:
            return _("no notification address")
        until = None if severity == Severity.CRITICAL else find_quiet_end(member.quiet, at)
        if until is None:
            return ""
        return _("quiet hours until %(time)s", time=self._context.times.write_when(until))

    def _find_chains(self, now: float) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Return why each person is on duty, and for each of `_CASES` the chains and their rooms.

        A chain consists of the rings that are notified, and the people who are skipped because they
        can't be notified.
        """
        context = self._context
        roster, at = context.policy.get_roster(), datetime.fromtimestamp(now, UTC)
        find_name = context.policy.find_name
        as_planned = replace(roster, reachable=frozenset())
        on_duty: dict[str, str] = {}
        cases: list[dict[str, Any]] = []
        for words, kind in _CASES:
            severity = grade(kind, 1.0, 0.0, 0).value
            chains: dict[_Chain, list[Room]] = {}
            steps_of: dict[tuple[object, ...], _Chain] = {}
            for room in context.registry.rooms.values():
                labels = build_labels(room, kind=kind.value, severity=severity, sensor="")
                receivers = tuple(node.receiver for node in roster.match_routes(labels))
                place = receivers, room.site, room.building, room.floor
                if place in steps_of:
                    chains[steps_of[place]].append(room)
                    continue
                rings, planned = roster.plan_rings(labels, at), as_planned.plan_rings(labels, at)
                for ring in (*planned, *rings):
                    if ring.name in NEAR:
                        for found in ring.people:
                            params = {k: v for k, v in found.why.params.items() if k != "zones"}
                            why = write_reason(Fact(found.why.code, params), find_name)
                            on_duty.setdefault(found.person, why)
                steps = tuple((ring.name, tuple(c.person for c in ring.people)) for ring in rings)
                asked = {person for _name, people in steps for person in people}
                everyone = (c.person for ring in planned for c in ring.people)
                skipped = tuple(person for person in everyone if person not in asked)
                steps_of[place] = steps, skipped
                chains.setdefault((steps, skipped), []).append(room)
            cases.append({"words": gettext(words), "severity": severity, "chains": chains})
        return on_duty, cases
