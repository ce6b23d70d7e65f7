"""Draw the charts of reports, with the numbers printed in them.

Shades differ only in lightness, so they work in gray prints and for color-blind readers.
"""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Final

from language.messages import _, write_date
from reports import look
from reports.drawing import Box, Drawing, Item, Line, Polygon, Text, cut
from reports.summary import MAX_DRAWN
from reports.text import format_period, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.summary import Grid

_INK: Final = look.color_on_white("ink")
_SOFT: Final = look.color_on_white("fine")
_GRID: Final = look.color_on_white("grid")
_WIDTH: Final = 520.0
_SMALL: Final = 9.0
_FEW: Final = 10
"""Maximum number of days for which there is room for three-letter day names."""


def draw_stacked(
    title: str,
    labels: Sequence[str],
    notes: Sequence[str],
    parts: Sequence[tuple[str, Sequence[int]]],
) -> Drawing:
    """Draw a bar of up to three parts for each label, with its total above and its note below."""
    totals = [sum(counts[k] for _, counts in parts) for k in range(len(labels))]
    top, bottom, left = 30.0, 142.0, 8.0
    height = bottom - top
    most = max(totals, default=0) or 1
    pitch = (_WIDTH - 2 * left) / max(len(labels), 1)
    step = math.ceil(30.0 / pitch)
    items: list[Item] = [Line(((left, bottom), (_WIDTH - left, bottom)), _INK)]
    for k, label in enumerate(labels):
        x, floor = left + k * pitch + 0.12 * pitch, bottom
        for shade, (_name, counts) in zip(look.SHADES, parts, strict=False):
            tall = height * counts[k] / most
            if tall:
                floor -= tall
                items.append(_draw_bar(x, floor, 0.76 * pitch, tall, shade))
        middle = left + (k + 0.5) * pitch
        if totals[k] and pitch > 9.0:
            items.append(Text(middle, floor - 3, str(totals[k]), _SMALL, _INK, "middle"))
        if k % step == 0:
            items.append(Text(middle, bottom + 11, label, _SMALL, _INK, "middle"))
            items.append(Text(middle, bottom + 22, notes[k], 8.0, _SOFT, "middle"))
    x = left
    for shade, (name, _counts) in zip(look.SHADES, parts, strict=False):
        items.append(_draw_bar(x, 4.0, 10.0, 10.0, shade))
        items.append(Text(x + 14, 13.0, name, 10.0, _INK))
        x += 30 + 6.2 * len(name)
    description = "; ".join(
        f"{label}: {total}" for label, total in zip(labels, totals, strict=True)
    )
    return Drawing(_WIDTH, bottom + 28, title, description or _("no data"), tuple(items))


def _draw_bar(x: float, y: float, width: float, height: float, fill: str) -> Polygon:
    """Return an outlined box, so that the lightest shade has a visible edge on paper."""
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return Polygon(corners, fill, _INK, 0.5)


def draw_heat_map(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    counts: Sequence[Sequence[int | str]],
) -> Drawing:
    """Draw a table of counts, darker for higher ones; text replaces unpublished counts."""
    margin, top = _measure_margin(rows, _SMALL, 140.0), 18.0
    pitch = min(70.0, (_WIDTH - margin - 4) / max(len(columns), 1))
    tall = 14.0
    most = max((n for row in counts for n in row if isinstance(n, int)), default=0) or 1
    items: list[Item] = []
    longest = max(map(len, columns), default=1)
    size = max(6.0, min(_SMALL, pitch / (0.6 * longest)))
    for j, name in enumerate(columns):
        items.append(
            Text(margin + (j + 0.5) * pitch, 12, cut(name, pitch, size), size, _INK, "middle")
        )
    for i, name in enumerate(rows):
        y = top + i * tall
        items.append(Text(margin - 6, y + 10.5, cut(name, margin - 8, _SMALL), _SMALL, _INK, "end"))
        for j in range(len(columns)):
            n = counts[i][j]
            share = n / most if isinstance(n, int) else 0.0
            x = margin + j * pitch
            items.append(Box(x + 0.5, y + 0.5, pitch - 1, tall - 1, blend_shade(share)))
            text = cut(str(n), pitch, _SMALL) if n else "·"
            ink = look.pick_ink(blend_shade(share)) if n else _SOFT
            items.append(Text(x + pitch / 2, y + 10.5, text, _SMALL, ink, "middle"))
    description = _(
        "%(rows)d by %(columns)d, at most %(most)d",
        rows=len(rows),
        columns=len(columns),
        most=most,
    )
    return Drawing(_WIDTH, top + tall * max(len(rows), 1) + 4, title, description, tuple(items))


