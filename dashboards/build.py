"""All dashboards, and their JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import air, alerts, now, pipeline, room, sensors
from dashboards.frame import ROOM_UID
from dashboards.lines import distinguish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from dashboards.frame import DashboardSettings

DASHBOARDS: Final[Mapping[str, Callable[[DashboardSettings], Dashboard]]] = {
    "now": now.build,
    "room": room.build,
    "air": air.build,
    "sensors": sensors.build,
    "alerts": alerts.build,
    "pipeline": pipeline.build,
}
"""Builder of each dashboard, by the name of its file."""

_OF_INTERVALS: Final = ("auto", "auto_count", "auto_min")


def built(settings: DashboardSettings) -> dict[str, dict[str, Any]]:
    """Make all dashboards as Grafana stores them, panels numbered in order."""
    made = {}
    for name, build in DASHBOARDS.items():
        body: dict[str, Any] = json.loads(JSONEncoder().encode(build(settings).build()))
        for number, panel in enumerate(body["panels"], 1):
            panel["id"] = number
        for variable in body["templating"]["list"]:
            for extra in _OF_INTERVALS:  # the SDK writes them for every kind of variable
                variable.pop(extra, None)
        distinguish(body, settings.numbers(one_room=body["uid"] == ROOM_UID))
        made[name] = body
    return made


def text_of(body: Mapping[str, Any]) -> str:
    """Return the text of the file of a dashboard."""
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write(folder: Path, settings: DashboardSettings) -> dict[str, bool]:
    """Write the files that differ; return by name whether each was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, body in built(settings).items():
        path, text = folder / f"{name}.json", text_of(body)
        written[path.name] = not path.exists() or path.read_text(encoding="utf-8") != text
        if written[path.name]:
            path.write_text(text, encoding="utf-8")
    return written
