"""Check messages and their readings, in this order.

- Before parsing: `check_topic`, `check_size`, and `check_json`, which counts brackets and colons so
  that deeply nested or huge JSON is never parsed.
- Identity: `make_sensor_id`, `SensorNames`.
- Time: `settle_time`.
- Values: `check_values`. A value that is out of range or means "no value" becomes a fault, never 0.
- Content: `build_reading`.

Readings get these quality flags. A reading with one of the last seven never causes an alert:

=================  ===============================================================
``no_time``        the message has no time stamp; receive time is used
``time_replaced``  the time stamp is unusable (clock not set or stopped, malformed, no
                   zone, more than `Limits.max_skew_s` in the future); receive time is
                   used, and `Reading.stamp` keeps a stamp that is a number
``clock_skew``     the clocks of a gateway and of the network server disagree; the server's is used
``codec_error``    the network server could not decode the device's message
``unread``         a number was ignored: its name and unit match no quantity
``waiting``        the description that names its values has not arrived yet
``late``           older than `Limits.late_after_s` when it arrived, so alerts are late
``retained``       delivered from the broker's store
``simulated``      the network server marked it as a console test
``history``        the device had stored the reading and sent it later
``cached``         a bridge repeated an old value
``maintenance``    measured while the device cleaned or calibrated itself
``flooded``        part of a flood of one kind of reading, while the sensor's other
                   kinds arrive at their usual rate
``unknown_sensor``  the sensor is not registered; it is listed for the administrator
=================  ===============================================================
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from detection.quantities import QUANTITIES
from ingest.errors import MessageRefusedError, PayloadError, Reason
from ingest.topics import MAX_LEVELS
from storage.reading import DEVICE_EVENTS, NO_TIME, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


Readings = list[Reading]
"""Readings of one message."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message before any check.

    `topic`: MQTT topic. Bytes that are not UTF-8 become lone surrogates (``surrogateescape``), and
    the message is rejected as `bad_topic`.
    `received`: receive time, Unix seconds.
    `retained`: whether the broker had retained the message, so it describes the past.
    `duplicate`: the MQTT DUP flag, which marks the redelivery of an unacknowledged message.
    `packet`: MQTT packet id, which a redelivery repeats; 0 if there is none.
    `live`: whether the message was published after we connected, so it did not wait in the broker.
    `left_out`: whether the sender's budget is used up, so the message is only acknowledged and
    counted.
    `clock_step`: seconds by which this machine's clock was moved since the previous message.
    """

    topic: str
    payload: bytes
    received: float
    retained: bool = False
    duplicate: bool = False
    packet: int = 0
    live: bool = False
    left_out: bool = False
    clock_step: float = 0.0

    @property
    def waited(self) -> bool:
        """Whether the message may have waited in the broker; only one with a packet id can."""
        return self.packet > 0 and not self.live


FLOODED: Final = "flooded"
SILENT_FLAGS: Final = frozenset(
    {"retained", "simulated", "history", "cached", "maintenance", FLOODED, "unknown_sensor"}
)
"""Flags of readings that are stored but never alert."""

UNREAD: Final = "unread"
WAITING: Final = "waiting"

_ALL_ONES: Final = frozenset({65_535.0, 65_534.0})
NO_VALUE: Final[Mapping[str, frozenset[float]]] = {
    **dict.fromkeys(("pm1", "pm25", "pm4", "pm10"), _ALL_ONES | {6_553.5, 6_553.4, 99_999.0}),
    **dict.fromkeys(("tvoc_ppb", "tvoc_ugm3", "voc_raw", "light"), _ALL_ONES),
    "temp": frozenset({85.0}),
}
"""In-range numbers that sensors send to mean "no value".

They are 65535 and 65534 (also in tenths), 99999, and 85 °C, which a DS18B20 sends after power-on.
Particle counts are not included, because 65535 per 0.1 L is a Plantower sensor's upper limit.
"""

_DEAD_CLIMATE: Final = (0.0, -45.0)
"""Together with a humidity of exactly 0%, these temperatures mean that the sensor does not
respond."""

_ALL_ONES_CLIMATE: Final = -0.1
"""0xFFFF read as a signed temperature in tenths; it means "no value" if the humidity is a fault."""

_BOUNDS: Final = {key: (q.low, q.high) for key, q in QUANTITIES.items()}
USUAL: Final = {
    key: (
        math.nextafter(0.0, 1.0) if key == "rh" else float(q.low),
        math.nextafter(min(NO_VALUE[key]), 0.0) if key in NO_VALUE else float(q.high),
    )
    for key, q in QUANTITIES.items()
}
"""For each quantity, the range in which a number never means "no value"."""

_CLOCK_SET_SINCE: Final = 1_000_000_000.0
_YEAR_2020: Final = 1_577_836_800.0
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ID_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKET: Final = bytes(b for b in range(256) if b not in b"[]{}")
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,32}(?:\.\d{0,32})?|\.\d{1,32})(?:[eE][+-]?\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on messages and times.

    `description_bytes`, `description_members`: limits for the descriptions that bridges publish,
    which are large but rare.
    """

    payload_bytes: int = 65_536
    topic_length: int = 1_024
    json_depth: int = 24
    json_members: int = 4_096
    description_bytes: int = 1_048_576
    description_members: int = 65_536
    max_skew_s: float = 300.0
    late_after_s: float = 600.0
    earliest: float = _YEAR_2020


