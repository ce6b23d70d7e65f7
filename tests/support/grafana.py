"""What Grafana does to a question before it sends it, and how the answer is asked for.

Grafana itself is not run. Its documented rules are: ``$timeFilter`` becomes a range in
milliseconds, ``$__interval`` the width of a pixel, and a variable in the format ``:regex`` has
everything escaped that means something in a regular expression, slashes too.
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
    """Read ``30s``, ``15m``, ``now-7d``; of ``now-6d/d``, from the start of that day, the most.

    >>> seconds("15m"), seconds("now-7d"), seconds("now-6d/d"), seconds("now")
    (900.0, 604800.0, 604800.0, 0.0)
    """
    if text.endswith("/d"):
        return seconds(text.removesuffix("/d")) + _UNITS["d"]
    text = text.removeprefix("now").removeprefix("-")
    return float(text[:-1]) * _UNITS[text[-1]] if text else 0.0


def escaped(value: str | Iterable[str]) -> str:
    r"""Write the value of a variable in the format ``:regex``.

    >>> print(escaped("a/b.c"), escaped(["x", "y"]))
    a\/b\.c (x|y)
    """
    if value == "$__all":
        return ".*"
    if isinstance(value, str):
        return _SPECIAL.sub(lambda found: f"\\{found.group()}", value)
    return "(" + "|".join(escaped(one) for one in value) + ")"


def at_any_range(query: str) -> str:
    """Return a question that is asked of ranges up to a day, or longer ones, for all ranges."""
    return re.sub(r"(<=|>) 90000000", "> 0", query)


def at_moment(query: str, now: float) -> str:
    """Return a question of the last minutes or days as it is asked at a moment.

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
    """Fill a question in."""
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
    """Ask an InfluxDB as the data source does; raise what it objects to."""
    (result,) = json.loads(influxql(url, query, database, epoch="ms"))["results"]
    assert "error" not in result, (result, query)
    return result.get("series", [])


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Panels of a dashboard that show something, those of folded rows too."""
    for panel in dashboard["panels"]:
        yield from panels(panel) if panel.get("panels") else ()
        if panel["type"] not in {"row", "text"}:
            yield panel


def questions(dashboard: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every target of every panel, with its panel."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel, target
