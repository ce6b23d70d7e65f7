"""Test that the native decoder reads what simulated devices publish."""

from __future__ import annotations

import math

import pytest

from detection.quantities import COLUMNS, QUANTITIES
from ingest.decoders import DECODERS
from ingest.decoding import Context
from ingest.validation import Message
from sensor_sim.school import School
from sensor_sim.simulate import simulate
from sensor_sim.wire import Fleet, SimulatedDevice

START = 1_788_775_500.0


def chunks():
    return list(simulate(School.make_small(), seed=1, start=START, duration_s=900))


def published(parts):
    fleet = Fleet()
    return [message for part in parts for message in fleet.encode(part.traces)]


def decoded(message):
    received = Message(message.topic, message.payload, message.sent)
    return DECODERS["native"].decode(received, Context())


def test_every_value_comes_back_within_the_resolution_of_its_quantity():
    whole = chunks()
    messages = published(whole)
    assert [m.sent for m in messages] == sorted(m.sent for m in messages)
    for trace in whole[0].traces:
        mine = [m for m in messages if m.sensor == trace.sensor]
        assert [m.seq for m in mine] == list(range(1, len(mine) + 1))
        readings = [r for m in mine for r in decoded(m) if r.values]
        rows = [
            (at, {k: v for k, v in zip(COLUMNS, row, strict=True) if not math.isnan(v)})
            for at, row in zip(trace.time.tolist(), trace.values.tolist(), strict=True)
        ]
        rows = [(at, values) for at, values in rows if values]
        assert len(readings) == len(rows)
        for reading, (at, values) in zip(readings, rows, strict=True):
            assert reading.time == pytest.approx(at, abs=0.001)
            assert reading.values.keys() == values.keys()
            for key, value in values.items():
                step = max(QUANTITIES[key].resolution, 0.001)
                assert reading.values[key] == pytest.approx(value, abs=0.51 * step)


def test_a_device_reports_its_events():
    device = SimulatedDevice("s1")
    online = device.connect(START)
    assert (online.topic, online.payload, online.retain) == (
        "plumewatch/v1/s1/status", b"online", True,
    )  # fmt: skip
    at = (1, 3_000, 3_700, 3_701)
    readings = [decoded(device.make_reading(START + s, START + s, {"pm25": 7.1}))[0] for s in at]
    assert [r.seq for r in readings] == [2, 3, 4, 5]
    (tampered,) = decoded(device.make_reading(START, START, {}, "tamper"))
    assert tampered.events == ("tamper",)
    assert tampered.seq == 6
