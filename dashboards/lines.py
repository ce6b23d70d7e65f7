"""Lines that differ by more than their color.

Grafana's palette for any color vision has five colors, so lines get dashes too: quantities always;
rooms and sensors if they are known, the same in every chart. The first five are solid, the next
five dashed, then dotted, and so on for thirty lines; bars get lighter instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from dashboards.panels.looks import BLUE, GREEN, ORANGE, PURPLE, VERMILLION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from grafana_foundation_sdk.builders import timeseries

_COLORS: Final = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE)
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


def dashed(panel: timeseries.Panel, names: Iterable[str]) -> timeseries.Panel:
    """Give lines whose name is one of these, or ends in one, dashes of their own."""
    for number, name in enumerate(names):
        ending = f"/(^| ){re.escape(name)}$/"
        panel.override_by_regexp(ending, [DynamicConfigValue("custom.lineStyle", _style(number))])
    return panel


def distinguish(dashboard: Mapping[str, Any], numbers: Mapping[str, Mapping[str, int]]) -> None:
    """Give every line of a known name its color and dashes; `numbers` are by tag and value."""
    for panel in dashboard["panels"]:
        if panel["type"] != "timeseries":
            continue
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        is_bars = custom.get("drawStyle") == "bars"
        for tag, values in numbers.items():
            if any(target.get("alias") == f"$tag_{tag}" for target in panel["targets"]):
                panel["fieldConfig"]["overrides"] += [
                    _override(number, value, is_bars=is_bars) for value, number in values.items()
                ]


def _override(number: int, name: str, *, is_bars: bool) -> dict[str, Any]:
    group, color = divmod(number, len(_COLORS))
    style = (
        {"id": "custom.fillOpacity", "value": _OPACITY[group % len(_OPACITY)]}
        if is_bars
        else {"id": "custom.lineStyle", "value": _style(group)}
    )
    fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": _COLORS[color]}}
    return {"matcher": {"id": "byName", "options": name}, "properties": [fixed, style]}
