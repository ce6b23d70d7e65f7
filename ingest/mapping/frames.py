"""Find the binary frames in samples, and read a person's answers about the fields in them.

Offsets cannot be guessed. Each answer is tried on every sample, and refused if its quantity cannot
have the value found in one of them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from detection.quantities import QUANTITIES
from ingest.errors import DecodeError
from ingest.mapping.draft import Entry
from ingest.mapping.schema import FieldConfig
from ingest.mapping.source import ABSENT, View, compile_source, parse
from ingest.names import find_conversion, find_unit
from ingest.validation import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.mapping.draft import Draft

_KEYS: Final = frozenset(
    {"data", "payload", "raw", "hex", "bytes", "frame", "frm_payload", "rawdata", "raw_data"}
    | {"payload_hex", "payload_raw", "rawpayload", "payloadhex", "body", "msg", "message"}
)
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}\s?){3,512}")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4}){1,342}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_TYPES: Final = ("u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "f32", "f64")
EXAMPLES: Final = ("pm25 ug/m3 1 u16 x0.1", "temp degC 3 i16 little x0.01")
"""Answers: quantity, unit, offset, type; optionally ``little`` and a factor."""


class Frame(NamedTuple):
    """The bytes of a sample, and where and how they are written in its payload."""

    form: str
    encoding: str
    path: tuple[str, ...]
    content: bytes


def find_frame(payload: bytes) -> Frame | None:
    """Return the frame that a payload is, or that a JSON member with a typical name holds."""
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError:
        text = "\0"
    if any(sign < " " and not sign.isspace() for sign in text):
        return Frame("raw", "raw", (), payload)
    if found := _decode(text):
        return Frame("text", found[0], (), found[1])
    try:
        content = parse("json", payload, Limits())
    except DecodeError:
        return None
    inside: list[tuple[dict[str, Any], tuple[str, ...]]] = []
    inside += [(content, ())] if type(content) is dict else []
    for table, path in inside:
        for key, value in table.items():
            if type(value) is dict and len(path) < 6:
                inside.append((value, (*path, key)))
            elif type(value) is str and key.lower() in _KEYS and (found := _decode(value)):
                return Frame("json", found[0], (*path, key), found[1])
    return None


def _decode(text: str) -> tuple[str, bytes] | None:
    if _HEX.fullmatch(text):
        return "hex", bytes.fromhex(text)
    if _BASE64.fullmatch(text):
        try:
            return "base64", base64.b64decode(text, validate=True)
        except binascii.Error:
            return None
    return None


def parse_field(answer: str, frames: Sequence[bytes]) -> Entry:
    """Return the field that an answer describes; `ValueError` says what is wrong with it."""
    words = answer.split()
    scale = next((word[1:] for word in words if re.fullmatch(r"x[0-9.e-]+", word)), "1")
    order = "little" if "little" in words else "big"
    plain = [word for word in words if word not in ("little", "big", f"x{scale}")]
    if len(plain) != 4 or not plain[2].isdigit() or plain[3] not in _TYPES:
        raise ValueError(f"{answer!r} is none of QUANTITY UNIT OFFSET TYPE, such as {EXAMPLES[0]}")
    quantity, unit, offset, kind = plain
    known = find_unit(unit) if quantity in QUANTITIES else None
    factors = find_conversion(quantity, known) if known else None
    if known is None or factors is None:
        raise ValueError(f"{quantity} {unit} is not a quantity with its unit")
    at: dict[str, Any] = {"offset": int(offset), "type": kind}
    if order == "little":
        at["endian"] = order
    entry = Entry({"quantity": quantity, "unit": known, "at": at})
    if float(scale) != 1:
        entry.add("scale", float(scale))
    try:
        read = compile_source(FieldConfig.model_validate(entry.values))
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from error
    for number, frame in enumerate(frames, start=1):
        raw = read(View({}, None, frame))
        if raw is ABSENT:
            raise ValueError(f"sample {number} ends before byte {offset} as {kind}")
        value = raw * float(scale) * factors[0] + factors[1]
        if not QUANTITIES[quantity].accepts(value):
            raise ValueError(f"{quantity} would be {value:g} in sample {number}")
    return entry


def add_fields(draft: Draft, frames: Sequence[Frame], fields: Sequence[Entry]) -> None:
    """Add the frame and its fields to a draft; without fields it becomes a skeleton."""
    first = frames[0]
    least = min(len(frame.content) for frame in frames)
    path = {"path": list(first.path)} if first.path else {}
    draft.head.add("binary", {"encoding": first.encoding, **path, "min_length": least})
    draft.fields += fields
    draft.is_skeleton = not fields
    draft.questions += [f"byte      {' '.join(f'{k:2}' for k in range(least))}"]
    for number, frame in enumerate(frames, start=1):
        draft.questions.append(f"sample {number}  {frame.content.hex(' ')}")
    if not fields:
        at: dict[str, Any] = {"offset": 0, "type": "u8"}
        draft.events.append(Entry({"event": "restart", "at": at, "present": True}))
        draft.questions += [
            *("[[mapping.field]]", 'quantity = "pm25"', 'unit = "ug/m3"'),
            'at = { offset = 0, type = "u8" }',
            '# or u16, i16, u32, f32 and so on, with endian = "little"; scale = 0.1 if in tenths',
        ]
