"""Text of reports: names of reports and files, and durations in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from language.dates import hour_text
from language.messages import ENGLISH, _, gettext, language, mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMATS: Final = ("csv", "xlsx", "pdf", "parquet")

NAMES: Final = frozenset(
    (
        *(mark("week"), mark("day"), mark("hour"), mark("room"), mark("cause"), mark("kind")),
        *(mark("action"), mark("period"), mark("shift"), mark("sensor")),
        *(mark("Monday"), mark("Tuesday"), mark("Wednesday"), mark("Thursday"), mark("Friday")),
        *(mark("Saturday"), mark("Sunday"), mark("vape"), mark("smoke"), mark("other")),
        *(mark("school days"), mark("incidents"), mark("vape and smoke per school day")),
        *(mark("confirmed"), mark("false alarms"), mark("nothing found"), mark("unknown")),
        *(mark("suppressed"), mark("nobody responded"), mark("notified"), mark("unacknowledged")),
        *(mark("availability"), mark("completeness"), mark("online days")),
        *(mark("between"), mark("spray"), mark("steam")),
        *(mark("sanitizer"), mark("cleaning"), mark("dust"), mark("cooking"), mark("referral")),
        *(mark("nurse"), mark("facilities"), mark("none"), mark("not recorded"), mark("tamper")),
        *(mark("sensor fault"), mark("offline"), mark("integrity"), mark("voc"), mark("ambient")),
        *(mark("service"), mark("summary"), mark("response")),
        *(mark("staff"), mark("analyst"), mark("admin"), mark("left"), mark("min:s")),
        *(mark("1/day"), mark("all"), mark("severity"), mark("info"), mark("warning")),
        *(mark("critical"), mark("no shift"), mark("building"), mark("weekday"), mark("1/week")),
        *(mark("days"), mark("false alarm"), mark("needs responder")),
        *(mark("responding"), mark("answered"), mark("responded"), mark("resolved")),
        *(mark("test"), mark("fixed"), mark("battery"), mark("unplugged"), mark("network")),
        *(mark("broken"), mark("moved"), mark("covered"), mark("bumped"), mark("maintenance")),
        *(mark("settings"), mark("ventilation"), mark("outdoor air"), mark("device")),
        *(mark("late"), mark("cooldown"), mark("silence"), mark("inhibited")),
        *(mark("id"), mark("opened local"), mark("floor"), mark("state"), mark("outcome")),
        *(mark("false cause"), mark("acknowledge"), mark("arrive"), mark("notices")),
        *(mark("responder role"), mark("case number"), mark("suppressed by"), mark("by")),
        *(mark("acknowledged within 5 min"), mark("detect median"), mark("notify median")),
        *(mark("acknowledge median"), mark("acknowledge p90"), mark("arrive median")),
        *(mark("resolve median"), mark("escalated"), mark("missed")),
        *(mark("false alarms per week"), mark("offline incidents"), mark("tamper incidents")),
        *(mark("fault incidents"), mark("school"), mark("alerts"), mark("alerts before")),
        *(mark("alerts per 10"), mark("confirmed per 10"), mark("false alarms per 10")),
        *(mark("sensors"), mark("sensors down"), mark("1/10 sensors"), mark("opened")),
    )
)
"""Columns, codes and units of tables."""
LIMITS: Final = (
    mark("A sensor alert does not prove that anybody vaped, and does not identify anybody."),
    mark("Confirmed and false alarm are reports of staff. Tests do not count."),
    mark(
        "A change after a date does not prove its cause: terms, weather and sensors change as well."
    ),
)
"""What a summary does not prove, in English."""
ABOUT: Final = {
    "incidents": mark(
        "one row per incident opened in the window, with tests and days without school"
    ),
    "summary": mark("one page to read, then the detail"),
    "response": mark("response times, for all and by group"),
    "sensors": mark("one row per sensor"),
}
"""All reports, and their content."""


def words_of(name: str) -> str:
    """Return a column, a code or a unit of a table in the reader's language."""
    words = name.replace("_", " ")
    return gettext(words) if words in NAMES and language() != ENGLISH else name


def said(name: str) -> str:
    """Return the words of a column or a code, also in English."""
    return words_of(name).replace("_", " ")


def duration(seconds: float | None) -> str:
    """Write a span of time for people.

    >>> duration(4.25), duration(75.0), duration(7300.0), duration(None)
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


def percent(share: float) -> str:
    """Write a share, from 0 to 1; with a decimal if it is almost all.

    >>> percent(0.643), percent(0.9962), percent(1.0)
    ('64%', '99.6%', '100%')
    """
    return f"{100 * share:.{1 if 0.99 < share < 1 else 0}f}%"


def column_texts(values: Sequence[float | None], unit: str) -> tuple[str, list[str]]:
    """Write the numbers of a column in one format, with the unit for its head.

    >>> column_texts([4.0, 75.3, None], "s")
    ('min:s', ['0:04', '1:15', '—'])
    >>> column_texts([3.0, 1200.0], ""), column_texts([3.0, 0.25], "1/day")
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


def period_text(name: str) -> str:
    """Write the name of a class period, or of the clock hour where there are no bells.

    >>> period_text("P2"), period_text("13:00")
    ('P2', '1 PM')
    """
    hour = re.fullmatch(r"(\d\d):00", name)
    return hour_text(int(hour[1])) if hour else words_of(name)


def median_basis(values: Mapping[str, float | None]) -> str:
    """Describe the basis of a median, and how many incidents without a time it leaves out.

    `values` are those of a `reports.figures.Figure` that is a time.

    >>> one = {"median": 255.0, "p90": 255.0, "mean": 255.0, "n": 1.0}
    >>> median_basis(one)
    'median; p90 4 min 15 s, mean 4 min 15 s, n = 1'
    >>> median_basis(one | {"notified": 42.0, "unacknowledged": 41.0, "median_all": None})
    'median; p90 4 min 15 s, mean 4 min 15 s, n = 1; 41 of 42 never, median with those: never'
    """
    text = _(
        "median; p90 %(p90)s, mean %(mean)s, n = %(n)s",
        p90=duration(values["p90"]),
        mean=duration(values["mean"]),
        n=f"{values['n']:.0f}",
    )
    if not values.get("notified"):
        return text
    middle = values["median_all"]
    return _(
        "%(median)s; %(part)s of %(whole)s never, median with those: %(all)s",
        median=text,
        part=f"{values['unacknowledged']:.0f}",
        whole=f"{values['notified']:.0f}",
        all=_("never") if middle is None else duration(middle),
    )


def file_name(report: str, kind: str, *parts: str) -> str:
    """Name a file after its report, time and place.

    >>> file_name("summary", "pdf", "2026/27", "", "North wing")
    'summary-2026-27-North-wing.pdf'
    """
    given = (re.sub(r"\W+", "-", part).strip("-")[:60] for part in parts)
    return f"{'-'.join([report, *filter(None, given)])}.{kind}"
