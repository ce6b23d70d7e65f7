"""The tables of reports: documented, versioned columns, and their values.

No column is renamed, moved or changed in meaning within one `VERSION`; new ones are added at the
end. ``docs/report-files.md`` is generated from here.
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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reports.facts import Facts
    from reports.rows import IncidentRow, SensorDay

VERSION: Final = 1
MOMENT: Final = pl.Datetime("ms", "UTC")


class Column(NamedTuple):
    """One column: name, type, and meaning with its unit."""

    name: str
    kind: pl.DataType | type[pl.DataType]
    about: str


class Table(NamedTuple):
    """One table; `rows` yields the values of all columns but the first."""

    name: str
    about: str
    columns: tuple[Column, ...]
    rows: Callable[[Facts], Iterable[Mapping[str, Any]]]

    def frame(self, facts: Facts) -> pl.DataFrame:
        """Fill the table."""
        return frame(self.columns, ({"schema_version": VERSION, **r} for r in self.rows(facts)))


def frame(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return typed columns in order; times are given in Unix seconds."""
    values = [*rows]
    made = []
    for name, kind, _ in columns:
        found = [row[name] for row in values]
        if kind == MOMENT:
            whole = [None if at is None else round(at * 1000) for at in found]
            made.append(pl.Series(name, whole, pl.Int64).cast(MOMENT))
        else:
            made.append(pl.Series(name, found, kind))
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
    Column("people_notified", _WHOLE, "with at least one notice delivered"),
    Column("notices", _WHOLE, "delivered"),
    Column("notices_undelivered", _WHOLE, "failed, canceled or waiting"),
    Column("escalation_level", _WHOLE, "highest step carried out; 0: nobody notified"),
    Column("responder_role", _TEXT, "role of who acknowledged first"),
    Column("outcome", _TEXT, "`confirmed`, `false_alarm`, `nothing_found`, `test`, `unknown`"),
    Column("false_cause", _TEXT, "of a false alarm, by feedback"),
    Column("withdrawn", _YES, "by the detector"),
    Column("suppressed_by", _TEXT, "reason why no notice was sent"),
    Column("state_code", _TEXT, "from `[reports.state_codes]`, of confirmed incidents only"),
    Column("action", _TEXT, "`none`, `referral`, `nurse`, `facilities`; empty: no feedback"),
    Column("case_number", _TEXT, "in a system of the school, as entered by staff"),
    Column("school_year", _TEXT, "of the date, such as `2026/27`"),
    Column("term", _TEXT, "of the date, as in the configuration; empty outside of all"),
    Column("sensor_health", _TEXT, "at the opening: `ok`, or `offline`, `sensor_fault`, `tamper`"),
)


_COPIED: Final = (
    *("id", "site", "building", "floor", "room_id", "room", "location", "kind", "masked"),
    *("thc_likely", "severity", "confidence", "sensor", "model_version", "withdrawn"),
    *("suppressed_by", "action", "case_number", "sensor_health"),
)


def _incidents(facts: Facts) -> Iterator[dict[str, Any]]:
    calendar = facts.calendar
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
        local = calendar.local(row.opened_at)
        day, sensor = local.date(), facts.registry.sensors.get(row.sensor)
        values = {name: getattr(row, name) for name in _COPIED}
        for name, (channel, _) in _PEAKS.items():
            values[name] = _rounded(row.peaks.get(channel))
        for name, (key, _) in _MOMENTS.items():
            at = values[f"{name}_utc"] = getattr(row, key)
            values[f"{name}_local"] = "" if at is None else _iso(calendar.local(round(at, 3)))
        for name, (begin, end, _) in _SPANS.items():
            first, last = getattr(row, begin), getattr(row, end)
            values[name] = None if first is None or last is None else round(last - first, 3)
        yield {
            **values,
            "date": day,
            "weekday": f"{local:%A}",
            "hour": local.hour,
            "period": calendar.period(row.opened_at),
            "school_year": calendar.times.school_year(day),
            "term": calendar.times.term(day),
            "school_day": day in calendar.school_days,
            "sensor_model": sensor.model if sensor else "",
            "people_notified": len(people[row.id]),
            "notices": delivered[row.id],
            "notices_undelivered": undelivered[row.id],
            "escalation_level": row.level,
            "responder_role": facts.roles.get(row.responder, "left") if row.responder else "",
            "outcome": row.verdict or "unknown",
            "false_cause": row.cause,
            "state_code": facts.codes.get(row.kind, "") if row.verdict == CONFIRMED else "",
        }


def _iso(local: datetime) -> str:
    return local.isoformat(timespec="milliseconds")


