"""Parse payloads: text, JSON, ``key=value`` text and forms.

If a JSON key is repeated, the last value counts. ``NaN`` and ``Infinity`` are not JSON, but some
firmware prints them. They become faults of their quantity, and so do integers with too many digits.
Simple syntax errors are repaired (`ingest.json_repair`).
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from ingest.errors import PayloadError, Reason
from ingest.json_repair import repair_json
from ingest.validation import Limits, check_json

_DECODE: Final = msgspec.json.Decoder(strict=True).decode
_UNITS_OF_LATIN_1: Final = frozenset("°µ²³".encode("latin-1"))
_LONG_INT: Final = 300
_MAX_TEXT: Final = 4_096
_WORD: Final = re.compile(r"([^\s=,;]{1,64})=([^\s,;]{0,64})")
_NEXT_KEY: Final = re.compile(r"(?<![\s,;])[\s,;]++(?=[A-Za-z][^\s=,;:]{0,63}\s*=)")
_KEY_AND_REST: Final = re.compile(r"([^\s=]{1,64})\s*=\s*([^={}]{0,64})")
_PAIR: Final = re.compile(r"\s*([^\s=:\"'{}][^=:\"'{}]{0,62}?)\s*[=:]\s*([^\s=][^={}]{0,62}?)\s*")


def decode_text(payload: bytes, most: int = 256) -> str:
    """Return a payload of at most `most` bytes as stripped text."""
    if len(payload) > most:
        raise PayloadError(Reason.MALFORMED, f"the text is {len(payload)} bytes long")
    try:
        return payload.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise PayloadError(Reason.MALFORMED, "not UTF-8 text") from error


def _parse_int(digits: str) -> float | int:
    if len(digits) > _LONG_INT:
        return -math.inf if digits.startswith("-") else math.inf
    return int(digits)


def strip_bytes(payload: bytes) -> bytes:
    """Strip a byte order mark, and any white space and NUL bytes at both ends."""
    return payload.removeprefix(b"\xef\xbb\xbf").strip(b"\0 \t\r\n")


def _decode_json_text(payload: bytes) -> str:
    """Decode UTF-8, or Latin-1 if the only bytes above 127 are symbols of units."""
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        if any(byte > 127 and byte not in _UNITS_OF_LATIN_1 for byte in payload):
            raise PayloadError(Reason.MALFORMED, "not UTF-8 text") from error
        return payload.decode("latin-1")


def load_json(payload: bytes, limits: Limits) -> Any:
    """Parse JSON after checking its depth and number of members."""
    check_json(payload, limits)
    try:
        return _DECODE(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = _decode_json_text(strip_bytes(payload))
    try:
        return json.loads(text, parse_int=_parse_int, strict=False)
    except (ValueError, RecursionError) as error:
        mended = repair_json(text)
        if mended is not None:
            with contextlib.suppress(ValueError, RecursionError):
                return json.loads(mended, parse_int=_parse_int, strict=False)
        where = ""
        if isinstance(error, json.JSONDecodeError):
            where = f" at line {error.lineno}, column {error.colno}"
        detail = f"invalid JSON{where}; it begins with {text[:20]!r}"
        raise PayloadError(Reason.MALFORMED, detail) from error


def load_object(payload: bytes, limits: Limits) -> dict[str, Any]:
    """Parse JSON that must be an object, or a string that contains an object."""
    value = load_json(payload, limits)
    if type(value) is str and value.startswith("{"):
        value = load_json(value.encode("utf-8", "replace"), limits)
    if type(value) is not dict:
        raise PayloadError(
            Reason.WRONG_TYPE, f"a JSON object is expected, not {type(value).__name__}"
        )
    return value


def split_objects(payload: bytes) -> list[bytes]:
    """Return the lines of a payload if each is a JSON object, otherwise the payload alone."""
    lines = payload.splitlines() if b"\n" in payload else []
    is_each = all(line[:1] == b"{" and line.rstrip()[-1:] == b"}" for line in lines)
    return lines if len(lines) > 1 and is_each else [payload]


def allow_descriptions(limits: Limits) -> Limits:
    """Return limits that allow large descriptions."""
    return replace(
        limits, payload_bytes=limits.description_bytes, json_members=limits.description_members
    )


def parse_availability(text: str) -> str | None:
    """Return `online` or `offline` for the text of a birth or last will; None for other text.

    >>> parse_availability("Online"), parse_availability("0")
    ('online', 'offline')
    """
    word = text.strip().lower()
    if word in {"online", "true", "1", "connected", "up"}:
        return "online"
    if word in {"offline", "false", "0", "disconnected", "down"}:
        return "offline"
    return None


def parse_state(text: str) -> str:
    """Return `online` or `offline` for the text of a birth or last will.

    The text is a single word, or a JSON object with the word as ``status`` or ``state``. Anything
    else raises `PayloadError` (`malformed`).

    >>> parse_state("Online"), parse_state('{"status": "offline"}')
    ('online', 'offline')
    """
    if text.startswith("{"):
        content = load_object(text.encode(), Limits())
        text = as_text(content.get("status", content.get("state")))
    word = parse_availability(text)
    if word is None:
        raise PayloadError(Reason.MALFORMED, "neither online nor offline")
    return word


def load_pairs(payload: bytes, *, form: bool) -> dict[str, str]:
    """Parse a URL-encoded form or ``key=value`` text; return the values as text, by key."""
    text = decode_text(payload, _MAX_TEXT)
    if form:
        try:
            return dict(parse_qsl(text, strict_parsing=True, max_num_fields=128))
        except ValueError as error:
            raise PayloadError(Reason.MALFORMED, "invalid form data") from error
    words = text.replace(",", " ").replace(";", " ").split()
    pairs = [_WORD.fullmatch(word) for word in words]
    if not all(pairs):
        pairs = [_PAIR.fullmatch(part) for part in re.split(r"[,;\n]|\s{2,}", text) if part.strip()]
    if not all(pairs):  # spaces in values, such as times
        pairs = [_KEY_AND_REST.fullmatch(part) for part in _NEXT_KEY.split(text)]
    if not words or not all(pairs):
        raise PayloadError(Reason.MALFORMED, "not key=value text")
    return {found[1]: found[2].rstrip(" ,;").strip('"') for found in pairs if found}


def as_text(value: object) -> str:
    """Return a value that is text, or empty text for anything else."""
    return value if type(value) is str else ""


def as_dict(value: object) -> dict[str, Any]:
    """Return a value that is a JSON object, or an empty dict for anything else."""
    return value if type(value) is dict else {}


def as_list(value: object) -> list[Any]:
    """Return a value that is a list, or an empty list for anything else."""
    return value if type(value) is list else []
