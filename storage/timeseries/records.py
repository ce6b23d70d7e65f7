"""What the series holds beside readings: the one table of its other measurements.

Every other module takes names, fields, types and how long they are kept from here;
`docs/measurements.md` is written from it. A field is a number or a text and never changes between
the two. Numbers that answer yes or no are 1 and 0, so that they can be summed.

A record that is written again replaces itself: those of one `id` (with the field `id`) are one row
however often its fields change, those without one are one row a sensor and moment.
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
