"""LoRaWAN network servers: ChirpStack v4, The Things Stack v3, LORIOT, Milesight gateways.

The envelope has the identity (an EUI, lowercase), the time, and the frame counter, which is used as
the sequence number. Our codecs decode the frame even if the server has decoded it too. The server's
decoded object is used only if none of our codecs can read the frame. For ChirpStack, the time is
``time``. If ``nsTime`` differs from it by more than the allowed skew, ``nsTime`` is used instead,
with the flag `clock_skew`.

Integrators can change the JSON of a Milesight gateway: the frame may be base64 or hex, and if there
is no ``object``, the outermost object has the decoded values. Messages with ``simulated: true`` get
the flag `simulated` and never alert. A join, a status report, and a codec error of the server (flag
`codec_error`) mean that the device is `online`. Downlink receipts are ignored. If the payload on a
topic of ChirpStack or The Things Stack is not JSON, it is a frame without an envelope.
"""

from __future__ import annotations

import base64
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.decoders.generic import flatten
from ingest.decoders.lorawan import decentlab, elsys, milesight
from ingest.decoders.lorawan.frames import Frame, make_readings, read_frame
from ingest.decoding import Context, check_same_device, parse_stamp
from ingest.errors import PayloadError, Reason
from ingest.names import find_quantities, is_of_room
from ingest.payloads import as_dict, as_list, as_text, load_object
from ingest.validation import Message, Readings, count_all_above, make_sensor_id, parse_number

if TYPE_CHECKING:
    from ingest.decoders.lorawan.frames import Codec


