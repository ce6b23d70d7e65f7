"""Records beside readings as InfluxDB's line protocol, and back.

As with readings (`storage.timeseries.line_protocol`), tags come from the registry alone, and from
the closed set of kinds: there are never more series of a measurement than registered sensors (or
rooms) times kinds. What is about a sensor or room that is not registered has the name as field
``name`` instead of tags.

Records with an id are told apart by it: the last three digits of the nanoseconds are made from it,
so that two incidents of one room, kind and microsecond are two points, and one that is written
again lands on itself.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from storage.timeseries.line_protocol import field_text, head, to_ns
from storage.timeseries.records import MEASUREMENTS, Record, checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storage.registry import Registry

_SLOTS: Final = 1000


class RecordEncoder:
    """Encode records, with the tags of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def by_policy(self, records: Iterable[Record]) -> dict[str, bytes]:
        """Return the lines of records, in order, by the retention policy they go to.

        Raises `RecordError` if one does not fit its measurement.
        """
        lines: dict[str, list[str]] = {}
        for record in records:
            line = self.line(record)
            kept = MEASUREMENTS[record.measurement].kept
            lines.setdefault(kept.name if kept else "", []).append(line)
        return {k: "\n".join(found).encode("utf-8", "replace") for k, found in lines.items()}

    def line(self, record: Record) -> str:
        """Return the line of one record, without a line break at its end."""
        record = checked(record)
        tags, name = self._tags(record)
        fields = dict(record.fields)
        if name:
            fields["name"] = name
        body = ",".join(
            f"{key}={field_text(value) if isinstance(value, str) else repr(float(value))}"
            for key, value in fields.items()
        )
        slot = zlib.crc32((record.id or name).encode("utf-8", "replace")) % _SLOTS
        return f"{head(record.measurement, tags)} {body} {to_ns(record.time) + slot}"

    def _tags(self, record: Record) -> tuple[dict[str, str], str]:
        """Tags of a record, and the name of what is not registered."""
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


def record_of(measurement: str, row: Mapping[str, Any]) -> Record:
    """Return the record that a point of InfluxDB holds.

    `row`: ``time`` in nanoseconds, tags and fields by name; None where absent.
    """
    table = MEASUREMENTS[measurement]
    fields = {f.name: f.type(row[f.name]) for f in table.fields if row.get(f.name) is not None}
    keys = {key: str(row.get(key) or "") for key in table.keys}
    name = str(row.get("name") or "")
    if name:
        keys["sensor" if "sensor" in table.keys and not keys["sensor"] else "room"] = name
    return Record(
        measurement, row["time"] // 1000 / 1e6, fields, **keys, id=str(fields.get("id", ""))
    )
