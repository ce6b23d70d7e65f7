"""Records beside readings: the table of the other measurements (``measurements.toml``).

Every other module uses the names, types and retention of that table, and `docs/measurements.md` is
made from it. Records of one `id` are one row however often their fields change; those without are
one row for each sensor and moment.
"""

from __future__ import annotations

import math
import tomllib
from importlib import resources
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
    """One kind of record, kept as long as the averages `kept`; None: as long as readings."""

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
    """One row of a measurement, at a Unix time exact to the microsecond.

    `sensor`, `room` and `kind` are what it is about; `id` is that of something that changes, and
    empty for a sample. Absent fields are not stored.
    """

    measurement: str
    time: float
    fields: dict[str, float | str]
    sensor: str = ""
    room: str = ""
    kind: str = ""
    id: str = ""


def _load() -> dict[str, Measurement]:
    text = resources.files(__package__).joinpath("measurements.toml").read_text(encoding="utf-8")
    kept = {None: None, MINUTE.name: MINUTE, QUARTER_HOUR.name: QUARTER_HOUR}
    found = {}
    for name, table in tomllib.loads(text).items():
        fields = [Field(k, float, about) for k, about in table.get("numbers", {}).items()]
        fields += [Field(k, str, about) for k, about in table.get("texts", {}).items()]
        found[name] = Measurement(
            name,
            table["about"],
            table["time"],
            tuple(table["keys"]),
            tuple(fields),
            kept[table.get("kept")],
        )
    return found


MEASUREMENTS: Final[Mapping[str, Measurement]] = _load()
"""All measurements by name, from ``measurements.toml``."""

_TYPES: Final = {m.name: {f.name: f.type for f in m.fields} for m in MEASUREMENTS.values()}


def checked(record: Record) -> Record:
    """Return a record as stored, without infinite numbers; `RecordError` if not in the table."""
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


def check_summable(name: str, fields: Sequence[str]) -> None:
    """Raise `RecordError` unless the fields are numbers of a measurement about sensors."""
    table = MEASUREMENTS[name]
    numbers = {f.name for f in table.fields if f.type is float}
    if not fields or "sensor" not in table.keys or set(fields) - numbers:
        raise RecordError(f"{name}: no sums of {', '.join(fields) or 'nothing'} by sensor")
