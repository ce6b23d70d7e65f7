"""InfluxQL of the dashboards, answered by the embedded store.

What a panel asks is one text, `dashboards.queries`; an InfluxDB answers it, and so does this: it
parses the subset that panels use and writes SQL for the file of `storage.timeseries.sqlite`.

    SELECT <expressions> FROM "<measurement>" | (<statement>) [WHERE <condition>]
    [GROUP BY time(<step>[, <offset>]), "<tag>", ...] [fill(none | null | 0)]
    [ORDER BY time DESC] [LIMIT <n>] [tz('<zone>')]
    SHOW TAG VALUES FROM "<measurement>" WITH KEY = "<tag>" [WHERE <condition>]

- A name is a column of its measurement or it is refused; numbers and texts are bound as parameters.
  Nothing that was sent becomes part of the SQL.
- Readings without a registered sensor are not in it: places are those of the registry now.
- Differences from InfluxDB: a single value without a name is called ``value``; only ``last`` has
  the time of its row, other aggregates that of the beginning of the range.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import re2

from detection.quantities import COLUMNS
from storage.timeseries.line_protocol import READING
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storage.registry import Registry

MOST_ROWS: Final = 50_000
MOST_CELLS: Final = 500_000
_MOST_TEXT: Final = 8_000
_MOST_SQL: Final = 200_000
_MOST_TERMS: Final = 300
_DEEPEST: Final = 24
_MOST_DIGITS: Final = 20
_FARTHEST: Final = 2**62
_LONGEST_NAME: Final = 60
_LONGEST_S: Final = 8.0
_STEPS: Final = 10_000
"""Steps of SQLite between two looks at the clock."""
_NS: Final = 1_000_000_000
_UNITS: Final = {
    "ms": 1_000_000, "s": _NS, "m": 60 * _NS, "h": 3_600 * _NS, "d": 86_400 * _NS,
    "w": 604_800 * _NS,
}  # fmt: skip
_PLACE: Final = ("site", "building", "floor", "room")
_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<name>"(?:[^"\\\n]|\\.)*") | (?P<text>'(?:[^'\\\n]|\\.)*')
    | (?P<duration>\d+(?:ms|s|m|h|d|w)\b) | (?P<number>\d+(?:\.\d+)?)
    | (?P<word>[A-Za-z_]\w*) | (?P<op><>|<=|>=|=~|!=|[-+*/=<>(),.])
    )""",
    re.VERBOSE,
)
_REGEX: Final = re.compile(r"\s*/((?:[^/\\]|\\.)*)/")
_TEXT: Final = str
_AGGREGATES: Final = {
    "mean": "avg", "sum": "sum", "count": "count", "min": "min", "max": "max",
    "median": "influx_median", "percentile": "influx_percentile", "last": "influx_last",
}  # fmt: skip


_TOO_LARGE: Final = ("too many", "too large", "parser stack overflow", "integer overflow")
"""What SQLite says of a statement that is too much for it."""
_QUIET: Final = re2.Options()
_QUIET.log_errors = False


class QueryError(ValueError):
    """A query that cannot be answered, with a sentence for who wrote it."""


class Answer(NamedTuple):
    """Rows of a query; the first column is the time in Unix nanoseconds."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


Expression = tuple[Any, ...]
"""A kind and its parts: number, text, name, call, op, regex."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed statement; times are nanoseconds, and None where not given."""

    select: tuple[tuple[str, Expression], ...]
    source: str | Query
    where: Expression | None
    start: int | None
    end: int | None
    tags: tuple[str, ...] = ()
    step: int = 0
    offset: int = 0
    fill: float | str | None = "none"
    zone: str = ""
    newest_first: bool = False
    limit: int = MOST_ROWS + 1

    @property
    def is_aggregate(self) -> bool:
        """Whether it computes one row a group."""
        return any(_has_call(expression) for _, expression in self.select)

    @property
    def passed(self) -> tuple[str, ...]:
        """Tags of its rows that a statement around it can use, besides its columns."""
        known = {} if self.is_aggregate else _columns(self.source)
        return tuple(c for c in known if c in TAGS and c not in self.columns)

    @property
    def columns(self) -> dict[str, type]:
        """Types of the columns, after the time."""
        known = _columns(self.source)
        tags = dict.fromkeys(self.tags, _TEXT)
        return tags | {name: _type(expression, known) for name, expression in self.select}


