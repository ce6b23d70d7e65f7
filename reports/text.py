"""Text in reports: names of reports and files, numbers and durations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from detection.events import KIND_NAMES
from language.messages import ENGLISH, _, get_language, gettext, mark, mark_words, write_hour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMATS: Final = ("csv", "xlsx", "pdf", "parquet")

NAMES: Final = frozenset(
    mark_words(
        "week, day, hour, room, cause, kind, action, period, shift, sensor, Monday, Tuesday, "
        "Wednesday, Thursday, Friday, Saturday, Sunday, smoke, other, school days, incidents, "
        "confirmed, false alarms, nothing found, unknown, not answered, suppressed, nobody "
        "responded, notified, unacknowledged, availability, completeness, online days, "
        "between, spray, steam, sanitizer, cleaning, dust, cooking, referral, nurse, "
        "facilities, none, not recorded, summary, response, staff, analyst, admin, left, "
        "min:s, 1/day, all, severity, info, warning, critical, no shift, building, weekday, "
        "1/week, days, false alarm, needs responder, responding, answered, responded, "
        "resolved, test, fixed, battery, unplugged, network, broken, moved, covered, bumped, "
        "maintenance, settings, ventilation, outdoor air, device, late, cooldown, silence, "
        "inhibited, id, opened local, floor, state, outcome, false cause, arrive, notices, "
        "responder role, case number, suppressed by, by, responded within 5 min, detect "
        "median, notify median, arrive median, school closed, resolve median, escalated, "
        "false alarms per week, offline incidents, tamper incidents, fault incidents, school, "
        "alerts, alerts per 10, confirmed per 10, false alarms per 10, sensors, sensors down, "
        "1/10 sensors, opened, schema, version, place, from, to, created"
    )
)
"""Column names, codes and units that `translate` translates; other names stay unchanged."""
LIMITS: Final = (
    mark("A sensor alert does not prove that anyone vaped, and does not identify anyone."),
    mark(
        "Confirmed incidents and false alarms are those that staff reported. Tests are not counted."
    ),
    mark("A change after a date does not prove its cause: terms, weather and sensors change too."),
)
"""Disclaimers of a summary, in English."""
ABOUT: Final = {
    "incidents": mark(
        "one row per incident opened in the period, including tests and days without school"
    ),
    "summary": mark("one page to read, then the detail"),
    "response": mark("response times, for all and by group"),
    "sensors": mark("one row per sensor"),
}


def translate(name: str) -> str:
    """Translate a column name, code or unit into the reader's language."""
    words = name.replace("_", " ")
    return gettext(words) if words in NAMES and get_language() != ENGLISH else name


def to_words(name: str) -> str:
    """Return a column name or code as words in the reader's language."""
    if name == "vape_and_smoke_per_school_day":
        return _("vaping and smoke per school day")
    return KIND_NAMES.get(name) or translate(name).replace("_", " ")


def format_duration(seconds: float | None) -> str:
    """Format a duration.

    >>> format_duration(4.25), format_duration(75.0), format_duration(7300.0), format_duration(None)
    ('4.2 s', '1 min 15 s', '2 h 1 min', '—')
    """
    if seconds is None:
        return "—"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_percent(share: float) -> str:
    """Format a share of 0 to 1 as a percentage, with a decimal above 99%.

    >>> format_percent(0.643), format_percent(0.9962), format_percent(1.0)
    ('64%', '99.6%', '100%')
    """
    return f"{100 * share:.{1 if 0.99 < share < 1 else 0}f}%"


def format_column(values: Sequence[float | None], unit: str) -> tuple[str, list[str]]:
    """Format a column's numbers uniformly; return the unit for its header, and the texts.

    >>> format_column([4.0, 75.3, None], "s")
    ('min:s', ['0:04', '1:15', '—'])
    >>> format_column([3.0, 1200.0], ""), format_column([3.0, 0.25], "1/day")
    (('', ['3', '1,200']), ('1/day', ['3.00', '0.25']))
    """
    known = [value for value in values if value is not None]
    most = max(map(abs, known), default=0.0)
    if unit == "s" and most >= 60.0:
        unit = "min:s"
    elif unit == "share":
        unit = "%"

    def text(value: float) -> str:
        if unit == "min:s":
            return f"{round(value) // 60:,}:{round(value) % 60:02d}"
        if unit in ("%", "s"):
            return f"{100 * value if unit == '%' else value:.1f}"
        whole = not unit and all(value == round(value) for value in known)
        return f"{value:,.{0 if whole else 2 if most < 100 else 1}f}"

    return unit, ["—" if value is None else text(value) for value in values]


def format_period(name: str) -> str:
    """Format the name of a class period, or the clock hour if there are no bells.

    >>> format_period("P2"), format_period("13:00")
    ('P2', '1 PM')
    """
    hour = re.fullmatch(r"(\d\d):00", name)
    return write_hour(int(hour[1])) if hour else translate(name)


def describe_median(values: Mapping[str, float | None]) -> str:
    """Describe how many incidents a median covers, and how many it excludes.

    `values` comes from a `reports.figures.Figure` for a duration.

    >>> times = {"median": 255.0, "p90": 310.0, "mean": 260.0, "n": 10.0}
    >>> describe_median(times)
    'half of 10 within this time, 90% within 5 min 10 s; average 4 min 20 s'
    >>> never = {"notified": 42.0, "unacknowledged": 41.0}
    >>> describe_median(times | {"n": 1.0} | never)
    'one incident; 41 of 42 were never acknowledged'
    """
    parts = []
    if values["n"] == 1:
        parts.append(_("one incident"))
    elif values["n"]:
        parts.append(
            _(
                "half of %(n)s within this time, 90%% within %(p90)s; average %(mean)s",
                n=f"{values['n']:.0f}",
                p90=format_duration(values["p90"]),
                mean=format_duration(values["mean"]),
            )
        )
    if values.get("unacknowledged"):
        part, whole = (f"{values[key]:.0f}" for key in ("unacknowledged", "notified"))
        parts.append(_("%(part)s of %(whole)s were never acknowledged", part=part, whole=whole))
    return "; ".join(parts)


def make_file_name(report: str, kind: str, *parts: str) -> str:
    """Name a file after its report, period and place.

    >>> make_file_name("summary", "pdf", "2026/27", "", "North wing")
    'summary-2026-27-North-wing.pdf'
    """
    given = (re.sub(r"\W+", "-", part).strip("-")[:60] for part in parts)
    return f"{'-'.join([report, *filter(None, given)])}.{kind}"
