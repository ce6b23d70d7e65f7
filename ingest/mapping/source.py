"""Parse a payload for a mapping, and compile the sources and conditions in the mapping.

Sizes are checked before parsing (`ingest.validation.check_json`). Nothing in a mapping or payload
is executed.
"""

from __future__ import annotations

import base64
import binascii
import csv
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import PayloadError, Reason
from ingest.mapping.schema import Ends, Pick
from ingest.mapping.times import find_form
from ingest.names import replace_comma
from ingest.payloads import decode_text, load_json, load_pairs, split_objects
from ingest.validation import parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ingest.mapping.schema import AtConfig, BinaryConfig, ConditionConfig, SourceConfig
    from ingest.validation import Limits

ABSENT: Final = object()
"""Marks an absent value. (None is a JSON null.)"""

_MAX_ITEMS: Final = 256
_MAX_TEXT: Final = 4_096
_FLOATS: Final = {"f32": "f", "f64": "d"}


def parse(form: str, payload: bytes, limits: Limits) -> Any:
    """Parse a payload; return a JSON value, text, texts by name, or the cells of a CSV line.

    If each line is a JSON object, return a list. For raw bytes, return None.
    """
    if form == "json":
        found = [load_json(part, limits) for part in split_objects(payload)[:_MAX_ITEMS]]
        return found if len(found) > 1 else found[0]
    if form == "text":
        return decode_text(payload, _MAX_TEXT)
    if form == "raw":
        return None
    if form == "csv":
        lines = parse_csv(payload)[1]
        if len(lines) != 1:
            raise PayloadError(Reason.MALFORMED, f"{len(lines)} lines of values, not one")
        return lines[0]
    return load_pairs(payload, form=form == "form")


def parse_csv(payload: bytes) -> tuple[list[str], list[list[str]]]:
    """Return the column names (empty if CSV has no header) and the lines of values."""
    text = decode_text(payload, _MAX_TEXT)
    separator = next((sign for sign in ";\t" if sign in text), ",")
    names: list[str] = []
    lines = []
    try:
        for cells in csv.reader(text.splitlines(), delimiter=separator, skipinitialspace=True):
            if any(
                parse_number(replace_comma(cell)) is not None or find_form(cell) for cell in cells
            ):
                lines.append(cells)
            else:
                names = names or cells
    except csv.Error as error:
        raise PayloadError(Reason.MALFORMED, "no CSV") from error
    return names, lines


def extract_frame(binary: BinaryConfig, content: object, payload: bytes) -> bytes:
    """Return the binary frame of a message."""
    if binary.encoding == "raw":
        frame = payload
    else:
        text = follow_path(content, binary.path)
        if type(text) is not str or len(text) > _MAX_TEXT:
            raise PayloadError(Reason.BAD_FRAME, "no frame where the mapping expects it")
        try:
            if binary.encoding == "hex":
                frame = binascii.unhexlify(text.replace(" ", "").encode("ascii"))
            else:
                frame = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error) as error:
            raise PayloadError(
                Reason.BAD_FRAME, f"a frame that is not {binary.encoding}"
            ) from error
    if not binary.min_length <= len(frame) <= binary.max_length:
        raise PayloadError(
            Reason.BAD_FRAME,
            f"a frame of {len(frame)} bytes, not {binary.min_length} to {binary.max_length}",
        )
    return frame


@dataclass(slots=True)
class View:
    """One message, or one of the devices in it.

    `outer`: the whole message if `content` is only one device.
    """

    captures: Mapping[str, str]
    content: object
    frame: bytes | None = None
    outer: object = None


if TYPE_CHECKING:
    Getter = Callable[[View], Any]
    Test = Callable[[View], bool]


def compile_source(source: SourceConfig) -> Getter:
    """Return a function that returns the value of a source in a view, or `ABSENT`."""
    capture, at, path = source.capture, source.at, tuple(source.path or ())
    if capture is not None:
        return lambda view: view.captures.get(capture, ABSENT)
    if at is not None:
        return lambda view: ABSENT if view.frame is None else _read_bytes(view.frame, at)
    if source.outer:
        return lambda view: follow_path(view.outer, path)
    return lambda view: follow_path(view.content, path)


def compile_condition(condition: ConditionConfig) -> Test:
    """Return a function that tests whether a condition holds in a view."""
    read = compile_source(condition)
    wanted = condition.one_of or [condition.equals]
    if condition.present is not None:
        present = condition.present
        return lambda view: (read(view) is not ABSENT) is present
    if condition.type is not None:
        types = _TYPES[condition.type]
        return lambda view: type(read(view)) in types

    def is_wanted(view: View) -> bool:
        value = read(view)
        return any(is_same(value, one) for one in wanted)

    return is_wanted


def compile_conditions(conditions: Sequence[ConditionConfig]) -> Test | None:
    """Return a function that tests whether all conditions hold; None if there are none."""
    tests = [compile_condition(condition) for condition in conditions]
    return (lambda view: all(test(view) for test in tests)) if tests else None


def follow_path(value: object, path: Iterable[Any]) -> Any:
    """Return the value at a path in nested content, or `ABSENT`."""
    for step in path:
        if type(value) is dict and type(step) is str:
            value = value.get(step, ABSENT)
        elif type(value) is dict and type(step) is Ends:
            value = next((value[key] for key in value if key.endswith(step.ends)), ABSENT)
        elif type(value) is list:
            value = _find_item(value, step)
        else:
            return ABSENT
    return value


def _find_item(items: list[Any], step: object) -> Any:
    if type(step) is int:
        return items[step] if step < len(items) else ABSENT
    if isinstance(step, Pick):
        for item in items[:_MAX_ITEMS]:
            if type(item) is dict and is_same(item.get(step.where, ABSENT), step.equals):
                return item
    return ABSENT


def _read_bytes(frame: bytes, at: AtConfig) -> object:
    size = at.length if at.length is not None else int(at.type[1:]) // 8
    part = frame[at.offset : at.offset + size]
    if len(part) < size:
        return ABSENT
    if at.type == "hex":
        return part.hex()
    if at.type in _FLOATS:
        order = ">" if at.endian == "big" else "<"
        return struct.unpack(order + _FLOATS[at.type], part)[0]
    value = int.from_bytes(part, at.endian, signed=at.type.startswith("i"))
    return value if at.bit is None else value >> at.bit & 1


def is_same(value: object, wanted: object) -> bool:
    """Return whether two values are equal. Text never equals a number, and true is not 1."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted
    if isinstance(wanted, int | float):
        return type(value) in (int, float) and value == wanted
    return type(value) is str and value == wanted


_TYPES: Final = {
    "object": (dict,),
    "list": (list,),
    "text": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