def parse(text: str, now: float) -> Query:
    """Parse one SELECT or SHOW TAG VALUES; raise `QueryError`. `now` is for ``now()``."""
    if len(text) > _MOST_TEXT:
        raise QueryError(f"the query is longer than {_MOST_TEXT} characters")
    return _Parser(text, now).statement()


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
    limited = replace(query, limit=min(query.limit, most + 1))
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


# parsing


class _Parser:
    def __init__(self, text: str, now: float) -> None:
        self._text = text
        self._at = 0
        self._now = round(now * 1e6) * 1_000
        self._depth = 0
        self._terms = 0
        self._bounds: list[tuple[str, int]] = []

    def statement(self) -> Query:
        found = self._show() if self._takes("SHOW") else self._select()
        if self._text[self._at :].strip():
            raise self._fault("the end")
        return found

    def _show(self) -> Query:
        for word in ("TAG", "VALUES", "FROM"):
            self._needs(word)
        self._measurement()
        self._needs("WITH")
        self._needs("KEY")
        self._needs("=")
        key = self._name()
        where, _, _ = self._where()
        select = (("key", ("text", key)), ("value", ("call", "distinct", (("name", key),))))
        found = Query(select, _SENSORS, where, 0, None)
        _check(found)
        return found

    def _select(self) -> Query:
        self._deeper()
        self._needs("SELECT")
        chosen = [self._column()]
        while self._takes(","):
            chosen.append(self._column())
        self._needs("FROM")
        source: str | Query
        if self._takes("("):
            source = self._select()
            self._needs(")")
        else:
            source = self._measurement()
        where, start, end = self._where()
        more = self._rest()
        self._depth -= 1
        select = tuple((name or _name_of(e, len(chosen)), e) for name, e in chosen)
        found = Query(select, source, where, start, end, **more)
        _check(found)
        return found

    def _column(self) -> tuple[str, Expression]:
        expression = self._sum()
        if expression[0] == "text" and len(expression[1]) > _LONGEST_NAME:
            raise QueryError(f"a text to show has at most {_LONGEST_NAME} characters")
        if not self._takes("AS"):
            return "", expression
        name = self._name()
        if not name.isprintable() or '"' in name or name == "time" or len(name) > _LONGEST_NAME:
            raise QueryError(f"not a name for a column: {name[:40]!r}")
        return name, expression

    def _measurement(self) -> str:
        name = self._name()
        if self._takes("."):  # a retention policy, of which there is none here
            name = self._name()
        if name not in SOURCES:
            raise QueryError(f"no such measurement: {name[:40]!r}; one of {', '.join(SOURCES)}")
        return name

    def _where(self) -> tuple[Expression | None, int | None, int | None]:
        outer, self._bounds = self._bounds, []
        where = self._condition() if self._takes("WHERE") else None
        starts = [at + (op == ">") for op, at in self._bounds if op in (">", ">=")]
        ends = [at - (op == "<") for op, at in self._bounds if op in ("<", "<=")]
        self._bounds = outer
        return where, max(starts, default=None), min(ends, default=None)

    def _rest(self) -> dict[str, Any]:
        more: dict[str, Any] = self._groups() if self._takes("GROUP") else {}
        if self._takes("fill"):
            more["fill"] = self._fill()
        if self._takes("ORDER"):
            for word in ("BY", "time"):
                self._needs(word)
            more["newest_first"] = self._takes("DESC")
        if self._takes("LIMIT"):
            kind, word = self._next("a number")
            if kind != "number":
                raise self._fault("a number")
            more["limit"] = min(_whole(word), MOST_ROWS + 1)
        if self._takes("tz"):
            self._needs("(")
            more["zone"] = _unquoted(self._next("a zone")[1])
            self._needs(")")
            if more["zone"] not in available_timezones():
                raise QueryError("no such time zone")
        return more

    def _groups(self) -> dict[str, Any]:
        self._needs("BY")
        more: dict[str, Any] = {}
        tags = []
        while True:
            if self._takes("time"):
                self._needs("(")
                more |= {"step": self._duration(), "fill": None}
                more["offset"] = self._duration() if self._takes(",") else 0
                self._needs(")")
            else:
                tags.append(self._name())
            if not self._takes(","):
                return {**more, "tags": tuple(dict.fromkeys(tags))}

    def _fill(self) -> float | str | None:
        self._needs("(")
        kind, word = self._next("none, null or a number")
        self._needs(")")
        if kind == "number":
            return float(word)
        if word not in ("none", "null"):
            raise self._fault("none, null or a number")
        return "none" if word == "none" else None

    def _condition(self) -> Expression | None:
        found = self._both()
        while self._takes("OR"):
            found = _joined("OR", found, self._both())
        return found

    def _both(self) -> Expression | None:
        found = self._comparison()
        while self._takes("AND"):
            found = _joined("AND", found, self._comparison())
        return found

    def _comparison(self) -> Expression | None:
        if self._takes("time"):
            op, at = self._one_of(">", ">=", "<", "<="), self._moment()
            if abs(at) > _FARTHEST:
                raise QueryError("a moment is out of range")
            self._bounds.append((op, at))
            return None
        before = self._at
        if self._takes("("):
            self._deeper()
            with suppress(QueryError):  # of a condition, or of an expression
                found = self._condition()
                self._needs(")")
                self._depth -= 1
                return found
            self._at = before
        left = self._sum()
        op = self._one_of("=~", "=", "!=", "<>", "<", "<=", ">", ">=")
        if op == "=~":
            pattern = _REGEX.match(self._text, self._at)
            if pattern is None or left[0] != "name":
                raise self._fault("a regular expression")
            self._at = pattern.end()
            return ("regex", left, pattern[1].replace("\\/", "/"))
        return ("op", op, left, self._sum())

    def _moment(self) -> int:
        if self._takes("now"):
            self._needs("(")
            self._needs(")")
            return self._now - self._duration() if self._takes("-") else self._now
        kind, word = self._next("a moment")
        if kind == "duration":
            return _nanoseconds(word)
        if kind == "number":
            return _whole(word)
        if kind == "text":
            with suppress(ValueError, OverflowError):
                at = datetime.fromisoformat(_unquoted(word))
                return round(at.astimezone(at.tzinfo or UTC).timestamp() * 1e6) * 1_000
        raise self._fault("a moment, such as now() - 1d")

    def _sum(self) -> Expression:
        found = self._product()
        while op := self._any("+", "-"):
            found = ("op", op, found, self._product())
        return found

    def _product(self) -> Expression:
        found = self._atom()
        while op := self._any("*", "/"):
            found = ("op", op, found, self._atom())
        return found

    def _atom(self) -> Expression:
        if self._takes("("):
            self._deeper()
            found = self._sum()
            self._depth -= 1
            self._needs(")")
            return found
        self._terms += 1
        if self._terms > _MOST_TERMS:
            raise QueryError(f"more than {_MOST_TERMS} terms")
        kind, word = self._next("a field")
        if kind == "number":
            return ("number", float(word))
        if kind == "text":
            return ("text", _unquoted(word))
        if kind == "name":
            return ("name", _unquoted(word))
        if kind == "word" and word.lower() in (*_AGGREGATES, "distinct"):
            self._needs("(")
            arguments = [self._sum()]
            if self._takes(","):
                arguments.append(self._sum())
            self._needs(")")
            return ("call", word.lower(), tuple(arguments))
        raise self._fault(f"a field in double quotes, or one of {', '.join(_AGGREGATES)}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError("too many parentheses")

    # tokens

    def _peek(self) -> tuple[str, str, int]:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            return "", "", self._at
        return str(found.lastgroup), found[str(found.lastgroup)], found.end()

    def _next(self, wanted: str) -> tuple[str, str]:
        kind, word, end = self._peek()
        if not kind:
            raise self._fault(wanted)
        self._at = end
        return kind, word

    def _takes(self, word: str) -> bool:
        return bool(self._any(word))

    def _any(self, *words: str) -> str:
        kind, found, end = self._peek()
        if kind in ("word", "op") and found.lower() in (word.lower() for word in words):
            self._at = end
            return found
        return ""

    def _one_of(self, *words: str) -> str:
        found = self._any(*words)
        if not found:
            raise self._fault(f"one of {' '.join(words)}")
        return found

    def _needs(self, word: str) -> None:
        if not self._takes(word):
            raise self._fault(word)

    def _name(self) -> str:
        kind, word = self._next("a name in double quotes")
        if kind != "name":
            raise self._fault("a name in double quotes")
        return _unquoted(word)

    def _duration(self) -> int:
        kind, word = self._next("a duration, such as 15m")
        if kind != "duration":
            raise self._fault("a duration, such as 15m")
        return _nanoseconds(word)

    def _fault(self, wanted: str) -> QueryError:
        there = self._text[self._at : self._at + 20].strip()
        return QueryError(f"at character {self._at}, {there!r}: expected {wanted}")


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1])