_RESPONSE: Final = (
    _SCHEMA_VERSION,
    Column(
        "by",
        _TEXT,
        "`all`, `kind`, `building`, `weekday`, `hour`, `period`, `severity`,"
        " and, if shifts are configured, `shift`: of the person notified first",
    ),
    Column("value", _TEXT, "name of the group"),
    Column("incidents", _WHOLE, "on school days, without tests"),
    Column("notified", _WHOLE, "with a notice delivered"),
    Column("acknowledged", _WHOLE, "of the notified"),
    Column("unacknowledged", _WHOLE, "of the notified"),
    Column("acknowledged_within_5_min", _WHOLE, "of the notified"),
    *(
        Column(f"{span}_{figure}", _WHOLE if figure == "n" else _NUMBER, about)
        for span, meaning in (
            ("detect", "time to detect"),
            ("notify", "time to notify"),
            ("acknowledge", "time to acknowledge, over the acknowledged"),
            ("arrive", "time to arrive"),
            ("resolve", "time to resolve"),
        )
        for figure, about in (
            ("n", f"{meaning}: count"),
            ("mean_s", f"{meaning}: mean, seconds"),
            ("median_s", f"{meaning}: median, seconds"),
            ("p90_s", f"{meaning}: 90th percentile, seconds"),
        )
    ),
    Column("acknowledge_median_all_s", _NUMBER, "median, unacknowledged ranked last; seconds"),
    Column("acknowledge_p90_all_s", _NUMBER, "90th percentile of the same"),
    Column("escalated", _WHOLE, "incidents that reached step 2 or beyond"),
    Column("missed", _WHOLE, "not acknowledged before the escalation ended"),
    Column("missed_of", _WHOLE, "incidents whose escalation is over"),
)


def groups(facts: Facts) -> dict[str, Callable[[IncidentRow], str]]:
    """Return the ways to group incidents, by name, without those that reveal a hidden count."""
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
    """Return rows by group, groups in order of name."""
    found: defaultdict[str, list[IncidentRow]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(sorted(found.items()))


def _response(facts: Facts) -> Iterator[dict[str, Any]]:
    facts.published.check()
    for by, key in groups(facts).items():
        parts = grouped(facts.chosen.incidents, key)
        if by == "all" and not parts:
            parts = {"all": []}
        for value, rows in parts.items():
            result = kpis.response(rows, facts.now)
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
                "acknowledged_within_5_min": int(acknowledge.within_5_min.part),
                **{
                    f"{name}_{figure}": _rounded(getattr(times, figure))
                    for name, times in spans.items()
                    for figure in ("n", "mean_s", "median_s", "p90_s")
                },
                "acknowledge_median_all_s": _rounded(acknowledge.median_all_s),
                "acknowledge_p90_all_s": _rounded(acknowledge.p90_all_s),
                "escalated": int(result.escalated.part),
                "missed": int(result.missed.part),
                "missed_of": int(result.missed.whole),
            }


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
    Column("days", _WHOLE, "school days that count"),
    Column("online_days", _NUMBER, "days online on them"),
    Column("availability", _NUMBER, "minutes online of minutes expected, 0 to 1"),
    Column("received", _WHOLE, "readings"),
    Column("missing", _WHOLE, "readings missing by its sequence numbers"),
    Column("completeness", _NUMBER, "received of received and missing, 0 to 1"),
    Column(
        "incidents",
        _WHOLE,
        "it opened, on school days, without tests; empty, like the next three, if it would reveal a"
        " count too small to publish",
    ),
    Column("confirmed", _WHOLE, "of them"),
    Column("false_alarms", _WHOLE, "of them"),
    Column("false_alarms_per_week", _NUMBER, "false alarms × 7 / days online"),
    Column("offline_incidents", _WHOLE, "outages"),
    Column("tamper_incidents", _WHOLE, "tampering"),
    Column("fault_incidents", _WHOLE, "faults"),
    Column("firmware", _TEXT, "version that it reports, at the time of the report"),
    Column("firmware_before", _TEXT, "version that it reported before"),
    Column("firmware_since_utc", MOMENT, "first report of the present version, UTC"),
    Column("firmware_differs", _YES, "most sensors of its model run another"),
)


def _sensors(facts: Facts) -> Iterator[dict[str, Any]]:
    facts.published.check()
    totals = facts.published.totals
    days: defaultdict[str, list[SensorDay]] = defaultdict(list)
    for day in facts.chosen.sensor_days:
        days[day.sensor].append(day)
    opened: defaultdict[str, list[IncidentRow]] = defaultdict(list)
    for row in facts.chosen.incidents:
        opened[row.sensor].append(row)
    known = facts.registry.sensors
    unlike = unlike_others(known.values(), facts.firmware)
    for sensor in [*known, *sorted(opened.keys() - known.keys())]:
        room = facts.registry.room_of(sensor)
        own = opened[sensor]
        time = kpis.sensor_time(days[sensor])
        result = kpis.outcome(own, days[sensor])
        kinds = Counter(row.kind for row in own)
        firmware = facts.firmware.get(sensor)
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
            "firmware": firmware.version if firmware else None,
            "firmware_before": firmware.before or None if firmware else None,
            "firmware_since_utc": firmware.since if firmware else None,
            "firmware_differs": sensor in unlike if firmware else None,
        }
        places = {place_of(row.room, row.building) for row in own if row.kind in AIR}
        if any(totals[place] is None for place in places):
            values |= dict.fromkeys(_NOT_OF_FEW)
        yield values


_NOT_OF_FEW: Final = ("incidents", "confirmed", "false_alarms", "false_alarms_per_week")
"""Empty if the total of the room would reveal an unpublished count."""

incidents: Final = Table("incidents", ABOUT["incidents"], _INCIDENTS, _incidents)
response: Final = Table("response", ABOUT["response"], _RESPONSE, _response)
sensors: Final = Table("sensors", ABOUT["sensors"], _SENSORS, _sensors)
