"""Format figures the same way on the staff page, in documents and in e-mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from language.messages import _, ngettext
from reports.kpis import WEEK_DAYS, BeforeAfter, Rate
from reports.text import describe_median, format_duration, format_percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.figures import Figure


def format_number(value: float | None, unit: str = "") -> str:
    """Format the value of a figure in its unit."""
    if value is None:
        return "—"
    if unit == "s":
        return format_duration(value)
    if unit == "share":
        return format_percent(value)
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def describe_figure(figure: Figure) -> dict[str, str]:
    """Return a figure's label, value, basis (full and short), and its values in earlier periods."""
    values = figure.values
    basis = ""
    if "median" in values:
        basis = describe_median(values)
    elif "days" in values:
        basis = _format_per_day(values)
    elif "of" in values:
        basis = _describe_rate(figure)
    short = _("median of %(n)s", n=f"{values['n']:.0f}") if "median" in values else basis
    row = {"label": figure.label, "value": format_value(figure), "rest": basis, "short": short}
    return row | {
        name: format_number(values[key], figure.unit) if key in values else ""
        for name, key in (("was", "period_before"), ("last_year", "year_before"))
    }


def format_value(figure: Figure) -> str:
    """Format the value of a figure, or "too little data"."""
    if figure.main is None and "of" in figure.values:
        return _("too little data")
    return format_number(figure.main, figure.unit)


def format_share(value: float | None) -> str:
    """Format a share, or "too little data"."""
    return _("too little data") if value is None else format_percent(value)


def describe_trend(figure: Figure, when: str) -> str:
    """Compare a figure with the previous period, named `when`; empty if there is none."""
    if "period_before" not in figure.values:
        return ""
    before, now = figure.values["period_before"], figure.main
    was = format_number(before, figure.unit)
    if figure.unit or now is None or before is None:
        return _("%(before)s %(when)s", before=was, when=when)
    if now == before:
        return _("as many as %(when)s", when=when)
    text = (
        _("up from %(before)s", before=was)
        if now > before
        else _("down from %(before)s", before=was)
    )
    if BeforeAfter(Rate(before, 1), Rate(now, 1)).is_clear:
        return text
    return _("%(change)s: too few to call a change", change=text)


def _describe_rate(figure: Figure) -> str:
    values = figure.values
    part, whole = (_round(values[key] or 0.0) for key in ("part", "of"))
    if figure.unit == "share":
        return _("%(part)s of %(whole)s", part=part, whole=whole)
    if figure.unit == "1/week":
        weeks = f"{(values['of'] or 0.0) / WEEK_DAYS:,.1f}"
        n = (values["part"] or 0.0) / WEEK_DAYS
        return ngettext(
            "%(n).0f false alarm in %(weeks)s sensor-weeks",
            "%(n).0f false alarms in %(weeks)s sensor-weeks",
            n,
            weeks=weeks,
        )
    if figure.unit == "1/h":
        return _("%(part)s in %(hours)s h by current shifts", part=part, hours=whole)
    return f"{part} / {whole}"


def _round(amount: float) -> str:
    """Round an amount, such as hours, for people."""
    return f"{amount:,.{0 if amount >= 10 or amount == round(amount) else 1}f}"


def _format_per_day(values: Mapping[str, float | None]) -> str:
    """Format a rate per school day with its basis."""
    count, days = values["count"] or 0.0, values["days"] or 0.0
    return ngettext(
        "%(rate)s (%(count)s on 1 whole school day)",
        "%(rate)s (%(count)s on %(n).0f whole school days)",
        days,
        rate=format_number(count / days if days else None),
        count=f"{count:,.0f}",
    )
