"""Process dashboard queries as Grafana does, and run them.

Grafana itself is not run. According to its documentation, ``$timeFilter`` becomes a range in
milliseconds, and ``$__interval`` becomes the width of a pixel. In a variable with the format
``:regex``, all special characters of regular expressions are escaped, including slashes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.support.influx import influxql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["EVERYWHERE", "answer", "interpolated", "panels", "questions", "seconds"]

EVERYWHERE: Mapping[str, str] = dict.fromkeys(("site", "building", "floor", "room"), "$__all")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}/]")


def seconds(text: str) -> float:
    """Convert ``30s``, ``15m`` or ``now-7d`` to seconds; for ``now-6d/d``, return the maximum.

    >>> seconds("15m"), seconds("now-7d"), seconds("now-6d/d"), seconds("now")
    (900.0, 604800.0, 604800.0, 0.0)
    """
    if text.endswith("/d"):
        return seconds(text.removesuffix("/d")) + _UNITS["d"]
    text = text.removeprefix("now").removeprefix("-")
    return float(text[:-1]) * _UNITS[text[-1]] if text else 0.0


def escaped(value: str | Iterable[str]) -> str:
    r"""Format a variable's value as ``:regex`` does.

    >>> print(escaped("a/b.c"), escaped(["x", "y"]))
    a\/b\.c (x|y)
    """
    if value == "$__all":
        return ".*"
    if isinstance(value, str):
        return _SPECIAL.sub(lambda found: f"\\{found.group()}", value)
    return "(" + "|".join(escaped(one) for one in value) + ")"


def at_any_range(query: str) -> str:
    """Make a query for only short or only long time ranges apply to all ranges."""
    return re.sub(r"(<=|>) 90000000", "> 0", query)


def at_moment(query: str, now: float) -> str:
    """Replace ``now()`` in a query by a given time.

    >>> at_moment("time > now() - 1d", 86_400.5)
    'time > 500ms'
    """
    return re.sub(r"now\(\) - (\w+)", lambda m: f"{(now - seconds(m[1])) * 1e3:.0f}ms", query)


def interpolated(
    query: str,
    start: float,
    end: float,
    variables: Mapping[str, str | list[str]] = EVERYWHERE,
    least: str = "",
    points: int = 800,
) -> str:
    """Replace the variables in a query."""
    for name, value in variables.items():
        query = query.replace(f"${{{name}:regex}}", escaped(value))
    step = max((end - start) / points, seconds(least) if least else 1.0, 1.0)
    query = query.replace(
        "$timeFilter", f"time >= {start * 1e3:.0f}ms and time <= {end * 1e3:.0f}ms"
    )
    query = query.replace("$__interval", f"{step:.0f}s")
    for name, at in (("from", start), ("to", end)):
        query = query.replace(f"${{__{name}}}", f"{at * 1e3:.0f}")
    assert "${" not in query, query
    assert "$_" not in query, query
    return query


def answer(url: str, query: str, database: str = "school") -> list[dict[str, Any]]:
    """Query InfluxDB as Grafana's data source does; raise the errors that it returns."""
    (result,) = json.loads(influxql(url, query, database, epoch="ms"))["results"]
    assert "error" not in result, (result, query)
    return result.get("series", [])


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a dashboard's panels with content, including panels in collapsed rows."""
    for panel in dashboard["panels"]:
        yield from panels(panel) if panel.get("panels") else ()
        if panel["type"] not in {"row", "text"}:
            yield panel


def questions(dashboard: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return every query of every panel, with its panel."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel, target