_FAULT: Final = frozenset({0, 1, 2, "collection error", "lower range error", "over range error"})
_INNER: Final = 3
"""Depth to which a decoded object is searched."""
_ALARM_OF: Final[dict[str, tuple[str, str, frozenset[object]]]] = {
    "vaping_index_alarm": ("vape_index", "vendor_vape", frozenset({17, "alarm trigger"})),
    "pm1_0_alarm": ("pm1", "", frozenset()),
    "pm2_5_alarm": ("pm25", "", frozenset()),
    "pm10_alarm": ("pm10", "", frozenset()),
    "temperature_alarm": ("temp", "vendor_burning", frozenset({33, "burning alarm trigger"})),
    "humidity_alarm": ("rh", "", frozenset()),
    "tvoc_alarm": ("tvoc_ugm3", "", frozenset()),
    **dict.fromkeys(
        ("tamper_alarm", "tamper_status_alarm"),
        ("", "tamper", frozenset({33, "trigger", "alarm trigger", "triggered"})),
    ),
}
"""Quantity and event of each alarm, and the alarm types that cause the event."""
_MASKED: Final = frozenset({33, "interference alarm trigger"})
_TAMPERED: Final = frozenset({1, "triggered", "trigger"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UP_TO: Final = {"pm0_5": "n05", "pm1_0": "n10", "pm2_5": "n25"}
_MAX_NAME: Final = 64


def read_decoded(decoded: dict[str, Any], units: dict[str, str] | None = None) -> Frame:
    """Read the object that the network server's own codec decoded from a frame.

    Quantities are identified by name (`ingest.names.find_quantities`). In addition:

    - ``{"value": x, "unit": u}`` is a value with its unit (Decentlab).
    - The type of a GS601 alarm may be a number (``{"type": 17, "alarm_trigger": {...}}``), words,
      or the name of a member, also in camel case. If the type means a fault, the quantity is a
      fault and there is no alarm. A value inside the alarm is used if it is not in the object
      itself.
    - Decentlab's number concentrations count particles up to a diameter, so differences are used.
    """
    members = {_CAMEL.sub("_", k).lower(): v for k, v in decoded.items() if len(k) <= _MAX_NAME}
    if "vaping_index" in members or "vaping_index_alarm" in members:
        units = {"tvoc": "ug/m3"}
    frame = Frame(find_quantities(_flatten_members(decoded), units))
    _add_counts(frame, members)
    if _clean_word(members.get("tamper_status")) in _TAMPERED:
        frame.events.append("tamper")
    for name, value in members.items():
        if name in _ALARM_OF:
            _read_alarm(frame, name, value, units)
    return frame


def _read_alarm(frame: Frame, name: str, value: object, units: dict[str, str] | None) -> None:
    quantity, event, triggers = _ALARM_OF[name]
    kinds = _find_kinds(value)
    if quantity and kinds & _FAULT:
        frame.faults.append(quantity)
        return
    if kinds & triggers:
        frame.events.append(event)
    if name == "vaping_index_alarm" and kinds & _MASKED:
        frame.events.append("vendor_interference")
    if type(value) is dict:
        for inner in (value, *value.values()):
            if type(inner) is dict:
                frame.raw = {**find_quantities(inner, units), **frame.raw}


def _find_kinds(alarm: object) -> set[object]:
    """Return an alarm's type (a number or words) or, if it has none, its members' names."""
    kind = alarm.get("type") if type(alarm) is dict else alarm
    word = _clean_word(kind)
    if word is not None:
        return {word}
    return {_clean_word(name) for name in alarm} if type(alarm) is dict else set()


def _clean_word(value: object) -> object:
    """Return an integer, or text as lowercase words with spaces; None for anything else."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is str:
        return _CAMEL.sub("_", value).replace("_", " ").lower()
    return value if type(value) is int else None


def _flatten_members(decoded: dict[str, Any]) -> dict[str, Any]:
    """Return a decoded object's members by name; direct members precede nested ones."""
    flat: dict[str, Any] = {}
    nested = [name for name, value in decoded.items() if _is_nested(value)]
    flatten({name: value for name, value in decoded.items() if name not in nested}, flat, 1)
    for name in filter(is_of_room, nested):  # not alarms
        for item in ({name: decoded[name]}, *as_list(decoded[name])):
            flatten(as_dict(item), flat, _INNER)
    return flat


def _is_nested(value: object) -> bool:
    return type(value) is list or (type(value) is dict and "value" not in value)


def _add_counts(frame: Frame, members: dict[str, Any]) -> None:
    def up_to(size: str) -> float | None:
        value = members.get(f"{size}_number_concentration")
        return parse_number(value.get("value") if type(value) is dict else value)

    below = {quantity: up_to(size) for size, quantity in _UP_TO.items()}
    frame.raw.update(count_all_above(up_to("pm10"), below))


_MILESIGHT_PORT: Final = 85
_ELSYS_PORT: Final = 5
_GUESSED: Final = (*decentlab.CODECS, elsys.read_guessed)
_MODELS: Final = (*milesight.MODELS, *decentlab.MODELS, *elsys.MODELS)
_AM100: Final = re.compile("am10[2-7]")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_IS_HEX: Final = re.compile(r"(?:[0-9a-f]{2}){6,}|(?:[0-9A-F]{2}){6,}")
_EUI_KEYS: Final = ("deveui", "dev_eui", "sensor")


class _Keys(NamedTuple):
    """Keys of the parts of an uplink; `coding` is hex, base64, or empty if it may be either."""

    data: str
    coding: str
    decoded: str
    port: str
    counter: str
    gateways: str


_CHIRPSTACK: Final = _Keys("data", "base64", "object", "fPort", "fCnt", "rxInfo")
_TTS: Final = _Keys("frm_payload", "base64", "decoded_payload", "f_port", "f_cnt", "rx_metadata")
_LORIOT: Final = _Keys("data", "hex", "decoded", "port", "fcnt", "gws")
_MILESIGHT: Final = _Keys("data", "", "object", "fport", "fcnt", "rxinfo")
_BARE: Final = _Keys("", "", "", "", "", "")


def _decode_bytes(text: object, coding: str) -> bytes | None:
    """Decode hex or base64, which may be URL-safe and lack its padding."""
    if type(text) is not str or not text:
        return None
    coding = coding or ("hex" if _IS_HEX.fullmatch(text) else "base64")
    try:
        if coding == "hex":
            return bytes.fromhex(text)
        return base64.b64decode(text.translate(_URL_SAFE) + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise PayloadError(Reason.MALFORMED, f"the frame is not {coding}") from error


@lru_cache(maxsize=8192)
def _make_eui(text: str) -> str:
    return make_sensor_id(text).lower()


def _parse_eui(value: object) -> str:
    return _make_eui(value) if type(value) is str else make_sensor_id(value)


def _read_uplink(
    sensor: str,
    content: dict[str, Any],
    keys: _Keys,
    stamp: float | None,
    message: Message,
    context: Context,
    *,
    model: str = "",
    flags: tuple[str, ...] = (),
) -> Readings:
    """Return the readings in an uplink; if `keys` is `_BARE`, the whole payload is the frame."""
    known = context.registry.sensors.get(sensor)
    named = f"{known.model} {model}" if known and known.model else model
    bare = keys is _BARE
    data = message.payload if bare else _decode_bytes(content.get(keys.data), keys.coding)
    frame, problem = None, PayloadError(Reason.NO_MEASUREMENT, "neither frame nor decoded values")
    if data is not None:
        try:
            frame = read_frame(data, named, _choose_codecs(content.get(keys.port)), _MODELS)
        except PayloadError as error:
            problem = error
    if frame is None:
        decoded = as_dict(content.get(keys.decoded))
        am100 = bool(decoded) and _AM100.search(named.lower()) is not None
        frame = read_decoded(decoded, {"tvoc": "ppb"} if am100 else None)
        if frame.is_empty:
            raise problem
    rssi = _find_strongest(content.get(keys.gateways))
    if frame.raw and rssi is not None:
        frame.raw.setdefault("rssi", rssi)
    count = content.get(keys.counter, 0 if keys in (_CHIRPSTACK, _TTS) else None)
    seq = count if type(count) is int and 0 <= count < 2**63 else None
    return make_readings(frame, sensor, stamp, message, context, flags=flags, seq=seq)


def _find_strongest(gateways: object) -> float | None:
    """Return the strongest signal at any gateway, in dBm, or None."""
    levels: list[Any] = [as_dict(gateway).get("rssi") for gateway in as_list(gateways)[:64]]
    return max((x for x in levels if type(x) in (int, float) and -200 <= x < 0), default=None)


def _choose_codecs(port: object) -> tuple[Codec, ...]:
    """Return the codecs to try for an unknown model; the port suggests the maker."""
    if type(port) is not int:
        return (*milesight.CODECS, *_GUESSED)
    if port == _MILESIGHT_PORT:
        return milesight.CODECS
    return (*decentlab.CODECS, elsys.read_elsys) if port == _ELSYS_PORT else _GUESSED


def _is_not_json(payload: bytes) -> bool:
    return payload.lstrip()[:1] != b"{"


# --- ChirpStack v4 ---------------------------------------------------------------------------


def decode_chirpstack(message: Message, context: Context) -> Readings:
    """Decode an integration event of ChirpStack v4."""
    levels = message.topic.split("/")
    placed = len(levels) == 6 and levels[0] == "application" and levels[4] == "event"
    event = levels[5] if placed else "up"
    if placed and event == "up" and message.payload and _is_not_json(message.payload):
        return _read_uplink(_parse_eui(levels[3]), {}, _BARE, None, message, context)
    content = load_object(message.payload, context.limits)
    device = as_dict(content.get("deviceInfo"))
    place = levels[3] if placed else message.topic
    sensor = _find_chirpstack_id(device, place, placed=placed)
    context.names.check_sender(sensor, place)
    if event in ("txack", "location", "integration"):
        return []
    stamp, skewed = _find_chirpstack_time(content, message, context)
    flags = ("clock_skew",) if skewed else ()
    if event == "up":
        parts = (as_dict(device.get("tags")).get("model"), device.get("deviceProfileName"))
        model = " ".join(filter(None, map(as_text, parts)))
        return _read_uplink(
            sensor, content, _CHIRPSTACK, stamp, message, context, model=model, flags=flags
        )
    raw: dict[str, object] = {}
    if event == "log":
        code = as_text(content.get("code"))
        if code != "UPLINK_CODEC":
            raise PayloadError(
                Reason.NO_MEASUREMENT, f"log entry {code or 'without a code'}: no measurement"
            )
        flags = ("codec_error",)
    elif event == "status":
        level = content.get("batteryLevel")
        unknown = content.get("batteryLevelUnavailable") or content.get("externalPowerSource")
        if type(level) in (int, float) and not unknown:
            raw = {"battery": level}
    elif event not in ("join", "ack"):
        raise PayloadError(Reason.UNKNOWN_TOPIC, f"unknown integration event {event!r}")
    return [context.validate(sensor, message, raw, stamp, events=("online",), flags=flags)]


def _find_chirpstack_id(device: dict[str, Any], place: str, *, placed: bool) -> str:
    named = device.get("devEui")
    if named is None:
        return _parse_eui(place)
    sensor = _parse_eui(named)
    if placed:
        check_same_device(sensor, _parse_eui(place))
    return sensor


def _find_chirpstack_time(
    content: dict[str, Any], message: Message, context: Context
) -> tuple[float | None, bool]:
    stamp = parse_stamp(content.get("time"), message)
    for gateway in as_list(content.get("rxInfo")):
        served = parse_stamp(as_dict(gateway).get("nsTime"), message)
        if served is not None and math.isfinite(served):
            if stamp is None:
                return served, False
            off = not abs(served - stamp) <= context.limits.max_skew_s
            return (served, True) if off else (stamp, False)
    return stamp, False


# --- The Things Stack v3 ---------------------------------------------------------------------


def decode_tts(message: Message, context: Context) -> Readings:
    """Decode an application message of The Things Stack v3."""
    levels = message.topic.split("/")
    placed = len(levels) >= 5 and levels[0] == "v3" and levels[2] == "devices"
    kind = "/".join(levels[4:]) if placed else "up"
    if placed and kind == "up" and message.payload and _is_not_json(message.payload):
        return _read_uplink(make_sensor_id(levels[3]), {}, _BARE, None, message, context)
    content = load_object(message.payload, context.limits)
    ids = as_dict(content.get("end_device_ids"))
    place = levels[3] if placed else message.topic
    sensor = _find_tts_id(ids, place, placed=placed)
    context.names.check_sender(sensor, place)
    if kind not in ("up", "join"):
        return []
    uplink = as_dict(content.get("uplink_message"))
    flags = ("simulated",) if content.get("simulated") or uplink.get("simulated") else ()
    stamp = _find_tts_time(content, uplink, message)
    if kind == "join":
        return [context.validate(sensor, message, {}, stamp, events=("online",), flags=flags)]
    decoded = dict(as_dict(uplink.get("decoded_payload")))
    for item in as_list(uplink.get("normalized_payload")):
        decoded = {**as_dict(as_dict(item).get("air")), **decoded}
    uplink["decoded_payload"] = decoded
    model = as_text(as_dict(uplink.get("version_ids")).get("model_id"))
    return _read_uplink(sensor, uplink, _TTS, stamp, message, context, model=model, flags=flags)


def _find_tts_id(ids: dict[str, Any], place: str, *, placed: bool) -> str:
    device = ids.get("device_id")
    if placed and device is not None:
        check_same_device(make_sensor_id(device), make_sensor_id(place))
    if ids.get("dev_eui") is not None:
        return _parse_eui(ids["dev_eui"])
    return make_sensor_id(device if device is not None else place)


def _find_tts_time(
    content: dict[str, Any], uplink: dict[str, Any], message: Message
) -> float | None:
    settings = as_dict(uplink.get("settings"))
    join = as_dict(content.get("join_accept"))
    for value in (
        content.get("received_at"),
        uplink.get("received_at"),
        join.get("received_at"),
        settings.get("time"),
        *(as_dict(g).get("time") for g in as_list(uplink.get("rx_metadata"))[:1]),
    ):
        if value is not None:
            return parse_stamp(value, message)
    return None


# --- LORIOT ----------------------------------------------------------------------------------


def decode_loriot(message: Message, context: Context) -> Readings:
    """Decode a message of LORIOT's application output."""
    content = load_object(message.payload, context.limits)
    command = content.get("cmd")
    if type(command) is not str:
        raise PayloadError(Reason.WRONG_TYPE, "not a LORIOT message: cmd is missing")
    sensor = _parse_eui(content.get("EUI"))
    context.names.check_sender(sensor, message.topic)
    if command not in ("rx", "gw"):
        return []
    flags = ("history",) if content.get("offline") is True else ()
    content.setdefault("gws", [dict(content)])
    stamp = parse_stamp(content.get("ts"), message)
    return _read_uplink(sensor, content, _LORIOT, stamp, message, context, flags=flags)


# --- Milesight gateway -----------------------------------------------------------------------


def decode_milesight_gateway(message: Message, context: Context) -> Readings:
    """Decode an uplink of a Milesight gateway's embedded network server."""
    content = load_object(message.payload, context.limits)
    members = {key.lower(): value for key, value in content.items()}
    named = next((members[key] for key in _EUI_KEYS if key in members), None)
    if named is None:
        raise PayloadError(Reason.BAD_ID, "neither devEUI nor sensor contains an id")
    sensor = _parse_eui(named)
    context.names.check_sender(sensor, message.topic)
    members = {"data": members.get("raw"), "object": content, **members}
    stamp, model = parse_stamp(members.get("time"), message), as_text(members.get("devicename"))
    return _read_uplink(sensor, members, _MILESIGHT, stamp, message, context, model=model)
