"""A tree of routes, as in Alertmanager 0.28: from the labels of an incident to its receivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerts.routing.matchers import Matcher, all_match

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the tree; without a receiver it has that of its parent.

    All matchers must match; if it `continues`, later siblings are tried even so.
    """

    receiver: str | None
    matchers: tuple[Matcher, ...] = ()
    continues: bool = False
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A node that matched, with the path from the root to it."""

    receiver: str
    path: tuple[Route, ...]

    def why(self) -> str:
        """Say which matchers led here.

        >>> Chosen("staff", (Route("staff"),)).why()
        'no route matches: default receiver'
        """
        matchers = [str(m) for route in self.path for m in route.matchers]
        return "route " + ", ".join(matchers) if matchers else "no route matches: default receiver"


def chosen(root: Route, labels: Mapping[str, str]) -> tuple[Chosen, ...]:
    """Return the nodes that match, depth first, at least one; ValueError for a bad root."""
    if not root.receiver or root.matchers:
        raise ValueError("the root route needs a receiver and no matchers")
    return tuple(_matching(root, (), "", labels))


def _matching(
    route: Route, above: tuple[Route, ...], inherited: str, labels: Mapping[str, str]
) -> Iterator[Chosen]:
    receiver = route.receiver or inherited
    path = (*above, route)
    matched = False
    for child in route.routes:
        if not all_match(child.matchers, labels):
            continue
        matched = True
        yield from _matching(child, path, receiver, labels)
        if not child.continues:
            break
    if not matched:
        yield Chosen(receiver, path)


def nodes(
    root: Route, where: tuple[int, ...] = (), above: str = ""
) -> Iterator[tuple[tuple[int, ...], str, Route]]:
    """Yield every node: its place (index of the child at each level), receiver, itself."""
    receiver = root.receiver or above
    yield where, receiver, root
    for i, child in enumerate(root.routes):
        yield from nodes(child, (*where, i), receiver)
