"""*School board*: the trend by week, for people who decide and do not operate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dashboards import panels, queries
from dashboards.frame import frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana_foundation_sdk.builders import stat, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

_WEEK: Final = "7d, 4d"
"""InfluxQL counts weeks from a Thursday; these begin on Mondays."""
_NONE: Final = "no incident in this time"
_AIR: Final = f"{queries.COUNTED} AND (\"kind\" = 'vape' OR \"kind\" = 'smoke')"


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    numbers = [
        _figure("Incidents", "incidents", "Of all kinds, without tests.", "none", _NONE),
        _figure(
            "Confirmed share",
            "confirmed_rate",
            "Of the incidents that staff confirmed or called a false alarm.",
            "percentunit",
            "no feedback",
        ),
        _figure(
            "Time to acknowledge",
            "time_to_acknowledge",
            "From the first notice to somebody's answer, median.",
            "s",
            "nobody acknowledged one",
        ),
        _figure(
            "Time to arrive",
            "time_to_arrive",
            "From the first notice to the first arrival, median.",
            "s",
            "nobody arrived",
        ),
    ]
    trend = [
        _by_week(
            settings,
            "Vaping and smoke per week",
            "Incidents by the week in which they opened, from Monday; the last week is not over.",
            queries.over_time(
                'count("confidence")',
                queries.INCIDENT,
                "kind",
                where=_AIR,
                every=_WEEK,
                zone=settings.zone,
            ),
            colors=panels.KIND_COLORS,
        ),
        _by_week(
            settings,
            "Confirmed share per week",
            "Confirmed / (confirmed + false alarm), by feedback of staff; a week without feedback"
            " has no value.",
            queries.over_time(
                {"confirmed": 'sum("confirmed") / (sum("confirmed") + sum("false_alarm"))'},
                queries.INCIDENT,
                where=queries.COUNTED,
                every=_WEEK,
                zone=settings.zone,
            ),
            unit="percentunit",
            colors={"confirmed": panels.BLUE},
            stacked=False,
        ),
        _by_week(
            settings,
            "Displacement, by week and room",
            "Vaping and smoke. If one room falls and another rises in the same weeks, people have"
            " moved and not stopped.",
            queries.over_time(
                'count("confidence")',
                queries.INCIDENT,
                "room",
                where=_AIR,
                every=_WEEK,
                zone=settings.zone,
            ),
            colors={},
            width=24,
        ),
    ]
    referral = panels.note(
        "Referrals",
        "Referrals and case numbers are about persons, so they are in no time series. They are in"
        " the *response* and *summary* reports: staff page, *Reports*.",
        height=3,
    )
    return frame(
        settings,
        "plumewatch-board",
        "Plumewatch: school board",
        "By week: incidents, the share that staff confirmed, response, and where it moves to.",
        [("These weeks", numbers), ("Trend", trend), ("Referrals", [referral])],
        since="now-12w",
        refresh="1h",
    )


def _figure(title: str, key: str, about: str, unit: str, empty: str) -> stat.Panel:
    return panels.number(
        title, about, *queries.key_figure(key), unit=unit, decimals=0, empty=empty, width=6
    )


def _by_week(
    settings: DashboardSettings,
    title: str,
    about: str,
    query: queries.InfluxQl,
    *,
    colors: Mapping[str, str],
    unit: str = "none",
    stacked: bool = True,
    width: int = 12,
) -> timeseries.Panel:
    return panels.chart(
        title,
        f"{about} Weeks of {settings.zone}.",
        query,
        unit=unit,
        counted="incidents",
        colors=colors,
        empty=_NONE,
        stacked=stacked,
        points=not stacked,
        low=0,
        high=None if stacked else 1,
        gap_ms=9 * 86_400_000,
        width=width,
    )
