"""Test that Kafka records give the same history as one intake, no matter how they are split."""

import json
import pickle
from functools import partial

import polars as pl
import pytest

from ingest.decoders import DECODERS
from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig
from ingest.validation import Message
from scale.history import SCHEMA, build_frame, place_reading
from scale.messages import RECORDS, MessageSource, Record, log_rejected
from storage.registry import Registry, Room, Sensor
from tests.contract.test_decoders import load, payload_of

AT = 1_789_387_200.0
SHARDS = 4
PLACES = ("North", "South", "Gym", "Annex", "Pool")


def config(names, aliases=None):
    """Return the configuration of an intake with sensors in different buildings."""
    rooms = [Room(f"r-{n}", n, "1", PLACES[k % 5], "Lincoln High") for k, n in enumerate(names)]
    registry = Registry.build(rooms, [Sensor(name, f"r-{name}") for name in names])
    return IntakeConfig(Context(registry=registry), aliases or {}, dedupe_window=64)


def source_of(names, aliases=None, shards=SHARDS):
    source = MessageSource("school", partial(config, names, aliases), shards)
    return pickle.loads(pickle.dumps(source))  # noqa: S301 - as workers get it


def table(records):
    return pl.DataFrame(records, schema=RECORDS, orient="row")


def decoded(source, records, cut, later_s=None):
    """Return all shards' readings, processed `cut` records at a time, and the rejected records.

    With `later_s`, each shard gets one more record at that time, without a topic, to close open
    windows.
    """
    memory, found, rejected = {}, [], []
    for at in range(0, len(records), cut):
        for shard, part in source.router.divide(table(records[at : at + cut])):
            decoder = source.make_decoder(shard, memory.get(shard, b""))
            found.append(decoder.decode(part))
            memory[shard] = decoder.snapshot()
            rejected += decoder.rejected.values()
    for shard, body in memory.items() if later_s else ():
        last = Record(None, None, records[-1].received + later_s, 0, 0)
        found.append(source.make_decoder(shard, body).decode(table([last])))
    return ordered(pl.concat([pl.DataFrame(schema=SCHEMA), *found])), rejected


def by_one_intake(names, records):
    """Return the service's readings from messages, with a clock that follows them."""
    used = Intake(config(names))
    found = []
    for r in records:
        if r.key and r.value is not None:
            found += used.on_time(r.received)
            found += used.on_message(Message(r.key.decode(), r.value, r.received)).readings
    rows = [r for r in found if not any(e.startswith("integrity:") for e in r.events)]
    frame = build_frame([place_reading(reading, used.config.context.registry) for reading in rows])
    return ordered(frame.with_columns(position=pl.lit(0, pl.Int64())).select(SCHEMA.names()))


def ordered(frame):
    return frame.with_columns(position=pl.lit(0, pl.Int64())).sort("sensor", maintain_order=True)


def golden(name):
    """Return a decoder's golden messages as records, one case every three seconds."""
    records = []
    for k, case in enumerate(load(name, ("cases",))):
        for one in (*case.get("before", ()), case):
            at = AT + 3.0 * k + len(records) % 16 / 20
            records.append(Record(one["topic"].encode(), payload_of(one), at, 0, len(records)))
    return sorted(records, key=lambda record: record.received)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("cut", [1, 5])
def test_a_format_is_read_alike_however_it_is_cut_and_divided(name, cut):
    records = golden(name)
    sensors = sorted({*by_one_intake((), records)["sensor"]})
    names = sensors[::2]
    found, _ = decoded(source_of(names), records, cut, later_s=60.0)
    last = Record(b"nobody", b"{}", records[-1].received + 60.0, 0, 0)
    assert found.equals(by_one_intake(names, [*records, last]))


def values(name, count, period=2.0):
    """Return `count` reports of a device that sends each value on a separate topic."""
    return [
        Record(f"{name}/sensor/{key}/state".encode(), f"{4.5 + k}".encode(), AT + k * period, 0, 0)
        for k in range(count)
        for key in ("pm1", "pm25", "pm10")
    ]


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_values_of_one_topic_each_are_joined_across_triggers(cut):
    found, _ = decoded(source_of(["b2"]), values("b2", 5), cut)
    assert found["pm1"].to_list() == found["pm10"].to_list() == [4.5, 5.5, 6.5, 7.5]
    assert found["time"].to_list() == [AT, AT + 2, AT + 4, AT + 6]


