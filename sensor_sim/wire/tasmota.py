"""Tasmota: ``tele/<topic>/SENSOR`` with one object for each sensor driver of the board.

The time is the local clock without an offset, the number of decimals is each driver's own, a
value that is not available prints as ``null``, a dead PMS5003 vanishes from the object, and an
SEN5X without humidity leaves a comma before its closing brace, which is not JSON.
``tele/<topic>/LWT`` is retained; ``INFO1`` after a boot reports the firmware. All at QoS 0.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sensor_sim.wire.base import (
    Encoder,
    WireDevice,
    WireMessage,
    WireNetwork,
    WireRow,
    channels_of,
    hardware_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Values = Mapping[str, float]

_STATE_EVERY_S: Final = 10.0
_FIRMWARE: Final = "14.2.0(release-sensors)"
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


def _fixed(value: float, decimals: int) -> str:
    return "null" if math.isnan(value) else f"{value:.{decimals}f}"


def _whole(values: Values, key: str, scale: float = 1.0) -> str:
    value = values.get(key, math.nan)
    return "null" if math.isnan(value) else str(round(value * scale))


def _climate(values: Values) -> str:
    temp, rh = values.get("temp", math.nan), values.get("rh", math.nan)
    return (
        f'"Temperature":{_fixed(temp, 1)},"Humidity":{_fixed(rh, 1)},'
        f'"DewPoint":{_fixed(dew_point(temp, rh), 1)}'
    )


_PLANTOWER_BINS: Final = (
    ("0.3", "n03"),
    ("0.5", "n05"),
    ("1", "n10"),
    ("2.5", "n25"),
    ("5", "n50"),
    ("10", "n100"),
)


def _standard(mass: float) -> int:
    """Plantower's "standard" (CF=1) mass for an atmospheric one.

    Equal to 30 µg/m³, then growing apart to 3/2, the relation the counter itself applies.
    """
    return round(mass if mass <= 30 else min(1.5 * mass, mass + 0.9 * (mass - 30)))


def _pms5003(values: Values) -> str:
    if "pm25" not in values:
        return ""
    mass = [values.get(k, math.nan) for k in ("pm1", "pm25", "pm10")]
    parts = [
        f'"CF{n}":{"null" if math.isnan(m) else _standard(m)}'
        for n, m in zip(("1", "2.5", "10"), mass, strict=True)
    ]
    parts += [f'"PM{n}":{_whole(values, k)}' for n, k in (("1", "pm1"), ("2.5", "pm25"))]
    parts.append(f'"PM10":{_whole(values, "pm10")}')
    parts += [f'"PB{n}":{_whole(values, k, 100)}' for n, k in _PLANTOWER_BINS if k in values]
    return '"PMS5003":{' + ",".join(parts) + "}"


def _sps30(values: Values) -> str:
    if "pm25" not in values:
        return ""
    fields = (
        ("PM1_0", "pm1"),
        ("PM2_5", "pm25"),
        ("PM4_0", "pm4"),
        ("PM10", "pm10"),
    )
    body = [f'"{n}":{_fixed(values.get(k, math.nan), 2)}' for n, k in fields]
    if "n05" in values:
        total = _total(values)
        body += [f'"NCPM{n}":{_fixed(c, 2)}' for n, c in _below(values, total)]
        body.append(f'"TYPSIZ":{_fixed(_typical_size(values, total), 2)}')
    return '"SPS30":{' + ",".join(body) + "}"


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


def _below(values: Values, total: float) -> list[tuple[str, float]]:
    """Particles from 0.3 µm up to each limit, which is how the SPS30 counts.

    A reading holds particles above each size; what is above 4 µm, which the device extrapolates
    from the finer bins itself, is taken as a quarter of what is above 2.5 µm.
    """
    coarse = values.get("n25", math.nan)
    return [
        ("0_5", total - values.get("n05", math.nan)),
        ("1_0", total - values.get("n10", math.nan)),
        ("2_5", total - coarse),
        ("4_0", total - coarse / 4),
        ("10", total - values.get("n100", 0.0)),
    ]


def _typical_size(values: Values, total: float) -> float:
    """Number-weighted mean of the bins' middle diameters, µm."""
    over = [total, *(values.get(k, 0.0) for k in ("n05", "n10", "n25")), 0.0]
    parts = [(over[i] - over[i + 1]) * size for i, size in enumerate((0.4, 0.75, 1.75, 3.2))]
    return sum(parts) / total if total > 0 else math.nan


