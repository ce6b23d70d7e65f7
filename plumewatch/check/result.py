"""The result of a check: which part, its state, and the remedy."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from plumewatch.config.faults import list_some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_LISTED: Final = 8


class State(StrEnum):
    """State of a part, as `plumewatch check` prints it."""

    OK = "ok"
    WARNING = "warn"
    FAULT = "FAULT"


class CheckResult(NamedTuple):
    """What a check found about one part, with a `remedy` unless the part is OK."""

    part: str
    state: State
    sentence: str
    remedy: str = ""


def ok(part: str, sentence: str) -> CheckResult:
    """Report that a part works."""
    return CheckResult(part, State.OK, sentence)


def warn(part: str, sentence: str, remedy: str) -> CheckResult:
    """Report that a part works but needs attention."""
    return CheckResult(part, State.WARNING, sentence, remedy)


def fault(part: str, sentence: str, remedy: str) -> CheckResult:
    """Report that a part does not work, or loses data."""
    return CheckResult(part, State.FAULT, sentence, remedy)


def merge_places(found: Iterable[tuple[str, CheckResult]]) -> Iterator[CheckResult]:
    """Merge equal results; `found` lists each place with its result."""
    places: dict[CheckResult, list[str]] = {}
    for place, result in found:
        places.setdefault(result, []).append(place)
    for result, names in places.items():
        yield result._replace(sentence=f"{list_places(names)}: {result.sentence}")


def list_places(places: Collection[str]) -> str:
    """List the first places, and the total number if there are more."""
    count = f" ({len(places)} in all)" if len(places) > _LISTED else ""
    return list_some(places, _LISTED) + count


def format_span(seconds: float) -> str:
    """Format a duration in a suitable unit.

    >>> format_span(90), format_span(4_980), format_span(86_400)
    ('90 s', '83 min', '24 h')
    """
    for unit_s, max_s, unit in ((1, 600, "s"), (60, 7_200, "min"), (3_600, 172_800, "h")):
        if seconds < max_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
