"""What the series holds beside readings: the one table of its other measurements.

Every other module takes names, fields, types and how long they are kept from here;
`docs/measurements.md` is written from it. A field is a number or a text and never changes between
the two. Numbers that answer yes or no are 1 and 0, so that they can be summed.

A record that is written again replaces itself: those of one `id` (with the field `id`) are one row
however often its fields change, those without one are one row a sensor and moment.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from storage.timeseries.resolution import MINUTE, QUARTER_HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storage.timeseries.resolution import Level

Key = Literal["sensor", "room", "kind"]
"""What a record is about; `site`, `building` and `floor` follow from room or sensor."""

CLASSES: Final = ("vape", "smoke", "spray", "steam", "voc", "dust")
"""Kinds of event that have a probability."""


class RecordError(ValueError):
    """A record does not fit its measurement: a fault of the program."""


class Field(NamedTuple):
    """One field: its name, its type, and what it means, with its unit."""

    name: str
    type: type[float | str]
    about: str


class Measurement(NamedTuple):
    """One kind of record.

    `time`: what its time is. `kept`: it is kept as long as these averages; None: as long as
    readings.
    """

    name: str
    about: str
    time: str
    keys: tuple[Key, ...]
    fields: tuple[Field, ...]
    kept: Level | None

    @property
    def has_id(self) -> bool:
        """Whether its records describe something that changes."""
        return any(field.name == "id" for field in self.fields)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of a measurement.

    - `time`: Unix seconds, exact to the microsecond.
    - `fields`: what is absent is not stored; never NaN.
    - `sensor`, `room`, `kind`: what it is about; empty if it is about none.
    - `id`: of what it describes, if that changes; empty for a sample.
    """

    measurement: str
    time: float
    fields: dict[str, float | str]
    sensor: str = ""
    room: str = ""
    kind: str = ""
    id: str = ""


def _numbers(about: Mapping[str, str]) -> tuple[Field, ...]:
    return tuple(Field(name, float, said) for name, said in about.items())


def _texts(about: Mapping[str, str]) -> tuple[Field, ...]:
    return tuple(Field(name, str, said) for name, said in about.items())


_DETECTION: Final = Measurement(
    "detection",
    "class probabilities while something is in the air, at most one sample in ten seconds a sensor",
    "event time of the reading that was judged",
    ("sensor",),
    _numbers(
        {
            **{kind: f"probability of {kind}, 0 to 1; all six sum to 1" for kind in CLASSES},
            "score": "log-odds of vaping",
            "onset": "beginning of the episode, Unix seconds",
        }
    ),
    None,
)

_EVENT: Final = Measurement(
    "event",
    "events of the detectors: air, tamper, faults, outages; one row an event, written anew"
    " whenever more is known; and changes of a sensor's firmware",
    "onset of the event",
    ("sensor", "room", "kind"),
    _numbers(
        {
            "alerted": "when it was decided, Unix seconds",
            "peak_time": "of its peak, Unix seconds",
            "end": "Unix seconds; absent while it goes on",
            "duration_s": "from onset to end, seconds; absent while it goes on",
            "confidence": "0 to 1",
            "withdrawn": "1 if what followed contradicted it",
            "masked": "1 if vaping was seen beside something else",
            "thc_likely": "1 if cannabis is likely",
            "late": "1 if it was heard of too late to tell anybody",
            **{f"p_{kind}": f"probability of {kind} at the decision" for kind in CLASSES},
            "fine_half_s": "from the peak until half of the rise in fine particles was gone,"
            " seconds; absent while it is not",
        }
    )
    + _texts(
        {
            "id": "id of the event",
            "phase": "`alerted`, `updated`, `ended` or `withdrawn`",
            "incident": "id of its incident, if it has one",
            "sentence": "why, in one sentence",
            "evidence": "JSON: channel to baseline, peak excess, rise and decay in seconds",
            "detail": "what else is to be said",
            "model_version": "version of the detector",
        }
    ),
    QUARTER_HOUR,
)

_INCIDENT: Final = Measurement(
    "incident",
    "incidents; one row an incident, written anew whenever something happens to it",
    "when it opened",
    ("room", "kind"),
    _numbers(
        {
            "onset": "Unix seconds",
            "confidence": "highest so far, 0 to 1",
            "open": "1 until it is resolved",
            "paged": "1 if it was decided to tell people",
            "suppressed": "1 if something kept it from being told",
            "withdrawn": "1 if all its detections were taken back",
            "confirmed": "1 if the last feedback says so",
            "false_alarm": "1 if the last feedback says so",
            "nothing_found": "1 if the last feedback says so",
            "test": "1 if the last feedback says so",
            "school_day": "1 if it opened on a day with school",
            "acknowledged": "1 if somebody took it",
            "detected_s": "from onset to opening, seconds",
            "notified_s": "from opening to the first delivered notice, seconds",
            "acknowledged_s": "from the first delivered notice to the acknowledgement, seconds",
            "arrived_s": "from the first delivered notice to the first arrival, seconds",
            "resolved_s": "from opening to resolution, seconds",
            "detections": "events in it",
            "notices": "notices of it that were delivered",
            "notices_failed": "notices of it that were given up",
            "people": "people who got one",
        }
    )
    + _texts(
        {
            "id": "id of the incident",
            "sensor": "sensor that opened it",
            "status": "`open`, `notified`, `acknowledged` or `resolved`",
            "verdict": "the last feedback: `confirmed`, `false_alarm`, `nothing_found`, `test`",
            "cause": "cause of a false alarm, as the last feedback says",
            "suppressed_by": "what kept it from being told",
        }
    ),
    QUARTER_HOUR,
)

