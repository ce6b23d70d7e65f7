"""Any JSON, ``key=value`` text or form whose names say what they are.

For DIY devices, under a topic or HTTP source that the configuration gives to this decoder; never by
topic alone. What could be two quantities is none (`names`). Objects are searched to a depth of
four.

The device is named by the first of `_IDENTITY` that is text, else by the topic. A number that is no
plausible Unix time counts from boot and is replaced by the receive time; such a counter passes
through plausible numbers after some weeks, so the numbers of a device that was seen to count are
times again only when one is close to the receive time. ``status`` or ``state`` with ``online`` or
``offline`` is birth and will. A number whose name and unit tell no quantity, such as
``"voc": 103``, is left out, with the flag `unread`.
"""

from __future__ import annotations

import math
from typing import Any, Final

from ingest.decoding import Context, load_object, load_pairs, stamp_of, text_of
from ingest.errors import PayloadError, Reason
from ingest.names import measured
from ingest.validation import (
    UNREAD,
    Message,
    Readings,
    number,
    sensor_id,
    version_of,
)

_IDENTITY: Final = ("sensor_id", "device_id", "device", "sensor", "mac", "serial", "serialno", "id")
_TIME: Final = ("time", "timestamp", "ts", "datetime", "unix")
_FIRMWARE: Final = ("firmware", "firmware_version", "fw_version", "sw_version")
_STATUS: Final = ("status", "state")
_WILLS: Final = ("online", "offline")
_OF_THE_BOARD: Final = frozenset(
    {"uptime", "uptime_s", "millis", "seq", "sequence", "counter", "count", "heap", "free_heap"}
    | {"boot", "boots", "boot_count", "reset", "version", "channel", "port", "interval", "id"}
    | {"lat", "lon", "latitude", "longitude", "altitude", "vcc", "battery_v", "voltage"}
)
"""Numbers that are nothing of the air."""
_DEPTH: Final = 4


def decode(message: Message, context: Context) -> Readings:
    """Decode one message."""
    payload = message.payload.strip()
    if payload[:1] in (b"{", b"[", b'"'):
        content = load_object(message.payload, context.limits)
    else:
        content = load_pairs(payload, form=b"&" in payload and b" " not in payload)
    flat: dict[str, Any] = {}
    _flatten(content, flat, _DEPTH)
    lower = {key.lower(): value for key, value in reversed(flat.items())}
    named = next((lower[k] for k in _IDENTITY if type(lower.get(k)) is str and lower[k]), None)
    when = next((lower[k] for k in _TIME if lower.get(k) is not None), None)
    sensor = sensor_id(named if named is not None else message.topic)
    raw = measured(flat)
    tampered = lower.get("tamper") is True
    word = next((w for k in _STATUS if (w := text_of(lower.get(k)).lower()) in _WILLS), "")
    firmware = next((lower[k] for k in _FIRMWARE if k in lower), None)
    if not (raw or tampered or word or version_of(firmware)):
        names = ", ".join(repr(key[:32]) for key in list(flat)[:6]) or "none"
        raise PayloadError(
            Reason.NO_MEASUREMENT, f"no name tells a quantity and a unit that fits it: {names}"
        )
    reading = context.reading(
        sensor,
        message,
        raw,
        _stamp(sensor, when, message, context),
        events=filter(None, ("tamper" if tampered else "", word)),
        flags=[UNREAD] if _has_unread(flat) else [],
        state=bool(word) and not raw and not tampered,
        firmware=firmware,
    )
    return [reading]


def _has_unread(flat: dict[str, Any]) -> bool:
    """Whether a number was left out because its name and unit tell no quantity."""
    known = _OF_THE_BOARD.union(_IDENTITY, _TIME, _FIRMWARE)
    return any(
        number(value) is not None
        and not math.isnan(number(value) or 0.0)
        and key.lower() not in known
        and not measured({key: value})
        for key, value in flat.items()
    )


def _stamp(sensor: str, when: object, message: Message, context: Context) -> float | None:
    """Return a device's time; NaN if it counts from boot."""
    stamp = stamp_of(when, message, context.zone_of(sensor))
    if stamp is None or not math.isfinite(stamp) or number(when) is None:
        return stamp
    limits, last = context.limits, context.states.last
    key = f"generic {sensor}"
    if stamp < limits.earliest:
        last[key] = {"counts": True}
    elif key in last and -limits.max_skew_s <= message.received - stamp <= limits.late_after_s:
        del last[key]
    return math.nan if key in last else stamp


def _flatten(content: dict[str, Any], flat: dict[str, Any], depth: int) -> None:
    for key, value in content.items():
        if type(value) is dict:
            if depth > 1:
                _flatten(value, flat, depth - 1)
        else:
            flat.setdefault(key, value)