_NEAR_ISO: Final = ("%Y/%m/%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S")


def may_alert(reading: Reading) -> bool:
    """Return whether a reading may cause an alert because it has none of `SILENT_FLAGS`."""
    return not reading.flags or SILENT_FLAGS.isdisjoint(reading.flags)


def is_usable(topic: str, limits: Limits) -> bool:
    """Return whether `check_topic` accepts a topic."""
    return len(topic) <= limits.topic_length and topic.isprintable()


def check_topic(topic: str, limits: Limits) -> None:
    """Reject a topic that is too long or not printable text, as `bad_topic`."""
    if len(topic) > limits.topic_length:
        raise MessageRefusedError(Reason.BAD_TOPIC, f"the topic has {len(topic)} characters")
    if not topic.isprintable():
        raise MessageRefusedError(Reason.BAD_TOPIC, "the topic is not printable UTF-8 text")


def check_size(payload: bytes, most: int) -> None:
    """Reject a payload of more than `most` bytes, as `too_large`."""
    if len(payload) > most:
        raise MessageRefusedError(
            Reason.TOO_LARGE, f"{len(payload)} bytes, but at most {most} are accepted"
        )


def check_json(payload: bytes, limits: Limits) -> None:
    """Reject JSON that is nested too deeply or has too many members (colons), without parsing."""
    most = limits.json_members
    if len(payload) > most and payload.count(b":") > most:
        raise MessageRefusedError(Reason.TOO_MANY_KEYS, f"more than {most} members in one message")
    if payload.count(b"{") + payload.count(b"[") <= limits.json_depth:
        return
    depth = 0
    for bracket in _STRING.sub(b"", payload).translate(None, _NOT_BRACKET):
        if bracket in b"[{":
            depth += 1
            if depth > limits.json_depth:
                raise MessageRefusedError(
                    Reason.TOO_DEEP, f"nested deeper than {limits.json_depth} levels"
                )
        else:
            depth -= 1


def make_sensor_id(name: object) -> str:
    """Turn a device's name into a sensor id.

    Compatibility characters are decomposed (NFKD) and accents dropped. ``/`` becomes ``:``, and
    every other character outside ``A-Z a-z 0-9 _ . : -`` becomes ``_``. Case is kept, although
    the registry ignores it.

    Raises `PayloadError` (`bad_id`) if the name is not text, is empty, has no letter or digit, or
    has more than 64 characters.

    >>> make_sensor_id("Détecteur 2/étage")
    'Detecteur_2:etage'
    """
    if type(name) is not str:
        raise PayloadError(Reason.BAD_ID, f"the device's id is {type(name).__name__}, not text")
    if len(name) > 256:
        raise PayloadError(Reason.BAD_ID, f"the device's id has {len(name)} characters")
    if _ID.fullmatch(name) is None:
        folded = unicodedata.normalize("NFKD", name.strip().strip("/"))
        folded = "".join(c for c in folded if not unicodedata.combining(c)).replace("/", ":")
        name = _ID_UNSAFE.sub("_", folded)
        if _ID.fullmatch(name) is None:
            raise PayloadError(
                Reason.BAD_ID, f"the device's id must have 1 to 64 characters, got {len(name)}"
            )
    if not any(c.isalnum() for c in name):
        raise PayloadError(Reason.BAD_ID, "the device's id has neither letter nor digit")
    return name


def fold_id(name: str) -> str:
    """Return a sensor id in the form that the registry compares: lowercase, no ``:`` or ``-``.

    >>> fold_id("E3:75:CF:37:4E:23")
    'e375cf374e23'
    """
    return name.lower().replace(":", "").replace("-", "")


