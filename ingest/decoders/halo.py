"""HALO Smart Sensor: alarms and values, pushed by the device or polled.

A message is one of these:

- A template in which the device replaced keywords with values. The template may be ours
  (docs/http.md), JSON as other integrators use it (`_NAMES`), or the alert text ``VAPE1 value 107.4
  exceeded 100 at 2019-3-8 13:22:12``. Values are text; date and time are local and have no leading
  zeros.
- An answer from the local API: all values (``GET /api/config/gstate/latest``) or the alarms.

Sound and motion events are rejected, and so are templates with keywords that were not replaced. If
a value is not a number, the reading gets the flag `unread`. HALO's own score of an event is not
stored, because it uses the vendor's own scale. This decoder is based on public documents and other
programs. It has not been tested with a device.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from ingest.decoding import Context, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.payloads import as_dict, as_text, load_object
from ingest.validation import UNREAD, Message, Readings, make_sensor_id, parse_number

_VALUES: Final = {
    "pmsensor/raw/0": "pm1",
    "pmsensor/raw/1": "pm25",
    "pmsensor/raw/2": "pm10",
    "co2sensor/tvoc": "tvoc_ppb",
    "co2sensor/co2": "co2",
    "gassensor/co": "co",
    "htsensor/humidity": "rh",
    "htsensor/ctemp": "temp",
    "htsensor/millibar": "pressure",
    "luxsensor/aluxfilt": "light",
}
"""Quantity of each HALO value. HALO uses the same units as our table of quantities."""

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
"""Parts of an event, and the lowercase keys that integrators use for them."""
_KEYWORD: Final = re.compile(rb"%[A-Z]{2,12}(?::[A-Z0-9.]{1,16})?%")
_ALERT: Final = re.compile(
    r"\s*(\w{1,32}) value ([-+.\deE]{1,32}) exceeded [-+.\deE]{1,32} at (\S{6,10}) (\S{5,8})\s*"
)


def decode(message: Message, context: Context) -> Readings:
    """Decode one message."""
    if _KEYWORD.search(message.payload):
        raise PayloadError(Reason.MALFORMED, "a template whose keywords were not replaced")
    content: dict[str, Any] = {}
    if message.payload.lstrip()[:1] == b"{":
        content = load_object(message.payload, context.limits)
        parts = _find_parts(content)
    else:
        parts = _parse_alert(message.payload)
    sent = {ours: content[name] for name, ours in _VALUES.items() if name in content}
    values = {ours: value for ours, value in sent.items() if parse_number(value) is not None}
    named = parts.get("mac") or parts.get("name")
    sensor = make_sensor_id(named or message.topic)
    context.names.check_sender(sensor, message.topic)
    stamp = _find_time(sensor, parts, message, context)
    events = _find_events(parts, content, has_values=bool(sent))
    flags = [UNREAD] if len(values) < len(sent) else []
    return [context.validate(sensor, message, values, stamp, events=events, flags=flags)]


def _find_events(
    parts: dict[str, Any], content: dict[str, Any], *, has_values: bool
) -> tuple[str, ...]:
    """Return the device events; raises `PayloadError` if the message is not about the air."""
    states = {key: value["state"] for key, value in content.items() if "state" in as_dict(value)}
    if states and not parts["event"]:
        found = tuple(_find_event(key) for key, state in states.items() if state == 1)
        return tuple(filter(None, found)) or ("online",)
    kind = f"{as_text(parts.get('event'))} {as_text(parts.get('source'))}".lower()
    event = _find_event(kind)
    if not event and not has_values:
        raise PayloadError(Reason.NO_MEASUREMENT, "an event that is not about the air")
    ended = as_text(parts.get("status")).lower() in ("false", "0", "off")
    return ("online",) if ended or not event else (event,)


def _find_event(name: str) -> str:
    return next((ours for word, ours in _EVENTS if word in name.lower()), "")


def _find_parts(content: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    inner = content.get("event")
    for part in (as_dict(as_dict(inner).get("Device")), as_dict(inner), content):
        flat.update({key.lower(): value for key, value in part.items() if type(value) is str})
    return {ours: next((flat[n] for n in names if n in flat), None) for ours, names in _NAMES}


def _parse_alert(payload: bytes) -> dict[str, Any]:
    match = _ALERT.fullmatch(payload[:256].decode("utf-8", "replace"))
    if match is None or parse_number(match[2]) is None:
        raise PayloadError(Reason.MALFORMED, "neither JSON nor an alert text")
    return {"event": match[1], "date": match[3], "time": match[4]}


def _find_time(
    sensor: str, parts: dict[str, Any], message: Message, context: Context
) -> float | None:
    date, time = as_text(parts.get("date")), as_text(parts.get("time"))
    if not date and not time:
        return None
    try:
        numbers = [int(n) for n in f"{date}-{time}".replace(":", "-").split("-")]
        text = datetime(*numbers[:6]).isoformat() if len(numbers) == 6 else ""  # type: ignore[arg-type]  # noqa: DTZ001
    except (ValueError, OverflowError):
        text = ""
    return parse_stamp(text, message, context.find_zone(sensor))
