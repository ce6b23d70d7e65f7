"""Measurements other than readings, and their records.

All other modules use the names, types and retention defined here, and the tables of
`docs/measurements.md` are generated from them. Records with the same `id` update the same row.
Records without an id are samples: one row for each sensor and time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.timeseries.resolution import Level

Key = Literal["sensor", "room", "kind"]
"""The subject of a record. The registry adds the site, building and floor of its room or sensor."""


class RecordError(ValueError):
    """A record does not match its measurement; this is a bug."""


class Measurement(NamedTuple):
    """One kind of record.

    `numbers`, `texts`: the meaning of each field, including its unit. Among numbers, 1 and 0 may
    mean yes and no. A field never changes between number and text.
    `kept`: records are kept as long as the averages of this level.
    """

    keys: tuple[Key, ...]
    numbers: Mapping[str, str]
    texts: Mapping[str, str]
    kept: Level

    @property
    def types(self) -> dict[str, type[float | str]]:
        """Types of the fields by name."""
        return {**dict.fromkeys(self.numbers, float), **dict.fromkeys(self.texts, str)}


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of a measurement.

    `time`: Unix seconds, exact to the microsecond.
    `fields`: values by field; absent fields are not stored.
    `sensor`, `room`, `kind`: subject of the record.
    `id`: identifies a row that later records replace; empty for a sample.
    """

    measurement: str
    time: float
    fields: dict[str, float | str]
    sensor: str = ""
    room: str = ""
    kind: str = ""
    id: str = ""


MEASUREMENTS: Final[Mapping[str, Measurement]] = {
    # Events of the detectors: air, tamper, faults, outages; one row per event, updated as more is
    # known. Time: onset of the event.
    "event": Measurement(
        ("sensor", "room", "kind"),
        {
            "end": "end of the event, Unix seconds; absent while ongoing",
            "duration_s": "from onset to end, seconds; absent while ongoing",
            "confidence": "0 to 1",
            "fine_half_s": (
                "from the peak until the rise in fine particles fell by half, seconds; absent"
                " before that"
            ),
        },
        {
            "id": "id of the event",
            "phase": "`alerted`, `updated` or `ended`",
            "incident": "id of its incident, if it has one",
            "sentence": "why, in one sentence",
            "detail": "further description",
        },
        kept=QUARTER_HOUR,
    ),
    # Incidents; one row per incident, updated at every change. Time: when it opened.
    "incident": Measurement(
        ("room", "kind"),
        {
            "onset": "Unix seconds",
            "confidence": "highest so far, 0 to 1",
            "open": "1 until it is resolved",
            "paged": "1 if people are to be notified",
            "suppressed": "1 if it was suppressed",
            **dict.fromkeys(
                ("confirmed", "false_alarm", "nothing_found", "fixed", "test"),
                "1 if this is the latest feedback",
            ),
            "acknowledged": "1 if someone acknowledged it",
            "detected_s": "from onset to opening, seconds",
            "notified_s": "from opening to the first delivered notice, seconds",
            "acknowledged_s": "from the first delivered notice to the acknowledgment, seconds",
            "arrived_s": "from the first delivered notice to the first arrival, seconds",
            "resolved_s": "from opening to resolution, seconds",
            "notices": "notices delivered",
            "people": "people who received a notice",
        },
        {
            "id": "id of the incident",
            "sensor": "sensor that opened it",
            "status": "`open`, `notified`, `acknowledged` or `resolved`",
            "verdict": (
                "the latest feedback: `confirmed`, `false_alarm`, `nothing_found`, `fixed`, `test`"
            ),
            "cause": "cause of a false alarm, from the latest feedback",
            "suppressed_by": (
                "what suppressed it: late, cooldown, silence, inhibited or school_closed"
            ),
        },
        kept=QUARTER_HOUR,
    ),
    # State of each registered sensor, at the start of the service and every five minutes; counts
    # cover the previous period. Time: end of the period.
    "sensor_health": Measurement(
        ("sensor",),
        {
            "period_s": "length of the period, seconds",
            "online": "1 if the sensor is alive at the end of the period",
            "online_s": "seconds for which the sensor was alive, sampled once a minute",
            "expected": "readings received plus readings missing, by its usual interval",
            "received": "readings received",
            "missing": "readings missing according to its sequence numbers",
            "last_seen": "receipt of its last live reading, Unix seconds",
            "faults": "active events of kind `sensor_fault`",
            "tamper": "1 if an event of kind `tamper` is active",
            "condition_since": "when its condition began, Unix seconds",
            "urgency": "urgency of a visit: 0 if none is needed, 6 for the most urgent",
            "changed": "1 if its condition changed since the previous record",
        },
        {
            "state": "`never heard`, `alive`, `silent` or `offline`",
            "fault": "active faults",
            "condition": (
                "`ok`, or the most urgent of `tampered`, `silent`, `never_heard`, `faulty`,"
                " `low_battery`, `drifting`"
            ),
            "condition_before": "condition in the previous record, if it has changed",
            "room_choice": "name and id of its room, for menus: `name | id`",
        },
        kept=MINUTE,
    ),
    # Sums of an hour's `sensor_health` records, updated with each of them. Dashboards query it,
    # because a year of five-minute records is too much to add up. Time: beginning of the hour.
    "sensor_hour": Measurement(
        ("sensor",),
        {
            "period_s": "length of the hour so far, seconds",
            "online_s": "seconds of the hour in which the sensor was alive",
            "expected": "readings received plus readings missing, by its usual interval",
            "received": "readings received",
            "missing": "readings missing according to its sequence numbers",
        },
        {},
        kept=QUARTER_HOUR,
    ),
}
HEALTH: Final = "sensor_health"
"""The measurement that pages and reports read. Only InfluxDB keeps the others, for Grafana."""

_TYPES: Final = {name: measurement.types for name, measurement in MEASUREMENTS.items()}
HEALTH_FIELDS: Final = _TYPES[HEALTH]


def check_record(record: Record) -> Record:
    """Return the record without numbers that are not finite.

    Raises `RecordError` if it does not match its measurement.
    """
    types = _TYPES.get(record.measurement)
    if types is None:
        raise RecordError(f"no such measurement: {record.measurement!r}")
    fields: dict[str, float | str] = {"id": record.id} if record.id else {}
    for name, value in record.fields.items():
        kind = types.get(name)
        if kind is None or isinstance(value, str) is not (kind is str):
            raise RecordError(f"{record.measurement}.{name}: {value!r} does not fit")
        if isinstance(value, str):
            fields[name] = value
        elif math.isfinite(value):
            fields[name] = float(value)
    asked = {key for key in ("sensor", "room", "kind") if getattr(record, key)}
    other = asked.difference(MEASUREMENTS[record.measurement].keys)
    if not fields or ("id" in types) is not bool(record.id) or other:
        raise RecordError(f"{record.measurement}: keys, id or fields do not fit: {record}")
    return msgspec.structs.replace(record, fields=fields)
