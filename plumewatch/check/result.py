"""The result of a check: which part, its state, and the remedy."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

_TABLES: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("results.toml").read_text(encoding="utf-8")
)
REMEDIES: Final[dict[str, str]] = _TABLES.pop("remedies")
"""What to do if the broker cannot be reached, by a word of the error."""
_RESULTS: Final[dict[str, tuple[str, ...]]] = {
    key: (part, *texts) for part, results in _TABLES.items() for key, texts in results.items()
}


class State(StrEnum):
    """State of a part, as `plumewatch check` prints it."""

    OK = "ok"
    WARNING = "warn"
    FAULT = "FAULT"


class CheckResult(NamedTuple):
    """What a check saw of one part; `remedy` is empty only if it is OK."""

    part: str
    state: State
    sentence: str
    remedy: str = ""


def result(key: str, state: State | None = None, **values: object) -> CheckResult:
    """Return a result of ``results.toml``, perhaps in another state, with its values."""
    part, usual, *texts = _RESULTS[key]
    part, *texts = (text.format(**values) for text in (part, *texts))
    return CheckResult(part, state or State(usual), *texts)


def span(seconds: float) -> str:
    """Return a duration in the unit that suits it.

    >>> span(90), span(4_980), span(86_400)
    ('90 s', '83 min', '24 h')
    """
    for unit_s, most_s, unit in ((1, 600, "s"), (60, 7_200, "min"), (3_600, 172_800, "h")):
        if seconds < most_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