def _nanoseconds(word: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w+)", word).groups()  # type: ignore[union-attr]
    found = _whole(number) * _UNITS[unit]
    if found > _FARTHEST:
        raise QueryError(f"{word[:20]} is too long")
    return found


def _whole(word: str) -> int:
    if not word.isdigit() or len(word) > _MOST_DIGITS:
        raise QueryError(f"{word[:_MOST_DIGITS]} is not a whole number in range")
    return int(word)


def _joined(op: str, left: Expression | None, right: Expression | None) -> Expression | None:
    if left is None or right is None:
        if op == "OR":
            raise QueryError("a bound of time cannot be an alternative")
        return left or right
    return ("op", op, left, right)


def _has_call(expression: Expression) -> bool:
    if expression[0] == "call":
        return True
    return expression[0] == "op" and any(map(_has_call, expression[2:]))


def _name_of(expression: Expression, among: int) -> str:
    if expression[0] == "name":
        return str(expression[1])
    if among > 1 and expression[0] == "call":
        return str(expression[1])
    return "value"


# tables


def _sources() -> dict[str, dict[str, type]]:
    tags = (*_PLACE, "sensor", "model")
    own = {READING: ("received", *COLUMNS)}
    for level in (MINUTE, QUARTER_HOUR):
        own[level.measurement] = (
            "n", *(f"{key}{end}" for key in COLUMNS for end in ("", "_min", "_max"))
        )  # fmt: skip
    found: dict[str, dict[str, type]] = {
        name: dict.fromkeys(tags, _TEXT) | dict.fromkeys(fields, float)
        for name, fields in own.items()
    }
    for name, table in MEASUREMENTS.items():
        keys = {*table.keys}
        at = (*tags,) if keys == {"sensor"} else ((*_PLACE, *sorted(keys)) if keys else ())
        found[name] = dict.fromkeys(at, _TEXT) | {f.name: f.type for f in table.fields}
    return found