def _sen5x(values: Values) -> str:
    fields = (("PM1", "pm1"), ("PM2.5", "pm25"), ("PM4", "pm4"), ("PM10", "pm10"))
    body = "".join(f'"{n}":{_fixed(values.get(k, math.nan), 1)},' for n, k in fields)
    if "nox_index" in values:
        body += f'"NOx":{_whole(values, "nox_index")},'
    body += f'"VOC":{_whole(values, "voc_index")},'
    if "temp" in values and "rh" in values:
        body += _climate(values)
        body += f',"aHumidity":{_absolute_humidity(values["temp"], values["rh"]):.4f}'
    return '"SEN5X":{' + body + "}"


def _sgp30(values: Values) -> str:
    if "tvoc_ppb" not in values:
        return ""
    body = f'"eCO2":{round(400 + values["tvoc_ppb"] * 0.6)},"TVOC":{_whole(values, "tvoc_ppb")}'
    if "temp" in values and "rh" in values:
        body += f',"aHumidity":{_absolute_humidity(values["temp"], values["rh"]):.4f}'
    return '"SGP30":{' + body + "}"


def _sgp4x(values: Values) -> str:
    if "voc_index" not in values and "voc_raw" not in values:
        return ""
    parts = []
    if "voc_raw" in values:
        parts.append(f'"VOC_Raw":{_whole(values, "voc_raw")}')
    # the index algorithm reports 0 until it has enough data
    parts.append(f'"TVOC":{_whole(values, "voc_index") if "voc_index" in values else "0"}')
    if "nox_index" in values:
        parts.append(f'"NOx":{_whole(values, "nox_index")}')
    return '"SGP4X":{' + ",".join(parts) + "}"


def _bme680(values: Values) -> str:
    pressure = values.get("pressure", math.nan)
    return f'"BME680":{{{_climate(values)},"Pressure":{_fixed(pressure, 1)}}}'


def _scd40(values: Values) -> str:
    co2 = _whole(values, "co2")
    return f'"SCD40":{{"CarbonDioxide":{co2},"eCO2":{co2},{_climate(values)}}}'


def _particles(name: str, decimals: int, *fields: tuple[str, str]) -> Callable[[Values], str]:
    """Return a driver that prints particle masses only."""

    def printed(values: Values) -> str:
        body = (f'"{label}":{_fixed(values.get(k, math.nan), decimals)}' for label, k in fields)
        return f'"{name}":{{{",".join(body)}}}' if "pm25" in values else ""

    return printed


def _ens160(values: Values) -> str:
    if "tvoc_ppb" not in values:
        return ""
    ppb = values["tvoc_ppb"]
    quality = 1 + sum(ppb > limit for limit in (65, 220, 660, 2200))
    return f'"ENS160":{{"AQI":{quality},"eCO2":{round(400 + ppb * 0.6)},"TVOC":{round(ppb)}}}'


def _sht3x(values: Values) -> str:
    return f'"SHT3X":{{{_climate(values)}}}'


