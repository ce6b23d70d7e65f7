"""Write a summary's findings as sentences, for its document and for e-mail."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from language.messages import _, capitalize, gettext, join_words, ngettext, write_date, write_hours
from language.plain_text import escape_reversibly
from reports.rows import State
from reports.schools import compare_schools
from reports.text import LIMITS, format_percent, format_period, to_words, translate
from reports.wording import format_number, format_share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.facts import Facts
    from reports.rows import IncidentRow
    from reports.school import Period
    from reports.summary import Summary

_MAX_ROOMS: Final = 5
_MAX_MISSED: Final = 10
_MAX_TIMES: Final = 3
_MAX_TIED: Final = 8
"""Maximum number of busiest times to list if several are tied for the last of `_MAX_TIMES`."""
_GOOD_AVAILABILITY: Final = 0.99
"""If the availability of sensors is below this, the summary mentions it."""


def write_letter(made: Summary, link: str = "") -> tuple[str, str]:
    """Return a summary's title and text for an e-mail: findings, lists, notes."""
    facts = made.facts
    title = facts.period.title if facts.period else _("summary")
    lines = [
        *write_findings(made),
        *_list_missed(facts),
        *_list_schools(facts),
        *_list_rooms(facts),
    ]
    if link:
        lines += ["", _("Full report: %(link)s", link=f"{link}/reports")]
    return f"{escape_reversibly(facts.place or facts.school)}: {title}", "\n".join(
        [*lines, "", *write_notes(made), *map(gettext, LIMITS)]
    )


def _list_schools(facts: Facts) -> Iterator[str]:
    if not facts.names_sites:
        return
    yield from ("", _("Schools (per ten sensors; previous period):"))
    for found in compare_schools(facts):
        before = found.before
        earlier = before.counts if before else (None,) * 3
        alerts, confirmed, false = (
            f"{n} ({format_number(found.scale_to_ten(n))}; {format_number(old)})"
            for n, old in zip(found.counts, earlier, strict=True)
        )
        yield "- " + _(
            "%(school)s: alerts %(alerts)s, confirmed %(confirmed)s, false alarms %(false)s,"
            " responded to within five minutes: %(share)s (%(share_before)s), sensors down:"
            " %(down)d of %(of)d (%(down_before)s)",
            school=escape_reversibly(found.site.title),
            alerts=alerts,
            confirmed=confirmed,
            false=false,
            share=format_share(found.within_5_min.value),
            share_before=format_number(before and before.within_5_min.value, "share"),
            down=found.down or 0,
            of=found.sensors,
            down_before=format_number(before and before.down),
        )


def _list_missed(facts: Facts) -> Iterator[str]:
    missed = [row for row in facts.counted.incidents if row.state is State.NOBODY_RESPONDED]
    if missed:
        yield from ("", _("Nobody responded:"))
    for row in missed[:_MAX_MISSED]:
        at = write_date(facts.find_calendar(row).to_local(row.first_evidence_at), "moment")
        room = escape_reversibly(facts.room_names[row.room_id])
        yield f"- {room}: {at}, {to_words(row.kind)}"
    if (more := len(missed) - _MAX_MISSED) > 0:
        yield "- " + _("%(n)d more", n=more)


def _list_rooms(facts: Facts) -> Iterator[str]:
    if facts.room_totals:
        yield from ("", _("Rooms with the most vaping and smoke:"))
    for room, n in islice(facts.room_totals.items(), _MAX_ROOMS):
        before = facts.before
        beside = before and _("%(n)d before", n=before.room_totals.get(room, 0))
        yield f"- {escape_reversibly(room)}: {n}" + (f" ({beside})" if beside else "")


def write_notes(made: Summary) -> Iterator[str]:
    """Yield what limits the findings: days without a record, and sensors that were offline."""
    facts = made.facts
    if facts.covered_from > facts.start:
        day = write_date(facts.calendar.to_local(facts.covered_from), "date")
        yield _("Records begin on %(day)s; earlier days are not counted.", day=day)
    online = next(f.values for f in made.figures if f.key == "availability")["value"]
    if online is not None and online < _GOOD_AVAILABILITY:
        yield _("Sensors were online %(share)s of the time.", share=format_percent(online))


