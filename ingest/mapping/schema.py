"""The types of ``[[mapping]]`` in the configuration, with their limits.

Each type checks its own values. `check_mapping` checks whether entries fit together, for example
that the unit matches the quantity and that the topic has the capture. It reports all faults at
once.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from detection.quantities import QUANTITIES
from ingest.errors import Reason
from ingest.mapping.times import check_form
from ingest.names import find_conversion, list_units
from ingest.topics import TopicFilter
from storage.reading import DEVICE_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MAPPINGS: Final = 64
MAX_ITEMS: Final = 64
"""Default limit for the devices in one message (`EachConfig`)."""
_MAX_KEY: Final = 128
_MAX_FRAME: Final = 1024

Scalar: TypeAlias = str | int | float | bool


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _check_scalar(value: object) -> Scalar:
    if isinstance(value, str | int | float | bool) and len(str(value)) <= _MAX_KEY:
        return value
    raise ValueError(f"a text of at most {_MAX_KEY} characters, a number, true or false")


class Pick(_Part):
    """Selects the first object in a list in which the member named `where` equals a value."""

    where: Annotated[str, Field(min_length=1, max_length=_MAX_KEY)]
    equals: Annotated[Any, PlainValidator(_check_scalar)]


class Ends(_Part):
    """Selects the first key of an object that ends with `ends`."""

    ends: Annotated[str, Field(min_length=1, max_length=_MAX_KEY)]


def _check_segment(value: object) -> str | int | Pick | Ends:
    if isinstance(value, str) and len(value) <= _MAX_KEY:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256:
        return value
    if isinstance(value, dict) and set(value) == {"where", "equals"}:
        return Pick.model_validate(value)
    if isinstance(value, dict) and set(value) == {"ends"}:
        return Ends.model_validate(value)
    if isinstance(value, Pick | Ends):
        return value
    raise ValueError(
        "a key (text), an index in a list (0 to 255), { where = KEY, equals = VALUE }"
        " or { ends = TEXT }"
    )


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _check_filter(text: str) -> str:
    TopicFilter(text)
    return text


def check_zone(name: str) -> str:
    """Return `name` if it is valid; raises a `ValueError` that describes what is allowed."""
    if name not in ("site", "none") and name not in available_timezones():
        raise ValueError("site, none, or a time zone of the IANA list")
    return name


def _check_quantity(key: str) -> str:
    if key not in QUANTITIES:
        raise ValueError("one of: " + ", ".join(QUANTITIES))
    return key


def _check_event(name: str) -> str:
    if name in DEVICE_EVENTS or (name.removeprefix("fault:") in QUANTITIES and ":" in name):
        return name
    raise ValueError("fault:<quantity> or one of: " + ", ".join(sorted(DEVICE_EVENTS)))


def _parse_time(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**33:
        return float(value)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return moment.timestamp()
    raise ValueError("Unix seconds, or a date and time with zone")


Segment = Annotated[Any, PlainValidator(_check_segment)]
AnyScalar = Annotated[Any, PlainValidator(_check_scalar)]
Path = Annotated[list[Segment], Field(max_length=8)]
Capture = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Topic = Annotated[str, AfterValidator(_check_filter)]
QuantityKey = Annotated[str, AfterValidator(_check_quantity)]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
Moment = Annotated[float, BeforeValidator(_parse_time)]


class AtConfig(_Part):
    """A value in the frame: its `offset` in bytes from the start, and its `type`.

    Type `hex` is `length` bytes as hex digits, for identities; all other types are numbers. `bit`
    selects one bit (0 is the lowest) of an unsigned integer.
    """

    offset: Annotated[int, Field(ge=0, lt=_MAX_FRAME)]
    type: Literal["u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "f32", "f64", "hex"]
    endian: Literal["big", "little"] = "big"
    bit: Annotated[int, Field(ge=0, le=31)] | None = None
    length: Annotated[int, Field(ge=1, le=16)] | None = None


class SourceConfig(_Part):
    """Where a value comes from: exactly one of a path, a capture of the topic, or the frame.

    The empty path is the whole payload. If a message contains several devices (`EachConfig`), a
    path starts at the device, or with `outer` at the whole message.
    """

    path: Path | None = None
    outer: bool = False
    capture: Capture | None = None
    at: AtConfig | None = None


class IdentityConfig(SourceConfig):
    """Where the sensor's name comes from: a source, a fixed text, or the whole topic."""

    fixed: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    topic: bool = False
    lower: bool = False


class ConditionConfig(SourceConfig):
    """A source, and exactly one test of its value."""

    equals: AnyScalar | None = None
    one_of: Annotated[list[AnyScalar], Field(min_length=1, max_length=32)] | None = None
    type: Literal["object", "list", "text", "number", "boolean", "null"] | None = None
    present: bool | None = None


Conditions = Annotated[list[ConditionConfig], Field(max_length=16)]
Identity = Annotated[
    list[IdentityConfig], BeforeValidator(_as_list), Field(min_length=1, max_length=4)
]


