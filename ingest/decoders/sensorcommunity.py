"""Sensor.Community and Nettigo stations (HTTP push): a list of types and values, all as text.

``P0`` is PM1, ``P1`` is PM10, ``P2`` is PM2.5 and ``P4`` is PM4, except that the firmware swaps
``P1`` and ``P2`` of the Honeywell HPM. ``N05 ... N10`` of an SPS30 count particles up to a
diameter, so differences are used. ``P1`` and ``P2`` of a Shinyei PPD42NS are pulse counts and are
ignored; ``durP1`` identifies this sensor.

If a station has several particle sensors, the best one (in the order SPS30, SEN5X, NPM, IPS, PMS,
SDS, HPM) provides the values of the station. Each of the others is a separate sensor with the name
``<station>:<PREFIX>``. For each climate value, the first of SHT, BME280 and others that has it is
used. ``age`` is the age of the measurement in seconds. Pressure is in Pa.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.errors import PayloadError, Reason
from ingest.payloads import as_dict, as_list, load_object
from ingest.validation import Message, Readings, count_all_above, make_sensor_id, parse_number

if TYPE_CHECKING:
    from ingest.decoding import Context

_PARTICLES: Final = ("SPS30", "SEN5X", "NPM", "IPS", "PMS", "SDS", "HPM", "")
_MASS: Final = {"P0": "pm1", "P1": "pm10", "P2": "pm25", "P4": "pm4"}
_UP_TO: Final = {"N05": "n05", "N1": "n10", "N25": "n25"}
_CLIMATE: Final = ("SHT3X", "SHT", "BME280", "BME680", "HTU21D", "SCD30", "", "BMP280", "BMP")
_IDENTITY: Final = ("esp8266id", "esp32id", "raspiid", "sensor", "id")
_MAX_VALUES: Final = 256


def decode(message: Message, context: Context) -> Readings:
    """Decode one push of a station."""
    content = load_object(message.payload, context.limits)
    values = _read_values(content)
    named = next((content[k] for k in _IDENTITY if k in content), None)
    station = make_sensor_id(str(named)[:128] if named is not None else message.topic)
    context.names.check_sender(station, message.topic)
    age = parse_number(content.get("age"))
    usable = age is not None and 0 <= age <= 86_400
    stamp = message.received - age if usable and age is not None else None
    found = [(p, raw) for p in _PARTICLES if (raw := _read_particles(p, values))]
    own = {**(found[0][1] if found else {}), **_read_climate(values)}
    readings = [context.validate(station, message, own, stamp)]
    for prefix, raw in found[1:]:
        child = make_sensor_id(f"{station}:{prefix or 'PM'}")
        readings.append(context.validate(child, message, raw, stamp))
    return readings


def _read_values(content: dict[str, Any]) -> dict[str, float | None]:
    items = as_list(content.get("sensordatavalues"))
    if len(items) > _MAX_VALUES:
        raise PayloadError(Reason.TOO_MANY_KEYS, f"{len(items)} values in one message")
    values: dict[str, float | None] = {}
    for item in map(as_dict, items):
        kind = item.get("value_type")
        if type(kind) is str:
            values[kind] = parse_number(item.get("value"))
    if "durP1" in values:
        values = {kind: value for kind, value in values.items() if kind not in _MASS}
    return values


def _read_particles(prefix: str, values: dict[str, float | None]) -> dict[str, object]:
    lead = f"{prefix}_" if prefix else ""
    raw: dict[str, object] = {
        q: values[lead + key] for key, q in _MASS.items() if lead + key in values
    }
    if prefix == "HPM" and "pm10" in raw and "pm25" in raw:
        raw["pm10"], raw["pm25"] = raw["pm25"], raw["pm10"]
    below = {quantity: values.get(lead + key) for key, quantity in _UP_TO.items()}
    raw.update(count_all_above(values.get(lead + "N10"), below))
    return raw


def _read_climate(values: dict[str, float | None]) -> dict[str, object]:
    raw: dict[str, object] = {}
    for prefix in _CLIMATE:
        lead = f"{prefix}_" if prefix else ""
        for key, quantity in (("temperature", "temp"), ("humidity", "rh")):
            if lead + key in values:
                raw.setdefault(quantity, values[lead + key])
        pressure = values.get(lead + "pressure")
        if type(pressure) is float:
            raw.setdefault("pressure", round(pressure / 100, 4))
    for key, quantity in (("conc_co2_ppm", "co2"), ("SCD30_co2_ppm", "co2"), ("signal", "rssi")):
        if key in values:
            raw.setdefault(quantity, values[key])
    return raw
