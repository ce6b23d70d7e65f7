"""Test how names are interpreted, and names that are ambiguous."""

import math

import pytest

from ingest.names import find_quantities, find_quantity


@pytest.mark.parametrize(
    ("name", "unit", "quantity"),
    [
        ("PM2.5", None, "pm25"),
        ("PM10.0", None, "pm10"),
        ("PM1.0", None, "pm1"),
        ("pm_1_0", None, "pm1"),
        ("pm_10_0", None, "pm10"),
        ("pm1", None, "pm1"),
        ("pm10", None, "pm10"),
        ("pm25_ug_m3", None, "pm25"),
        ("pm2p5", None, "pm25"),
        ("boys_pm_4_0", None, "pm4"),
        ("PM 2.5 concentration", "µg/m³", "pm25"),
        ("km100.rpm25c", None, "pm25"),
        ("rco2 (ppm)", None, "co2"),
        ("VOC Index", None, "voc_index"),
        ("tvoc", "ppb", "tvoc_ppb"),
        ("tvoc_ppb", None, "tvoc_ppb"),
        ("voc", "μg/m³", "tvoc_ugm3"),
        ("relativeHumidity", None, "rh"),
        ("bathroom_temperature", None, "temp"),
        ("rssi_dbm", None, "rssi"),
        ("illuminance", "lx", "light"),
        ("luminosity", "lx", "light"),
        ("Particulate Matter <2.5µm Concentration", None, "pm25"),
        ("Workshop PM <1µm Weight concentration", "µg/m³", "pm1"),
        ("particulate_matter__10_0__m_concentration", None, "pm10"),
        ("pm_2_5um_weight_concentration", None, "pm25"),
        ("fahrenheit_temperature", None, "temp"),
        ("vapingIndex", None, "vape_index"),
        ("Temperature (°C)", None, "temp"),
        ("relative humidity (%RH)", None, "rh"),
        ("pressure_kPa", None, "pressure"),
        ("TVOC (mg/m³)", None, "tvoc_ugm3"),
        ("ambientTemperature", None, "temp"),
        ("massConcentrationPm2p5", None, "pm25"),
        ("VapeIndex", None, "vape_index"),
        ("dust25", None, "pm25"),
        ("dust_2_5", None, "pm25"),
        ("pm_fine", None, "pm25"),
        ("fineDust", None, "pm25"),
        ("pm25ugm3", None, "pm25"),
        ("relhum", None, "rh"),
        ("hum_pct", None, "rh"),
        ("hum_rel", None, "rh"),
        ("temp_c", None, "temp"),
        ("t_c", None, "temp"),
        ("air_temp", None, "temp"),
        ("roomTemp", None, "temp"),
        ("tvoc_idx", None, "voc_index"),
        ("vocIdx", None, "voc_index"),
        ("tvocppb", None, "tvoc_ppb"),
        ("co2ppm", None, "co2"),
        ("baro", None, "pressure"),
        ("batt_pct", None, "battery"),
        ("wifi_rssi", None, "rssi"),
    ],
)
def test_known(name, unit, quantity):
    assert find_quantity(name, unit).quantity == quantity


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("tvoc", None),
        ("voc", None),
        ("tvoc", ""),
        ("eco2", None),
        ("co2_est", None),
        ("pm2.5_aqi", None),
        ("pm2_5_cf_1", None),
        ("battery_v", None),
        ("TEMP_min", None),
        ("min_humidity", None),
        ("dew_point", None),
        ("cpu_temperature", None),
        ("temperature", "ppb"),
        ("pm25", "%"),
        ("humidity", "furlong"),
        ("", None),
        ("_", None),
        ("gas", "kOhm"),
        ("pm_2_5um", None),
        ("pm_2_5_m_number_concentration", None),
        ("absolute_humidity", None),
        ("humidityAbsolute", None),
        ("eCO2", None),
        ("estimatedCo2", None),
        ("temperatureMin", None),
        ("dewpoint_temperature", None),
        ("light", None),
        ("luminosity", ""),
        ("pm25_alarm", None),
        ("pm_coarse", None),
        ("dust", None),
        ("dust_density", None),
        ("soil_hum_pct", None),
        ("vbat", None),
        ("t", None),
        ("compress", None),
    ],
)
def test_unknown_ambiguous_or_misfit(name, unit):
    assert find_quantity(name, unit) is None


@pytest.mark.parametrize(
    ("name", "unit", "raw", "value"),
    [
        ("temperature", "°F", 68.0, 20.0),
        ("temperature", "K", 293.15, 20.0),
        ("pressure", "Pa", 100_500.0, 1005.0),
        ("pressure", "kPa", 100.5, 1005.0),
        ("pm25", "mg/m³", 0.5, 500.0),
        ("tvoc", "ppm", 0.5, 500.0),
    ],
)
def test_units_of_one_quantity_are_converted(name, unit, raw, value):
    assert find_quantity(name, unit).convert(raw) == pytest.approx(value)


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
    ("name", "raw", "value"),
    [
        ("pressure_hPa", 1000, 1000),
        ("pressure_kPa", 100, 1000),
        ("pressure (Pa)", 100_000, 1000),
        ("Temperature (°F)", 68, 20),
        ("fahrenheit_temperature", 68, 20),
        ("tvoc_mgm3", 0.12, 120),
        ("pm25_mg_m3", 0.012, 12),
    ],
)
def test_the_unit_in_a_name_counts(name, raw, value):
    assert list(find_quantities({name: raw}).values()) == [pytest.approx(value)]