class BinaryConfig(_Part):
    """Where the frame is: hex or base64 text at a path, or the payload itself (`raw`)."""

    encoding: Literal["hex", "base64", "raw"]
    path: Path = []
    min_length: Annotated[int, Field(ge=0, le=_MAX_FRAME)] = 1
    max_length: Annotated[int, Field(ge=1, le=_MAX_FRAME)] = _MAX_FRAME


class EachConfig(_Part):
    """The list or object that contains several devices.

    The device's index in the list, or its name in the object, is its ``key``.
    """

    path: Path
    most: Annotated[int, Field(ge=1, le=1_000)] = MAX_ITEMS


class TimeConfig(SourceConfig):
    """Where the time of the measurement comes from, and its possible formats."""

    formats: Annotated[
        list[Annotated[str, AfterValidator(check_form)]], Field(min_length=1, max_length=8)
    ]
    zone: Annotated[str, AfterValidator(check_zone)] = "site"


class FieldConfig(SourceConfig):
    """One quantity: value = (raw * scale + offset) in `unit`."""

    quantity: QuantityKey
    unit: Annotated[str, Field(min_length=1, max_length=32)]
    scale: Finite = 1.0
    offset: Finite = 0.0
    range: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = None
    missing: Annotated[list[AnyScalar], Field(max_length=32)] = []
    skip: Annotated[list[AnyScalar], Field(max_length=32)] = []
    values: Annotated[
        dict[Annotated[str, Field(max_length=_MAX_KEY)], Finite], Field(max_length=64)
    ] = {}
    when: Conditions = []


class EventConfig(ConditionConfig):
    """A device event, sent whenever the condition holds."""

    event: Annotated[str, AfterValidator(_check_event)]
    when: Conditions = []


class FlagConfig(ConditionConfig):
    """A quality flag, set whenever the condition holds."""

    flag: Literal["history", "simulated", "cached", "maintenance"]


class ExampleConfig(_Part):
    """A message and its expected outcome: a reading, or a reason for rejection."""

    topic: Annotated[str, Field(min_length=1, max_length=256)]
    payload: Annotated[str, Field(max_length=16_384)] | None = None
    payload_hex: Annotated[str, Field(max_length=4_096, pattern=r"^([0-9A-Fa-f]{2})*$")] | None = (
        None
    )
    received: Moment = 1_767_225_600.0
    retained: bool = False
    sensor: Annotated[str, Field(max_length=64)] | None = None
    time: Moment | None = None
    values: Annotated[dict[QuantityKey, Finite], Field(max_length=64)] = {}
    faults: Annotated[list[QuantityKey], Field(max_length=64)] = []
    events: Annotated[list[str], Field(max_length=16)] = []
    flags: Annotated[list[str], Field(max_length=16)] | None = None
    rejected: Annotated[Reason, Field(strict=False)] | None = None


class MappingBody(_Part):
    """Which messages a mapping reads, and where it finds their parts."""

    format: Literal["json", "text", "pairs", "form", "csv", "raw"] = "json"
    decimal: Literal[".", ","] = "."
    when: Conditions = []
    each: EachConfig | None = None
    binary: BinaryConfig | None = None
    sensor: Identity
    sensor_or: Annotated[list[IdentityConfig], Field(max_length=4)] = []
    time: TimeConfig | None = None
    time_or: Annotated[list[TimeConfig], Field(max_length=4)] = []
    seq: SourceConfig | None = None
    field: Annotated[list[FieldConfig], Field(max_length=64)] = []
    event: Annotated[list[EventConfig], Field(max_length=32)] = []
    flag: Annotated[list[FlagConfig], Field(max_length=16)] = []
    join_s: Annotated[float, Field(ge=0.1, le=5)] | None = None


