"""The tables of reports: their columns, documented and versioned, and how they are filled.

A column is never renamed, moved or given another meaning under one `VERSION`; new ones are added
at the end. ``docs/report-files.md`` is written from here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from reports import kpis
from reports.names import ABOUT
from reports.rows import AIR, CONFIRMED, place_of
from storage.firmware import unlike_others

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reports.facts import Facts
    from reports.kpis import Times
    from reports.rows import IncidentRow

VERSION: Final = 1
"""Version of all tables."""

MOMENT: Final = pl.Datetime("ms", "UTC")


class Column(NamedTuple):
    """One column: name, type, and what it holds, with its unit."""

    name: str
    kind: pl.DataType | type[pl.DataType]
    about: str


class Table(NamedTuple):
    """One table.

    Attributes
    ----------
    fill : callable
        Values of all columns but the first, by name.
    """

    name: str
    about: str
    columns: tuple[Column, ...]
    fill: Callable[[Facts], Mapping[str, Sequence[Any]]]

    def frame(self, facts: Facts) -> pl.DataFrame:
        """Fill the table."""
        values = dict(self.fill(facts))
        rows = len(next(iter(values.values())))
        values["schema_version"] = [VERSION] * rows
        return frame(self.columns, values)


def frame(columns: Sequence[Column], values: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """Return columns in order with their types; moments are given in Unix seconds."""
    made = []
    for column in columns:
        found = values[column.name]
        if column.kind == MOMENT:
            whole = [None if at is None else round(at * 1000) for at in found]
            made.append(pl.Series(column.name, whole, pl.Int64).cast(MOMENT))
        else:
            made.append(pl.Series(column.name, found, column.kind))
    return pl.DataFrame(made)


_TEXT: Final = pl.String
_WHOLE: Final = pl.Int64
_NUMBER: Final = pl.Float64
_YES: Final = pl.Boolean
_SCHEMA_VERSION: Final = Column("schema_version", _WHOLE, "version of these columns")

_MOMENTS: Final = {
    "first_evidence": ("first_evidence_at", "onset in the air"),
    "opened": ("opened_at", "when the incident was opened"),
    "notified": ("notified_at", "first notice delivered"),
    "acknowledged": ("acknowledged_at", "first acknowledgement"),
    "arrived": ("arrived_at", "first arrival"),
    "closed": ("closed_at", "end of the incident"),
}
_PEAKS: Final = {
    "peak_pm25_ug_m3": ("pm25", "highest PM2.5, µg/m³"),
    "peak_voc_index": ("voc_index", "highest VOC index, 1 to 500"),
    "peak_tvoc_ppb": ("tvoc_ppb", "highest TVOC, ppb"),
    "peak_rh_percent": ("rh", "highest relative humidity, %"),
}
_SPANS: Final = {
    "detect_s": ("first_evidence_at", "opened_at", "opened − first evidence"),
    "notify_s": ("opened_at", "notified_at", "first notice delivered − opened"),
    "acknowledge_s": ("notified_at", "acknowledged_at", "acknowledged − first notice delivered"),
    "arrive_s": ("notified_at", "arrived_at", "arrived − first notice delivered"),
    "resolve_s": ("opened_at", "closed_at", "closed − opened"),
    "duration_s": ("first_evidence_at", "over_at", "in the air: last end − first evidence"),
}

_INCIDENTS: Final = (
    _SCHEMA_VERSION,
    Column("id", _TEXT, "of the incident"),
    Column("date", pl.Date, "at the school, of the opening"),
    Column("weekday", _TEXT, "Monday to Sunday"),
    Column("hour", _WHOLE, "0 to 23, at the school"),
    Column("period", _TEXT, "lesson period, `between`, or without bells the clock hour"),
    Column("school_day", _YES, "whether the day has school"),
    Column("site", _TEXT, "name"),
    Column("building", _TEXT, "name"),
    Column("floor", _TEXT, "name"),
    Column("room_id", _TEXT, "as in the configuration"),
    Column("room", _TEXT, "name"),
    Column("location", _TEXT, "kind of room, such as `restroom`"),
    Column("kind", _TEXT, "`vape`, `smoke`, `tamper` and so on"),
    Column("masked", _YES, "vaping beside a spray or steam"),
    Column("thc_likely", _YES, "cannabis likely"),
    Column("severity", _TEXT, "`info`, `warning` or `critical`"),
    Column("confidence", _NUMBER, "highest, 0 to 1"),
    *(Column(name, _NUMBER, about) for name, (_, about) in _PEAKS.items()),
    Column("sensor", _TEXT, "that opened it"),
    Column("sensor_model", _TEXT, "as registered"),
    Column("model_version", _TEXT, "of the detector"),
    *(
        column
        for name, (_, about) in _MOMENTS.items()
        for column in (
            Column(f"{name}_local", _TEXT, f"{about}; ISO 8601 with the school's offset"),
            Column(f"{name}_utc", MOMENT, "the same in UTC"),
        )
    ),
    *(Column(name, _NUMBER, f"{about}, seconds") for name, (_, _, about) in _SPANS.items()),
    Column("people_notified", _WHOLE, "who got at least one notice"),
    Column("notices", _WHOLE, "delivered"),
    Column("notices_undelivered", _WHOLE, "given up, cancelled or waiting"),
    Column("escalation_level", _WHOLE, "highest step carried out; 0 nobody was told"),
    Column("responder_role", _TEXT, "role of who acknowledged first"),
    Column("outcome", _TEXT, "`confirmed`, `false_alarm`, `nothing_found`, `test`, `unknown`"),
    Column("false_cause", _TEXT, "of a false alarm, as said in the feedback"),
    Column("withdrawn", _YES, "the detector took it back"),
    Column("suppressed_by", _TEXT, "what kept it from being told"),
    Column("state_code", _TEXT, "from `[reports.state_codes]`, of confirmed incidents only"),
    Column("action", _TEXT, "`none`, `referral`, `nurse`, `facilities`; empty: nobody said"),
    Column("case_number", _TEXT, "of the case in a system of the school, as staff gave it"),
    Column("school_year", _TEXT, "of the date, such as `2026/27`"),
    Column("term", _TEXT, "of the date, as in the configuration; empty outside of all"),
    Column("sensor_health", _TEXT, "at the opening: `ok`, or `offline`, `sensor_fault`, `tamper`"),
)


def _incidents(facts: Facts) -> dict[str, list[Any]]:
    rows, calendar = facts.incidents, facts.calendar
    local = [calendar.local(row.opened_at) for row in rows]
    sent: defaultdict[str, list[bool]] = defaultdict(list)
    people: defaultdict[str, set[str]] = defaultdict(set)
    for notice in facts.notices:
        sent[notice.incident].append(notice.delivered_at is not None)
        if notice.delivered_at is not None:
            people[notice.incident].add(notice.person)
    models = {sensor.id: sensor.model for sensor in facts.registry.sensors.values()}
    found: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows]
        for name in (
            *("id", "site", "building", "floor", "room_id", "room", "location", "kind", "masked"),
            *("thc_likely", "severity", "confidence", "sensor", "model_version", "withdrawn"),
            *("suppressed_by", "action", "case_number", "sensor_health"),
        )
    }
    for name, (channel, _) in _PEAKS.items():
        found[name] = [_rounded(row.peaks.get(channel)) for row in rows]
    for name, (key, _) in _MOMENTS.items():
        moments = [getattr(row, key) for row in rows]
        found[f"{name}_utc"] = moments
        found[f"{name}_local"] = [
            "" if at is None else calendar.local(round(at, 3)).isoformat(timespec="milliseconds")
            for at in moments
        ]
    days = {at.date() for at in local}
    years = {day: calendar.times.school_year(day) for day in days}
    terms = {day: calendar.times.term(day) for day in days}
    for name, (begin, end, _) in _SPANS.items():
        found[name] = [_span(getattr(row, begin), getattr(row, end)) for row in rows]
    return {
        **found,
        "date": [at.date() for at in local],
        "weekday": [f"{at:%A}" for at in local],
        "hour": [at.hour for at in local],
        "period": [calendar.period(row.opened_at) for row in rows],
        "school_year": [years[at.date()] for at in local],
        "term": [terms[at.date()] for at in local],
        "school_day": [at.date() in calendar.school_days for at in local],
        "sensor_model": [models.get(row.sensor, "") for row in rows],
        "people_notified": [len(people[row.id]) for row in rows],
        "notices": [sum(sent[row.id]) for row in rows],
        "notices_undelivered": [len(sent[row.id]) - sum(sent[row.id]) for row in rows],
        "escalation_level": [row.level for row in rows],
        "responder_role": [
            facts.roles.get(row.responder, "left") if row.responder else "" for row in rows
        ],
        "outcome": [row.verdict or "unknown" for row in rows],
        "false_cause": [row.cause for row in rows],
        "state_code": [
            facts.codes.get(row.kind, "") if row.verdict == CONFIRMED else "" for row in rows
        ],
    }


def _span(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else round(end - begin, 3)


_RESPONSE: Final = (
    _SCHEMA_VERSION,
    Column(
        "by",
        _TEXT,
        "`all`, `kind`, `building`, `weekday`, `hour`, `period`, `severity`,"
        " and, where shifts are configured, `shift`: that of whom was told first",
    ),
    Column("value", _TEXT, "which of them"),
    Column("incidents", _WHOLE, "on school days, tests left out"),
    Column("notified", _WHOLE, "somebody was told of"),
    Column("acknowledged", _WHOLE, "of the notified"),
    Column("unacknowledged", _WHOLE, "of the notified"),
    Column("acknowledged_within_5_min", _WHOLE, "of the notified"),
    *(
        Column(f"{span}_{figure}", _WHOLE if figure == "n" else _NUMBER, about)
        for span, said in (
            ("detect", "time to detect"),
            ("notify", "time to notify"),
            ("acknowledge", "time to acknowledge, over the acknowledged"),
            ("arrive", "time to arrive"),
            ("resolve", "time to resolve"),
        )
        for figure, about in (
            ("n", f"{said}: how many"),
            ("mean_s", f"{said}: mean, seconds"),
            ("median_s", f"{said}: median, seconds"),
            ("p90_s", f"{said}: 90th percentile, seconds"),
        )
    ),
    Column("acknowledge_median_all_s", _NUMBER, "median, unacknowledged ranked last; seconds"),
    Column("acknowledge_p90_all_s", _NUMBER, "90th percentile of the same"),
    Column("escalated", _WHOLE, "incidents that reached step 2 or beyond"),
    Column("missed", _WHOLE, "not acknowledged before the escalation ended"),
    Column("missed_of", _WHOLE, "incidents whose escalation has an end that is judged"),
)


def groups(facts: Facts) -> dict[str, Callable[[IncidentRow], str]]:
    """Ways to group incidents, by name; by the shift of whom was told first, if there are any.

    None by time of the day where a hidden count could be worked out from it.
    """
    calendar, shifts = facts.calendar, facts.shifts
    found: dict[str, Callable[[IncidentRow], str]] = {
        "all": lambda _: "all",
        "kind": lambda row: row.kind,
        "building": lambda row: row.building or "unknown",
        "weekday": lambda row: f"{calendar.local(row.opened_at):%A}",
        "hour": lambda row: f"{calendar.local(row.opened_at):%H}:00",
        "period": lambda row: calendar.period(row.opened_at),
        "severity": lambda row: row.severity or "unknown",
    }
    if facts.duty:
        found["shift"] = lambda row: shifts.get(row.id, "no shift")
    if not facts.published.by_period:
        return {by: key for by, key in found.items() if by not in {"hour", "period", "shift"}}
    return found


def grouped(
    rows: Iterable[IncidentRow], key: Callable[[IncidentRow], str]
) -> dict[str, list[IncidentRow]]:
    """Rows by group, groups in order of their names."""
    found: defaultdict[str, list[IncidentRow]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(sorted(found.items()))


def _response(facts: Facts) -> dict[str, list[Any]]:
    facts.published.check()
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for column in _RESPONSE[1:]:
        found[column.name] = []
    for by, key in groups(facts).items():
        parts = grouped(facts.chosen.incidents, key)
        for value, rows in (parts or ({"all": []} if by == "all" else {})).items():
            result = kpis.response(rows, facts.now)
            acked = result.acknowledge
            found["by"].append(by)
            found["value"].append(value)
            found["incidents"].append(len(rows))
            found["notified"].append(acked.notified)
            found["acknowledged"].append(acked.acknowledged.n)
            found["unacknowledged"].append(acked.unacknowledged)
            found["acknowledged_within_5_min"].append(int(acked.within_5_min.part))
            spans: dict[str, Times] = {
                "detect": result.detect,
                "notify": result.notify,
                "acknowledge": acked.acknowledged,
                "arrive": result.arrive,
                "resolve": result.resolve,
            }
            for name, times in spans.items():
                for figure in ("n", "mean_s", "median_s", "p90_s"):
                    found[f"{name}_{figure}"].append(_rounded(getattr(times, figure)))
            found["acknowledge_median_all_s"].append(_rounded(acked.median_all_s))
            found["acknowledge_p90_all_s"].append(_rounded(acked.p90_all_s))
            found["escalated"].append(int(result.escalated.part))
            found["missed"].append(int(result.missed.part))
            found["missed_of"].append(int(result.missed.whole))
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


_SENSORS: Final = (
    _SCHEMA_VERSION,
    Column("sensor", _TEXT, "id"),
    Column("model", _TEXT, "as registered"),
    Column("site", _TEXT, "name"),
    Column("building", _TEXT, "name"),
    Column("floor", _TEXT, "name"),
    Column("room_id", _TEXT, "as in the configuration"),
    Column("room", _TEXT, "name"),
    Column("days", _WHOLE, "days with school that are counted"),
    Column("online_days", _NUMBER, "days online on them"),
    Column("availability", _NUMBER, "minutes online of minutes expected, 0 to 1"),
    Column("received", _WHOLE, "readings"),
    Column("missing", _WHOLE, "readings that its own numbers say never came"),
    Column("completeness", _NUMBER, "received of received and missing, 0 to 1"),
    Column(
        "incidents",
        _WHOLE,
        "it opened, on school days, tests left out; empty, as are those of them, where a count too"
        " small to be shown could be worked out from it",
    ),
    Column("confirmed", _WHOLE, "of them"),
    Column("false_alarms", _WHOLE, "of them"),
    Column("false_alarms_per_week", _NUMBER, "false alarms × 7 / days online"),
    Column("offline_incidents", _WHOLE, "times it was found offline"),
    Column("tamper_incidents", _WHOLE, "times it was tampered with"),
    Column("fault_incidents", _WHOLE, "times it was found faulty"),
    Column("firmware", _TEXT, "version that it says it runs, at the moment of the report"),
    Column("firmware_before", _TEXT, "version that it said before"),
    Column("firmware_since_utc", MOMENT, "when the present one was first heard of, UTC"),
    Column("firmware_differs", _YES, "most sensors of its model run another"),
)


def _sensors(facts: Facts) -> dict[str, list[Any]]:
    facts.published.check()
    totals = facts.published.totals
    days: defaultdict[str, list[Any]] = defaultdict(list)
    for day in facts.chosen.sensor_days:
        days[day.sensor].append(day)
    opened: defaultdict[str, list[IncidentRow]] = defaultdict(list)
    for row in facts.chosen.incidents:
        opened[row.sensor].append(row)
    found: dict[str, list[Any]] = {column.name: [] for column in _SENSORS[1:]}
    known = facts.registry.sensors
    unlike = unlike_others(known.values(), facts.firmware)
    for sensor in [*known, *sorted(opened.keys() - known.keys())]:
        room = facts.registry.room_of(sensor)
        own = opened[sensor]
        time = kpis.sensor_time(days[sensor])
        result = kpis.outcome(own, days[sensor])
        kinds = Counter(row.kind for row in own)
        told = facts.firmware.get(sensor)
        values = {
            "sensor": sensor,
            "model": known[sensor].model if sensor in known else "",
            "site": room.site if room else "",
            "building": room.building if room else "",
            "floor": room.floor if room else "",
            "room_id": room.id if room else "",
            "room": room.name if room else "",
            "days": len(days[sensor]),
            "online_days": _rounded(time.online_days),
            "availability": time.availability.value,
            "received": int(time.completeness.part),
            "missing": int(time.completeness.whole - time.completeness.part),
            "completeness": time.completeness.value,
            "incidents": len(own),
            "confirmed": result.confirmed,
            "false_alarms": result.false,
            "false_alarms_per_week": result.false_per_sensor_week.value,
            "offline_incidents": kinds["offline"],
            "tamper_incidents": kinds["tamper"],
            "fault_incidents": kinds["sensor_fault"],
            "firmware": told.version if told else None,
            "firmware_before": told.before or None if told else None,
            "firmware_since_utc": told.since if told else None,
            "firmware_differs": sensor in unlike if told else None,
        }
        places = {place_of(row.room, row.building) for row in own if row.kind in AIR}
        if any(totals[place] is None for place in places):
            values |= dict.fromkeys(_NOT_OF_FEW)
        for name, value in values.items():
            found[name].append(value)
    return found


_NOT_OF_FEW: Final = ("incidents", "confirmed", "false_alarms", "false_alarms_per_week")
"""Empty where the total of the room would give away a count that is not shown."""

incidents: Final = Table("incidents", ABOUT["incidents"], _INCIDENTS, _incidents)
response: Final = Table("response", ABOUT["response"], _RESPONSE, _response)
sensors: Final = Table("sensors", ABOUT["sensors"], _SENSORS, _sensors)
