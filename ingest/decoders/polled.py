"""Devices with a local web page that somebody polls and forwards: PurpleAir, Awair, UniFi Protect.

None of them publishes to MQTT; their JSON comes in through the HTTP ingest or a bridge, under a
topic of its own. Fields are taken by literal tables.

- **PurpleAir**: ``current_temp_f`` is Fahrenheit, particle counts are per 0.1 L, the atmospheric
  masses (``_atm``) are taken; ``version`` is that of its firmware.
- **Awair**: ``voc`` is ppb; ``pm10_est`` is the vendor's estimate and all there is.
- **UniFi Protect UP-AirQuality**: ``voc`` and ``nox`` are Sensirion indices, ``vape`` is the
  vendor's index; ``tvoc`` has no stated unit and is ignored. ``firmwareVersion`` beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.decoding import Decoder, dict_of, load_object, stamp_of
from ingest.validation import build_reading, number, sensor_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.decoding import Context
    from ingest.message import Message
    from storage.reading import Reading

_Table = tuple[tuple[str, str, float, float], ...]
"""Key, quantity, scale, offset."""

_PURPLEAIR: Final[_Table] = (
    ("pm1_0_atm", "pm1", 1, 0),
    ("pm2_5_atm", "pm25", 1, 0),
    ("pm10_0_atm", "pm10", 1, 0),
    ("p_0_3_um", "n03", 0.01, 0),
    ("p_0_5_um", "n05", 0.01, 0),
    ("p_1_0_um", "n10", 0.01, 0),
    ("p_2_5_um", "n25", 0.01, 0),
    ("p_5_0_um", "n50", 0.01, 0),
    ("p_10_0_um", "n100", 0.01, 0),
    ("current_temp_f", "temp", 1 / 1.8, -32 / 1.8),
    ("current_humidity", "rh", 1, 0),
    ("pressure", "pressure", 1, 0),
    ("rssi", "rssi", 1, 0),
)
_AWAIR: Final[_Table] = (
    ("temp", "temp", 1, 0),
    ("humid", "rh", 1, 0),
    ("co2", "co2", 1, 0),
    ("voc", "tvoc_ppb", 1, 0),
    ("pm25", "pm25", 1, 0),
    ("pm10_est", "pm10", 1, 0),
    ("lux", "light", 1, 0),
)
_UNIFI: Final[_Table] = (
    ("pm1p0", "pm1", 1, 0),
    ("pm2p5", "pm25", 1, 0),
    ("pm4p0", "pm4", 1, 0),
    ("pm10p0", "pm10", 1, 0),
    ("co2", "co2", 1, 0),
    ("voc", "voc_index", 1, 0),
    ("nox", "nox_index", 1, 0),
    ("vape", "vape_index", 1, 0),
    ("temperature", "temp", 1, 0),
    ("humidity", "rh", 1, 0),
)


def _take(content: Mapping[str, Any], table: _Table) -> dict[str, object]:
    raw: dict[str, object] = {}
    for key, quantity, scale, offset in table:
        if key in content:
            plain = number(content[key])
            raw[quantity] = None if plain is None else round(plain * scale + offset, 6)
    return raw


def purpleair(message: Message, context: Context) -> list[Reading]:
    """Decode the local JSON of a PurpleAir sensor."""
    content = load_object(message.payload, context.limits)
    named = content.get("SensorId")
    return [
        build_reading(
            sensor_id(named if named is not None else message.topic),
            stamp_of(content.get("DateTime"), message),
            message,
            context.limits,
            _take(content, _PURPLEAIR),
            firmware=content.get("version"),
        )
    ]


def awair(message: Message, context: Context) -> list[Reading]:
    """Decode the local JSON of an Awair sensor."""
    content = load_object(message.payload, context.limits)
    named = content.get("device_uuid")
    return [
        build_reading(
            sensor_id(named if named is not None else message.topic),
            stamp_of(content.get("timestamp"), message),
            message,
            context.limits,
            _take(content, _AWAIR),
        )
    ]


def unifi(message: Message, context: Context) -> list[Reading]:
    """Decode the state of a UniFi Protect air quality sensor."""
    content = load_object(message.payload, context.limits)
    named = content.get("mac", content.get("id"))
    air = dict_of(content.get("airQuality"))
    values = {k: v["value"] for k, v in air.items() if type(v) is dict and "value" in v}
    return [
        build_reading(
            sensor_id(named if named is not None else message.topic),
            None,
            message,
            context.limits,
            _take(values, _UNIFI),
            firmware=content.get("firmwareVersion"),
        )
    ]


PURPLEAIR: Final = Decoder("purpleair", (), purpleair, "PurpleAir sensors, local JSON")
AWAIR: Final = Decoder("awair", (), awair, "Awair sensors, local JSON")
UNIFI: Final = Decoder("unifi", (), unifi, "UniFi Protect UP-AirQuality")