_SENSOR_HEALTH: Final = Measurement(
    "sensor_health",
    "how each registered sensor was, at the start of the service and every five minutes; counts are"
    " those of the period before",
    "end of the period",
    ("sensor",),
    _numbers(
        {
            "period_s": "length of the period, seconds",
            "online": "1 if it is alive at the end",
            "online_s": "seconds of the period in which it was alive, looked at once a minute",
            "interval_s": "seconds between its readings, registered or learnt",
            "expected": "readings that came, and others that its usual interval has room for",
            "received": "readings received",
            "missing": "readings that its own numbers say never came",
            "duplicates": "readings received again",
            "late": "readings that came late",
            "clock_faults": "readings whose time was wrong",
            "faulty": "readings in which it reported a quantity faulty",
            "unjudged": "readings the detector could not use",
            "last_seen": "receipt of its last live reading, Unix seconds",
            "faults": "events of kind `sensor_fault` that stand",
            "tamper": "1 if an event of kind `tamper` stands",
            "level": "log-odds of vaping from which it alerts",
            "expected_false_alarms": "false alarms a week that its level makes one expect",
            "budget": "false alarms a week that are tolerable",
            "firmware_since": "when its firmware was first heard of, Unix seconds",
            "firmware_differs": "1 if most sensors of its model run another",
        }
    )
    + _texts(
        {
            "state": "`never heard`, `alive`, `silent` or `offline`",
            "fault": "what the faults that stand are",
            "firmware": "version that it says it runs",
            "firmware_before": "version that it said before",
        }
    ),
    MINUTE,
)

_PIPELINE: Final = Measurement(
    "pipeline",
    "the service itself, every minute; counts are those of the period before",
    "end of the period",
    (),
    _numbers(
        {
            "period_s": "length of the period, seconds",
            "messages": "messages received",
            "accepted": "messages accepted",
            "rejected": "messages refused",
            "duplicates": "messages known already",
            "acknowledged": "messages acknowledged to the broker",
            "dropped": "messages of QoS 0 dropped",
            "broker_dropped": "messages the broker says it dropped",
            "missing": "readings that sensors' own numbers say never came",
            "detected": "readings through the detector",
            "stored": "readings stored in the series",
            "refused": "readings the series refused",
            "deleted_unread": "readings deleted before the series had them",
            "events": "events of the detectors",
            "alerts": "alerts",
            "delivered": "notices delivered",
            "delivery_failures": "attempts to deliver that failed",
            "annotations": "incidents written into the Grafana as annotations, or updated there",
            "annotation_failures": "attempts to do so that failed",
            "annotations_refused": "annotations that the Grafana refused for good",
            "annotations_waiting": "incidents that are not written into it yet",
            "commits": "commits of the journal",
            "commit_ms": "mean time of a commit, milliseconds",
            "detector_lag": "readings that the detector is behind, at the end",
            "detector_lag_s": "seconds that it is behind",
            "series_lag": "readings that the series is behind",
            "records_waiting": "records that wait for the series",
            "outbox": "notices that wait or are being sent",
            "outbox_oldest_s": "age of the oldest of them, seconds",
            "open_incidents": "incidents that are not resolved",
            "duty_s": "seconds of persons on duty by the shifts, on days with school; of a time"
            " without the service by the hour, in records with nothing else",
            "dead_letters": "refused messages that are kept",
            "sensors_alive": "registered sensors that are alive",
            "sensors": "registered sensors",
            "ready": "1 if every part works",
            **{
                f"ready_{part}": f"1 if this part works: {part}"
                for part in ("broker", "canary", "clocks", "journal", "detector", "store")
            },
            "canary_ms": "round trip of the last canary through the broker, milliseconds",
        }
    )
    + _texts({"failing": "what does not work, and why", "version": "of the program"}),
    MINUTE,
)

MEASUREMENTS: Final[Mapping[str, Measurement]] = {
    m.name: m for m in (_DETECTION, _EVENT, _INCIDENT, _SENSOR_HEALTH, _PIPELINE)
}
"""All of them, by name."""

_TYPES: Final = {m.name: {f.name: f.type for f in m.fields} for m in MEASUREMENTS.values()}


def checked(record: Record) -> Record:
    """Return a record as it is stored: known fields of their types, what is no number left out.

    Raises `RecordError` if its measurement, a key or a field is not in the table, or a field has
    the wrong type.
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
    measurement = MEASUREMENTS[record.measurement]
    asked = {key for key in ("sensor", "room", "kind") if getattr(record, key)}
    if not fields or measurement.has_id is not bool(record.id) or asked - set(measurement.keys):
        raise RecordError(f"{record.measurement}: keys, id or fields do not fit: {record}")
    return msgspec.structs.replace(record, fields=fields)


def summable(name: str, fields: Sequence[str]) -> Sequence[str]:
    """Check that a measurement is about sensors and has these numbers.

    Raises `RecordError` if not: a fault of the program.
    """
    table = MEASUREMENTS[name]
    numbers = {f.name for f in table.fields if f.type is float}
    if not fields or "sensor" not in table.keys or set(fields) - numbers:
        raise RecordError(f"{name}: no sums of {', '.join(fields) or 'nothing'} by sensor")
    return fields
