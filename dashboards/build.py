"""Build all dashboards as JSON files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dashboards.boards import build, build_line_links
from dashboards.lines import name_rooms, style_lines
from dashboards.queries import DATA_SOURCE_NAME, POLICIES, SOURCE, make_source_uid, select_detail

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dashboards.boards import DashboardSettings

DASHBOARDS: Final = ("morning", "now", "room", "air", "sensors", "alerts")
"""Names of the definition files and of the JSON files."""

_POLICY: Final = re.compile(rf'"({"|".join(POLICIES[1:])})"\.(?=")')


@dataclass(frozen=True, slots=True)
class DataSource:
    """The time-series database, read through a read-only account."""

    url: str
    database: str
    user: str
    password: str

    def to_json(self, policy: str) -> dict[str, Any]:
        """Return Grafana's definition of it; in InfluxDB 3, each policy has its own database."""
        database = f"{self.database}/{policy}" if policy else self.database
        return {
            "uid": make_source_uid(policy),
            "name": f"{DATA_SOURCE_NAME} {policy}".strip(),
            "type": "influxdb",
            "access": "proxy",
            "url": self.url,
            "user": self.user,
            "jsonData": {"dbName": database, "httpMode": "POST", "timeInterval": "5s"},
            "secureJsonData": {"password": self.password},
        }


_PROVISIONED: Final = DataSource(
    "${PLUMEWATCH_INFLUX_URL}",
    "${PLUMEWATCH_INFLUX_DATABASE}",
    "${PLUMEWATCH_INFLUX_DATABASE}_reader",
    "$__file{/etc/plumewatch/influx-reader}",
)


def build_all(settings: DashboardSettings) -> dict[str, dict[str, Any]]:
    """Build all dashboards in the form Grafana stores, with panels numbered in order."""
    made = {}
    links = build_line_links(settings)
    numbers = {
        "room": {room: number for number, room in enumerate(settings.names)},
        "sensor": {sensor: number for number, sensor in enumerate(settings.sensors)},
    }
    for name in DASHBOARDS:
        body = json.loads(json.dumps(build(name, settings)))  # so that panels share no objects
        for number, panel in enumerate(body["panels"], 1):
            panel["id"] = number
            if "targets" in panel:
                name_rooms(panel, settings.names, links)
            if panel["type"] == "timeseries":
                style_lines(panel, numbers)
        if settings.influxdb3:
            _ask_each_database(body)
        _fold(body)
        made[name] = body
    return made


def _fold(body: dict[str, Any]) -> None:
    """Move the panels of a folded row into it, where Grafana expects them."""
    shown: list[dict[str, Any]] = []
    into = shown
    for panel in body["panels"]:
        if panel["type"] == "row":
            into = panel["panels"] if panel["collapsed"] else shown
            shown.append(panel)
        else:
            into.append(panel)
    body["panels"] = shown


def _ask_each_database(body: dict[str, Any]) -> None:
    """Replace each query's retention policy with the data source of the matching database."""
    variables = [v for v in body["templating"]["list"] if v["type"] == "query"]
    for one in (*variables, *body["annotations"]["list"]):
        _ask_database(one)
    for panel in body["panels"]:
        for target in panel.get("targets", ()):
            target["query"] = select_detail(target["query"])
        if "targets" in panel:
            panel["targets"] = [target for target in panel["targets"] if target["query"]]
        sources = {_ask_database(target) for target in panel.get("targets", ())}
        if len(sources) == 1:
            panel["datasource"]["uid"] = sources.pop()
        elif sources:
            panel["datasource"] = {"type": "datasource", "uid": "-- Mixed --"}


def _ask_database(query: dict[str, Any]) -> str:
    """Point a query at the data source of its database, and return that data source's id."""
    found = _POLICY.search(query.get("query", ""))
    if found:
        query["query"] = _POLICY.sub("", query["query"])
    if query["datasource"]["uid"] == f"${{{SOURCE}}}":
        query["datasource"]["uid"] = make_source_uid(found[1] if found else "")
    return str(query["datasource"]["uid"])


def dump_json(body: Mapping[str, Any]) -> str:
    """Return the text of a file as JSON, which is also valid YAML."""
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write(folder: Path, settings: DashboardSettings) -> dict[str, bool]:
    """Write the files that differ; return whether each was written, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}.json": dump_json(body) for name, body in build_all(settings).items()}
    if settings.influxdb3:
        sources = [_PROVISIONED.to_json(policy) for policy in POLICIES]
        texts["datasources-influxdb3.yaml"] = dump_json({"apiVersion": 1, "datasources": sources})
    written = {}
    for name, text in texts.items():
        path = folder / name
        written[path.name] = not path.exists() or path.read_text(encoding="utf-8") != text
        if written[path.name]:
            path.write_text(text, encoding="utf-8")
    return written