class SensorNames:
    """Ids and aliases of registered sensors.

    `hall:2`, a part of `hall`, never matches a sensor named `hall-2`.
    """

    def __init__(
        self, sensors: Iterable[str] = (), aliases: Mapping[str, str] | None = None
    ) -> None:
        names = tuple(sensors)
        more = aliases or {}
        self.exact: dict[str, str] = {
            **{key: name for name in reversed(names) for key in (fold_id(name), name.lower())},
            **{fold_id(alias): target for alias, target in more.items()},
            **{name: name for name in names},
            **more,
        }
        self._wholes = {
            name[: mark.start()] for name in self.exact for mark in re.finditer(":", name)
        }
        self.find_in_topic = lru_cache(maxsize=2_048)(self._find_in_topic)

    def find(self, name: str) -> str | None:
        """Return the id of the sensor with this id or alias, or None."""
        known = self.exact.get(name)
        if known is not None:
            return known
        owners = (name[: mark.start()] for mark in re.finditer(":", name))
        if any(fold_id(owner) in self.exact for owner in owners):
            return None
        return self.exact.get(fold_id(name))

    def is_registered(self, name: str) -> bool:
        """Return whether this is exactly the name of a sensor, or of a device with parts."""
        return name in self.exact or name in self._wholes

    def check_sender(self, named: str, topic: str) -> None:
        """Refuse a payload that names a different registered sensor from the one in its topic.

        Brokers grant permissions by topic, so the topic shows who sent the message. The first
        sensor that a topic names may report only for itself and its parts (``hall:2``). Raises
        `MessageRefusedError`.
        """
        sensor, senders = self.find(named), self.find_in_topic(topic)
        if sensor is None or not senders or senders[0] == sensor:
            return
        if self.find(named.rpartition(":")[0]) != senders[0]:
            raise MessageRefusedError(
                Reason.ID_MISMATCH, f"the topic names {senders[0]!r}, the payload {named!r}"
            )

    def _find_in_topic(self, topic: str) -> tuple[str, ...]:
        """Return the sensors that a topic names: in one level, or in several consecutive levels.

        Sparkplug has the type of the message between the levels of a name.
        """
        levels = [_clean_name(level) for level in topic.split("/")]
        if topic.startswith("spBv1.0/"):
            del levels[2:3]
        found: list[str | None] = []
        for start, level in enumerate(levels):
            found.append(self.find(level) if level else None)
            ends = range(start + 2, len(levels) + 1) if len(levels) <= MAX_LEVELS else ()
            found += [self.exact.get(":".join(levels[start:end]).lower()) for end in ends]
        return tuple(filter(None, found))


def _clean_name(level: str) -> str:
    """Return a topic level as a sensor id; empty if it can't be one."""
    try:
        return make_sensor_id(level)
    except PayloadError:
        return ""


def parse_number(value: object) -> float | None:
    """Convert a number, or text that begins with one, to a float; return None for anything else.

    A boolean is not a number. Text may have a unit after the number, which is ignored, if it
    follows a space or begins with %, ° or µ ("3.384 V", "41%"). For text such as "nan" or "None"
    the result is NaN, which becomes a fault of its quantity.
    """
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if type(value) is str:
        text = value.strip()
        if text.lower() in {"nan", "none", "null", "unknown", "unavailable", "inf", "-inf"}:
            return math.nan
        match = _NUMBER.match(text)
        if match and (match.end() == len(text) or text[match.end()] in " %°µ"):
            return float(match.group())
    return None


def _parse_number_text(value: object) -> object:
    """Convert text that is only a number to that number; return any other value unchanged."""
    if type(value) is not str:
        return value
    text = value.strip()
    return float(text) if _NUMBER.fullmatch(text) else value


def count_all_above(total: float | None, below: Mapping[str, float | None]) -> dict[str, object]:
    """Return the counts of particles larger than each diameter.

    Devices round counts, so a difference just below zero becomes 0. A larger negative difference
    means that the counts contradict each other. It is returned unchanged, and is out of range.

    `total`: count of all particles.
    `below`: counts of particles up to each diameter, by the quantity that counts the larger ones.
    """
    if total is None:
        return {}
    rests = {quantity: round(total - n, 6) for quantity, n in below.items() if n is not None}
    return {"n03": total, **{q: 0.0 if -0.05 <= n < 0 else n for q, n in rests.items()}}


