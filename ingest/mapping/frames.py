"""Propose a mapping for any samples; for binary frames, use the layout from the data sheet.

A layout lists the values of a frame in the order of its bytes, such as
``"type:u8=2, pm25:u16/10, temp:i16le/100-40, u8, rh:u8"``. Each value has a type (``le`` means
little-endian), and may have a name, a scale and an offset. With ``=2``, only frames in which the
value is 2 are read. Bytes without a known name are skipped. Frames may be bytes, hex or base64,
alone or in JSON.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ingest.errors import DecodeError
from ingest.mapping.draft import ColumnsError, SuggestError, start_draft
from ingest.mapping.source import parse
from ingest.mapping.suggest import (
    add_time,
    check_column,
    find_ids,
    look_up,
    name_of,
    suggest,
    walk,
    write_path,
)
from ingest.validation import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

    from ingest.mapping.draft import Draft
    from ingest.mapping.suggest import Leaves, Steps

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2} ?){3,1024}")
_BASE64: Final = re.compile(
    r"(?=.*[A-Z])(?=.*(?:[0-9+/=]|[a-z][A-Z]))(?:[\w+/]{4}){1,342}(?:[\w+/]{2}==|[\w+/]{3}=)?",
    re.ASCII,
)
_KEYS: Final = frozenset({"data", "payload", "raw", "hex", "bytes", "frame", "frm_payload"})
_USUAL_SIZE: Final = range(4, 65)
"""Sizes in bytes at which a JSON text may be a frame, whatever its name."""
_NUMBER: Final = r"\d{1,9}(?:\.\d{1,9})?"
_PART: Final = re.compile(
    r"(?:(?P<name>[^:]{1,64}?)\s*:)?\s*(?P<type>[ui](?:8|16|24|32)|f32|f64)(?P<little>le)?"
    rf"\s*(?:(?P<by>[*/])\s*(?P<factor>{_NUMBER}))?\s*(?P<offset>[+-]\s*{_NUMBER})?"
    r"(?:=\s*(?P<equals>\d{1,9}))?"
)
_FORM: Final = "type:u8=2, pm25:u16/10, temp:i16le/100, u8, rh:u8"
_SHOWN: Final = 3


class _Frame(NamedTuple):
    """A frame, its form and encoding, and its path and neighbors in JSON."""

    form: str
    encoding: str
    path: Steps
    content: bytes
    leaves: Leaves


def propose(
    topic: str,
    samples: Sequence[bytes],
    *,
    received: float,
    name: str = "",
    zone: tzinfo = UTC,
    columns: str = "",
    alone: bool = True,
) -> str:
    """Return a mapping like `suggest`; `columns` may be the layout of a frame.

    Raises `SuggestError`. For frames without a layout, its message shows which bytes differ.
    """
    parts = [_PART.fullmatch(text.strip()) for text in re.split(r"[,;]", columns)]
    size = sum(int(part["type"][1:]) // 8 for part in parts if part)
    found = {n: _find_frame(sample, size) for n, sample in enumerate(samples, 1)}
    frames = {n: frame for n, frame in found.items() if frame}
    if frames and ":" in columns:
        draft = _draft_layout(topic, name, columns, frames)
        return draft.format(dict(enumerate(samples, 1)), received, zone)
    is_frame = any(not f.path or name_of(f.path).lower() in _KEYS for f in frames.values())
    alone |= is_frame  # values beside a frame come from the gateway, such as signal strength
    try:
        return suggest(
            topic, samples, received=received, name=name, zone=zone, columns=columns, alone=alone
        )
    except SuggestError as error:
        if frames:
            raise ColumnsError(_describe(frames)) from error
        raise


def _draft_layout(topic: str, name: str, layout: str, frames: Mapping[int, _Frame]) -> Draft:
    first = next(iter(frames.values()))
    ids = find_ids(first.leaves)
    path = write_path(next(iter(ids), ()))
    draft = start_draft(topic, name, first.form, [*ids.values()], path)
    add_time(first.leaves, draft)
    offset, skipped = 0, []
    for text in re.split(r"[,;]", layout):
        part = _PART.fullmatch(text.strip())
        if part is None:
            raise ColumnsError(f"{text.strip()!r} in the layout: write it as in {_FORM!r}")
        _check_part(part, offset, frames)
        if not _add_part(draft, part, offset):
            skipped.append(f"  {part['name'] or 'no name'}, offset {offset}")
        offset += int(part["type"][1:]) // 8
    if not draft.fields:
        raise ColumnsError("no name in the layout is a known quantity")
    if offset > len(first.content):
        raise ColumnsError(f"the layout has {offset} bytes, the frame {len(first.content)}")
    binary = {"encoding": first.encoding, "path": write_path(first.path), "min_length": offset}
    draft.head.add("binary", {key: value for key, value in binary.items() if value != []})
    if rest := len(first.content) - offset:
        skipped.append(f"  the last {rest} bytes")
    draft.questions += ["Left out:", *skipped] if skipped else []
    return draft


def _check_part(part: re.Match[str], offset: int, frames: Mapping[int, _Frame]) -> None:
    """Raise a `ColumnsError` if no frame has the constant, or if the name seems misspelled."""
    check_column(part["name"] or "")
    end = offset + int(part["type"][1:]) // 8
    order: Literal["little", "big"] = "little" if part["little"] else "big"
    there = {int.from_bytes(frame.content[offset:end], order) for frame in frames.values()}
    if part["equals"] and int(part["equals"]) not in there:
        values = ", ".join(map(str, sorted(there)))
        raise ColumnsError(
            f"{part[0]!r} in the layout: at offset {offset}, the frames have {values}"
        )


def _add_part(draft: Draft, part: re.Match[str], offset: int) -> bool:
    """Add a value of the layout to the draft; return whether it is read."""
    at: dict[str, Any] = {"offset": offset, "type": part["type"]}
    if part["little"]:
        at["endian"] = "little"
    if part["equals"]:
        draft.head.add("when", [{"at": at, "equals": int(part["equals"])}])
        return True
    meaning = look_up(part["name"] or "")
    if meaning is None or any(f.values["quantity"] == meaning.quantity for f in draft.fields):
        return False
    field = meaning.make_field(())
    del field.values["path"]
    field.add("at", at)
    if part["factor"]:
        factor = float(part["factor"])
        field.add("scale", factor if part["by"] == "*" else round(1 / factor, 12))
    if part["offset"]:
        field.add("offset", float(part["offset"].replace(" ", "")))
    draft.fields.append(field)
    return True


def _describe(frames: Mapping[int, _Frame]) -> str:
    """Explain what is missing, and show the bytes of the first frames that are alike."""
    first = next(iter(frames.values()))
    alike = {n: f.content for n, f in frames.items() if f[:3] == first[:3]}
    shown = dict(list(alike.items())[:_SHOWN])
    least = min(map(len, shown.values()))
    differ = (
        "^^" if len({frame[k] for frame in shown.values()}) > 1 else "  " for k in range(least)
    )
    rows = [f"offset   {' '.join(f'{k:2}' for k in range(least))}"]
    rows += [f"sample {n} {frame.hex(' ')}" for n, frame in shown.items()]
    rows += [f"differs  {' '.join(differ)}".rstrip()]
    return (
        f"a frame of {least} bytes: give its layout from the data sheet (docs/mappings.md) as"
        f' columns, such as "{_FORM}"\n' + "\n".join(rows)
    )


def _find_frame(sample: bytes, size: int) -> _Frame | None:
    """Return the frame in a sample, or None.

    In JSON, it is the text with `size` bytes, or else the one with a usual name. Without a layout
    (`size` is 0), it may be any text that looks like a frame.
    """
    try:
        text = sample.decode().strip()
    except UnicodeDecodeError:
        text = "\0"
    if any(sign < " " and sign not in "\t\r\n" for sign in text):
        return _Frame("raw", "raw", (), sample, {})
    try:
        content: Any = parse("json", sample, Limits())
    except DecodeError:
        content = None
    if type(content) not in (dict, list):
        found = dict(_decode(text))
        return next((_Frame("text", name, (), frame, {}) for name, frame in found.items()), None)
    leaves: Leaves = {path: [value] for path, value in walk(content)}
    ids = find_ids(leaves)
    frames = []
    for path, (value, *_) in leaves.items():
        for encoding, frame in _decode(value) if type(value) is str else ():
            likely = path not in ids and not value.isdigit() and len(frame) in _USUAL_SIZE
            fits = len(frame) == size and path not in ids
            named = name_of(path).lower() in _KEYS
            if fits or named or (likely and not size):
                rest = {at: value for at, value in leaves.items() if at != path}
                frames.append(((fits, named), _Frame("json", encoding, path, frame, rest)))
    return max(frames, key=lambda found: found[0], default=(None, None))[1]


def _decode(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield the encodings in which a text is a frame, and the frame."""
    if _HEX.fullmatch(text):
        yield "hex", bytes.fromhex(text)
    if _BASE64.fullmatch(text):
        yield "base64", base64.b64decode(text)