_SENSORS: Final = "registered_sensor"
"""The registered sensors, with their places: the values that tags can have."""
SOURCES: Final = _sources() | {_SENSORS: dict.fromkeys((*_PLACE, "sensor", "model"), _TEXT)}
"""Columns by measurement, tags first, with their types."""
TAGS: Final = frozenset({*_PLACE, "sensor", "model", "kind"})


def _columns(source: str | Query) -> dict[str, type]:
    if isinstance(source, str):
        return SOURCES[source]
    return source.columns | dict.fromkeys(source.passed, _TEXT)


def _type(expression: Expression, known: dict[str, type]) -> type:
    kind = expression[0]
    if kind == "name":
        return known[expression[1]]
    if kind == "call" and expression[1] in ("last", "distinct"):
        return _type(expression[2][0], known)
    return _TEXT if kind == "text" else float


def _check(query: Query) -> None:
    """Refuse names that the source does not have, and aggregates beside rows."""
    known = _columns(query.source)
    for tag in query.tags:
        if known.get(tag) is not _TEXT:
            raise QueryError(f"no such tag here: {tag[:40]!r}")
    for _, expression in query.select:
        _check_names(expression, known)
    if query.where:
        _check_names(query.where, known)
    names = [name for name, _ in query.select]
    if len({*names, *query.tags}) < len(names) + len({*query.tags} - {*names}):
        raise QueryError("two columns of one name")
    if query.step and not query.is_aggregate:
        raise QueryError("GROUP BY time needs an aggregate, such as mean")
    if query.is_aggregate and not all(
        _has_call(e) or e[0] in ("text", "number") for _, e in query.select
    ):
        raise QueryError("either aggregates or rows, not both")


