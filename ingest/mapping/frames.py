"""Write the skeleton of a mapping for binary frames; a person adds offsets from the data sheet."""

from __future__ import annotations

import base64
import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from ingest.errors import DecodeError
from ingest.mapping.draft import Entry, start_draft
from ingest.mapping.source import parse
from ingest.validation import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2} ?){3,1024}")
_BASE64: Final = re.compile(
    r"(?=.*[A-Z])(?=.*(?:[0-9+/=]|[a-z][A-Z]))(?:[\w+/]{4}){1,342}(?:[\w+/]{2}==|[\w+/]{3}=)?",
    re.ASCII,
)
_KEYS: Final = frozenset({"data", "payload", "raw", "hex", "bytes", "frame", "frm_payload"})
_HEADING: Final = (
    "# A skeleton: the data sheet says which bytes are which value. Fill in the fields, and in the",
    "# examples what the device showed; `plumewatch check` then compares them.",
)
_FIELD: Final = (
    *("# [[mapping.field]]", '# quantity = "pm25"', '# unit = "ug/m3"'),
    '# at = { offset = 0, type = "u16", endian = "big" }  # or u8, i16, u32, f32; "little"',
    "# scale = 0.1",
)
_SAMPLES: Final = 3


def sketch(topic: str, samples: Sequence[bytes], received: float, name: str = "") -> str:
    """Return the skeleton of a mapping for frames; empty if the samples contain none.

    Frames may be bytes, hex or base64, alone or in JSON.
    """
    found = [(frame, sample) for sample in samples for frame in _find_frames(sample)]
    alike = [(frame, sample) for frame, sample in found if frame[:3] == found[0][0][:3]][:_SAMPLES]
    if not alike:
        return ""
    form, encoding, path, _ = alike[0][0]
    contents = [frame[3] for frame, _ in alike]
    least = min(map(len, contents))
    draft = start_draft(topic, name, form, [], [])
    binary = {"encoding": encoding, "path": [*path], "min_length": least}
    draft.head.add("binary", {key: value for key, value in binary.items() if value != []})
    sign = {"event": "restart", "at": {"offset": 0, "type": "u8"}, "present": True}
    draft.events.append(Entry(sign))  # otherwise the examples would have no reading
    differ = ("^^" if len({content[k] for content in contents}) > 1 else "  " for k in range(least))
    lines = [*_HEADING, "[[mapping]]", *draft.head.lines(), ""]
    lines += [f"# offset   {' '.join(f'{k:2}' for k in range(least))}"]
    lines += [f"# sample {n} {frame.hex(' ')}" for n, frame in enumerate(contents, start=1)]
    lines += [f"# differs  {' '.join(differ)}".rstrip(), *_FIELD]
    for _, sample in alike:
        if (example := draft.make_example(sample, received, UTC)) is not None:
            example.values.pop("events")
            example.add("values", {}, "fill in")
            lines += ["", "[[mapping.example]]", *example.lines()]
    return "\n".join(lines) + "\n"


def _find_frames(sample: bytes) -> Iterator[tuple[str, str, tuple[str, ...], bytes]]:
    """Yield the form, encoding, path and bytes of each frame in a sample."""
    if any((sign < 32 and sign not in b"\t\r\n") or sign > 126 for sign in sample):
        yield "raw", "raw", (), sample
        return
    try:
        content: Any = parse("json", sample, Limits())
    except DecodeError:
        content = {}
    members = content.items() if type(content) is dict else ()
    texts: list[tuple[tuple[str, ...], str]]
    texts = [((k,), v) for k, v in members if k.lower() in _KEYS and type(v) is str]
    for path, text in texts or [((), sample.decode().strip())]:
        form = "json" if path else "text"
        if _HEX.fullmatch(text):
            yield form, "hex", path, bytes.fromhex(text)
        elif _BASE64.fullmatch(text):
            yield form, "base64", path, base64.b64decode(text)
