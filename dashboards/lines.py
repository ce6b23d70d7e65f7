"""Names and styles of the lines of rooms and sensors, distinguished by more than color.

Tags contain ids, so a renamed room stays one line. The colorblind-safe palette has only seven
colors, so lines also differ in dashes. A configured room or sensor has the same color and dashes in
every chart. The first seven lines are solid, the next seven dashed, then dotted, and so on, up to
42 lines. Bars get lighter instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dashboards.panels import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILLION, get_unit, override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboards.panels import Json

_COLORS: Final = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, GRAY)
_DASHES: Final[tuple[tuple[int, ...], ...]] = (
    (),
    (10, 6),
    (2, 5),
    (12, 5, 2, 5),
    (20, 4),
    (2, 3, 8, 3),
)
_OPACITY: Final = (80, 45, 20, 5)


def _style(number: int) -> dict[str, Any]:
    dashes = _DASHES[number % len(_DASHES)]
    return {"fill": "dash", "dash": list(dashes)} if dashes else {"fill": "solid"}


def style_quantities(panel: Json, quantities: Mapping[str, str]) -> None:
    """Set the unit and the dashes of each line that is named after a quantity."""
    panel["fieldConfig"]["overrides"] += [
        override(
            "byRegexp",
            f"/ {re.escape(label)}$/",
            unit=get_unit(key),
            custom__lineStyle=_style(number),
        )
        for number, (label, key) in enumerate(quantities.items())
    ]


def name_rooms(panel: Json, names: Mapping[str, str], links: Sequence[Json]) -> None:
    """Show room names instead of ids in lines, bars and cells, and link the lines."""
    config = panel["fieldConfig"]
    if any(target["alias"] == "$tag_room" for target in panel["targets"]):
        config["defaults"]["links"] = [*links]
        config["overrides"] += [
            override("byName", room, displayName=name) for room, name in names.items()
        ]
    if panel["type"] == "table" and names:
        texts = {room: {"text": name, "index": k} for k, (room, name) in enumerate(names.items())}
        mapped = override("byName", "room", mappings=[{"type": "value", "options": texts}])
        config["overrides"].append(mapped)


def style_lines(panel: Json, numbers: Mapping[str, Mapping[str, int]]) -> None:
    """Give each known line its color and dashes; `numbers` has a number per value, by tag."""
    is_bars = panel["fieldConfig"]["defaults"]["custom"].get("drawStyle") == "bars"
    for tag, values in numbers.items():
        if any(target["alias"] == f"$tag_{tag}" for target in panel["targets"]):
            for name, number in values.items():
                group, color = divmod(number, len(_COLORS))
                style = (
                    {"custom__fillOpacity": _OPACITY[group % len(_OPACITY)]}
                    if is_bars
                    else {"custom__lineStyle": _style(group)}
                )
                fixed = {"mode": "fixed", "fixedColor": _COLORS[color]}
                panel["fieldConfig"]["overrides"].append(
                    override("byName", name, color=fixed, **style)
                )
