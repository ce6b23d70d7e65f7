"""*Wall*: large numbers and the rooms, for a screen that nobody touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders.common import VizTextDisplayOptions

from dashboards import panels, queries
from dashboards.frame import frame
from dashboards.now import OPEN, room_states

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

_DIGITS: int = 160


def build(settings: DashboardSettings) -> Dashboard:
    """Make the dashboard."""
    urgency = queries.newest_of(("urgency",), "sensor")
    online = queries.newest_of(("online",), "sensor")
    numbers = [
        _large(
            "Incidents open",
            "Incidents that are not resolved, without tests.",
            queries.single('sum("open")', queries.INCIDENT, OPEN),
            [(1, panels.VERMILLION)],
        ),
        _large(
            "Sensors that need a visit",
            "See the morning dashboard for which, and what to do.",
            queries.single('count("urgency")', urgency, '"urgency" > 0'),
            [(1, panels.ORANGE)],
        ),
        _large(
            "Sensors alive",
            "Registered sensors that were alive at the last check.",
            queries.single('sum("online")', online, ""),
            None,
            empty="no check",
        ),
    ]
    return frame(
        settings,
        "plumewatch-wall",
        "Plumewatch: wall",
        "Large, without controls: open incidents, sensors that need a visit, the day of the rooms.",
        [("Now", numbers), ("Rooms", [room_states(height=17)])],
        since="now-12h",
        refresh="30s",
        controls=False,
    )


def _large(
    title: str,
    about: str,
    query: queries.InfluxQl,
    bands: panels.Bands | None,
    *,
    empty: str = "0",
) -> stat.Panel:
    made = panels.number(title, about, query, bands=bands, empty=empty, width=8, height=8)
    return made.text(VizTextDisplayOptions().value_size(_DIGITS))