class MappingConfig(MappingBody):
    """One mapping in a school's configuration; `version` is the version of this schema."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    topic: Topic
    example: Annotated[list[ExampleConfig], Field(min_length=1, max_length=16)]


class FormatConfig(_Part):
    """A built-in format; its mappings are tried in order, and if none fits, `otherwise` applies."""

    summary: str
    topics: list[Topic] = []
    over_http: bool = False
    otherwise: Literal["accept", "reject"] = "reject"
    mapping: Annotated[list[MappingBody], Field(min_length=1)]


Found: TypeAlias = "tuple[str, str, str]"


def check_mapping(mapping: MappingConfig) -> Iterator[Found]:
    """Yield the entries of a mapping that do not fit together.

    Each result has the path in the mapping, the value, and what is allowed.
    """
    captures = set(TopicFilter(mapping.topic).captures)
    yield from _check_each(mapping, captures)
    if mapping.each is not None:
        captures.add("key")
    sources = list(_find_sources("", mapping))
    for place, source in sources:
        yield from _check_source(mapping, place, source, captures)
    if not mapping.field and not mapping.event:
        yield "field", "none", "at least one [[mapping.field]] or [[mapping.event]]"
    for i, field in enumerate(mapping.field):
        yield from check_field(f"field.{i}", field)
    for place, source in sources:
        if isinstance(source, ConditionConfig):
            tests = (source.equals, source.one_of, source.type, source.present)
            if sum(part is not None for part in tests) != 1:
                yield place, "a condition", "exactly one of equals, one_of, type, present"
    yield from _check_binary(mapping)
    for i, example in enumerate(mapping.example):
        yield from _check_example(f"example.{i}", example)


def _check_each(mapping: MappingConfig, captures: set[str]) -> Iterator[Found]:
    if mapping.each is None:
        return
    if mapping.format != "json":
        yield "each", mapping.format, 'given only with format = "json"'
    if "key" in captures:
        yield "topic", repr(mapping.topic), "a filter without {key}, which `each` gives"


def _find_sources(place: str, part: object) -> Iterator[tuple[str, SourceConfig]]:
    if isinstance(part, SourceConfig):
        yield place, part
    if isinstance(part, list):
        for i, item in enumerate(part):
            yield from _find_sources(f"{place}.{i}", item)
    elif isinstance(part, _Part):
        for name in type(part).model_fields:
            yield from _find_sources(f"{place}.{name}".lstrip("."), getattr(part, name))


def _check_source(
    mapping: MappingConfig, place: str, source: SourceConfig, captures: set[str]
) -> Iterator[Found]:
    ways = [source.path is not None, source.capture is not None, source.at is not None]
    words = "path, capture, at"
    if isinstance(source, IdentityConfig):
        ways += [source.fixed is not None, source.topic]
        words += ", fixed, topic"
    if sum(ways) != 1:
        yield place, "no source or several", f"exactly one of {words}"
    if source.capture is not None and source.capture not in captures:
        named = ", ".join(sorted(captures)) or "none"
        yield f"{place}.capture", repr(source.capture), f"a capture of the topic: {named}"
    if source.outer and (mapping.each is None or source.path is None):
        yield f"{place}.outer", "true", "given only with `each` and a path"
    if source.path is not None:
        yield from _check_path(mapping.format, f"{place}.path", source.path)
    if source.at is not None:
        yield from _check_at(mapping, f"{place}.at", source.at)


def _check_at(mapping: MappingConfig, place: str, at: AtConfig) -> Iterator[Found]:
    if mapping.binary is None and mapping.format != "raw":
        yield place, "a position in a frame", 'used only with `binary` or format = "raw"'
    if (at.length is not None) != (at.type == "hex"):
        yield f"{place}.length", repr(at.length), "given if and only if the type is hex"
    if at.bit is not None and not at.type.startswith("u"):
        yield f"{place}.bit", repr(at.bit), "given only with u8, u16, u24 or u32"


def _check_path(form: str, place: str, path: list[Any]) -> Iterator[Found]:
    if form == "raw":
        yield place, "a path", "`at`, since a raw payload has no keys"
    elif form == "text" and path:
        yield place, "a path", "[] (the whole payload), since a bare value has no keys"
    elif form == "csv" and not (len(path) == 1 and isinstance(path[0], int)):
        yield place, "a path", "the index of one column, counted from 0, since the format is csv"
    elif form in ("pairs", "form") and not (len(path) == 1 and isinstance(path[0], str)):
        yield place, "a path", f"one key, since the format is {form}"


def check_field(place: str, field: FieldConfig) -> Iterator[Found]:
    """Yield the keys of a field that do not fit together: path, value, and what is allowed."""
    if find_conversion(field.quantity, field.unit) is None:
        allowed = ", ".join(list_units(field.quantity))
        yield f"{place}.unit", repr(field.unit), f"a unit of {field.quantity}: {allowed}"
    if field.range is not None and not field.range[0] < field.range[1]:
        yield f"{place}.range", repr(field.range), "[lowest, highest] in the unit of the field"
    if field.scale == 0:
        yield f"{place}.scale", "0", "not zero"


def _check_binary(mapping: MappingConfig) -> Iterator[Found]:
    binary = mapping.binary
    if binary is None:
        return
    if (binary.encoding == "raw") != (mapping.format == "raw"):
        yield "binary.encoding", repr(binary.encoding), 'raw if and only if format = "raw"'
    elif mapping.format != "raw":
        yield from _check_path(mapping.format, "binary.path", binary.path)
    if binary.min_length > binary.max_length:
        yield "binary.min_length", str(binary.min_length), "at most max_length"


def _check_example(place: str, example: ExampleConfig) -> Iterator[Found]:
    if (example.payload is None) == (example.payload_hex is None):
        yield place, "both or neither payload", "exactly one of payload and payload_hex"
    if (example.sensor is None) == (example.rejected is None):
        yield place, "no outcome or both", "exactly one of sensor and rejected"
