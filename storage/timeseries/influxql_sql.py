"""InfluxQL of the dashboards, answered by the embedded store.

Writes SQL for the file of `storage.timeseries.sqlite` from a statement that
`storage.timeseries.influxql` has parsed and checked.

- Numbers and texts are bound as parameters. Nothing that was sent becomes part of the SQL.
- Readings without a registered sensor are not in it: places are those of the registry now.
- Differences from InfluxDB: a single value without a name is called ``value``; only ``last`` has
  the time of its row, other aggregates that of the beginning of the range; where the clock changes
  within an interval, InfluxDB may add an empty one inside it.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import re2

from storage.timeseries.influxql import (
    FARTHEST,
    NS,
    PLACE,
    SENSORS,
    SOURCES,
    TAGS,
    QueryError,
    has_call,
)
from storage.timeseries.line_protocol import READING
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storage.registry import Registry
    from storage.timeseries.influxql import Expression, Query

MOST_ROWS: Final = 50_000
MOST_CELLS: Final = 500_000
_MOST_SQL: Final = 200_000
_LONGEST_S: Final = 8.0
_STEPS: Final = 10_000
"""Steps of SQLite between two looks at the clock."""
_AGGREGATES: Final = {
    "mean": "avg", "sum": "sum", "count": "count", "min": "min", "max": "max",
    "median": "influx_median", "percentile": "influx_percentile", "last": "influx_last",
}  # fmt: skip


_TOO_LARGE: Final = ("too many", "too large", "parser stack overflow", "integer overflow")
"""What SQLite says of a statement that is too much for it."""
_QUIET: Final = re2.Options()
_QUIET.log_errors = False


class Answer(NamedTuple):
    """Rows of a query; the first column is the time in Unix nanoseconds."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def answer(
    db: sqlite3.Connection, registry: Registry, query: Query, *, registered_only: bool = False
) -> Answer:
    """Answer a query from a connection to the embedded store; raise `QueryError`.

    `registered_only`: of rooms and sensors of this registry alone, and nothing of all together.
    """
    _register(db)
    writer = _Sql(registry, registered_only)
    until = time.monotonic() + _LONGEST_S
    most = _most_rows(query)
    limited = replace(query, limit=min(query.limit or most + 1, most + 1))
    statement = writer.select(limited, query.start, query.end)
    if len(statement) > _MOST_SQL:
        raise QueryError("it is too long: ask for less at once")
    db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        rows = db.execute(statement, writer.values).fetchmany(most + 1)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise QueryError("it takes too long: ask for a shorter range or longer steps") from None
        if any(fault in str(error) for fault in _TOO_LARGE):
            raise QueryError("it is too long: ask for less at once") from None
        raise
    finally:
        db.set_progress_handler(None, 0)
    _check_rows(query, len(rows))
    found = [tuple(row) for row in rows]
    if query.step and query.fill != "none":
        found = _filled(query, found)
    return Answer(("time", *query.columns), found)


