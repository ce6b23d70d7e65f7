"""The frame around the panels of every dashboard: variables, links, time zone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import AnnotationQuery as AnnotationQueryModel
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.panels.looks import VERMILLION
from dashboards.queries import (
    DATA_SOURCE,
    DATA_SOURCE_NAME,
    DATA_SOURCE_UID,
    PLACE_TAGS,
    SOURCE,
    filled,
    in_place,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

TAG: Final = "plumewatch"
ROOM_UID: Final = "plumewatch-room"
_EVERYTHING: Final = ".*"
_NAME_AND_ID: Final = r"/^(?<text>.*) \| (?<value>.*)$/"
"""Grafana shows the text of a match and uses its value."""
_KEPT: Final = "${__url_time_range}&${source:queryparam}"
"""Time range and data source, in links between dashboards."""
_INCIDENTS: Final = filled(
    'SELECT "room" AS "sentence", "kind", "status", "verdict",'
    ' ("onset" + "detected_s" + "resolved_s") * 1000 AS "until" FROM {incident} WHERE {in_time}'
)


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """Differences between schools.

    - `page_url`, `docs_url`: without a slash at the end; empty for no links to it.
    - `rooms`, `sensors` with their rooms: in the order in which their lines get colors and dashes.
    - `influxdb3`: each database has a data source, since an InfluxDB 3 knows no policies.
    - `names`: name of each room by its id; a room without one is shown by its id.
    - `whole`: what figures of people on duty are of, who belong to no place.
    """

    zone: str = "America/New_York"
    page_url: str = "http://127.0.0.1:8420"
    docs_url: str = ""
    rooms: tuple[str, ...] = ()
    sensors: tuple[tuple[str, str], ...] = ()
    influxdb3: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    whole: str = "whole school"

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
    folded: str = "",
    incidents: bool = True,
) -> Dashboard:
    """Make a dashboard of rows of panels, each row with a heading.

    - `places`, `one_room`: whether it has variables for places, and is about a single room.
    - `folded`: heading of a row that begins folded, whose panels ask nothing before it is opened.
    - `incidents`: whether charts mark incidents; in those of a single room people switch it on.
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
    )
    made.link(
        DashboardLink("Plumewatch")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
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
    made.with_variable(
        DatasourceVariable(SOURCE)
        .label("Data source")
        .type("influxdb")
        .current(VariableOption(selected=True, text=DATA_SOURCE_NAME, value=DATA_SOURCE_UID))
    )
    made.with_variable(ConstantVariable("staff_page").value(settings.page_url))
    if places:
        for number, tag in enumerate(PLACE_TAGS):
            one = one_room and tag == "room"
            made.with_variable(_place(tag, PLACE_TAGS[:number], one=one))
    if incidents:
        made.annotation(Mark("Incidents", _INCIDENTS, VERMILLION, is_shown=not one_room))
    for heading, panels in rows:
        made.with_row(Row(heading).collapsed(heading == folded))
        for panel in panels:
            made.with_panel(panel)
    return made


def _place(tag: str, larger: Sequence[str], *, one: bool) -> QueryVariable:
    where = f" WHERE {in_place(larger)}" if larger else ""
    query = filled("SHOW TAG VALUES FROM {readings} WITH KEY = ") + f'"{tag}"{where}'
    if tag == "room":  # by its name; the rooms of the last day, from the records of their sensors
        query = (
            filled('SELECT DISTINCT("room_choice") FROM {health} WHERE ')
            + f"{in_place(larger)} AND time > now() - 1d"
        )
    variable = (
        QueryVariable(tag)
        .label(tag.capitalize())
        .datasource(DATA_SOURCE)
        .query(query)
        .regex(_NAME_AND_ID if tag == "room" else "")
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


def line_links(settings: DashboardSettings) -> list[dict[str, Any]]:
    """Return the links of each point of the line of a room."""
    room = "${__field.labels.room:percentencode}"
    links: list[dict[str, Any]] = [
        {"title": "Room history", "url": f"{room_dashboard(room)}&{_KEPT}"}
    ]
    if settings.page_url:
        page = f"${{staff_page}}/rooms/{room}"
        links.append({"title": "Staff page", "url": page, "targetBlank": True})
    return links


def link_to(settings: DashboardSettings, title: str, url: str) -> DashboardLink | None:
    """Link a cell to an address; None if it is of the staff page or docs and theirs is unknown."""
    known = {"{page}": settings.page_url and "${staff_page}", "{docs}": settings.docs_url}
    for name, base in known.items():
        if name in url and not base:
            return None
        url = url.replace(name, base)
    return DashboardLink(title).url(url.replace("{kept}", _KEPT)).target_blank(False)


class Mark(Builder[AnnotationQueryModel], AnnotationQueryModel):
    """Incidents or detections in the charts; people can show and hide them.

    The InfluxQL returns ``kind``, ``sentence``, and ``until``, the end in milliseconds; of an
    incident also ``status`` and ``verdict``.
    """

    def __init__(self, name: str, ask: str, color: str, *, is_shown: bool = True) -> None:
        super().__init__(name=name, datasource=DATA_SOURCE, icon_color=color, enable=is_shown)
        self.query = ask

    def build(self) -> AnnotationQueryModel:
        """Return itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return it with the keys that the data source needs and the SDK does not know."""
        return {
            **super().to_json(),
            "query": self.query,
            "rawQuery": True,
            "titleColumn": "kind",
            "textColumn": "sentence",
            "tagsColumn": "status,verdict",
            "timeEndColumn": "until",
        }
