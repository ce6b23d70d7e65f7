"""The live screen of `plumewatch demo`: what matters first, rooms only where there is height."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

_PUSH_LINES: Final = 3
_FRAME: Final = 2
_FIXED: Final = 4
"""Lines of the heading, of the counts, of the truth, and the last one, which stays free."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the screen; `rooms` are cells of a table, `events` the newest lines last."""

    clock: str
    speed: float
    page: str
    events: Sequence[Text]
    last_push: str
    truth: str
    counts: str
    rooms: Sequence[tuple[str, ...]]


def screen(shown: Shown, height: int) -> Group:
    """Lay out the screen for a terminal of that many lines."""
    rooms = len(shown.rooms) + 5
    fits_rooms = height >= rooms + _FIXED + _PUSH_LINES + 2 * _FRAME + 6
    lines = height - _FIXED - _PUSH_LINES - 2 * _FRAME - (rooms if fits_rooms else 0)
    push = Text("\n".join((shown.last_push or "none yet").splitlines()[:_PUSH_LINES]))
    push.no_wrap, push.overflow = True, "ellipsis"
    events = Text("\n").join(list(shown.events)[-lines:]) if shown.events else Text("none yet")
    events.no_wrap, events.overflow = True, "ellipsis"
    parts: list[RenderableType] = [
        _line(f"Staff page {shown.page}   Ctrl-C ends the demo", "bold"),
        Panel(push, title="Last push on a phone"),
        Panel(events, title=f"{shown.clock} at school, {shown.speed:.0f} times real time"),
        _line(f"{shown.truth} (a real school does not know this)", "green"),
        _line(shown.counts, "dim"),
    ]
    if fits_rooms:
        parts.append(_table(shown.rooms))
    return Group(*parts)


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table("Room", "Sensor", "PM2.5 µg/m³", "VOC", "RH %", title="Rooms", expand=True)
    for row in rows:
        table.add_row(*row)
    return table