def _most_rows(query: Query) -> int:
    return min(MOST_ROWS, MOST_CELLS // (1 + len(query.columns)))


def _check_rows(query: Query, rows: float) -> None:
    most = _most_rows(query)
    if rows > most:
        raise QueryError(f"more than {most} rows: ask for a shorter range or longer steps")


@dataclass(slots=True)
class _Sql:
    registry: Registry
    registered_only: bool
    values: dict[str, Any] = field(default_factory=dict)

    def _value(self, value: object) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def select(
        self, query: Query, start: int | None, end: int | None, passed: Sequence[str] = ()
    ) -> str:
        """Write a statement whose columns are time, tags, what is selected, and tags passed on.

        `start` and `end` are bounds of statements around it.
        """
        start = max((at for at in (query.start, start) if at is not None), default=None)
        end = min((at for at in (query.end, end) if at is not None), default=None)
        inner = query.source
        if isinstance(inner, str):
            source = self._table(inner, start, end)
        else:
            source = self.select(inner, start, end, inner.passed)
        parts = [self.expression(expression) for _, expression in query.select]
        names = [name for name, _ in query.select]
        tags = [*map(_name, query.tags)]
        bucket = self._bucket(query)
        where = [self.expression(query.where)] if query.where else []
        conditions, groups, having = list(where), [], ""
        shown = [bucket or "time", *tags, *parts]
        if query.is_aggregate:
            groups = [*([bucket] if bucket else []), *tags]
            calls = [e for _, e in query.select if e[0] == "call"]
            if any(e[1] == "distinct" for e in calls):
                groups += [self.expression(e) for e in calls if e[1] == "distinct"]
            if not bucket:
                shown[0] = self._value(start or 0)
                if [e[1] for e in calls] == ["last"] and len(query.select) == 1:
                    of = self.expression(calls[0][2][0])
                    shown[0] = f"max(CASE WHEN {of} IS NOT NULL THEN time END)"
            tests = [self._present(e) for _, e in query.select if has_call(e)]
            having = f" HAVING {' OR '.join(tests)}"
            groups = groups or ["NULL"]  # no group at all without a row
        else:
            fields = [e for _, e in query.select if e[0] != "text"]
            tests = [f"({self.expression(e)}) IS NOT NULL" for e in fields if not _is_tag(e)]
            conditions += [f"({' OR '.join(tests)})"] if tests else []
        columns = ("time", *query.tags, *names, *passed)
        shown += map(_name, passed)
        listed = ", ".join(f"{s} AS {_name(n)}" for s, n in zip(shown, columns, strict=True))
        text = f"SELECT {listed} FROM ({source}) AS q"  # noqa: S608 - names from tables, values bound
        text += f" WHERE {' AND '.join(conditions)}" if conditions else ""
        text += f" GROUP BY {', '.join(groups)}" if groups else ""
        if query.limit is None:
            return text + having
        order = "time DESC" if query.newest_first else "time"
        return f"{text}{having} ORDER BY {order} LIMIT {query.limit}"

    def _present(self, expression: Expression) -> str:
        if expression[0] == "call":
            return f"count({self.expression(expression[2][0])}) > 0"
        tests = [self._present(part) for part in expression[2:] if has_call(part)]
        return f"({' AND '.join(tests)})"

    def _bucket(self, query: Query) -> str:
        if not query.step:
            return ""
        step = self._value(query.step)
        if query.zone:
            offset = self._value(query.offset)
            return f"influx_bucket(time, {step}, {offset}, {self._value(query.zone)})"
        offset = self._value(query.offset % query.step)
        return f"((time - {offset}) / {step} * {step} + {offset})"

    def expression(self, expression: Expression) -> str:
        kind = expression[0]
        if kind in ("number", "text"):
            return self._value(expression[1])
        if kind == "name":
            return _name(expression[1])
        if kind == "regex":
            return self._matching(expression[1][1], expression[2])
        if kind == "call":
            return self._call(expression[1], expression[2])
        op, left, right = expression[1], *map(self.expression, expression[2:])
        if op == "/":
            return f"influx_div({left}, {right})"
        return f"({left} {'<>' if op == '!=' else op} {right})"

    def _call(self, name: str, arguments: Sequence[Expression]) -> str:
        of = self.expression(arguments[0])
        if name == "distinct":
            return of
        more = "".join(f", {self.expression(a)}" for a in arguments[1:])
        more += ", time" if name == "last" else ""
        return f"{_AGGREGATES[name]}({of}{more})"

    def _matching(self, name: str, pattern: str) -> str:
        """Return the condition that a tag matches: one of the known values that do."""
        if pattern in ("^.*$", ".*"):
            return "1"
        try:
            matches = re2.compile(pattern, options=_QUIET).search
        except re2.error:
            raise QueryError(f"not a regular expression: {pattern[:60]!r}") from None
        if name not in TAGS:
            raise QueryError(f"a regular expression is for a tag, not for {name!r}")
        known = {value for row in _places(self.registry) for value in row} | _KINDS | {""}
        matching = json.dumps(sorted(value for value in known if matches(value)))
        return f"{_name(name)} IN (SELECT value FROM json_each({self._value(matching)}))"  # noqa: S608 - a name of ours

    def _table(self, name: str, start: int | None, end: int | None) -> str:
        if name == SENSORS:
            return f"SELECT 0 AS time, p.* FROM {self._listed(_places(self.registry), 6)}"  # noqa: S608 - a name of ours
        if start is None:
            raise QueryError("give a beginning of the time range: time >= ...")
        bounds = f"time >= {self._value(start)} AND time <= {self._value(end or FARTHEST)}"
        columns = SOURCES[name]
        own = ", ".join(f'r."{c}" AS "{c}"' for c in columns if c not in TAGS)
        if not any(c in TAGS for c in columns):
            if self.registered_only:
                raise QueryError(f"{name} is of all sites together: ask with a token for all")
            return f"SELECT r.time AS time, {own} FROM {name} AS r WHERE {bounds}"  # noqa: S608 - names from tables
        by_sensor = "model" in columns
        names = _PLACED[: 6 if by_sensor else 4]
        rows = _places(self.registry) if by_sensor else _rooms(self.registry)
        places = self._listed(rows, len(names))
        if name in _OF_READINGS:
            tags = ", ".join(f"p.{n} AS {n}" for n in names)
            of = f"r.sensor = s.id AND r.{bounds.replace(' AND ', ' AND r.')}"
            return (
                f"SELECT r.time AS time, {tags}, {own} FROM {places}"  # noqa: S608 - names from tables
                f" CROSS JOIN sensor AS s ON s.name = p.sensor CROSS JOIN {name} AS r ON {of}"
            )
        key = "sensor" if by_sensor else "room"
        kept = [c for c in columns if c in TAGS and c not in names]
        tags = ", ".join(
            [*(f"coalesce(p.{n}, '') AS {n}" for n in names if n != key), f"r.{key} AS {key}"]
            + [f"r.{c} AS {c}" for c in kept]
        )
        join = "JOIN" if self.registered_only else "LEFT JOIN"
        return (
            f"SELECT r.time AS time, {tags}, {own} FROM {name} AS r"  # noqa: S608 - names from tables
            f" {join} {places} ON p.{key} = r.{key} WHERE {bounds}"
        )

    def _listed(self, rows: list[list[str]], many: int) -> str:
        where = ", ".join(
            f"json_extract(value, '$[{k}]') AS {n}" for k, n in enumerate(_PLACED[:many])
        )
        return f"(SELECT {where} FROM json_each({self._value(json.dumps(rows))})) AS p"  # noqa: S608 - names from tables


_PLACED: Final = (*PLACE, "sensor", "model")
_OF_READINGS: Final = (READING, MINUTE.measurement, QUARTER_HOUR.measurement)
_KINDS: Final = frozenset(
    {"vape", "smoke", "spray", "steam", "voc", "dust", "ambient", "tamper", "sensor_fault"}
    | {"offline", "firmware", "messages"}
)


def _is_tag(expression: Expression) -> bool:
    return expression[0] == "name" and expression[1] in TAGS


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _places(registry: Registry) -> list[list[str]]:
    found = []
    for sensor in registry.sensors.values():
        room = registry.rooms.get(sensor.room)
        place = [room.site, room.building, room.floor, room.id] if room else ["", "", "", ""]
        found.append([*place, sensor.id, sensor.model])
    return found


def _rooms(registry: Registry) -> list[list[str]]:
    return [[r.site, r.building, r.floor, r.id] for r in registry.rooms.values()]


# functions


def _register(db: sqlite3.Connection) -> None:
    for name, (arguments, kind) in _OWN_AGGREGATES.items():
        db.create_aggregate(name, arguments, kind)
    db.create_function("influx_div", 2, _quotient, deterministic=True)
    db.create_function("influx_bucket", 4, _local_bucket, deterministic=True)


def _quotient(left: Any, right: Any) -> float | None:
    """Divide as InfluxDB does: by zero, it is zero."""
    if right == 0:
        return 0.0
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return None
    return float(left) / right


class _Last:
    """The newest value; of several at one moment the largest, as InfluxDB does."""

    def __init__(self) -> None:
        self._newest: tuple[int, Any] | None = None

    def step(self, value: Any, at: int) -> None:
        """Take a value; keep no other, as a question may be about all readings of a year."""
        if value is not None and (self._newest is None or (at, value) > self._newest):
            self._newest = (at, value)

    def finalize(self) -> Any:
        """Return it."""
        return self._newest[1] if self._newest else None


class _Gathered:
    """An aggregate that is computed of all known values, and of what is given beside them."""

    def __init__(self, compute: Callable[..., Any]) -> None:
        self._compute = compute
        self._values: list[float] = []
        self._more: tuple[Any, ...] = ()

    def step(self, value: float | None, *more: Any) -> None:
        """Take a value."""
        if value is not None:
            self._values.append(value)
            self._more = more

    def finalize(self) -> Any:
        """Return the aggregate; None without a value."""
        return self._compute(self._values, *self._more) if self._values else None


def _percentile(values: list[float], percent: float) -> float | None:
    """Return the percentile by nearest rank; None with too few values."""
    rank = math.floor(len(values) * percent / 100.0 + 0.5)
    return sorted(values)[rank - 1] if 0 < rank <= len(values) else None


_OWN_AGGREGATES: Final[dict[str, tuple[int, Callable[[], Any]]]] = {
    "influx_last": (2, _Last),
    "influx_median": (1, partial(_Gathered, median)),
    "influx_percentile": (2, partial(_Gathered, _percentile)),
}


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _local_bucket(at: int, step: int, offset: int, zone: str) -> int:
    """Return the beginning of an interval of local time."""
    local = _zone(zone)
    shift = _shift(at - offset, local)
    begins = (at + shift - offset) // step * step + offset - shift
    change = shift - _shift(begins - offset, local)  # the shift may change within the interval
    return begins + change if abs(change) < step else begins  # as InfluxDB does


def _shift(at: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at / NS, zone).utcoffset()
    return round(offset.total_seconds()) * NS if offset else 0


def _filled(query: Query, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    many = len(query.tags)
    start, end = query.start or 0, query.end or max((row[0] for row in rows), default=0)
    first: Callable[[int], int] = lambda at: (  # noqa: E731 - one expression
        _local_bucket(at, query.step, query.offset, query.zone)
        if query.zone
        else (at - query.offset) // query.step * query.step + query.offset
    )
    groups: dict[tuple[Any, ...], dict[int, tuple[Any, ...]]] = {}
    for row in rows:
        groups.setdefault(row[1 : 1 + many], {})[row[0]] = row
    _check_rows(query, (end - start) / query.step * max(len(groups), 1))
    # Around a change of the clock an interval is longer or shorter than the step.
    looks = range(first(start), end + 1, (query.step // 2 if query.zone else query.step))
    times = sorted({at for at in map(first, looks) if at <= end} | {row[0] for row in rows})
    _check_rows(query, len(times) * len(groups))
    empty = (query.fill,) * len(query.select)
    found = [group.get(at, (at, *tags, *empty)) for tags, group in groups.items() for at in times]
    return sorted(found, key=lambda row: row[0])
