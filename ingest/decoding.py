"""What every decoder is made of: its row in the table, its context, and strict JSON.

One JSON dialect holds for all formats (`load_json`): UTF-8, one value; of a repeated key the last
one counts; ``NaN`` and ``Infinity``, which some firmware prints although JSON has none, are read
as such and become faults of their quantity; an integer of any length is a number, and out of
range.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from ingest.errors import PayloadError, Reason
from ingest.states import States
from ingest.validation import Limits, build_reading, check_json, fold_id, parse_time
from storage.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.message import Message
    from storage.reading import Reading

_DECODE: Final = msgspec.json.Decoder(strict=True).decode
_TRAILING_COMMA: Final = re.compile(rb'("(?:[^"\\]|\\.)*+(?:"|\\?\Z))|,(?=\s*[}\]])', re.DOTALL)
_LONG_INT: Final = 300
_MAX_TEXT: Final = 4_096
_PAIR: Final = re.compile(r"([^\s=,;]{1,64})=([^\s,;]{0,64})")


@dataclass(frozen=True, slots=True)
class Context:
    """What a decoder may know besides the message.

    `zone`: the site's time zone, for devices that print local time without offset; `zones` that of
    sensors at sites in another one, by name as `fold_id` writes it.
    `limits`: bounds on what is believed.
    `registry`: registered sensors; a sensor's `model` names its codec where bytes alone do not.
    `states`: memory of the formats that need one.
    """

    zone: tzinfo = UTC
    limits: Limits = field(default_factory=Limits)
    registry: Registry = field(default_factory=Registry)
    states: States = field(default_factory=States)
    zones: Mapping[str, tzinfo] = field(default_factory=dict)

    def zone_of(self, sensor: str) -> tzinfo:
        """Return the time zone in which a sensor prints local time."""
        return self.zones.get(fold_id(sensor), self.zone) if self.zones else self.zone


@dataclass(frozen=True, slots=True)
class Decoder:
    """One row of the table of decoders.

    `topics`: MQTT topic filters; a `#` may also stand inside, for one or more levels
    (``tele/#/SENSOR``). Empty for formats whose topic the user chooses.
    `decode`: raises nothing but `DecodeError`. An empty list means: understood, nothing to store by
    itself (a value that waits in a join window, a description, a downlink receipt).
    `descriptions`: topic filters of large descriptions (`Limits.description_bytes`).
    `over_http`: whether a message may come over HTTP: one that joins values of many topics may not.
    """

    name: str
    topics: tuple[str, ...]
    decode: Callable[[Message, Context], list[Reading]]
    summary: str
    descriptions: tuple[str, ...] = ()
    over_http: bool = False


def decode_text(payload: bytes) -> str:
    """Return the payload as stripped text."""
    if len(payload) > 256:
        raise PayloadError(Reason.MALFORMED, f"a bare value of {len(payload)} bytes")
    try:
        return payload.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise PayloadError(Reason.MALFORMED, "not UTF-8 text") from error


def _parse_int(digits: str) -> float | int:
    if len(digits) > _LONG_INT:
        return -math.inf if digits.startswith("-") else math.inf
    return int(digits)


def load_json(payload: bytes, limits: Limits, *, repair_commas: bool = False) -> Any:
    """Parse JSON after its depth and number of members were bounded."""
    check_json(payload, limits)
    try:
        return _DECODE(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    if repair_commas:
        payload = _TRAILING_COMMA.sub(lambda m: m.group(1) or b"", payload)
    try:
        return json.loads(payload.decode("utf-8"), parse_int=_parse_int)
    except UnicodeDecodeError as error:
        raise PayloadError(Reason.MALFORMED, "not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise PayloadError(Reason.MALFORMED, f"invalid JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise PayloadError(Reason.MALFORMED, "invalid JSON") from error


def load_object(payload: bytes, limits: Limits, *, repair_commas: bool = False) -> dict[str, Any]:
    """Parse JSON whose outermost value must be an object."""
    value = load_json(payload, limits, repair_commas=repair_commas)
    if type(value) is not dict:
        raise PayloadError(
            Reason.WRONG_TYPE, f"a JSON object is expected, not {type(value).__name__}"
        )
    return value


def for_descriptions(limits: Limits) -> Limits:
    """Return limits that let a large description pass."""
    return replace(
        limits, payload_bytes=limits.description_bytes, json_members=limits.description_members
    )


def availability(text: str) -> str | None:
    """Return `online` or `offline` for a will or birth text, None for anything else.

    >>> availability("Online"), availability("0")
    ('online', 'offline')
    """
    word = text.strip().lower()
    if word in {"online", "true", "1", "connected", "up"}:
        return "online"
    if word in {"offline", "false", "0", "disconnected", "down"}:
        return "offline"
    return None


def state_word(text: str) -> str:
    """Return `online` or `offline` for a will or birth; anything else is malformed.

    It is a bare word, or an object with it as ``status`` or ``state``.

    >>> state_word("Online"), state_word('{"status": "offline"}')
    ('online', 'offline')
    """
    if text.startswith("{"):
        content = load_object(text.encode(), Limits())
        text = text_of(content.get("status", content.get("state")))
    word = availability(text)
    if word is None:
        raise PayloadError(Reason.MALFORMED, "neither online nor offline")
    return word


def load_pairs(payload: bytes, *, form: bool) -> dict[str, str]:
    """Return names and texts of a URL-encoded form, or of ``key=value`` text."""
    if len(payload) > _MAX_TEXT:
        raise PayloadError(Reason.MALFORMED, f"text of {len(payload)} bytes")
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise PayloadError(Reason.MALFORMED, "not UTF-8 text") from error
    if form:
        try:
            return dict(parse_qsl(text, strict_parsing=True, max_num_fields=128))
        except ValueError as error:
            raise PayloadError(Reason.MALFORMED, "a form that is broken") from error
    words = text.replace(",", " ").replace(";", " ").split()
    pairs = [_PAIR.fullmatch(word) for word in words]
    if not words or not all(pairs):
        raise PayloadError(Reason.MALFORMED, "no key=value text")
    return {found[1]: found[2] for found in pairs if found}


def state_reading(sensor: str, word: str, message: Message, context: Context) -> Reading:
    """Return a reading that says `online` or `offline`."""
    return build_reading(sensor, None, message, context.limits, {}, events=(word,), state=True)


def gateway_states(
    gateway: str, sensor: str, word: str, message: Message, context: Context
) -> list[Reading]:
    """Return `online` or `offline` for a gateway and, when it is gone, for all behind it."""
    names = [sensor]
    if word == "offline":
        names += [c for c in context.states.children.get(gateway, []) if c != sensor]
    return [state_reading(name, word, message, context) for name in names]


def same_device(named: str, sensor: str) -> None:
    """Refuse a payload that names another device than its topic."""
    if fold_id(named) != fold_id(sensor):
        raise PayloadError(Reason.ID_MISMATCH, f"topic is of {sensor!r}, payload says {named!r}")


def stamp_of(value: object, message: Message, zone: tzinfo | None = None) -> float | None:
    """Return a device's time for `build_reading`: None if absent, NaN if unusable."""
    if value is None:
        return None
    stamp = parse_time(value, message.received, zone)
    return math.nan if stamp is None else stamp


def text_of(value: object) -> str:
    """Return text, or empty text for anything else."""
    return value if type(value) is str else ""


def dict_of(value: object) -> dict[str, Any]:
    """Return an object, or an empty one for anything else."""
    return value if type(value) is dict else {}


def list_of(value: object) -> list[Any]:
    """Return a list, or an empty one for anything else."""
    return value if type(value) is list else []
