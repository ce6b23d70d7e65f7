"""Small-count suppression: no published number reveals a count that could identify somebody.

In a table of rooms by lesson periods, every count below `LEAST` is hidden, zeros too. Reports also
publish sums of it: totals of rooms, totals of periods (by hour, period or shift), and the total.
`published` withholds as few of these as leave every hidden count of at least one with a second
value that fits all the rest, in this order: one more count of a room with a single hidden one;
totals of rooms that reveal a count; totals of all rooms; everything by period. If even the total
reveals one, nothing may be published.

Whether a hidden count has a second value is decided exactly, as in Gusfield, "A graph theoretic
approach to statistical data security" (SIAM J. Comput. 17, 1988): rooms and periods are the nodes
of a network, counts its flow, and a count can be another one if and only if its edge is on a cycle
along which the flow can change within the bounds a reader knows. We add withheld totals as edges.
A reader who reasons about why a total was withheld is not considered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from language.messages import mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAST: Final = 5
"""Smallest count of a room in a lesson period that is published."""
SMALL: Final = f"<{LEAST}"
"""Replaces a count below `LEAST`."""
WITHHELD: Final = mark("not shown")
"""Replaces a larger count that would reveal a smaller one."""


class TooFewError(ValueError):
    """Any sum over the requested window would reveal a hidden count."""


@dataclass(frozen=True)
class Published:
    """Counts by room and period that may be published; None is hidden.

    `cells` and `totals` are by room, in an order that reveals nothing: by what is published, then
    by name. `notes` has `SMALL` or `WITHHELD` by room and period; the period is empty for totals.
    """

    periods: tuple[str, ...]
    cells: dict[str, tuple[int | None, ...]]
    totals: dict[str, int | None]
    notes: dict[tuple[str, str], str]
    by_period: bool = True
    whole: bool = True

    def check(self) -> None:
        """Raise `TooFewError` if nothing may be published."""
        if not self.whole:
            raise TooFewError(
                f"any total over so few incidents would reveal a count below {LEAST} of a room in a"
                " lesson period: choose a longer time, or more rooms"
            )


def without_small(counts: Sequence[int]) -> list[int | None]:
    """Hide the counts of a room below `LEAST`, zeros too.

    If that hides a single cell, the smallest of the others is hidden as well, so that the total of
    the room can be published.

    >>> without_small([12, 0, 3, 7])
    [12, None, None, 7]
    >>> without_small([12, 3, 7])
    [12, None, None]
    """
    found: list[int | None] = [n if n >= LEAST else None for n in counts]
    shown = [k for k, n in enumerate(found) if n is not None]
    if len(shown) == len(found) - 1 and shown:
        found[min(shown, key=lambda k: counts[k])] = None
    return found


def published(periods: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Published:
    """Decide which counts, one per period for each room with an incident, may be published."""
    cells = {room: tuple(without_small(row)) for room, row in counts.items()}
    table = [(tuple(row), cells[room]) for room, row in counts.items()]
    shown, by_period, whole = _withhold(table)
    sums = {room: sum(row) for room, row in counts.items()}
    totals = {
        room: n if kept else None for (room, n), kept in zip(sums.items(), shown, strict=True)
    }
    notes = {
        (room, period): _note(n)
        for room, row in counts.items()
        for period, n, cell in zip(periods, row, cells[room], strict=True)
        if cell is None
    }
    notes |= {(room, ""): _note(sums[room]) for room, total in totals.items() if total is None}

    def rank(room: str) -> tuple[int, str]:
        total = totals[room]
        return -(sum(n or 0 for n in cells[room]) if total is None else total), room

    order = sorted(counts, key=rank)
    return Published(
        tuple(periods),
        {room: cells[room] for room in order},
        {room: totals[room] for room in order},
        notes,
        by_period,
        whole,
    )


def _note(count: int) -> str:
    return SMALL if count < LEAST else WITHHELD


_Rows = list[tuple[tuple[int, ...], tuple[int | None, ...]]]


def _withhold(table: _Rows) -> tuple[list[bool], bool, bool]:
    """Return whether each room's total, sums by period, and the total may be published."""
    shown = [True] * len(table)
    while exposed := _exposed(table, shown, by_period=True):
        if not any(shown[i] for i in exposed):
            break
        shown = [kept and i not in exposed for i, kept in enumerate(shown)]
    if not exposed:
        return shown, True, True
    shown = [all(n is not None for n in cells) for _, cells in table]
    if not _exposed(table, shown, by_period=True):
        return shown, True, True
    for kept in ([True] * len(table), shown):
        if not _exposed(table, kept, by_period=False):
            return kept, False, True
    return shown, False, False


class _Edge(NamedTuple):
    """A number hidden from a reader, from `low` to `high`, that flows from `start` to `to`."""

    start: int
    to: int
    value: int
    low: float
    high: float


def _exposed(table: _Rows, shown: Sequence[bool], *, by_period: bool) -> set[int]:
    """Return the rooms with a hidden count of 1 to `LEAST` - 1 that only one value fits."""
    rooms, periods = len(table), len(table[0][0]) if table else 0
    source, sink = rooms + periods, rooms + periods + 1
    hidden = [
        _Edge(i, rooms + j, n, *_bounds(n, 0))
        for i, (row, cells) in enumerate(table)
        for j, n in enumerate(row)
        if cells[j] is None
    ]
    edges = [*hidden]
    edges += [
        _Edge(source, i, sum(row), *_bounds(sum(row), 1))
        for i, (row, _) in enumerate(table)
        if not shown[i]
    ]
    if not by_period:
        sums = [sum(row[j] for row, _ in table) for j in range(periods)]
        edges += [_Edge(rooms + j, sink, n, 0, math.inf) for j, n in enumerate(sums)]
    arcs = [0] * (sink + 1)
    for edge in edges:
        if edge.value < edge.high:
            arcs[edge.start] |= 1 << edge.to
        if edge.value > edge.low:
            arcs[edge.to] |= 1 << edge.start
    return {
        edge.start
        for edge in hidden
        if 0 < edge.value < LEAST
        and not (edge.value < edge.high and _reaches(arcs, edge.to, edge.start))
        and not (edge.value > edge.low and _reaches(arcs, edge.start, edge.to))
    }


def _bounds(count: int, least: int) -> tuple[float, float]:
    """Return the bounds of a number that a reader knows from its replacement."""
    return (least, LEAST - 1) if count < LEAST else (LEAST, math.inf)


def _reaches(arcs: Sequence[int], start: int, to: int) -> bool:
    """Return whether a path other than the direct arc exists; sets of nodes are bits."""
    seen = 1 << start
    front = arcs[start] & ~(1 << to)
    while front:
        if front >> to & 1:
            return True
        seen |= front
        following = 0
        while front:
            following |= arcs[(front & -front).bit_length() - 1]
            front &= front - 1
        front = following & ~seen
    return False