def _check_names(expression: Expression, known: dict[str, type]) -> None:
    if expression[0] in ("name", "regex"):
        name = expression[1] if expression[0] == "name" else expression[1][1]
        if name not in known:
            raise QueryError(f"no such field here: {name[:40]!r}")
    elif expression[0] == "call":
        arguments = expression[2]
        if (expression[1] == "percentile") is not (len(arguments) == 2):
            raise QueryError(f"{expression[1]} has another number of arguments")
        if arguments[0][0] != "name" or any(a[0] != "number" for a in arguments[1:]):
            raise QueryError(f"{expression[1]} is of a field")
        _check_names(arguments[0], known)
    elif expression[0] == "op":
        for part in expression[2:]:
            _check_names(part, known)


# SQL


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
        start = query.start if query.start is not None else start
        end = query.end if query.end is not None else end
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
            tests = [self._present(e) for _, e in query.select if _has_call(e)]
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
        order = "time DESC" if query.newest_first else "time"
        limit = min(query.limit, MOST_ROWS + 1)
        return f"{text}{having} ORDER BY {order}{' LIMIT ' + str(limit) if limit else ''}"

    def _present(self, expression: Expression) -> str:
        """Return the condition that an aggregate has something to compute."""
        if expression[0] == "call":
            return f"count({self.expression(expression[2][0])}) > 0"
        tests = [self._present(part) for part in expression[2:] if _has_call(part)]
        return f"({' AND '.join(tests)})"

    def _bucket(self, query: Query) -> str:
        if not query.step:
            return ""
        step, offset = self._value(query.step), self._value(query.offset % query.step)
        if query.zone:
            return f"influx_bucket(time, {step}, {offset}, {self._value(query.zone)})"
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
        if name == "last":
            return f"influx_last(time, {of})"
        more = "".join(f", {self.expression(a)}" for a in arguments[1:])
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
        if name == _SENSORS:
            return f"SELECT 0 AS time, p.* FROM {self._listed(_places(self.registry), 6)}"  # noqa: S608 - a name of ours
        if start is None:
            raise QueryError("give a beginning of the time range: time >= ...")
        bounds = f"time >= {self._value(start)} AND time <= {self._value(end or _FARTHEST)}"
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
        """Return the table ``p`` of places."""
        where = ", ".join(
            f"json_extract(value, '$[{k}]') AS {n}" for k, n in enumerate(_PLACED[:many])
        )
        return f"(SELECT {where} FROM json_each({self._value(json.dumps(rows))})) AS p"  # noqa: S608 - names from tables


_PLACED: Final = (*_PLACE, "sensor", "model")
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
    kinds: tuple[tuple[str, int, Any], ...] = (
        ("influx_last", 2, _Last),
        ("influx_median", 1, _Median),
        ("influx_percentile", 2, _Percentile),
    )
    for name, arguments, kind in kinds:
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

    def step(self, at: int, value: Any) -> None:
        """Take a value."""
        if value is not None and (self._newest is None or (at, value) > self._newest):
            self._newest = (at, value)

    def finalize(self) -> Any:
        """Return it."""
        return self._newest[1] if self._newest else None


class _Median:
    """The median; of an even number, the mean of the middle two."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float | None) -> None:
        """Take a value."""
        if value is not None:
            self._values.append(value)

    def finalize(self) -> float | None:
        """Return it."""
        return median(self._values) if self._values else None


class _Percentile:
    """The percentile by nearest rank; None with too few values."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._percent = 0.0

    def step(self, value: float | None, percent: float) -> None:
        """Take a value."""
        self._percent = percent
        if value is not None:
            self._values.append(value)

    def finalize(self) -> float | None:
        """Return it."""
        rank = math.floor(len(self._values) * self._percent / 100.0 + 0.5)
        return sorted(self._values)[rank - 1] if 0 < rank <= len(self._values) else None


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _local_bucket(at: int, step: int, offset: int, zone: str) -> int:
    """Return the beginning of an interval of local time."""
    local = _zone(zone)
    shift = _shift(at, local)
    begins = (at + shift - offset) // step * step + offset - shift
    change = shift - _shift(begins, local)  # the shift may change within the interval
    return begins + change if abs(change) < step else begins  # as InfluxDB does


def _shift(at: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at / _NS, zone).utcoffset()
    return round(offset.total_seconds()) * _NS if offset else 0


def _filled(query: Query, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Add the intervals without a value, for each combination of tags."""
    many = len(query.tags)
    start, end = query.start or 0, query.end or max((row[0] for row in rows), default=0)
    first: Callable[[int], int] = lambda at: (  # noqa: E731 - one expression
        _local_bucket(at, query.step, query.offset % query.step, query.zone)
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
