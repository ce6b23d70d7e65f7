"""Names of rooms in place of ids, and links from each line of a room.

Grafana shows the values of a tag, which are ids, so that a renamed room stays one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards.frame import line_links

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dashboards.frame import DashboardSettings

_OF_ROOM = "$tag_room"


def name_rooms(dashboard: Mapping[str, Any], settings: DashboardSettings) -> None:
    """Give lines, bars and cells of rooms their names, and lines their links; changes it."""
    mapped = {
        room: {"text": name, "index": index}
        for index, (room, name) in enumerate(settings.names.items())
    }
    mapping = [{"type": "value", "options": mapped}] if mapped else []
    for panel in dashboard["panels"]:
        if panel["type"] in {"row", "text"}:
            continue
        config = panel["fieldConfig"]
        if any(target.get("alias") == _OF_ROOM for target in panel["targets"]):
            config["defaults"]["links"] = line_links(settings)
            for room, name in settings.names.items():
                _override(config, room, {"id": "displayName", "value": name})
        if panel["type"] == "table" and mapping:
            _override(config, "room", {"id": "mappings", "value": mapping})


def _override(config: dict[str, Any], name: str, value: dict[str, Any]) -> None:
    for override in config["overrides"]:
        if override["matcher"] == {"id": "byName", "options": name}:
            override["properties"].append(value)
            return
    config["overrides"].append(
        {"matcher": {"id": "byName", "options": name}, "properties": [value]}
    )
