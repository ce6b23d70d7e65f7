"""Native, Tasmota, AirGradient, ESPHome, Zigbee2MQTT and Meraki, against hand-made messages."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest

from sensor_sim.wire import ENCODERS, WireDevice, WireNetwork, WireRow
from sensor_sim.wire.tasmota import dew_point, drivers_of
from tests.support.traces import START

ZONE = ZoneInfo("America/New_York")


def encoder(wire, model="", sensor="s1"):
    return ENCODERS[wire](WireDevice(sensor, model), WireNetwork(zone=ZONE))


def row(at=START, sent=START + 0.2, **values):
    return WireRow(at, sent, values)


def sensor_message(model, **values):
    messages = encoder("tasmota", model).reading(row(**values))
    return next(m for m in messages if m.topic.endswith("/SENSOR"))


def test_native_reading():
    native = encoder("native")
    assert [(m.topic, m.payload, m.retain) for m in native.connect(START)] == [
        ("plumewatch/v1/s1/status", b"online", True)
    ]
    (message,) = native.reading(row(START + 0.2504, pm25=7.123, n03=1.23456, tvoc_ppb=99.6))
    assert message.topic == "plumewatch/v1/s1/reading"
    assert message.payload == (
        b'{"time":"2026-09-07T10:05:00.250Z","seq":2,"pm25":7.12,"n03":1.235,"tvoc_ppb":100,'
        b'"firmware":"1.4.2"}'
    )
    later = [native.reading(row(sent=START + s, pm25=7.1)) for s in (1, 3_000, 3_700, 3_701)]
    assert [b"firmware" in m.payload for (m,) in later] == [False, False, True, False]


def test_native_sequence_goes_on_over_restarts():
    native = encoder("native")
    seqs = []
    for event in ("tamper", "restart", "fault:pm25"):
        (message,) = native.event(START, event)
        body = json.loads(message.payload)
        assert body["events"] == [event]
        seqs.append(body["seq"])
    assert seqs == [1, 2, 3]
    (gone,) = native.event(START, "offline")
    assert (gone.payload, gone.retain) == (b"offline", True)


def test_native_sends_nothing_without_a_value():
    assert encoder("native").reading(row()) == []


def test_tasmota_sps30_counts_up_to_a_size_where_readings_count_above():
    message = sensor_message(
        "sps30", pm1=3.21, pm25=3.4, pm4=3.41, pm10=3.41, n03=25.63, n05=3.83, n10=0.23, n25=0.02
    )
    assert message.payload == (
        b'{"Time":"2026-09-07T06:05:00","SPS30":{"PM1_0":3.21,"PM2_5":3.40,"PM4_0":3.41,'
        b'"PM10":3.41,"NCPM0_5":21.80,"NCPM1_0":25.40,"NCPM2_5":25.61,"NCPM4_0":25.62,'
        b'"NCPM10":25.63,"TYPSIZ":0.46}}'
    )


def test_tasmota_sps30_finds_its_total_where_a_reading_begins_at_half_a_micrometre():
    body = json.loads(sensor_message("sps30", pm1=3.0, pm25=3.2, n05=4.0, n10=1.0, n25=0.1).payload)
    sps30 = body["SPS30"]
    assert sps30["NCPM10"] - sps30["NCPM0_5"] == pytest.approx(4.0, abs=0.011)
    assert sps30["NCPM10"] == pytest.approx(4 + (3.0 - 3 * 0.2963) / 0.0553, rel=0.01)
    assert 0.4 < sps30["TYPSIZ"] < 0.5


def test_tasmota_pms5003_counts_per_decilitre_and_its_standard_mass_grows_apart():
    body = json.loads(
        sensor_message("pms5003", pm1=8.4, pm25=100.0, pm10=30.0, n03=12.3, n100=0.02).payload
    )
    assert body["PMS5003"] == {
        "CF1": 8,
        "CF2.5": 150,
        "CF10": 30,
        "PM1": 8,
        "PM2.5": 100,
        "PM10": 30,
        "PB0.3": 1230,
        "PB10": 2,
    }


def test_tasmota_a_dead_pms5003_disappears():
    assert json.loads(sensor_message("pms5003").payload) == {"Time": "2026-09-07T06:05:00"}


def test_tasmota_sen5x_without_climate_has_its_comma_too_many():
    good = sensor_message("sen55", pm1=1, pm25=2, pm4=3, pm10=4, voc_index=98, rh=44.1, temp=23.4)
    assert json.loads(good.payload)["SEN5X"]["VOC"] == 98
    bad = sensor_message("sen55", pm1=1, pm25=2, pm4=3, pm10=4, voc_index=98)
    assert b'"VOC":98,}' in bad.payload
    with pytest.raises(json.JSONDecodeError):
        json.loads(bad.payload)


def test_tasmota_missing_values_are_null():
    body = json.loads(sensor_message("bme680", rh=33.0).payload)
    assert body["BME680"] == {
        "Temperature": None,
        "Humidity": 33.0,
        "DewPoint": None,
        "Pressure": None,
    }
    assert (body["PressureUnit"], body["TempUnit"]) == ("hPa", "C")


def test_tasmota_index_is_called_tvoc_on_sgp4x_and_ppb_on_sgp30():
    one = json.loads(sensor_message("sgp41", voc_index=104, voc_raw=30802, nox_index=1).payload)
    assert one["SGP4X"] == {"VOC_Raw": 30802, "TVOC": 104, "NOx": 1}
    other = json.loads(sensor_message("sgp30", tvoc_ppb=125).payload)
    assert other["SGP30"] == {"eCO2": 475, "TVOC": 125}


def test_tasmota_time_is_local_and_floored():
    message = sensor_message("sds011", pm25=3)
    assert b'"Time":"2026-09-07T06:05:00"' in message.payload
    late = encoder("tasmota", "sds011").reading(row(START + 0.999, pm25=3))
    assert b'"Time":"2026-09-07T06:05:00"' in late[-1].payload


def test_tasmota_life():
    tasmota = encoder("tasmota", "pms5003")
    topics = [(m.topic, m.retain) for m in tasmota.connect(START)]
    assert topics == [
        ("tele/s1/LWT", True),
        ("tele/s1/INFO1", False),
        ("tele/s1/STATE", False),
    ]
    kinds = [
        [m.topic.rsplit("/", 1)[1] for m in tasmota.reading(row(sent=START + s, pm25=3))]
        for s in (1, 2, 9, 10, 11)
    ]
    assert kinds == [["SENSOR"], ["SENSOR"], ["SENSOR"], ["STATE", "SENSOR"], ["SENSOR"]]
    (tamper,) = tasmota.event(START + 12, "tamper")
    assert b'"Switch1":"ON"' in tamper.payload
    first = tasmota.reading(row(pm25=3))[-1]
    second = tasmota.reading(row(pm25=3))[-1]
    assert b'"Switch1":"ON"' in first.payload
    assert b'"Switch1":"OFF"' in second.payload
    (gone,) = tasmota.event(START, "offline")
    assert (gone.topic, gone.payload, gone.retain) == ("tele/s1/LWT", b"Offline", True)


def test_tasmota_refuses_a_model_without_a_driver():
    with pytest.raises(ValueError, match="no Tasmota driver for model 'gs601'"):
        drivers_of("gs601")


def test_dew_point():
    assert dew_point(20.0, 100.0) == pytest.approx(20.0)
    assert dew_point(24.5, 33.0) == pytest.approx(7.2, abs=0.1)
    assert dew_point(20.0, 0.0) != dew_point(20.0, 0.0)


def test_airgradient_omits_what_it_has_not_and_counts_per_decilitre():
    device = encoder("airgradient", sensor="84fce612f5b8")
    (boot,) = device.connect(START)
    assert json.loads(boot.payload).keys() == {
        "wifi",
        "serialno",
        "boot",
        "bootCount",
        "ledMode",
        "firmware",
        "model",
    }
    (message,) = device.reading(row(pm25=1.5, n03=4.42, co2=482.331, temp=18.714, voc_index=68))
    assert message.topic == "airgradient/readings/84fce612f5b8"
    body = json.loads(message.payload)
    assert "pm01" not in body
    assert "rhum" not in body
    assert not any("time" in key.lower() for key in body)
    assert (body["pm02"], body["pm003Count"], body["rco2"]) == (1.5, 442, 482.33)
    assert (body["atmp"], body["tvocIndex"], body["bootCount"]) == (18.71, 68, 1)
    assert json.loads(device.event(START, "restart")[0].payload)["bootCount"] == 0


def test_esphome_one_retained_value_a_topic():
    device = encoder("esphome", "sen55", "restroom-b2")
    connect = {m.topic: m for m in device.connect(START)}
    assert all(m.retain for m in connect.values())
    assert connect["restroom-b2/status"].payload == b"online"
    config = json.loads(connect["homeassistant/sensor/restroom-b2/pm_2_5/config"].payload)
    assert (config["unit_of_meas"], config["dev_cla"]) == ("µg/m³", "pm25")
    assert config["stat_t"] == "restroom-b2/sensor/pm_2_5/state"
    got = [(m.topic, m.payload) for m in device.reading(row(pm25=12.04, rh=41.236))]
    assert got == [
        ("restroom-b2/sensor/pm_2_5/state", b"12.0"),
        ("restroom-b2/sensor/humidity/state", b"41.24"),
    ]
    lost = {m.topic: m.payload for m in device.reading(row(pm25=3.0))}
    assert lost["restroom-b2/sensor/humidity/state"] == b"nan"
    states = [m.payload for m in device.event(START, "tamper")]
    assert states == [b"ON", b"OFF"]
    assert device.event(START, "offline")[0].payload == b"offline"


def test_zigbee2mqtt_repeats_old_attributes_and_sends_on_change_alone():
    device = encoder("zigbee2mqtt", "zigbee_e2112")
    device.reading(row(temp=21.85, rh=60.99, pm25=8.0, voc_index=137))
    second = [json.loads(m.payload) for m in device.reading(row(temp=22.0, rh=60.99, pm25=900))]
    assert [(b["temperature"], b["pm25"]) for b in second] == [(22, 8), (22, 900)]
    assert all(b["voc_index"] == 137 for b in second)
    assert device.reading(row(temp=22.0, rh=60.99, pm25=900)) == []


def test_zigbee2mqtt_bridge_publishes_devices_and_units():
    network = WireNetwork()
    for name in ("s1", "s2"):
        device = ENCODERS["zigbee2mqtt"](WireDevice(name, "zigbee_e2112"), network)
    messages = {m.topic: m for m in device.connect(START)}
    devices = json.loads(messages["zigbee2mqtt/bridge/devices"].payload)
    assert [d["friendly_name"] for d in devices] == ["s1", "s2"]
    exposes = {e["property"]: e.get("unit") for e in devices[0]["definition"]["exposes"]}
    assert exposes == {
        "temperature": "°C",
        "humidity": "%",
        "pm25": "µg/m³",
        "voc_index": None,
    }
    assert messages["zigbee2mqtt/s2/availability"].payload == b'{"state":"online"}'
    assert json.loads(device.event(START, "offline")[0].payload) == {"state": "offline"}


def test_zigbee2mqtt_restart_repeats_the_cache():
    device = encoder("zigbee2mqtt", "zigbee_e2112")
    assert device.event(START, "restart") == []
    last = device.reading(row(pm25=8.0))[-1]
    assert device.event(START, "restart")[0].payload == last.payload
