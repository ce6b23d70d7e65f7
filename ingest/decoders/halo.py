"""HALO Smart Sensor: text in which the device replaced the keywords of a template.

Our templates (`TEMPLATE`, `HEARTBEAT`), JSON as other integrators publish it (`_NAMES`), and the
alert text ``VAPE1 value 107.4 exceeded 100 at 2019-3-8 13:22:12`` are understood. Values are texts,
date and time local and unpadded. Vape and THC are `vendor_vape`, masking `vendor_interference`,
smoking `vendor_burning`, tamper `tamper`, heartbeat `online`; sound and motion are refused. The
value is on the vendor's own scale and not stored.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Decoder, dict_of, load_object, stamp_of, text_of
from ingest.errors import PayloadError, Reason
from ingest.validation import build_reading, number, sensor_id

if TYPE_CHECKING:
    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

TEMPLATE: Final = (
    '{"name":"%NAME%","mac":"%MAC%","event":"%EID%","source":"%SOURCE%","value":"%VAL%",'
    '"date":"%DATE%","time":"%TIME%","status":"true"}'
)
"""Text to paste into HALO's external message; the reset message is the same with "false"."""

HEARTBEAT: Final = (
    '{"name":"%NAME%","mac":"%MAC%","event":"Heartbeat","date":"%DATE%","time":"%TIME%"}'
)
"""Text to paste into HALO's heartbeat message."""

_EVENTS: Final = (
    ("heartbeat", "online"),
    ("vape", "vendor_vape"),
    ("thc", "vendor_vape"),
    ("mask", "vendor_interference"),
    ("smok", "vendor_burning"),
    ("tamper", "tamper"),
)
_NAMES: Final = (
    ("name", ("name", "sensorname")),
    ("mac", ("mac", "macaddress")),
    ("event", ("event", "eid", "eventtype", "id")),
    ("source", ("source",)),
    ("status", ("status",)),
    ("date", ("date", "localeventdate")),
    ("time", ("time", "localeventtime")),
)
"""Part of an event, and keys under which integrators send it, in lower case."""
_KEYWORD: Final = re.compile(rb"%[A-Z]{2,12}(?::[A-Z0-9.]{1,16})?%")
_ALERT: Final = re.compile(
    r"\s*(\w{1,32}) value ([-+.\deE]{1,32}) exceeded [-+.\deE]{1,32} at (\S{6,10}) (\S{5,8})\s*"
)


def decode(message: Message, context: Context) -> list[Reading]:
    """Decode one push."""
    if _KEYWORD.search(message.payload):
        raise PayloadError(Reason.MALFORMED, "a template whose keywords were not replaced")
    if message.payload.lstrip()[:1] == b"{":
        parts = _parts(load_object(message.payload, context.limits))
    else:
        parts = _text_parts(message.payload)
    kind = f"{text_of(parts.get('event'))} {text_of(parts.get('source'))}".lower()
    event = next((ours for word, ours in _EVENTS if word in kind), None)
    if event is None:
        raise PayloadError(Reason.NO_MEASUREMENT, "an event that is not about the air")
    named = parts.get("mac") or parts.get("name")
    ended = text_of(parts.get("status")).lower() in ("false", "0", "off")
    return [
        build_reading(
            sensor_id(named or message.topic),
            _stamp(parts, message, context),
            message,
            context.limits,
            {},
            events=("online",) if ended else (event,),
        )
    ]


def _parts(content: dict[str, Any]) -> dict[str, Any]:
    """Parts of an event by our names, from those that its integrator gave them."""
    flat: dict[str, Any] = {}
    inner = content.get("event")
    for part in (dict_of(dict_of(inner).get("Device")), dict_of(inner), content):
        flat.update({key.lower(): value for key, value in part.items() if type(value) is str})
    return {ours: next((flat[n] for n in names if n in flat), None) for ours, names in _NAMES}


def _text_parts(payload: bytes) -> dict[str, Any]:
    match = _ALERT.fullmatch(payload[:256].decode("utf-8", "replace"))
    if match is None or number(match[2]) is None:
        raise PayloadError(Reason.MALFORMED, "neither JSON nor an alert text")
    return {"event": match[1], "date": match[3], "time": match[4]}


def _stamp(parts: dict[str, Any], message: Message, context: Context) -> float | None:
    date, time = text_of(parts.get("date")), text_of(parts.get("time"))
    if not date and not time:
        return None
    try:
        numbers = [int(n) for n in f"{date}-{time}".replace(":", "-").split("-")]
        text = datetime(*numbers[:6]).isoformat() if len(numbers) == 6 else ""  # type: ignore[arg-type]  # noqa: DTZ001
    except (ValueError, OverflowError):
        text = ""
    return stamp_of(text, message, context.zone)


DECODER: Final = Decoder("halo", (), decode, "HALO Smart Sensor, templated push", over_http=True)
