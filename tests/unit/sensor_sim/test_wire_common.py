from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensor_sim.devices.models import MODELS
from sensor_sim.wire import ENCODERS, Fleet, WireDevice, WireNetwork, WireRow
from sensor_sim.wire.base import channels_of, hardware_id, trace_rows
from tests.support.traces import MODELS as USUAL
from tests.support.traces import START, make_trace, wire_identity

LIFE = ((START + 35, "tamper"), (START + 65, "restart"), (START + 500, "offline"))


def trace_for(wire, **more):
    return make_trace(channels_of(USUAL[wire]), wire=wire, **more)


def life(wire, **more):
    return list(Fleet().encode([trace_for(wire, events=LIFE, **more)]))


@pytest.mark.parametrize("wire", ENCODERS)
def test_no_message_knows_the_room_or_the_truth(wire):
    for message in life(wire):
        assert "secret-room" not in message.topic
        assert b"secret-room" not in message.payload
        assert b"north-1-girls" not in message.payload or wire in {
            "esphome",
            "zigbee2mqtt",
            "chirpstack",
        }


@pytest.mark.parametrize("wire", ENCODERS)
def test_messages_are_numbered_and_in_order_of_time(wire):
    messages = life(wire)
    assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
    assert [m.sent for m in messages] == sorted(m.sent for m in messages)
    assert {m.sensor for m in messages} == {"north-1-girls"}


@pytest.mark.parametrize("wire", ENCODERS)
def test_the_same_trace_gives_the_same_bytes(wire):
    assert life(wire) == life(wire)


@pytest.mark.parametrize("wire", ENCODERS)
@pytest.mark.parametrize("cut", [1, 3, 4, 7, 19])
def test_any_split_into_stretches_gives_the_same_messages(wire, cut):
    whole = trace_for(wire, events=LIFE)
    edge = whole.sent[cut - 1]
    parts = [
        replace(
            whole,
            time=whole.time[part],
            sent=whole.sent[part],
            values=whole.values[part],
            events=tuple(e for e in whole.events if (e[0] <= edge) == first),
        )
        for part, first in ((slice(cut), True), (slice(cut, None), False))
    ]
    fleet = Fleet()
    assert [m for p in parts for m in fleet.encode([p])] == list(Fleet().encode([whole]))


@pytest.mark.parametrize("wire", ENCODERS)
def test_an_empty_stretch_has_no_messages(wire):
    trace = trace_for(wire, rows=0)
    assert list(Fleet().encode([trace])) == []


@pytest.mark.parametrize("wire", ENCODERS)
def test_a_row_without_any_value_is_no_error(wire):
    encoder = ENCODERS[wire](WireDevice("s1", USUAL[wire]), WireNetwork())
    for message in encoder.reading(WireRow(START, START, {})):
        assert message.topic


@pytest.mark.parametrize(("model", "wire"), [(m, w) for m, s in MODELS.items() for w in s.wires])
def test_every_model_speaks_every_wire_of_its(model, wire):
    trace = make_trace(MODELS[model].channels, wire=wire, model=model)
    messages = list(Fleet().encode([trace]))
    assert len(messages) >= len(trace.sent)


def test_only_the_formats_that_have_a_retained_topic_retain():
    retained = {wire for wire in ENCODERS if any(m.retain for m in life(wire))}
    assert retained == {"native", "tasmota", "esphome", "zigbee2mqtt"}


def test_quality_of_service_is_that_of_the_real_device():
    served = {wire: {m.qos for m in life(wire)} for wire in ENCODERS}
    assert served.pop("native") == {1}
    assert served.pop("zigbee2mqtt") == {0, 1}
    assert all(qos == {0} for qos in served.values())


def test_devices_are_merged_in_order_of_sending():
    traces = [
        trace_for("native", sensor="a", every_s=7.0),
        trace_for("tasmota", sensor="b", every_s=10.0),
    ]
    messages = list(Fleet().encode(traces))
    assert [m.sent for m in messages] == sorted(m.sent for m in messages)
    assert {m.sensor for m in messages} == {"a", "b"}


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="unknown wire format 'carrier pigeon'; known: native"):
        list(Fleet().encode([replace(trace_for("native"), wire="carrier pigeon")]))


def test_rows_leave_out_what_is_not_finite():
    trace = make_trace(["pm25", "rh"], rows=3)
    values = trace.values.copy()
    values[1, :] = np.nan
    values[2, :] = np.inf
    rows = list(trace_rows(replace(trace, values=values)))
    assert [len(r.values) for r in rows] == [2, 0, 0]


@pytest.mark.parametrize(("wire", "digits"), [("airgradient", 12)])
def test_identity_of_hardware_is_a_hardware_id(wire, digits):
    name = wire_identity(wire, "north-1-girls")
    assert len(name) == digits
    assert int(name, 16) >= 0
    assert wire_identity(wire, name) == name
    assert any(name in m.topic for m in life(wire))


def test_identity_of_named_devices_is_the_sensor_id():
    for wire in ("native", "tasmota", "esphome", "zigbee2mqtt"):
        assert wire_identity(wire, "north-1-girls") == "north-1-girls"


def test_hardware_ids_differ():
    assert len({hardware_id(f"s{i}", 12) for i in range(1000)}) == 1000
