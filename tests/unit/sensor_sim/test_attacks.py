from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from detection.quantities import COLUMN_INDEX, QUANTITIES
from sensor_sim.faults.at_sensor import (
    BlownAt,
    ClockJump,
    Covered,
    RippedOff,
    Unplugged,
    apply_to_trace,
)
from sensor_sim.faults.attacks import ATTACKS
from sensor_sim.faults.on_wire import (
    GARBAGE,
    Flood,
    Garbage,
    GatewayOutage,
    Replay,
    Spoof,
    apply_to_messages,
)
from sensor_sim.wire import WireMessage
from tests.support.traces import START, make_trace

PM25 = COLUMN_INDEX["pm25"]
PM10 = COLUMN_INDEX["pm10"]
QUANTITY_KEYS = ("pm1", "pm25", "pm10", "n03", "rh", "temp", "co2")
ON_TRACE = {
    "covered": lambda: Covered("s1", START + 50, START + 150),
    "blown_at": lambda: BlownAt("s1", START + 50),
    "unplugged": lambda: Unplugged("s1", START + 50, START + 150),
    "ripped_off": lambda: RippedOff("s1", START + 50),
    "clock_jump": lambda: ClockJump("s1", START + 50, START + 150),
}


def trace_of(rows=300, every_s=1.0, **more):
    return make_trace(QUANTITY_KEYS, sensor="s1", rows=rows, every_s=every_s, **more)


def split(trace, *cuts):
    edges = [0, *cuts, len(trace.sent)]
    for a, b in itertools.pairwise(edges):
        yield replace(
            trace,
            time=trace.time[a:b],
            sent=trace.sent[a:b],
            values=trace.values[a:b],
            events=(),
        )


def messages(count=100, sensor="s1"):
    return [
        WireMessage(f"plumewatch/v1/{sensor}/reading", b"%d" % i, 1, False, START + i, sensor, i)
        for i in range(count)
    ]


@pytest.mark.parametrize("name", ON_TRACE)
@pytest.mark.parametrize("cuts", [(120,), (1, 2, 3), (48, 49, 50, 51, 52, 95, 149, 150), (299,)])
def test_any_split_of_the_stretch_gives_the_same(name, cuts):
    trace = trace_of()
    whole = ON_TRACE[name]().on_trace(trace)
    attack = ON_TRACE[name]()
    parts = [attack.on_trace(part) for part in split(trace, *cuts)]
    for what in ("time", "sent", "values"):
        joined = np.concatenate([getattr(p, what) for p in parts])
        np.testing.assert_array_equal(joined, getattr(whole, what))
    assert sum((p.events for p in parts), ()) == whole.events


@pytest.mark.parametrize("name", ON_TRACE)
def test_the_input_is_not_written_to_and_others_are_left_alone(name):
    trace = trace_of()
    for array in (trace.time, trace.sent, trace.values):
        array.flags.writeable = False
    apply_to_trace(trace, [ON_TRACE[name]()])
    other = replace(trace, sensor="s2")
    assert apply_to_trace(other, [ON_TRACE[name]()]) is other


@pytest.mark.parametrize("name", ON_TRACE)
def test_an_empty_stretch_stays_empty(name):
    empty = next(split(trace_of(), 0))
    assert len(ON_TRACE[name]().on_trace(empty).sent) == 0


@pytest.mark.parametrize("name", ON_TRACE)
def test_truth_names_what_a_perfect_detector_would_report(name):
    truth = ON_TRACE[name]().truth("room-1")
    assert truth.kind in {"tamper", "sensor_fault"}
    assert (truth.sensor, truth.room, truth.source) == ("s1", "room-1", name)
    assert truth.start == START + 50


def test_covered_variance_collapses_and_comes_back():
    trace = trace_of(600)
    got = Covered("s1", START + 100, START + 500, seed=3).on_trace(trace)
    before, inside, after = got.values[:100], got.values[300:499], got.values[501:]
    for column in (PM25, COLUMN_INDEX["rh"]):
        assert inside[:, column].std() < before[:, column].std() / 20
    np.testing.assert_array_equal(after, trace.values[501:])
    np.testing.assert_array_equal(np.isnan(got.values), np.isnan(trace.values))
    for key in QUANTITY_KEYS:
        q = QUANTITIES[key]
        values = got.values[:, COLUMN_INDEX[key]]
        assert np.all((values >= q.low) & (values <= q.high))


def test_covered_is_seeded():
    trace = trace_of()
    a, b, c = (Covered("s1", START, START + 200, seed=s).on_trace(trace).values for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c, equal_nan=True)


def test_blown_at_is_a_step_up_and_straight_down_without_decay():
    trace = trace_of()
    rise = BlownAt("s1", START + 100.125, 2.0, 250.0).on_trace(trace).values - trace.values
    hit = np.flatnonzero(rise[:, PM10] > 1)
    assert list(hit) == [101, 102]
    assert rise[hit, PM10] == pytest.approx(250)
    assert rise[hit, PM25] == pytest.approx(100)
    assert np.all(rise[103:, PM10] == 0)


