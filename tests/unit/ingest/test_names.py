"""Test how names are interpreted, and names that are ambiguous."""

import math

import pytest

from ingest.names import find_quantities, find_quantity

KNOWN = {
    "pm25": [
        *("PM2.5", "pm25_ug_m3", "pm2p5", "km100.rpm25c"),
        *("Particulate Matter <2.5µm Concentration", "pm_2_5um_weight_concentration"),
        *("massConcentrationPm2p5", "dust25", "dust_2_5", "pm_fine", "fineDust", "pm25ugm3"),
    ],
    "pm10": ["PM10.0", "pm_10_0", "pm10", "particulate_matter__10_0__m_concentration"],
    "pm1": ["PM1.0", "pm_1_0", "pm1"],
    "pm4": ["boys_pm_4_0"],
    "co2": ["rco2 (ppm)", "co2ppm"],
    "voc_index": ["VOC Index", "tvoc_idx", "vocIdx"],
    "tvoc_ppb": ["tvoc_ppb", "tvocppb"],
    "rh": ["relativeHumidity", "relative humidity (%RH)", "relhum", "hum_pct", "hum_rel"],
    "temp": [
        *("bathroom_temperature", "fahrenheit_temperature", "Temperature (°C)"),
        *("ambientTemperature", "temp_c", "t_c", "air_temp", "roomTemp"),
    ],
    "rssi": ["rssi_dbm", "wifi_rssi"],
    "vape_index": ["vapingIndex", "VapeIndex"],
    "pressure": ["pressure_kPa", "baro"],
    "tvoc_ugm3": ["TVOC (mg/m³)"],
    "battery": ["batt_pct"],
}


@pytest.mark.parametrize(
    ("name", "unit", "quantity"),
    [
        *((name, None, quantity) for quantity, names in KNOWN.items() for name in names),
        ("PM 2.5 concentration", "µg/m³", "pm25"),
        ("tvoc", "ppb", "tvoc_ppb"),
        ("voc", "μg/m³", "tvoc_ugm3"),
        ("illuminance", "lx", "light"),
        ("luminosity", "lx", "light"),
        ("Workshop PM <1µm Weight concentration", "µg/m³", "pm1"),
    ],
)
def test_known(name, unit, quantity):
    assert find_quantity(name, unit).quantity == quantity


UNKNOWN = [
    *("tvoc", "voc", "eco2", "co2_est", "pm2.5_aqi", "pm2_5_cf_1", "battery_v", "TEMP_min"),
    *("min_humidity", "dew_point", "cpu_temperature", "", "_", "pm_2_5um"),
    *("pm_2_5_m_number_concentration", "absolute_humidity", "humidityAbsolute", "eCO2"),
    *("estimatedCo2", "temperatureMin", "dewpoint_temperature", "light", "pm25_alarm"),
    *("pm_coarse", "dust", "dust_density", "soil_hum_pct", "vbat", "t", "compress"),
]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *((name, None) for name in UNKNOWN),
        ("name", "unit"),
        ("tvoc", ""),
        ("temperature", "ppb"),
        ("pm25", "%"),
        ("humidity", "furlong"),
        ("gas", "kOhm"),
        ("luminosity", ""),
    ],
)
def test_unknown_ambiguous_or_misfit(name, unit):
    assert find_quantity(name, unit) is None


def test_measured():
    raw = find_quantities(
        {
            "pm25": 7,
            "PM2.5": 9,
            "temp": "21.5 °C",
            "hum": None,
            "co2": "nan",
            "battery": 3250,
            "light": "dark",
            "tvoc": 300,
        },
        {"tvoc": "ppb"},
    )
    assert raw.pop("co2") != raw.get("co2")
    assert raw == {"pm25": 7, "temp": 21.5, "rh": None, "tvoc_ppb": 300}
    assert math.isnan(find_quantities({"co2": "nan"})["co2"])


@pytest.mark.parametrize(
    ("name", "unit", "raw", "value"),
    [
        ("temperature", "°F", 68.0, 20.0),
        ("temperature", "K", 293.15, 20.0),
        ("pressure", "Pa", 100_500.0, 1005.0),
        ("pressure_hPa", None, 1000, 1000),
        ("pressure_kPa", None, 100, 1000),
        ("Temperature (°F)", None, 68, 20),
        ("fahrenheit_temperature", None, 68, 20),
        ("tvoc", "ppm", 0.5, 500.0),
        ("tvoc_mgm3", None, 0.12, 120),
        ("pm25_mg_m3", None, 0.012, 12),
    ],
)
def test_a_unit_of_the_quantity_is_converted_also_if_the_name_says_it(name, unit, raw, value):
    found = find_quantities({name: raw}, {name: unit} if unit else None)
    assert list(found.values()) == [pytest.approx(value)]