def _measure_margin(names: Sequence[str], size: float, least: float) -> float:
    return max(least, min(300.0, 0.6 * size * max(map(len, names), default=0) + 16.0))


def blend_shade(share: float) -> str:
    """Return a color between nearly white (0) and the darkest shade (1)."""
    ends = (look.color_on_white("ground"), look.SHADES[0])
    light, dark = ([int(end[k : k + 2], 16) for k in (1, 3, 5)] for end in ends)
    return "#" + "".join(
        f"{round(a + (b - a) * share):02x}" for a, b in zip(light, dark, strict=True)
    )


def draw_bars(title: str, names: Sequence[str], counts: Sequence[int | str]) -> Drawing:
    """Draw one bar per name; text replaces unpublished counts."""
    margin, tall = _measure_margin(names, 10.0, 190.0), 16.0
    most = max((n for n in counts if isinstance(n, int)), default=0) or 1
    items: list[Item] = []
    for k, (name, count) in enumerate(zip(names, counts, strict=True)):
        y = 2 + k * tall
        long = (_WIDTH - margin - 40) * count / most if isinstance(count, int) else 0.0
        items.append(Text(margin - 6, y + 11, cut(name, margin - 8, 10), 10.0, _INK, "end"))
        if long:
            items.append(_draw_bar(margin, y + 2, long, tall - 4, look.SHADES[1]))
        items.append(Text(margin + long + 5, y + 11, str(count), 10.0, _INK))
    description = "; ".join(f"{name}: {n}" for name, n in zip(names, counts, strict=True))
    return Drawing(
        _WIDTH, 6 + tall * max(len(names), 1), title, description or _("no data"), tuple(items)
    )


def draw_charts(grids: dict[str, Grid]) -> dict[str, Drawing]:
    """Draw the charts of a summary; return them by the key of their table."""
    rooms, periods = grids["rooms"], grids["period_by_room"]
    over_time = grids.get("days", grids["weeks"])
    return {
        over_time.key: _draw_over_time(over_time),
        "hour_by_weekday": _draw_heat(grids["hour_by_weekday"]),
        "period_by_room": _draw_heat(periods._replace(rows=periods.rows[:MAX_DRAWN])),
        "rooms": draw_bars(
            rooms.title,
            [translate(name) for name, _values in rooms.rows],
            [rooms.format_cell(name, "incidents", values[0]) for name, values in rooms.rows],
        ),
    }


def _draw_over_time(grid: Grid) -> Drawing:
    school_days = [values[0] or 0.0 for _name, values in grid.rows]
    if grid.key == "weeks":
        labels = [
            write_date(date.fromisoformat(f"{name}-1"), "month and day")
            for name, _values in grid.rows
        ]
        notes = [f"{n:.0f} d" for n in school_days]
    else:
        days = [date.fromisoformat(name) for name, _values in grid.rows]
        labels = [write_date(day, "weekday")[: 3 if len(days) <= _FEW else 2] for day in days]
        notes = [f"{day.day}" if n else "—" for day, n in zip(days, school_days, strict=True)]
    parts = [
        (name, [int(values[k] or 0) for _name, values in grid.rows])
        for k, name in enumerate((_("vaping"), _("smoke"), _("other")), start=1)
    ]
    return draw_stacked(grid.title, labels, notes, parts)


def _draw_heat(grid: Grid) -> Drawing:
    names = [name for name, _unit in grid.columns]
    counts = [
        [grid.format_cell(row, column, n) for column, n in zip(names, values, strict=True)]
        for row, values in grid.rows
    ]
    rows, columns = (
        [format_period(name) for name, _rest in part] for part in (grid.rows, grid.columns)
    )
    return draw_heat_map(grid.title, rows, columns, counts)
