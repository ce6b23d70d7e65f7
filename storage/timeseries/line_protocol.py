"""Encode readings and records as InfluxDB line protocol.

- Times are in nanoseconds. Tags come only from the registry (`TAGS`), and for records also from the
  closed set of kinds, so the number of series is bounded. The name of an unregistered sensor is in
  a field; its readings are in the measurement ``quarantine``.
- A field never changes its type. In a reading, quantities and ``received`` are floats, and
  everything else is text. In a record, all numbers are floats.
  The JSON encoder writes a number with as few digits as possible without loss, several times faster
  than `repr`. Numbers that are not finite are omitted. ``received`` is always present, so no line
  is empty.
- Different readings of one sensor at the same microsecond never share a nanosecond. The last three
  digits (`Slots`) are computed from the content without the receive time, so a reading that is
  written or imported again overwrites itself. The same is true of records with an id.
- Servers disagree about a backslash at the end of a tag, or before a comma, an equals sign, a space
  or another backslash. Such a backslash is removed, and control characters become spaces
  (`clean_tag`). Text in fields may contain anything.

Source: InfluxDB line protocol reference; https://github.com/influxdata/influxdb/issues/9966 on line
breaks in tags.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from detection.quantities import COLUMN_INDEX
from storage.timeseries.records import MEASUREMENTS, check_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storage.reading import Reading
    from storage.registry import Registry
    from storage.timeseries.records import Record

READING: Final = "reading"
QUARANTINE: Final = "quarantine"
TAGS: Final = ("site", "building", "floor", "room", "sensor", "model")
_REMEMBERED: Final = 100_000
_SLOTS: Final = 1000
_INF: Final = float("inf")
_JSON: Final = msgspec.json.Encoder()
_EQUALS: Final = bytes.maketrans(b":", b"=")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_BACKSLASHES: Final = re.compile(r"\\+")
_BEFORE_SPECIAL: Final = re.compile(r"\\(?=[,= ]|\Z)")
_TAG_SPECIAL: Final = re.compile(r"([,= ])")


def to_ns(time: float) -> int:
    """Convert Unix seconds to whole nanoseconds, exact to the microsecond."""
    return round(time * 1e6) * 1000


def clean_tag(text: str) -> str:
    r"""Remove or replace the characters that a tag cannot contain, such as line breaks.

    >>> clean_tag("Girls' room, 2nd floor"), clean_tag("a\nb\\")
    ("Girls' room, 2nd floor", 'a b')
    >>> print(clean_tag("back\\slash"), clean_tag("a\\\\b"), clean_tag("a\\,b\\"))
    back\slash a\b a,b
    """
    text = _BACKSLASHES.sub("\\\\", _CONTROL.sub(" ", text))
    return _BEFORE_SPECIAL.sub("", text).strip(" ")


def quote_text(text: str) -> str:
    r"""Return a string as the value of a field.

    >>> print(quote_text('say "no\\"'))
    "say \"no\\\""
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Slots:
    """Choose the last three digits of the nanoseconds, based on the content of a reading.

    If different readings of one sensor at the same microsecond get the same digits (a chance of one
    in a thousand), the later reading gets the next free digits. This works for the last
    `remembered` moments.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._taken: OrderedDict[tuple[str, int], int] = OrderedDict()

    def assign_time_ns(self, sensor: str, micro_ns: int, digest: int) -> int:
        """Return the time in nanoseconds for a reading with this `digest` of its content."""
        taken = self._taken
        for step in range(_SLOTS):
            at = micro_ns + (digest + step) % _SLOTS
            if taken.setdefault((sensor, at), digest) == digest:
                break
        if len(taken) > self._remembered:
            taken.popitem(last=False)
        return at


class LineEncoder:
    """Encode readings, with the tags of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._slots = Slots()
        self._heads: dict[str, bytes] = {}
        for sensor in registry.sensors.values():
            room = registry.find_room(sensor.id)
            where = (room.site, room.building, room.floor, room.id) if room else ("", "", "", "")
            tags = dict(zip(TAGS, (*where, sensor.id, sensor.model), strict=True))
            self._heads[sensor.id] = encode_head(READING, tags).encode("utf-8", "replace")

    def encode(self, readings: Iterable[Reading]) -> bytes:
        """Return one line per reading, in order, in UTF-8."""
        return b"\n".join([self.encode_line(r) for r in readings])

    def encode_line(self, reading: Reading) -> bytes:
        """Return the line of one reading, without a line break at its end."""
        numbers = {
            key: float(value)
            for key, value in reading.values.items()
            if -_INF < value < _INF and key in COLUMN_INDEX
        }
        values = _JSON.encode(numbers).translate(_EQUALS, b'{}"')
        words = _encode_words(b",events=", reading.events) if reading.events else b""
        if reading.faults:
            words += _encode_words(b",faults=", reading.faults)
        if reading.flags:
            words += _encode_words(b",flags=", reading.flags)
        head, series = self._heads.get(reading.sensor), reading.sensor
        if head is None:  # unknown sensors share one series
            head, series = QUARANTINE.encode(), QUARANTINE
            words += _encode_words(b",name=", (reading.sensor,))
        # The receive time is not included, so the digest is the same if the reading is imported.
        digest = zlib.crc32(words, zlib.crc32(values))
        at = self._slots.assign_time_ns(series, to_ns(reading.time), digest)
        received = _JSON.encode(float(reading.received))
        fields = b"%b%breceived=%b%b" % (values, b"," if values else b"", received, words)
        return b"%b %b %d" % (head, fields, at)


