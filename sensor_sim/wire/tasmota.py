"""Tasmota: ``tele/<topic>/SENSOR`` with one object for each sensor driver of the board.

The time is the local clock without an offset, the number of decimals is each driver's own, a
value that is not available prints as ``null``, a dead PMS5003 vanishes from the object, and an
SEN5X without humidity leaves a comma before its closing brace, which is not JSON.
``tele/<topic>/LWT`` is retained; ``INFO1`` after a boot reports the firmware. All at QoS 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from detection.quantities import COLUMNS
from sensor_sim.wire.base import (
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    channels_of,
    hardware_id,
)

Values = Mapping[str, float]

_STATE_EVERY_S: Final = 10.0
_FIRMWARE: Final = "14.2.0(release-sensors)"
_CF: Final = ("pm1", "pm25", "pm10")
_PARTICLE_UG: Final = 1.65 * math.pi / 6
"""Mass concentration, µg/m³, of one particle of 1 µm in a cubic centimetre."""


def dew_point(temp: float, rh: float) -> float:
    """Dew point in °C by the Magnus formula (Sonntag 1990 constants); NaN for dry or no input.

    >>> round(dew_point(24.5, 33.0), 1)
    7.2
    """
    if not rh > 0:
        return math.nan
    gamma = math.log(rh / 100) + 17.62 * temp / (243.12 + temp)
    return 243.12 * gamma / (17.62 - gamma)


def _absolute_humidity(temp: float, rh: float) -> float:
    """g/m³ of water vapour, from the Magnus vapour pressure and the gas law."""
    return 216.7 * rh / 100 * 6.112 * math.exp(17.62 * temp / (243.12 + temp)) / (273.15 + temp)


def _standard(mass: float) -> float:
    """Plantower's "standard" (CF=1) mass for an atmospheric one.

    Equal to 30 µg/m³, then growing apart to 3/2, the relation the counter itself applies.
    """
    return mass if mass <= 30 else min(1.5 * mass, mass + 0.9 * (mass - 30))


def _total(values: Values) -> float:
    """Particles above 0.3 µm; where a reading has none, what must carry the rest of its PM1.

    The device makes its masses of its counts, so between 0.3 and 0.5 µm there are as many
    particles of 0.4 µm as PM1 leaves after those of 0.5 to 1 µm (0.7 µm), at 1.65 g/cm³.
    """
    if "n03" in values:
        return values["n03"]
    larger = values["n05"]
    mass = (larger - values.get("n10", 0.0)) * _PARTICLE_UG * 0.7**3
    return larger + max(0.0, values.get("pm1", 0.0) - mass) / (_PARTICLE_UG * 0.4**3)


def _counts(values: Values) -> Values:
    """Particles from 0.3 µm up to each limit, which is how the SPS30 counts, and their mean size.

    A reading holds particles above each size; what is above 4 µm, which the device extrapolates
    from the finer bins itself, is taken as a quarter of what is above 2.5 µm. The size is the
    number-weighted mean of the bins' middle diameters, µm.
    """
    total, coarse = _total(values), values.get("n25", math.nan)
    over = [total, *(values.get(k, 0.0) for k in ("n05", "n10", "n25")), 0.0]
    parts = [(over[i] - over[i + 1]) * size for i, size in enumerate((0.4, 0.75, 1.75, 3.2))]
    return {
        "up_to_05": total - values["n05"],
        "up_to_10": total - values.get("n10", math.nan),
        "up_to_25": total - coarse,
        "up_to_40": total - coarse / 4,
        "up_to_100": total - values.get("n100", 0.0),
        "typical_size": sum(parts) / total if total > 0 else math.nan,
    }


def figures(values: Values) -> Values:
    """Return the values of a reading, and what drivers compute of them."""
    found = {"voc_index_or_0": 0.0}  # the index algorithm reports 0 until it has enough data
    found |= {f"cf{key[2:]}": _standard(values[key]) for key in _CF if key in values}
    if "tvoc_ppb" in values:
        ppb = values["tvoc_ppb"]
        found["eco2"] = 400 + ppb * 0.6
        found["aqi"] = 1 + sum(ppb > limit for limit in (65, 220, 660, 2200))
    if "temp" in values and "rh" in values:
        found["dew_point"] = dew_point(values["temp"], values["rh"])
        found["absolute_humidity"] = _absolute_humidity(values["temp"], values["rh"])
    if "voc_index" in values:
        found["voc_index_or_0"] = values["voc_index"]
    return {**values, **found, **(_counts(values) if "n05" in values else {})}


class _Field(NamedTuple):
    """A key of a driver's object: it prints `of`, a quantity or a figure of `figures`.

    It is left out without the quantities that it `needs`; where the value alone is not known, null
    is printed. `scale`: wire units in one unit.
    """

    key: str
    of: str
    decimals: int
    scale: float = 1.0
    needs: tuple[str, ...] = ()

    def printed(self, known: Values) -> str:
        value = known.get(self.of, math.nan) * self.scale
        text = "null" if math.isnan(value) else f"{value:.{self.decimals}f}"
        return f'"{self.key}":{text}'


class _Driver(NamedTuple):
    """A driver of the parts whose names match `model`; without `any_of` there is no object."""

    object: str
    model: str
    fields: tuple[_Field, ...]
    any_of: tuple[str, ...] = ()
    steps: Mapping[str, float] = MappingProxyType({})
    """Of quantities that are printed through a figure."""
    comma_without: tuple[str, ...] = ()
    """The firmware leaves a comma behind if one of these is not known."""

    def printed(self, known: Values) -> str:
        if self.any_of and not any(key in known for key in self.any_of):
            return ""
        body = ",".join(f.printed(known) for f in self.fields if all(k in known for k in f.needs))
        comma = "" if all(key in known for key in self.comma_without) else ","
        return f'"{self.object}":{{{body}{comma}}}'

    def resolution(self) -> dict[str, float]:
        own = {f.of: 10.0**-f.decimals / f.scale for f in self.fields if f.of in COLUMNS}
        return {**own, **self.steps}


_DRIVERS: Final = {
    "pms5003": _Driver(
        "PMS5003",
        "(pms|pmsa|plantower).*",
        (
            _Field("CF1", "cf1", 0),
            _Field("CF2.5", "cf25", 0),
            _Field("CF10", "cf10", 0),
            _Field("PM1", "pm1", 0),
            _Field("PM2.5", "pm25", 0),
            _Field("PM10", "pm10", 0),
            _Field("PB0.3", "n03", 0, 100, ("n03",)),
            _Field("PB0.5", "n05", 0, 100, ("n05",)),
            _Field("PB1", "n10", 0, 100, ("n10",)),
            _Field("PB2.5", "n25", 0, 100, ("n25",)),
            _Field("PB5", "n50", 0, 100, ("n50",)),
            _Field("PB10", "n100", 0, 100, ("n100",)),
        ),
        any_of=("pm25",),
    ),
    "sps30": _Driver(
        "SPS30",
        "sps30",
        (
            _Field("PM1_0", "pm1", 2),
            _Field("PM2_5", "pm25", 2),
            _Field("PM4_0", "pm4", 2),
            _Field("PM10", "pm10", 2),
            _Field("NCPM0_5", "up_to_05", 2, 1, ("n05",)),
            _Field("NCPM1_0", "up_to_10", 2, 1, ("n05",)),
            _Field("NCPM2_5", "up_to_25", 2, 1, ("n05",)),
            _Field("NCPM4_0", "up_to_40", 2, 1, ("n05",)),
            _Field("NCPM10", "up_to_100", 2, 1, ("n05",)),
            _Field("TYPSIZ", "typical_size", 2, 1, ("n05",)),
        ),
        any_of=("pm25",),
        steps={"n03": 0.02, "n05": 0.02, "n10": 0.02, "n25": 0.02},
    ),
    "sen5x": _Driver(
        "SEN5X",
        r"sen5\w",
        (
            _Field("PM1", "pm1", 1),
            _Field("PM2.5", "pm25", 1),
            _Field("PM4", "pm4", 1),
            _Field("PM10", "pm10", 1),
            _Field("NOx", "nox_index", 0, 1, ("nox_index",)),
            _Field("VOC", "voc_index", 0),
            _Field("Temperature", "temp", 1, 1, ("temp", "rh")),
            _Field("Humidity", "rh", 1, 1, ("temp", "rh")),
            _Field("DewPoint", "dew_point", 1, 1, ("temp", "rh")),
            _Field("aHumidity", "absolute_humidity", 4, 1, ("temp", "rh")),
        ),
        comma_without=("temp", "rh"),
    ),
    "sds0x1": _Driver(
        "SDS0X1",
        r"sds0\w\w",
        (_Field("PM2.5", "pm25", 1), _Field("PM10", "pm10", 1)),
        any_of=("pm25",),
    ),
    "opcn3": _Driver(
        "OPCN3",
        "opc-?n3",
        (_Field("PM1", "pm1", 2), _Field("PM2.5", "pm25", 2), _Field("PM10", "pm10", 2)),
        any_of=("pm25",),
    ),
    "ens160": _Driver(
        "ENS160",
        r"ens16\w",
        (_Field("AQI", "aqi", 0), _Field("eCO2", "eco2", 0), _Field("TVOC", "tvoc_ppb", 0)),
        any_of=("tvoc_ppb",),
    ),
    "sgp30": _Driver(
        "SGP30",
        "sgp30",
        (
            _Field("eCO2", "eco2", 0),
            _Field("TVOC", "tvoc_ppb", 0),
            _Field("aHumidity", "absolute_humidity", 4, 1, ("temp", "rh")),
        ),
        any_of=("tvoc_ppb",),
    ),
    "sgp4x": _Driver(
        "SGP4X",
        r"sgp4\w",
        (
            _Field("VOC_Raw", "voc_raw", 0, 1, ("voc_raw",)),
            _Field("TVOC", "voc_index_or_0", 0),
            _Field("NOx", "nox_index", 0, 1, ("nox_index",)),
        ),
        any_of=("voc_index", "voc_raw"),
        steps={"voc_index": 1},
    ),
    "bme680": _Driver(
        "BME680",
        r"bme68\d",
        (
            _Field("Temperature", "temp", 1),
            _Field("Humidity", "rh", 1),
            _Field("DewPoint", "dew_point", 1),
            _Field("Pressure", "pressure", 1),
        ),
    ),
    "sht3x": _Driver(
        "SHT3X",
        r"sht\w*",
        (
            _Field("Temperature", "temp", 1),
            _Field("Humidity", "rh", 1),
            _Field("DewPoint", "dew_point", 1),
        ),
    ),
}
"""What the objects of drivers print, in this order; that of an OPC-N3 is a script."""


def drivers_of(model: str) -> tuple[str, ...]:
    """Drivers of a board, from its model: parts joined by ``+``, each part a sensor.

    A board that measures temperature and humidity with no part named for it has an SHT3X.

    Raises `ValueError` if no part is a sensor that Tasmota has a driver for here.

    >>> drivers_of("pms5003+bme680")
    ('pms5003', 'bme680')
    >>> drivers_of("sps30+sgp40")
    ('sps30', 'sgp4x', 'sht3x')
    """
    found: list[str] = []
    for part in re.split(r"[+/, ]+", model.lower()):
        for name, driver in _DRIVERS.items():
            if re.fullmatch(driver.model, part) and name not in found:
                found.append(name)
    if not found:
        raise ValueError(f"no Tasmota driver for model {model!r}; known: {', '.join(_DRIVERS)}")
    climate = {"temp", "rh"} <= set(channels_of(model))
    if climate and not any("temp" in _DRIVERS[name].resolution() for name in found):
        found.append("sht3x")
    return tuple(found)


class TasmotaEncoder(Encoder):
    """An ESP board that runs Tasmota."""

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._drivers = [_DRIVERS[name] for name in drivers_of(device.model)]
        self._steps = {k: s for driver in self._drivers for k, s in driver.resolution().items()}
        self._booted = math.nan
        self._state_sent = -math.inf
        self._connects = 0
        self._rssi = -60
        self._tampered: bool | None = None

    def connect(self, at: float) -> list[WireMessage]:
        """Return the retained ``Online``, INFO1 and the first STATE."""
        self._booted = at
        self._connects += 1
        return [self._lwt(b"Online", at), self._info(at), self._state(at, at)]

    def reading(self, row: WireRow) -> list[WireMessage]:
        """Return STATE (when it is due) and SENSOR."""
        self._rssi = round(row.values.get("rssi", self._rssi))
        messages = []
        if row.sent - self._state_sent >= _STATE_EVERY_S:
            messages.append(self._state(row.time, row.sent))
        known = figures(row.values)
        objects = [text for driver in self._drivers if (text := driver.printed(known))]
        if self._tampered is not None:
            objects.insert(0, f'"Switch1":"{"ON" if self._tampered else "OFF"}"')
            self._tampered = False
        objects += ['"PressureUnit":"hPa"'] if "pressure" in self._steps else []
        objects += ['"TempUnit":"C"'] if "temp" in self._steps else []
        messages.append(self._sensor(row.time, row.sent, objects))
        return messages

    def tamper(self, at: float) -> list[WireMessage]:
        """Return the switch on SENSOR."""
        self._tampered = True
        return [self._sensor(at, at, ['"Switch1":"ON"'])]

    def offline(self, at: float) -> list[WireMessage]:
        """Return the will."""
        return [self._lwt(b"Offline", at)]

    def resolution(self) -> Mapping[str, float]:
        """Return the quantities of the board's drivers, each with the decimals it prints."""
        return self._steps

    def _clock(self, time: float) -> str:
        local = datetime.fromtimestamp(math.floor(time), UTC).astimezone(self.network.zone)
        return local.strftime("%Y-%m-%dT%H:%M:%S")

    def _sensor(self, time: float, sent: float, objects: list[str]) -> WireMessage:
        text = ",".join([f'{{"Time":"{self._clock(time)}"', *objects]) + "}"
        return self._message(f"tele/{self.device.sensor}/SENSOR", text.encode(), sent)

    def _lwt(self, payload: bytes, sent: float) -> WireMessage:
        return self._message(f"tele/{self.device.sensor}/LWT", payload, sent, retain=True)

    def _info(self, sent: float) -> WireMessage:
        board = hardware_id(self.device.sensor, 6).upper()
        text = (
            f'{{"Info1":{{"Module":"Generic","Version":"{_FIRMWARE}",'
            f'"FallbackTopic":"cmnd/DVES_{board}_fb/","GroupTopic":"cmnd/tasmotas/"}}}}'
        )
        return self._message(f"tele/{self.device.sensor}/INFO1", text.encode(), sent)

    def _state(self, time: float, sent: float) -> WireMessage:
        self._state_sent = sent
        up = max(0, round(sent - self._booted)) if not math.isnan(self._booted) else 0
        days, rest = divmod(up, 86_400)
        uptime = f"{days}T{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
        quality = max(0, min(100, 2 * (self._rssi + 100)))
        text = (
            f'{{"Time":"{self._clock(time)}","Uptime":"{uptime}","UptimeSec":{up},'
            f'"Heap":25,"SleepMode":"Dynamic","Sleep":50,"LoadAvg":19,'
            f'"MqttCount":{self._connects},"Wifi":{{"AP":1,"Channel":6,"Mode":"11n",'
            f'"RSSI":{quality},"Signal":{self._rssi},"LinkCount":1}}}}'
        )
        return self._message(f"tele/{self.device.sensor}/STATE", text.encode(), sent)
