"""The frame around the panels of every dashboard: variables, links, time zone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    AnnotationTarget,
    ConstantVariable,
    Dashboard,
    DashboardLink,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.panels import VERMILLION, link
from dashboards.queries import DATA_SOURCE, PLACE_TAGS, READINGS, in_place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TAG: Final = "plumewatch"
ROOM_UID: Final = "plumewatch-room"
_EVERYTHING: Final = ".*"


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """Differences between schools.

    - `zone`: IANA name of the time zone.
    - `page_url`: address of the staff page, without a slash at the end; empty for no links to it.
    - `rooms`: ids in the order in which their lines get colors and dashes; empty if unknown.
    - `sensors`: id and room of each sensor, in the same way.
    - `influxdb3`: the series is an InfluxDB 3, which knows no policies: each of its databases has a
      data source.
    """

    zone: str = "America/New_York"
    page_url: str = "http://127.0.0.1:8420"
    rooms: tuple[str, ...] = ()
    sensors: tuple[tuple[str, str], ...] = ()
    influxdb3: bool = False

    def numbers(self, *, one_room: bool) -> dict[str, dict[str, int]]:
        """Return, by tag, the number of each room and sensor; for one room, within the room."""
        counts: Counter[str] = Counter()
        sensors = {}
        for sensor, room in self.sensors:
            group = room if one_room else ""
            sensors[sensor] = counts[group]
            counts[group] += 1
        return {"room": {room: k for k, room in enumerate(self.rooms)}, "sensor": sensors}


def frame(
    settings: DashboardSettings,
    uid: str,
    title: str,
    about: str,
    rows: Sequence[tuple[str, Sequence[Any]]],
    *,
    since: str,
    refresh: str,
    places: bool = True,
    one_room: bool = False,
    incidents: bool = True,
) -> Dashboard:
    """Make a dashboard of rows of panels, each row with a heading.

    - `since`, `refresh`: first time range, such as ``now-6h``; interval between queries.
    - `places`, `one_room`: whether it has variables for places, and whether it is about a single
      room.
    - `incidents`: whether charts show the incidents that the service writes as annotations.
    """
    made = (
        Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .timezone(settings.zone)
        .time(since, "now")
        .refresh(refresh)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            DashboardLink("Plumewatch")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .icon("external link")
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    if settings.page_url:
        room = "/rooms/${room:percentencode}" if one_room else "/"
        made.link(
            DashboardLink("Staff page")
            .type(DashboardLinkType.LINK)
            .icon("doc")
            .url("${staff_page}" + room)
            .target_blank(True)
        )
    made.with_variable(ConstantVariable("staff_page").value(settings.page_url))
    if places:
        for number, tag in enumerate(PLACE_TAGS):
            made.with_variable(_place(tag, PLACE_TAGS[:number], one=one_room and tag == "room"))
    if incidents:
        made.annotation(_incidents(one_room=one_room))
    for heading, panels in rows:
        made.with_row(Row(heading))
        for panel in panels:
            made.with_panel(panel)
    return made


def _incidents(*, one_room: bool) -> AnnotationQuery:
    """Show annotations of incidents, as `dashboards.grafana` writes them."""
    tags = [TAG, "room:${room}"] if one_room else [TAG]
    return (
        AnnotationQuery()
        .name("Incidents")
        .datasource(DataSourceRef(type_val="grafana", uid="-- Grafana --"))
        .icon_color(VERMILLION)
        .enable(not one_room)
        .target(AnnotationTarget().type("tags").tags(tags).match_any(False).limit(500))
    )


def _place(tag: str, larger: Sequence[str], *, one: bool) -> QueryVariable:
    where = f" WHERE {in_place(larger)}" if larger else ""
    variable = (
        QueryVariable(tag)
        .label(tag.capitalize())
        .datasource(DATA_SOURCE)
        .query(f'SHOW TAG VALUES FROM {READINGS} WITH KEY = "{tag}"{where}')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .allow_custom_value(False)
    )
    if one:
        return variable
    return (
        variable.multi(True)
        .include_all(True)
        .all_value(_EVERYTHING)
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def room_dashboard(room: str) -> str:
    """Return the address of the dashboard of a room; `room` may be a Grafana variable."""
    return f"/d/{ROOM_UID}?var-room={room}"


def room_link() -> DashboardLink:
    """Link a cell with the id of a room to its dashboard."""
    return link("Room history", room_dashboard("${__value.raw:percentencode}"))


def page_link(settings: DashboardSettings, title: str, path: str) -> DashboardLink | None:
    """Link to the staff page, if its address is known."""
    return link(title, "${staff_page}" + path) if settings.page_url else None


def incident_link(settings: DashboardSettings) -> DashboardLink | None:
    """Link a cell with the id of an incident to its page."""
    return page_link(settings, "Incident", "/incidents/${__value.raw:percentencode}")
