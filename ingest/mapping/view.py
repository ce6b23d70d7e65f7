"""One message as a mapping sees it: captures, parsed content, frame; and what stands where.

Parsing is bounded before it starts (`ingest.validation.check_json`, sizes). Reading a source costs
at most its path times `_MAX_ITEMS`; nothing is evaluated.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from ingest.decoding import decode_text, load_json
from ingest.errors import PayloadError, Reason
from ingest.mapping.schema import Pick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ingest.mapping.schema import (
        AtConfig,
        BinaryConfig,
        ConditionConfig,
        IdentityConfig,
        SourceConfig,
    )
    from ingest.validation import Limits

ABSENT: Final = object()
"""What is found where nothing is; None is a JSON null."""

_MAX_ITEMS: Final = 256
_MAX_TEXT: Final = 4_096
_PAIR: Final = re.compile(r"([^\s=,;]{1,64})=([^\s,;]{0,64})")
_FLOATS: Final = {"f32": "f", "f64": "d"}


def parse(form: str, payload: bytes, limits: Limits) -> Any:
    """Return the content of a payload: a JSON value, a text, or names and texts.

    Raises
    ------
    DecodeError
        Not of this form.
    """
    if form == "json":
        return load_json(payload, limits)
    if form == "text":
        return decode_text(payload)
    if form == "raw":
        return None
    if len(payload) > _MAX_TEXT:
        raise PayloadError(Reason.MALFORMED, f"text of {len(payload)} bytes")
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise PayloadError(Reason.MALFORMED, "not UTF-8 text") from error
    if form == "form":
        try:
            return dict(parse_qsl(text, strict_parsing=True, max_num_fields=128))
        except ValueError as error:
            raise PayloadError(Reason.MALFORMED, "a form that is broken") from error
    words = text.replace(",", " ").replace(";", " ").split()
    pairs = [_PAIR.fullmatch(word) for word in words]
    if not words or not all(pairs):
        raise PayloadError(Reason.MALFORMED, "no key=value text")
    return {found[1]: found[2] for found in pairs if found}


def frame_of(binary: BinaryConfig, content: object, payload: bytes) -> bytes:
    """Return the frame of a message.

    Raises
    ------
    PayloadError
        `bad_frame`: not there, not in this encoding, too short or too long.
    """
    if binary.encoding == "raw":
        frame = payload
    else:
        text = step_through(content, binary.path)
        if type(text) is not str or len(text) > _MAX_TEXT:
            raise PayloadError(Reason.BAD_FRAME, "no frame where the mapping says")
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


class View:
    """One message: where to find what a mapping names.

    Parameters
    ----------
    content : object
        As `parse` gives it.
    frame : bytes, optional
        As `frame_of` gives it.
    outer : object, optional
        The whole message, if `content` is one of several devices in it.
    """

    __slots__ = ("_captures", "_content", "_frame", "_outer")

    def __init__(
        self,
        captures: Mapping[str, str],
        content: object,
        frame: bytes | None = None,
        outer: object = None,
    ) -> None:
        self._captures = captures
        self._content = content
        self._frame = frame
        self._outer = outer

    def get(self, source: SourceConfig) -> Any:
        """Return what stands at a source; `ABSENT` if nothing does."""
        if source.capture is not None:
            return self._captures.get(source.capture, ABSENT)
        if source.at is not None:
            return ABSENT if self._frame is None else _read(self._frame, source.at)
        return step_through(self._outer if source.outer else self._content, source.path or ())

    def holds(self, condition: ConditionConfig) -> bool:
        """Whether a condition holds."""
        return holds(condition, self.get(condition))

    def all_hold(self, conditions: Iterable[ConditionConfig]) -> bool:
        """Whether every condition holds."""
        return all(self.holds(condition) for condition in conditions)

    def name(self, parts: Sequence[IdentityConfig]) -> str:
        """Return the parts of a name joined by ``:``.

        Raises
        ------
        PayloadError
            `bad_id`: a part is absent, or neither text nor a whole number.
        """
        found: list[str] = []
        for part in parts:
            value = part.fixed if part.fixed is not None else self.get(part)
            if type(value) is int and abs(value) < 2**63:
                value = str(value)
            if type(value) is not str or not value:
                raise PayloadError(Reason.BAD_ID, "no name of the device where the mapping says")
            found.append(value)
        return ":".join(found)


def step_through(value: object, path: Iterable[Any]) -> Any:
    """Return what stands at a path of nested content; `ABSENT` if nothing does."""
    for step in path:
        if type(value) is dict:
            value = value.get(step, ABSENT) if type(step) is str else ABSENT
        elif type(value) is list:
            value = _item(value, step)
        else:
            return ABSENT
    return value


def _item(items: list[Any], step: object) -> Any:
    if type(step) is int:
        return items[step] if step < len(items) else ABSENT
    if isinstance(step, Pick):
        for item in items[:_MAX_ITEMS]:
            if type(item) is dict and same(item.get(step.where, ABSENT), step.equals):
                return item
    return ABSENT


def _read(frame: bytes, at: AtConfig) -> object:
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


def same(value: object, wanted: object) -> bool:
    """Whether a value of a message is the wanted one: a text is no number, true is not 1."""
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


def holds(condition: ConditionConfig, value: object) -> bool:
    """Whether a condition holds of a value."""
    if condition.present is not None:
        return (value is not ABSENT) is condition.present
    if condition.type is not None:
        return type(value) in _TYPES[condition.type]
    if condition.one_of is not None:
        return any(same(value, wanted) for wanted in condition.one_of)
    return same(value, condition.equals)