def test_blown_at_is_averaged_over_a_slow_sensors_interval():
    trace = trace_of(20, every_s=60.0)
    rise = BlownAt("s1", START + 130, 3.0, 200.0).on_trace(trace).values - trace.values
    assert rise[3, PM10] == pytest.approx(10.0)
    assert np.count_nonzero(rise[:, PM10] > 0) == 1


def test_unplugged_is_silent_then_offline_then_boots():
    got = Unplugged("s1", START + 50, START + 150).on_trace(trace_of())
    assert not ((got.sent >= START + 50) & (got.sent < START + 150)).any()
    assert got.events == ((START + 95, "offline"), (START + 150, "restart"))


def test_a_short_pull_is_not_noticed_by_the_broker():
    got = Unplugged("s1", START + 50, START + 80).on_trace(trace_of())
    assert got.events == ((START + 80, "restart"),)


def test_ripped_off_tampers_then_is_gone_for_good():
    got = RippedOff("s1", START + 50).on_trace(trace_of())
    assert got.events == ((START + 50, "tamper"), (START + 103, "offline"))
    assert got.sent[-1] < START + 58
    assert len(got.sent) > 50


def test_clock_jump_moves_the_devices_time_alone():
    trace = trace_of()
    got = ClockJump("s1", START + 50, START + 150, -7200.0).on_trace(trace)
    assert set(np.round(got.time - trace.time)) == {0.0, -7200.0}
    np.testing.assert_array_equal(got.sent, trace.sent)


def test_a_gateway_outage_loses_what_falls_into_it():
    both = sorted(messages() + messages(sensor="s2"), key=lambda m: m.sent)
    got = list(GatewayOutage(("s1",), START + 10, START + 20).on_messages(both))
    assert [m.seq for m in got if m.sensor == "s1"] == [*range(10), *range(20, 100)]
    assert len([m for m in got if m.sensor == "s2"]) == 100


@pytest.mark.parametrize("flush_hz", [0.5, 5.0, 100.0])
def test_a_buffering_gateway_sends_all_in_order_at_the_end(flush_hz):
    outage = GatewayOutage((), START + 10, START + 20, flush=True, flush_hz=flush_hz)
    got = list(outage.on_messages(messages()))
    assert [m.seq for m in got] == list(range(100))
    assert [m.sent for m in got] == sorted(m.sent for m in got)
    assert not [m for m in got if START + 10 <= m.sent < START + 20]


def test_a_replay_repeats_the_bytes_later():
    got = list(Replay("s1", START + 10, START + 15, START + 50).on_messages(messages()))
    assert len(got) == 105
    assert [m.sent for m in got] == sorted(m.sent for m in got)
    again = [m.payload for m in got if m.sent >= START + 50 and m.seq < 15]
    assert again == [b"10", b"11", b"12", b"13", b"14"]


def test_a_replay_after_the_end_of_the_stream_still_comes():
    got = list(Replay("s1", START, START + 5, START + 5000).on_messages(messages()))
    assert len(got) == 105


def test_a_spoof_looks_like_the_victim_and_is_not_in_its_ledger():
    got = list(Spoof("s1", START + 10, seed=4).on_messages(messages()))
    forged = [m for m in got if not m.sensor]
    assert {m.topic for m in forged} == {"plumewatch/v1/s1/reading"}
    assert len(forged) == 60
    assert max(json.loads(m.payload)["pm25"] for m in forged) > 50


def test_a_spoof_may_claim_another_id_inside():
    got = Spoof("s1", START, duration_s=1, claims="s9").on_messages([])
    assert json.loads(next(got).payload)["sensor"] == "s9"


@pytest.mark.parametrize("wire", ["tasmota", "airgradient", "chirpstack", "zigbee2mqtt"])
def test_a_spoof_speaks_other_formats(wire):
    got = list(Spoof("s1", START, wire=wire, duration_s=5).on_messages([]))
    assert got
    assert all(not m.sensor for m in got)


def test_a_flood_has_its_rate_and_its_ids():
    got = list(Flood(START, 2.0, 500.0, sensors=50, retain=True).on_messages(messages(5)))
    flood = [m for m in got if "flood" in m.topic]
    assert len(flood) == 1000
    assert len({m.topic for m in flood}) == 50
    assert all(m.retain for m in flood)
    assert flood[-1].sent - flood[0].sent == pytest.approx(2.0, abs=0.01)


def test_garbage_contains_each_kind_and_respects_its_size():
    attack = Garbage("s1", START, duration_s=len(GARBAGE), rate_hz=1.0, big_bytes=50_000)
    got = [m.payload for m in attack.on_messages([])]
    assert len(got) == len(GARBAGE)
    assert max(len(p) for p in got) < 51_000


def test_message_attacks_are_seeded_and_compose():
    def run(seed):
        attacks = [
            Flood(START + 5, 1.0, 20.0, sensors=3, seed=seed),
            Garbage("s1", START + 6, 2.0, seed=seed, big_bytes=100),
            GatewayOutage(("s1",), START + 30, START + 40),
        ]
        return list(apply_to_messages(messages(), attacks))

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert [m.sent for m in run(1)] == sorted(m.sent for m in run(1))


def test_the_table_is_complete():
    assert set(ON_TRACE) < set(ATTACKS)
    assert math.isinf(Unplugged("s1", 0.0).end)