def _encode_words(key: bytes, words: Iterable[str]) -> bytes:
    return key + quote_text(" ".join(words)).encode("utf-8", "replace")


def encode_average(fields: Mapping[str, float]) -> str:
    """Return the fields of an average; ``n`` is an integer, like counts computed by a server.

    >>> encode_average({"pm25": 4, "n": 12.0})
    'pm25=4.0,n=12i'
    """
    return ",".join(
        f"n={int(value)}i" if key == "n" else f"{key}={float(value)!r}"
        for key, value in fields.items()
    )


def encode_head(measurement: str, tags: Mapping[str, str]) -> str:
    r"""Return the measurement and tags of a line, without empty tags.

    >>> print(encode_head("reading", {"sensor": "n2", "room": "Boys, 2nd", "floor": ""}))
    reading,room=Boys\,\ 2nd,sensor=n2
    """
    pairs = [(key, clean_tag(text)) for key, text in sorted(tags.items())]
    return measurement + "".join(f",{key}={_escape(text)}" for key, text in pairs if text)


def _escape(text: str) -> str:
    return _TAG_SPECIAL.sub(r"\\\1", text)


class RecordEncoder:
    """Encode records, with the tags of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def group_by_policy(self, records: Iterable[Record]) -> dict[str, bytes]:
        """Return the lines for each retention policy, in order; raises `RecordError`."""
        lines: dict[str, list[str]] = {}
        for record in records:
            line = self.encode_line(record)
            lines.setdefault(MEASUREMENTS[record.measurement].kept.name, []).append(line)
        return {k: "\n".join(found).encode("utf-8", "replace") for k, found in lines.items()}

    def encode_line(self, record: Record) -> str:
        """Return the line of one record, without a line break at its end."""
        record = check_record(record)
        tags, name = self._make_tags(record)
        fields = dict(record.fields)
        if name:
            fields["name"] = name
        body = ",".join(
            f"{key}={quote_text(value) if isinstance(value, str) else repr(float(value))}"
            for key, value in fields.items()
        )
        slot = zlib.crc32((record.id or name).encode("utf-8", "replace")) % _SLOTS
        return f"{encode_head(record.measurement, tags)} {body} {to_ns(record.time) + slot}"

    def _make_tags(self, record: Record) -> tuple[dict[str, str], str]:
        sensor = self._registry.sensors.get(record.sensor)
        room = self._registry.rooms.get(sensor.room if sensor else record.room)
        tags = {"kind": record.kind}
        if sensor is not None:
            tags |= {"sensor": sensor.id, "model": sensor.model}
        if room is not None:
            tags |= {"site": room.site, "building": room.building, "floor": room.floor}
            tags["room"] = room.id
        named = record.sensor if sensor is None else ""
        if not named and room is None:
            named = record.room
        return tags, named