def write_findings(made: Summary) -> Iterator[str]:
    """Yield sentences: number of incidents, trend, answers, responses, and busiest times.

    Without incidents, yield only the number and the trend. Only weeks, months, terms and years have
    a trend. Earlier alerts that nobody has checked are always mentioned.
    """
    facts = made.facts
    found = {figure.key: figure.values for figure in made.figures}

    def get(key: str, measure: str = "value") -> int:
        return int(found[key].get(measure) or 0)

    every, air = get("incidents"), get("incidents_air")
    yield _(
        "%(every)s (%(days)s): %(air)d vaping or smoke, %(others)d other.",
        every=ngettext("%(n)d incident", "%(n)d incidents", every),
        days=ngettext("%(n)d school day", "%(n)d school days", get("school_days")),
        air=air,
        others=every - air,
    )
    yield from _compare_with_before(made)
    if not every:
        yield from _count_unchecked(facts)
        return
    counts = {
        "confirmed": _("%(n)d confirmed", n=get("confirmed")),
        "false_alarms": ngettext("%(n)d false alarm", "%(n)d false alarms", get("false_alarms")),
        "nothing_found": _("%(n)d with nothing found", n=get("nothing_found")),
        "fixed": _("%(n)d with the sensor fixed", n=get("fixed")),
    }
    answers = join_words(text for key, text in counts.items() if get(key))
    answered = every - get("not_answered")
    yield _("Staff answered %(n)d of %(every)d", n=answered, every=every) + (
        f": {answers}." if answers else "."
    )
    if notified := get("responded_in_5_min", "of"):
        never = get("nobody_responded", "part")
        others = (
            _("nobody responded to %(n)d", n=never)
            if never
            else _("every alert that has ended had a responder")
        )
        yield _(
            "Someone responded within five minutes to %(soon)d of %(alerts)s; %(others)s.",
            soon=get("responded_in_5_min", "part"),
            alerts=ngettext("%(n)d alert sent to staff", "%(n)d alerts sent to staff", notified),
            others=others,
        )
    else:
        yield _("No alert was sent to staff.")
    yield from _count_unchecked(facts)
    times = Counter(_name_time(facts, row) for row in facts.air).most_common(_MAX_TIED)
    least = max(2, times[:_MAX_TIMES][-1][1]) if times else 2
    if named := [_("%(time)s (%(n)d alerts)", time=time, n=n) for time, n in times if n >= least]:
        yield _("Busiest times for vaping and smoke: %(times)s.", times=join_words(named))
    else:
        yield _("No time of the week had more than one alert for vaping or smoke.")


def _count_unchecked(facts: Facts) -> Iterator[str]:
    if n := facts.missed_before:
        yield ngettext(
            "Still unchecked: %(n)d earlier alert.", "Still unchecked: %(n)d earlier alerts.", n
        )


def _name_time(facts: Facts, row: IncidentRow) -> str:
    """Name the weekday and class period, or clock hour, of an incident."""
    calendar = facts.find_calendar(row)
    local, period = calendar.to_local(row.opened_at), calendar.find_period(row.opened_at)
    if calendar.lessons is None:
        when = write_hours(local.hour)
    elif period.isdigit():
        when = _("period %(name)s", name=period)
    else:
        when = escape_reversibly(format_period(period))
    return f"{translate(f'{local:%A}')} {when}"


def _compare_with_before(made: Summary) -> Iterator[str]:
    facts = made.facts
    if facts.period is None:
        return
    if facts.before is None:
        earlier = facts.calendar.times.find_previous(facts.period)
        if earlier is not None:
            yield _("There is no record of %(period)s to compare with.", period=_phrase(earlier))
        return
    values = next(f.values for f in made.figures if f.key == "per_school_day")
    named = name_period_before(facts.before)
    if not values["days_before"]:
        yield capitalize(_("%(period)s had no school days to compare with.", period=named))
    if not values["days_before"] or not values["days"]:
        return
    now, before = (
        ngettext(
            "%(count)s on 1 school day",
            "%(count)s on %(n).0f school days",
            values[f"days{when}"] or 0.0,
            count=format_number(values[f"count{when}"]),
        )
        for when in ("", "_before")
    )
    yield _(
        "Vaping and smoke: %(now)s, compared with %(before)s in %(period)s",
        now=now,
        before=before,
        period=named,
    ) + ("." if values["is_clear"] else _("; too few to call a change."))


def name_period_before(before: Facts | None) -> str:
    """Name the previous period and the start of its record; empty if there is none."""
    if before is None or before.period is None:
        return ""
    local = before.calendar.to_local(before.start)
    name = _phrase(before.period)
    if local.date() == before.period.first:
        return name
    return _("%(period)s, from %(day)s on", period=name, day=write_date(local, "date"))


def _phrase(period: Period) -> str:
    title = escape_reversibly(period.title)
    if period.kind in ("month", "term"):
        return title
    return _("the %(week)s", week=title) if period.kind == "week" else _("the %(year)s", year=title)
