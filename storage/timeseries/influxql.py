"""InfluxQL of the dashboards: the language, parsed and checked.

What a panel asks is one text, `dashboards.definitions`; an InfluxDB answers it, and so does
`storage.timeseries.influxql_sql` with the file of the embedded store. The subset that panels use:

    SELECT <expressions> FROM "<measurement>" | (<statement>) [WHERE <condition>]
    [GROUP BY time(<step>[, [-]<offset>]), "<tag>", ...] [fill(none | null | 0)]
    [ORDER BY time DESC] [LIMIT <n>] [tz('<zone>')]
    SHOW TAG VALUES FROM "<measurement>" WITH KEY = "<tag>" [WHERE <condition>]

A name is a column of its measurement or it is refused. A moment without a zone is UTC; InfluxDB
reads it in the zone of ``tz()``, so beside that it is refused. With ``tz()`` only those steps are
answered whose intervals are the same in InfluxDB on days on which the clock changes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import available_timezones

from detection.quantities import COLUMNS
from storage.timeseries.line_protocol import READING
from storage.timeseries.records import MEASUREMENTS
from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

_MOST_TEXT: Final = 8_000
_MOST_TERMS: Final = 300
_DEEPEST: Final = 24
_MOST_DIGITS: Final = 20
FARTHEST: Final = 2**62
_LONGEST_NAME: Final = 60
NS: Final = 1_000_000_000
_UNITS: Final = {
    "ms": 1_000_000, "s": NS, "m": 60 * NS, "h": 3_600 * NS, "d": 86_400 * NS,
    "w": 604_800 * NS,
}  # fmt: skip
PLACE: Final = ("site", "building", "floor", "room")
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
_AGGREGATES: Final = ("mean", "sum", "count", "min", "max", "median", "percentile", "last")
_HOUR: Final = _UNITS["h"]


class QueryError(ValueError):
    """A query that cannot be answered, with a sentence for who wrote it."""


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
    limit: int | None = None

    @property
    def is_aggregate(self) -> bool:
        """Whether it computes one row a group."""
        return any(has_call(expression) for _, expression in self.select)

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


class _Parser:
    def __init__(self, text: str, now: float) -> None:
        self._text = text
        self._at = 0
        self._now = round(now * 1e6) * 1_000
        self._depth = 0
        self._terms = 0
        self._bounds: list[tuple[str, int]] = []
        self._has_local_moment = False

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
        found = Query(select, SENSORS, where, 0, None)
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
            more["limit"] = min(_whole(word), FARTHEST) or None  # 0 is none to InfluxDB, too
        if self._takes("tz"):
            self._needs("(")
            more["zone"] = _unquoted(self._next("a zone")[1])
            self._needs(")")
            if more["zone"] not in available_timezones():
                raise QueryError("no such time zone")
            if self._has_local_moment:
                raise QueryError("beside tz(), end each moment with its zone, such as Z")
        return more

    def _groups(self) -> dict[str, Any]:
        self._needs("BY")
        more: dict[str, Any] = {}
        tags = []
        while True:
            if self._takes("time"):
                self._needs("(")
                more |= {"step": self._duration(), "fill": None}
                if self._takes(","):
                    sign = -1 if self._takes("-") else 1
                    more["offset"] = sign * (self._duration() % (more["step"] or 1))
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
            other = self._both()
            if found is None or other is None:
                raise QueryError("a bound of time cannot be an alternative")
            found = ("op", "OR", found, other)
        return found

    def _both(self) -> Expression | None:
        found = self._comparison()
        while self._takes("AND"):
            other = self._comparison()
            found = ("op", "AND", found, other) if found and other else found or other
        return found

    def _comparison(self) -> Expression | None:
        if self._takes("time"):
            op, at = self._one_of(">", ">=", "<", "<="), self._moment()
            if abs(at) > FARTHEST:
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
                self._has_local_moment |= at.tzinfo is None
                at = at if at.tzinfo else at.replace(tzinfo=UTC)
                return round(at.timestamp() * 1e6) * 1_000
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
    if found > FARTHEST:
        raise QueryError(f"{word[:20]} is too long")
    return found


def _whole(word: str) -> int:
    if not word.isdigit() or len(word) > _MOST_DIGITS:
        raise QueryError(f"{word[:_MOST_DIGITS]} is not a whole number in range")
    return int(word)


def has_call(expression: Expression) -> bool:
    """Return whether an aggregate is in an expression."""
    if expression[0] == "call":
        return True
    return expression[0] == "op" and any(map(has_call, expression[2:]))


def _name_of(expression: Expression, among: int) -> str:
    if expression[0] == "name":
        return str(expression[1])
    if among > 1 and expression[0] == "call":
        return str(expression[1])
    return "value"


# tables


def _sources() -> dict[str, dict[str, type]]:
    tags = (*PLACE, "sensor", "model")
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
        at = (*tags,) if keys == {"sensor"} else ((*PLACE, *sorted(keys)) if keys else ())
        found[name] = dict.fromkeys(at, _TEXT) | {f.name: f.type for f in table.fields}
    return found


SENSORS: Final = "registered_sensor"
"""The registered sensors, with their places: the values that tags can have."""
SOURCES: Final = _sources() | {SENSORS: dict.fromkeys((*PLACE, "sensor", "model"), _TEXT)}
"""Columns by measurement, tags first, with their types."""
TAGS: Final = frozenset({*PLACE, "sensor", "model", "kind"})


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
    if query.zone and query.step and not _is_same_over_changes(query.step, query.offset):
        raise QueryError(
            "with tz(), an interval is a part of 30 minutes, one hour without an offset, 3, 4, 6, 8"
            " or 12 hours, or whole days: others differ on days on which the clock changes"
        )
    if query.step and not query.is_aggregate:
        raise QueryError("GROUP BY time needs an aggregate, such as mean")
    if query.is_aggregate and not all(
        has_call(e) or e[0] in ("text", "number") for _, e in query.select
    ):
        raise QueryError("either aggregates or rows, not both")


def _is_same_over_changes(step: int, offset: int) -> bool:
    """Return whether the intervals of a local clock are those of InfluxDB when it changes."""
    if step % _HOUR == 0:
        hours = step // _HOUR
        return hours % 24 == 0 or hours in (3, 4, 6, 8, 12) or (hours == 1 and offset % step == 0)
    return _HOUR // 2 % step == 0


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