_PM25, _PM10 = ("PM2.5", "pm25"), ("PM10", "pm10")
_CLIMATE: Final = {"temp": 0.1, "rh": 0.1}
_COUNTS: Final = dict.fromkeys(("n03", "n05", "n10", "n25", "n50", "n100"), 0.01)
_DRIVERS: Final[dict[str, tuple[Callable[[Values], str], dict[str, float]]]] = {
    "pms5003": (_pms5003, {"pm1": 1, "pm25": 1, "pm10": 1, **_COUNTS}),
    "sps30": (
        _sps30,
        dict.fromkeys(("pm1", "pm25", "pm4", "pm10"), 0.01)
        | dict.fromkeys(("n03", "n05", "n10", "n25"), 0.02),
    ),
    "sen5x": (
        _sen5x,
        {**dict.fromkeys(("pm1", "pm25", "pm4", "pm10"), 0.1), "voc_index": 1, "nox_index": 1}
        | _CLIMATE,
    ),
    "sds0x1": (_particles("SDS0X1", 1, _PM25, _PM10), {"pm25": 0.1, "pm10": 0.1}),
    # a driver script, as the firmware has no driver
    "opcn3": (
        _particles("OPCN3", 2, ("PM1", "pm1"), _PM25, _PM10),
        {"pm1": 0.01, "pm25": 0.01, "pm10": 0.01},
    ),
    "ens160": (_ens160, {"tvoc_ppb": 1}),
    "sgp30": (_sgp30, {"tvoc_ppb": 1}),
    "sgp4x": (_sgp4x, {"voc_index": 1, "voc_raw": 1, "nox_index": 1}),
    "bme680": (_bme680, {"pressure": 0.1} | _CLIMATE),
    "scd40": (_scd40, {"co2": 1} | _CLIMATE),
    "vindriktning": (_particles("VINDRIKTNING", 0, _PM25), {"pm25": 1}),
    "sht3x": (_sht3x, _CLIMATE),
}
_FAMILY: Final[tuple[tuple[str, str], ...]] = (
    (r"(pms|pmsa|plantower).*", "pms5003"),
    (r"sps30", "sps30"),
    (r"sen5\w", "sen5x"),
    (r"sds0\w\w", "sds0x1"),
    (r"opc-?n3", "opcn3"),
    (r"ens16\w", "ens160"),
    (r"sgp30", "sgp30"),
    (r"sgp4\w", "sgp4x"),
    (r"bme68\d", "bme680"),
    (r"scd4\w", "scd40"),
    (r"vindriktning", "vindriktning"),
    (r"sht\w*", "sht3x"),
)


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
        for pattern, driver in _FAMILY:
            if re.fullmatch(pattern, part) and driver not in found:
                found.append(driver)
    if not found:
        raise ValueError(f"no Tasmota driver for model {model!r}; known: {', '.join(_DRIVERS)}")
    climate = {"temp", "rh"} <= set(channels_of(model))
    if climate and not any("temp" in _DRIVERS[d][1] for d in found):
        found.append("sht3x")
    return tuple(found)


class TasmotaEncoder(Encoder):
    """An ESP board that runs Tasmota."""

    def __init__(self, device: WireDevice, network: WireNetwork) -> None:
        super().__init__(device, network)
        self._drivers = drivers_of(device.model)
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
        objects = [text for d in self._drivers if (text := _DRIVERS[d][0](row.values))]
        if self._tampered is not None:
            objects.insert(0, f'"Switch1":"{"ON" if self._tampered else "OFF"}"')
            self._tampered = False
        if any(d in self._drivers for d in ("bme680",)):
            objects.append('"PressureUnit":"hPa"')
        if any("temp" in _DRIVERS[d][1] for d in self._drivers):
            objects.append('"TempUnit":"C"')
        messages.append(self._sensor(row.time, row.sent, objects))
        return messages

    def event(
        self, at: float, event: str, values: Mapping[str, float] | None = None
    ) -> list[WireMessage]:
        """Return LWT for coming and going, and the tamper switch on SENSOR; nothing else."""
        del values
        if event == "tamper":
            self._tampered = True
            return [self._sensor(at, at, ['"Switch1":"ON"'])]
        if event == "offline":
            return [self._lwt(b"Offline", at)]
        return super().event(at, event)

    def resolution(self) -> Mapping[str, float]:
        """Return the quantities of the board's drivers, each with the decimals it prints."""
        steps: dict[str, float] = {}
        for driver in self._drivers:
            steps |= _DRIVERS[driver][1]
        return steps

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