def test_a_birth_in_one_trigger_names_the_data_of_the_next():
    birth, data = (
        bytes.fromhex(next(c for c in load("sparkplug") if c["case"] == name)["hex"])
        for name in ("birth", "data by alias")
    )
    records = [
        Record(b"spBv1.0/school/DBIRTH/edge/b2", birth, 1_790_000_000.0, 0, 0),
        Record(b"spBv1.0/school/DDATA/edge/b2", data, 1_790_000_002.0, 0, 1),
    ]
    found, _ = decoded(source_of(["school:edge:b2"]), records, 1)
    assert found["pm25"].to_list() == [8.5, 9.5]


def native(name, k, offset, **fields):
    body = json.dumps(fields or {"time": AT + k, "pm25": 4.0 + k}).encode()
    return Record(f"plumewatch/v1/{name}/reading".encode(), body, AT + k + 0.5, 0, offset)


def test_a_repeated_report_of_a_device_counts_once_across_triggers():
    tamper = [native("b2", 1, k, time=AT + 1, pm25=4.0, events=["tamper"]) for k in range(3)]
    found, _ = decoded(source_of(["b2"]), tamper, 1)
    assert found["events"].to_list() == ["tamper"]


def test_messages_become_rows_with_their_place():
    source = source_of(["b2", "b3"], {"old": "b3"}, shards=1)
    records = [native("b2", 0, 7), native("x", 1, 8), native("b2", 0, 9), native("old", 2, 11)]
    ((_, part),) = source.router.divide(table(records))
    frame = source.make_decoder(0).decode(part)
    assert frame.schema == SCHEMA
    assert frame["position"].to_list() == [7, 8, 11]
    assert frame["time"].to_list() == [AT, AT + 1, AT + 2]
    assert frame["received"].to_list() == [AT + 0.5, AT + 1.5, AT + 2.5]
    assert frame["evaluated"].to_list() == [True, False, True]
    assert frame["sensor"].to_list() == ["b2", "x", "b3"]
    assert frame["room"].to_list() == ["r-b2", "", "r-b3"]


def test_a_record_goes_to_the_shards_that_need_it():
    router = source_of([f"s{k}" for k in range(9)]).router

    def shards(topic, payload=b"{}"):
        records = table([Record(topic.encode(), payload, AT, 0, 0)])
        return sorted(shard for shard, _ in router.divide(records))

    assert shards("plumewatch/v1/s1/reading", b'{"pm25": 1}') == [router.find_home("s1")]
    assert shards("plumewatch/v1/s1/reading", b"{") == [router.find_home("s1")]
    assert len(shards("another/machine")) == 1
    assert shards("zigbee2mqtt/bridge/devices", b"[]") == [*range(SHARDS)]
    assert shards("zigbee2mqtt/bridge/state", b"offline") == [*range(SHARDS)]


POISON = {
    "topic is not UTF-8": (b"plumewatch/v1/\xff\xfe/reading", b'{"pm25": 4}'),
    "no topic": (None, b'{"pm25": 4}'),
    "no payload": (b"plumewatch/v1/x/reading", None),
    "malformed": (b"plumewatch/v1/x/reading", b"{"),
}


def test_no_record_ends_a_stream_and_what_cannot_be_read_is_logged(caplog):
    poison = [Record(*pair, AT, 3, k) for k, pair in enumerate(POISON.values())]
    found, rejected = decoded(source_of(["b2"]), [*poison, native("b2", 1, 9)], 100)
    assert found["sensor"].to_list() == ["b2"]
    log_rejected("school", [*rejected, *rejected])
    assert sorted(line.message for line in caplog.records) == sorted(
        f"rejected: 2 {reason}, first school-3 at {k}" for k, reason in enumerate(POISON)
    )
