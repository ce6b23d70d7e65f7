"""Counts small enough to point at somebody are not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LEAST", "without_small"]

LEAST: Final = 5
"""Smallest count of a room in a lesson period that is shown."""


def without_small(counts: Sequence[int]) -> list[int | None]:
    """Hide the small counts of one room, so that its total does not give one away.

    Everything below `LEAST` is hidden, zeros too: which of the hidden cells is empty is not said.
    If that leaves a single cell hidden, the smallest of the others goes with it, as the room's
    total is shown elsewhere.

    Examples
    --------
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