def _parse_unix(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    magnitude = abs(value)
    if magnitude < 1e11:
        return value
    if magnitude < 1e14:
        return value / 1e3
    if magnitude < 1e17:
        return value / 1e6
    return value / 1e9


def _resolve_local_time(moment: datetime, zone: tzinfo, received: float) -> float:
    """Convert a local time to Unix seconds.

    If this local time occurs twice because the clocks were set back, choose the moment closer to
    `received`.
    """
    both = (moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return min(both, key=lambda stamp: abs(stamp - received))


def parse_time(value: object, received: float, zone: tzinfo | None = None) -> float | None:
    """Parse a time stamp in any form that devices use; return Unix seconds, or None.

    >>> parse_time("1970-01-02T00:00:00Z", 0.0)
    86400.0
    >>> parse_time(1_767_225_600_000, 0.0)
    1767225600.0
    """
    if type(value) is float or type(value) is int:
        try:
            return _parse_unix(float(value))
        except OverflowError:
            return None
    return _parse_text(value, received, zone) if type(value) is str else None


def _parse_text(text: str, received: float, zone: tzinfo | None) -> float | None:
    if len(text) > 48:
        return None
    digits = text.strip()
    if _NUMBER.fullmatch(digits) and len(digits) > 8:
        return _parse_unix(float(digits))
    if len(text) < 15:
        return None
    iso = text.upper().replace("/", "-") if "/" in text else text
    try:
        return to_unix_seconds(datetime.fromisoformat(iso), received, zone)
    except ValueError:
        return _parse_near_iso(digits.upper(), received, zone)


def _parse_near_iso(text: str, received: float, zone: tzinfo | None) -> float | None:
    for form in _NEAR_ISO:
        try:
            moment = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows
        except ValueError:
            continue
        return to_unix_seconds(moment, received, zone)
    return None


def to_unix_seconds(moment: datetime, received: float, zone: tzinfo | None) -> float | None:
    """Convert a moment to Unix seconds; None if that is impossible.

    `zone`: time zone of a moment without one.
    """
    try:
        if moment.tzinfo is not None:
            return moment.timestamp()
        return None if zone is None else _resolve_local_time(moment, zone, received)
    except (OverflowError, ValueError, OSError):
        return None


def settle_time(stamp: float | None, received: float, limits: Limits) -> tuple[float, str]:
    """Return the event time of a reading, and a quality flag or an empty string.

    Raises `PayloadError` (`bad_time`) if the stamp is older than `Limits.earliest`, unless the
    device's clock was never set.
    """
    if stamp is None:
        return received, "no_time"
    age = received - stamp
    if -limits.max_skew_s <= age <= limits.late_after_s:
        return stamp, ""
    if not stamp >= _CLOCK_SET_SINCE or age < 0:
        return received, "time_replaced"
    if stamp < limits.earliest:
        day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=stamp)).date().isoformat()
        raise PayloadError(Reason.BAD_TIME, f"the time stamp, {day}, is too old")
    return stamp, "late"


def check_values(raw: Mapping[str, object]) -> tuple[dict[str, float], list[str]]:
    """Return the valid values, and the quantities whose values are faulty."""
    values: dict[str, float] = {}
    faults: list[str] = []
    for key, value in raw.items():
        usual = USUAL.get(key)
        if usual is None:
            continue
        kind = type(value)
        if (kind is float or kind is int) and (
            usual[0] <= value <= usual[1]  # type: ignore[operator]
            or _is_plausible(key, value)  # type: ignore[arg-type]
        ):
            values[key] = float(value)  # type: ignore[arg-type]
        else:
            faults.append(key)
    if values.get("rh") == 0 and raw.get("temp") in _DEAD_CLIMATE:
        faults += [key for key in ("temp", "rh") if values.pop(key, None) is not None]
    elif "rh" in faults and values.get("temp") == _ALL_ONES_CLIMATE:
        del values["temp"]
        faults.append("temp")
    return values, faults


def _is_plausible(key: str, value: float) -> bool:
    low, high = _BOUNDS[key]
    return low <= value <= high and value not in NO_VALUE.get(key, ())


def build_reading(
    sensor: str,
    stamp: float | None,
    message: Message,
    limits: Limits,
    raw: Mapping[str, object],
    *,
    events: Iterable[str] = (),
    faults: Iterable[str] = (),
    flags: Iterable[str] = (),
    seq: int | None = None,
    state: bool = False,
) -> Reading:
    """Validate the values that a decoder found, and return a reading; raises `PayloadError`.

    `stamp`: the device's time stamp; None if it sent none, NaN if it is unusable.
    `state`: whether the message describes a current state, so a retained one is not out of date.
    """
    time, time_flag = settle_time(stamp, message.received, limits)
    if str in map(type, raw.values()):
        raw = {key: _parse_number_text(value) for key, value in raw.items()}
    values, bad = check_values(raw)
    for fault in faults:
        values.pop(fault, None)
        if fault not in bad:
            bad.append(fault)
    kept = tuple(dict.fromkeys(e for e in events if e in DEVICE_EVENTS))
    if not values and not bad and not kept:
        raise PayloadError(Reason.NO_MEASUREMENT, "nothing measured and nothing to report")
    marks = list(flags)
    if time_flag:
        marks.append(time_flag)
    if message.retained and not state:
        marks.append("retained")
    return Reading(
        sensor=sensor,
        time=time,
        received=message.received,
        values=values,
        events=kept,
        faults=tuple(bad),
        flags=tuple(dict.fromkeys(marks)),
        seq=seq,
        packet=message.packet if time_flag in NO_TIME else 0,
        stamp=stamp if stamp is not None and time != stamp and math.isfinite(stamp) else None,
    )
