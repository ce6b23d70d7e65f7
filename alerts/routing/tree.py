"""A tree of routes: from the labels of an incident to the receivers that hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerts.routing.matchers import Matcher, all_match

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Route:
    """A node: who hears of what fulfils all conditions and no child takes.

    Attributes
    ----------
    receiver : str or None
        None to take that of the parent; the root has one.
    matchers : tuple of Matcher
        All must hold; none holds of everything.
    goes_on : bool
        Siblings after this one are asked too, as if it had not matched (``continue``).
    routes : tuple of Route
        Children, asked in order.
    """

    receiver: str | None
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A node that answered.

    Attributes
    ----------
    path : tuple of Route
        From the root to the node itself.
    """

    receiver: str
    path: tuple[Route, ...]

    def why(self) -> str:
        """Say which conditions led here.

        Examples
        --------
        >>> Chosen("staff", (Route("staff"),)).why()
        'no route fits, so the default receiver'
        """
        said = [str(m) for route in self.path for m in route.matchers]
        return "route " + ", ".join(said) if said else "no route fits, so the default receiver"


def chosen(root: Route, labels: Mapping[str, str]) -> tuple[Chosen, ...]:
    """Nodes that answer for these labels, depth first, at least one.

    A receiver may answer more than once, as in Alertmanager.

    Parameters
    ----------
    root : Route
        With a receiver and without conditions: it takes everything.

    Raises
    ------
    ValueError
        If the root has no receiver, or has conditions.
    """
    if not root.receiver or root.matchers:
        raise ValueError("the root has a receiver and no conditions")
    return tuple(_answers(root, (), "", labels))


def _answers(
    route: Route, above: tuple[Route, ...], inherited: str, labels: Mapping[str, str]
) -> Iterator[Chosen]:
    receiver = route.receiver or inherited
    path = (*above, route)
    answered = False
    for child in route.routes:
        if not all_match(child.matchers, labels):
            continue
        answered = True
        yield from _answers(child, path, receiver, labels)
        if not child.goes_on:
            break
    if not answered:
        yield Chosen(receiver, path)


def nodes(
    root: Route, where: tuple[int, ...] = (), above: str = ""
) -> Iterator[tuple[tuple[int, ...], str, Route]]:
    """Yield every node: its place (index of the child at each level), receiver, itself."""
    receiver = root.receiver or above
    yield where, receiver, root
    for i, child in enumerate(root.routes):
        yield from nodes(child, (*where, i), receiver)
