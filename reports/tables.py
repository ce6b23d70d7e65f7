"""The tables of reports: their columns with descriptions, and their values.

No column is renamed, moved or changed in meaning within one `VERSION`; new ones are added at the
end. The column tables in ``docs/reports.md`` are generated from `COLUMNS`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from language.messages import mark
from reports import kpis
from reports.rows import CONFIRMED
from storage.registry import join_place, make_sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reports.facts import Facts
    from reports.rows import IncidentRow

VERSION: Final = 1
MOMENT: Final = pl.Datetime("ms", "UTC")
_SLICE: Final = 2000


class Column(NamedTuple):
    """One column: name, type, and meaning with its unit."""

    name: str
    kind: pl.DataType | type[pl.DataType]
    about: str


def make_frame(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Make a typed frame from rows with times in Unix seconds, reading them in slices."""
    left = iter(rows)
    parts = [_make_slice(columns, [*islice(left, _SLICE)])]
    while parts[-1].height == _SLICE:
        parts.append(_make_slice(columns, [*islice(left, _SLICE)]))
    return pl.concat(parts, rechunk=True)


def _make_slice(columns: Sequence[Column], values: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    made = []
    for name, kind, _ in columns:
        found = [row[name] for row in values]
        if kind == MOMENT:
            whole = [None if at is None else round(at * 1000) for at in found]
            made.append(pl.Series(name, whole, pl.Int64).cast(MOMENT))
        else:
            made.append(pl.Series(name, found, kind))
    return pl.DataFrame(made)


_TEXT, _WHOLE, _NUMBER = pl.String, pl.Int64, pl.Float64
_VERSION_COLUMN: Final = Column("schema_version", _WHOLE, "version of these columns")
_PLACE: Final = (
    Column("site", _TEXT, "id"),
    Column("site_name", _TEXT, "name"),
    Column("building", _TEXT, "name"),
    Column("floor", _TEXT, "name"),
    Column("room_id", _TEXT, "id in the configuration"),
    Column("room", _TEXT, "name"),
)
_MOMENTS: Final = {
    "first_evidence": mark("onset in the air"),
    "opened": mark("when the incident was opened"),
    "notified": mark("first notice delivered"),
    "acknowledged": mark("first acknowledgment"),
    "arrived": mark("first arrival"),
    "closed": mark("end of the incident"),
}
_TIMES: Final = {
    "detect": mark("time to detect"),
    "notify": mark("time to notify"),
    "acknowledge": mark("time to acknowledge, for acknowledged incidents"),
    "arrive": mark("time to arrive"),
    "resolve": mark("time to resolve"),
}
_OF_TIMES: Final = {"n": _WHOLE, "mean_s": _NUMBER, "median_s": _NUMBER, "p90_s": _NUMBER}
COLUMNS: Final = {
    "incidents": (
        _VERSION_COLUMN,
        Column("id", _TEXT, "id of the incident"),
        Column("date", pl.Date, "local date of the opening"),
        Column("weekday", _TEXT, "Monday to Sunday"),
        Column("hour", _WHOLE, "local hour of the opening, 0 to 23"),
        Column("period", _TEXT, "class period, or `between` two; the hour if there are no bells"),
        Column("school_day", pl.Boolean, "whether it is a school day"),
        *_PLACE,
        Column("location", _TEXT, "kind of room, such as `restroom`"),
        Column("kind", _TEXT, "`vape`, `smoke`, `tamper` and so on"),
        Column("masked", pl.Boolean, "vaping along with a spray or steam"),
        Column("thc_likely", pl.Boolean, "cannabis likely"),
        Column("severity", _TEXT, "`info`, `warning` or `critical`"),
        Column("confidence", _NUMBER, "highest, 0 to 1"),
        Column("peak_pm25_ug_m3", _NUMBER, "highest PM2.5, µg/m³"),
        Column("peak_voc_index", _NUMBER, "highest VOC index, 1 to 500"),
        Column("peak_tvoc_ppb", _NUMBER, "highest TVOC, ppb"),
        Column("peak_rh_percent", _NUMBER, "highest relative humidity, %"),
        Column("sensor", _TEXT, "sensor that opened it"),
        Column("sensor_model", _TEXT, "as registered"),
        Column("model_version", _TEXT, "version of the detector's model"),
        *(
            Column(f"{name}_{zone}", kind, about)
            for name, about in _MOMENTS.items()
            for zone, kind in (("local", _TEXT), ("utc", MOMENT))
        ),
        Column("detect_s", _NUMBER, "opened − first evidence, seconds"),
        Column("notify_s", _NUMBER, "first notice delivered − opened, seconds"),
        Column("acknowledge_s", _NUMBER, "acknowledged − first notice delivered, seconds"),
        Column("arrive_s", _NUMBER, "arrived − first notice delivered, seconds"),
        Column("resolve_s", _NUMBER, "closed − opened, seconds"),
        Column("duration_s", _NUMBER, "in the air: last end − first evidence, seconds"),
        Column("people_notified", _WHOLE, "people with at least one notice delivered"),
        Column("notices", _WHOLE, "notices delivered"),
        Column("notices_undelivered", _WHOLE, "notices that failed, were canceled or are waiting"),
        Column("escalation_level", _WHOLE, "highest step carried out; 0: nobody notified"),
        Column("responder_role", _TEXT, "role of the person who acknowledged first"),
        Column(
            "outcome",
            _TEXT,
            "`confirmed`, `false_alarm`, `nothing_found`, `fixed`, `test`, `not_answered`",
        ),
        Column("false_cause", _TEXT, "cause of a false alarm, from feedback"),
        Column(
            "suppressed_by",
            _TEXT,
            "why nobody was asked to respond: late, cooldown, silence, inhibited or school_closed",
        ),
        Column("state_code", _TEXT, "from `[reports.state_codes]`, only for confirmed incidents"),
        Column("action", _TEXT, "`none`, `referral`, `nurse`, `facilities`; empty: not recorded"),
        Column("case_number", _TEXT, "case number in the school's own system, entered by staff"),
        Column("school_year", _TEXT, "school year of the date, such as `2026/27`"),
        Column("term", _TEXT, "term of the date; empty if there is none"),
        Column("sensor_health", _TEXT, "when opened: `ok`, or `offline`, `sensor_fault`, `tamper`"),
        Column(
            "state",
            _TEXT,
            "`needs_responder`, `responding`, `answered`, `nobody_responded`, `responded` (no"
            " answer yet), `suppressed`, `resolved` (a device works again),"
            " `noted` (possible vaping, nobody was notified)",
        ),
        Column(
            "again_of",
            _TEXT,
            "id of the previous incident in the same room, if people had just responded to it",
        ),
        Column(
            "alarm_of",
            _TEXT,
            "model of the device whose own alarm is among the detections; empty: none",
        ),
        Column(
            "is_detected_here",
            pl.Boolean,
            "detected by Plumewatch, with or without such an alarm",
        ),
    ),
    "response": (
        _VERSION_COLUMN,
        Column(
            "by",
            _TEXT,
            "`all`, `kind`, `site` (with several schools), `building`, `weekday`, `hour`, `period`,"
            " `severity`, and, if shifts are configured, `shift` of the person notified first",
        ),
        Column("value", _TEXT, "name of the group"),
        Column("incidents", _WHOLE, "incidents, without tests"),
        Column(
            "notified", _WHOLE, "incidents with a notice delivered, except those still escalating"
        ),
        Column("acknowledged", _WHOLE, "of these, acknowledged by someone"),
        Column("unacknowledged", _WHOLE, "of these, acknowledged by nobody"),
        Column("responded_within_5_min", _WHOLE, "of these, acknowledged within 5 minutes"),
        *(
            Column(f"{name}_{figure}", kind, about)
            for name, about in _TIMES.items()
            for figure, kind in _OF_TIMES.items()
        ),
        Column("escalated", _WHOLE, "incidents that reached step 2 or later"),
    ),
    "sensors": (
        _VERSION_COLUMN,
        Column("sensor", _TEXT, "id"),
        Column("model", _TEXT, "as registered"),
        *_PLACE,
        Column("days", _WHOLE, "days with records of the sensor"),
        Column("online_days", _NUMBER, "total days online"),
        Column("availability", _NUMBER, "minutes online / minutes expected, 0 to 1"),
        Column("received", _WHOLE, "readings received"),
        Column(
            "missing",
            _WHOLE,
            "readings missing according to its sequence numbers, if it sends them",
        ),
        Column("completeness", _NUMBER, "readings received / expected, 0 to 1"),
        Column("incidents", _WHOLE, "incidents that it opened, without tests"),
        Column("confirmed", _WHOLE, "of these, confirmed"),
        Column("false_alarms", _WHOLE, "of these, false alarms"),
        Column(
            "false_alarms_per_week",
            _NUMBER,
            "false alarms × 7 / days online; empty with fewer than five incidents or seven days",
        ),
        Column("offline_incidents", _WHOLE, "outages"),
        Column("tamper_incidents", _WHOLE, "tampering"),
        Column("fault_incidents", _WHOLE, "faults"),
    ),
    "summary": (
        _VERSION_COLUMN,
        Column("section", _TEXT, "`figures`, or the table of the summary"),
        Column("item", _TEXT, "row of that table"),
        Column("measure", _TEXT, "column of that table"),
        Column("value", _NUMBER, "value; empty if there is none or it is not published"),
        Column("unit", _TEXT, "unit of the value"),
        Column(
            "note",
            _TEXT,
            "`<5` if a count is too small to publish, `not shown` if a larger one would"
            " reveal such a count",
        ),
    ),
}
"""Columns of each report, and of the summary as one table; append new ones at the end."""

_PEAKS: Final = {
    "peak_pm25_ug_m3": "pm25",
    "peak_voc_index": "voc_index",
    "peak_tvoc_ppb": "tvoc_ppb",
    "peak_rh_percent": "rh",
}
_SPANS: Final = {
    "detect_s": ("first_evidence_at", "opened_at"),
    "notify_s": ("opened_at", "notified_at"),
    "acknowledge_s": ("notified_at", "acknowledged_at"),
    "arrive_s": ("notified_at", "arrived_at"),
    "resolve_s": ("opened_at", "closed_at"),
    "duration_s": ("first_evidence_at", "over_at"),
}
_COPIED: Final = (
    *("id", "building", "floor", "room_id", "room", "location", "kind", "masked"),
    *("thc_likely", "severity", "confidence", "sensor", "model_version"),
    *("suppressed_by", "action", "case_number", "sensor_health", "state", "again_of"),
    *("alarm_of", "is_detected_here"),
)


def _list_incidents(facts: Facts) -> Iterator[dict[str, Any]]:
    delivered: Counter[str] = Counter()
    undelivered: Counter[str] = Counter()
    people: defaultdict[str, set[str]] = defaultdict(set)
    for notice in facts.notices:
        if notice.delivered_at is None:
            undelivered[notice.incident] += 1
        else:
            delivered[notice.incident] += 1
            people[notice.incident].add(notice.person)
    for row in facts.incidents:
        calendar = facts.find_calendar(row)
        local = calendar.to_local(row.opened_at)
        day, sensor = local.date(), facts.registry.sensors.get(row.sensor)
        room = facts.registry.get_room(row.room_id)
        values = {name: getattr(row, name) for name in _COPIED}
        for name, channel in _PEAKS.items():
            values[name] = _round(row.peaks.get(channel))
        for name in _MOMENTS:
            at = values[f"{name}_utc"] = getattr(row, f"{name}_at")
            values[f"{name}_local"] = "" if at is None else _to_iso(calendar.to_local(round(at, 3)))
        for name, (begin, end) in _SPANS.items():
            first, last = getattr(row, begin), getattr(row, end)
            values[name] = None if first is None or last is None else round(last - first, 3)
        yield {
            **values,
            "site": room.site_id if room else "",
            "site_name": row.site,
            "date": day,
            "weekday": f"{local:%A}",
            "hour": local.hour,
            "period": calendar.find_period(row.opened_at),
            "school_year": calendar.times.find_school_year(day),
            "term": calendar.times.find_term(day),
            "school_day": day in calendar.school_days,
            "sensor_model": sensor.model if sensor else "",
            "people_notified": len(people[row.id]),
            "notices": delivered[row.id],
            "notices_undelivered": undelivered[row.id],
            "escalation_level": row.level,
            "responder_role": facts.roles.get(row.responder, "left") if row.responder else "",
            "outcome": row.verdict or "not_answered",
            "false_cause": row.cause,
            "state_code": facts.codes.get(row.kind, "") if row.verdict == CONFIRMED else "",
        }


def _to_iso(local: datetime) -> str:
    return local.isoformat(timespec="milliseconds")


def list_groupings(facts: Facts) -> dict[str, Callable[[IncidentRow], str]]:
    """Return the ways to group incidents, by name."""
    calendar, shifts = facts.find_calendar, facts.shifts
    found: dict[str, Callable[[IncidentRow], str]] = {
        "all": lambda _: "all",
        "kind": lambda row: row.kind,
        **({"site": lambda row: row.site or "unknown"} if facts.names_sites else {}),
        "building": lambda row: (
            join_place(row.building, row.site if facts.names_sites else "") or row.site or "unknown"
        ),
        "weekday": lambda row: f"{calendar(row).to_local(row.opened_at):%A}",
        "hour": lambda row: f"{calendar(row).to_local(row.opened_at):%H}:00",
        "period": lambda row: calendar(row).find_period(row.opened_at),
        "severity": lambda row: row.severity or "unknown",
    }
    if facts.duty:
        found["shift"] = lambda row: shifts.get(row.id, "no shift")
    return found


def group_rows(
    rows: Iterable[IncidentRow], key: Callable[[IncidentRow], str]
) -> dict[str, list[IncidentRow]]:
    """Return rows by group, groups in order of name."""
    found: defaultdict[str, list[IncidentRow]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(sorted(found.items(), key=lambda group: make_sort_key(group[0])))


def _list_response(facts: Facts) -> Iterator[dict[str, Any]]:
    for by, key in list_groupings(facts).items():
        parts = group_rows(facts.counted.incidents, key)
        if by == "all" and not parts:
            parts = {"all": []}
        for value, rows in parts.items():
            result = kpis.compute_response(rows, facts.now)
            acknowledge = result.acknowledge
            spans = {
                "detect": result.detect,
                "notify": result.notify,
                "acknowledge": acknowledge.acknowledged,
                "arrive": result.arrive,
                "resolve": result.resolve,
            }
            yield {
                "by": by,
                "value": value,
                "incidents": len(rows),
                "notified": acknowledge.notified,
                "acknowledged": acknowledge.acknowledged.n,
                "unacknowledged": acknowledge.unacknowledged,
                "responded_within_5_min": acknowledge.quick,
                **{
                    f"{name}_{figure}": _round(getattr(times, figure))
                    for name, times in spans.items()
                    for figure in _OF_TIMES
                },
                "escalated": int(result.escalated.part),
            }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _list_sensors(facts: Facts) -> Iterator[dict[str, Any]]:
    opened: defaultdict[str, list[IncidentRow]] = defaultdict(list)
    for row in facts.counted.incidents:
        opened[row.sensor].append(row)
    known = facts.registry.sensors
    for sensor in [*known, *sorted(opened.keys() - known.keys(), key=make_sort_key)]:
        room = facts.registry.find_room(sensor)
        own, days = opened[sensor], facts.days_of_sensors.get(sensor, [])
        time = kpis.compute_sensor_time(days)
        result = kpis.count_outcomes(own, days)
        kinds = Counter(row.kind for row in own)
        yield {
            "sensor": sensor,
            "model": known[sensor].model if sensor in known else "",
            **{key: getattr(room, key) if room else "" for key in ("building", "floor")},
            "site": room.site_id if room else "",
            "site_name": room.site if room else "",
            "room_id": room.id if room else "",
            "room": room.name if room else "",
            "days": len(days),
            "online_days": _round(time.online_days),
            "availability": time.availability.value,
            "received": int(time.completeness.part),
            "missing": sum(day.missing for day in days),
            "completeness": time.completeness.value,
            "incidents": len(own),
            "confirmed": result.confirmed,
            "false_alarms": result.false,
            "false_alarms_per_week": result.false_per_sensor_week.value,
            "offline_incidents": kinds["offline"],
            "tamper_incidents": kinds["tamper"],
            "fault_incidents": kinds["sensor_fault"],
        }


_ROWS: Final = {
    "incidents": _list_incidents,
    "response": _list_response,
    "sensors": _list_sensors,
}
"""Functions that yield a report's values for all columns but the first."""


def build_frame(name: str, facts: Facts) -> pl.DataFrame:
    """Return a report's table, filled with the facts."""
    rows = ({"schema_version": VERSION, **row} for row in _ROWS[name](facts))
    return make_frame(COLUMNS[name], rows)
