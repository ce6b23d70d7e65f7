from __future__ import annotations

import asyncio
import math
import threading

import aiomqtt
import numpy as np
import pytest

from sensor_sim.errors import BrokerAddressError, BrokerRefusedError, BrokerUnreachableError
from sensor_sim.publish import (
    BrokerAddress,
    Ledger,
    Prefetched,
    Publisher,
    PublishSettings,
    live_offset,
    shift_trace,
)
from sensor_sim.wire import WireMessage
from tests.support.broker import Mosquitto, free_port
from tests.support.traces import START, make_trace

FAST = PublishSettings(speed=math.inf)


async def publish(messages, address, settings=None, *, ledger=None):
    return await Publisher(address, settings, ledger=ledger).run(Prefetched(messages))


def stream(count, *, qos=1, sensor="s1", every_s=1.0, topic="plumewatch/v1/s1/reading"):
    for i in range(count):
        yield WireMessage(topic, b'{"seq":%d}' % (i + 1), qos, False, i * every_s, sensor, i + 1)


class FakeTime:
    def __init__(self):
        self.now = 100.0
        self.waits = []

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def broker():
    with Mosquitto("max_queued_messages 0") as running:
        yield running


def address(broker, **more):
    return BrokerAddress(broker.host, broker.port, **more)


async def collect(broker, topic, count, work, **more):
    async with aiomqtt.Client(broker.host, broker.port, **more) as client:
        await client.subscribe(topic, qos=1)
        task = asyncio.create_task(work)
        got = []
        async with asyncio.timeout(60):
            async for message in client.messages:
                got.append(message)
                if len(got) == count:
                    break
        return got, await task


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.csv") as ledger:
        yield ledger


def entries(folder):
    return (folder / "ledger.csv").read_text().splitlines()


async def test_all_arrive_in_order_and_are_in_the_ledger(broker, ledger, tmp_path):
    got, report = await collect(
        broker,
        "plumewatch/v1/+/reading",
        500,
        publish(stream(500), address(broker), FAST, ledger=ledger),
    )
    assert [m.payload for m in got] == [m.payload for m in stream(500)]
    assert (report.messages, report.acknowledged, report.repeated) == (500, 500, 0)
    assert report.simulated_s == 499
    assert entries(tmp_path) == [f"s1,{i + 1}" for i in range(500)]


async def test_qos_0_arrives_and_is_not_in_the_ledger(broker, ledger, tmp_path):
    got, report = await collect(
        broker,
        "tele/#",
        200,
        publish(stream(200, qos=0, topic="tele/s1/SENSOR"), address(broker), FAST, ledger=ledger),
    )
    assert len(got) == 200
    assert (report.messages, report.acknowledged) == (200, 0)
    assert entries(tmp_path) == []


async def test_what_an_attacker_sends_is_in_no_ledger(broker, ledger, tmp_path):
    report = await publish(stream(3, sensor=""), address(broker), FAST, ledger=ledger)
    assert report.acknowledged == 3
    assert entries(tmp_path) == []


async def test_a_retained_message_stays(broker):
    message = WireMessage("plumewatch/v1/s9/status", b"online", 1, retain=True)
    await publish([message], address(broker), FAST)
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe("plumewatch/v1/s9/status")
        async with asyncio.timeout(60):
            got = await anext(client.messages)
    assert got.retain
    assert got.payload == b"online"


@pytest.mark.parametrize(("speed", "waited"), [(1.0, 9.0), (3.0, 3.0), (0.5, 18.0)])
async def test_speed_stretches_the_time_between_messages(broker, speed, waited):
    clock = FakeTime()
    publisher = Publisher(
        address(broker),
        PublishSettings(speed=speed),
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
    report = await publisher.run(Prefetched(stream(10)))
    assert report.messages == 10
    assert sum(clock.waits) == pytest.approx(waited)
    assert report.wall_s == pytest.approx(waited)


async def test_the_window_bounds_what_is_read_ahead(broker):
    taken = 0

    async def counted():
        nonlocal taken
        for message in stream(100):
            taken += 1
            yield message

    ahead = []
    publisher = Publisher(
        address(broker),
        PublishSettings(speed=math.inf, window=4),
        on_progress=lambda report, _: ahead.append(taken - report.messages),
    )
    await publisher.run(counted())
    assert max(ahead) <= 5


@pytest.mark.parametrize("batch", [1, 7, 1000])
async def test_prefetched_gives_all_in_order_over_cancelled_requests(batch):
    entered, go = threading.Event(), threading.Event()

    def slow():
        entered.set()
        go.wait(60)
        yield from stream(20)

    source = Prefetched(slow(), batch)
    request = asyncio.ensure_future(anext(source))
    await asyncio.to_thread(entered.wait, 10)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    go.set()
    assert [m.seq async for m in source] == list(range(1, 21))


async def test_prefetched_passes_on_what_the_simulation_raises():
    def broken():
        yield from stream(1)
        raise ValueError("broken physics")

    source = Prefetched(broken(), 1)
    assert (await anext(source)).seq == 1
    with pytest.raises(ValueError, match="broken physics"):
        await anext(source)


async def test_nothing_acknowledged_is_lost_over_kills_of_the_broker(ledger, tmp_path):
    with Mosquitto() as broker:
        killed = []

        def kill_now_and_then(report, _):
            if report.messages in (200, 900) and report.messages not in killed:
                killed.append(report.messages)
                broker.kill9()
                broker.start()

        publisher = Publisher(
            address(broker),
            PublishSettings(speed=math.inf, patience_s=20),
            ledger=ledger,
            on_progress=kill_now_and_then,
        )
        report = await publisher.run(Prefetched(stream(1500)))
    assert killed == [200, 900]
    assert report.reconnects >= 2
    assert sorted(entries(tmp_path)) == sorted(f"s1,{i + 1}" for i in range(1500))


async def test_no_broker_is_one_sentence():
    nowhere = BrokerAddress("127.0.0.1", free_port())
    with pytest.raises(BrokerUnreachableError, match=r"^the broker at 127\.0\.0\.1:\d+ is not"):
        await publish(stream(1), nowhere, FAST)


async def test_an_unknown_host_is_one_sentence():
    with pytest.raises(BrokerUnreachableError, match=r"broker at no-such-host\.invalid:1883 is"):
        await publish(stream(1), BrokerAddress("no-such-host.invalid"), FAST)


async def test_patience_waits_for_a_broker_that_comes_late():
    broker = Mosquitto()
    clock = FakeTime()

    async def sleep(seconds):
        await clock.sleep(seconds)
        if len(clock.waits) == 3:
            broker.start()

    try:
        publisher = Publisher(
            BrokerAddress(broker.host, broker.port),
            PublishSettings(speed=math.inf, patience_s=60),
            monotonic=clock.monotonic,
            sleep=sleep,
        )
        report = await publisher.run(Prefetched(stream(5)))
    finally:
        broker.__exit__(None, None, None)
    assert report.acknowledged == 5
    assert len(clock.waits) >= 3


async def test_patience_ends():
    clock = FakeTime()
    publisher = Publisher(
        BrokerAddress("127.0.0.1", free_port()),
        PublishSettings(speed=math.inf, patience_s=5),
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
    with pytest.raises(BrokerUnreachableError):
        await publisher.run(Prefetched(stream(1)))
    assert 5 <= sum(clock.waits) < 7


async def test_a_wrong_password_is_one_sentence_that_does_not_hold_it():
    with Mosquitto(users={"sim": "right"}) as broker:
        with pytest.raises(BrokerRefusedError) as caught:
            await publish(stream(1), address(broker, username="sim", password="wr0ng"), FAST)
        assert "\n" not in str(caught.value)
        assert "wr0ng" not in str(caught.value)
        report = await publish(stream(3), address(broker, username="sim", password="right"), FAST)
    assert report.acknowledged == 3


def test_the_ledger_survives_on_disk(tmp_path):
    path = tmp_path / "ledger.csv"
    with Ledger(path) as ledger:
        for message in stream(3):
            ledger.acknowledged(message)
        assert path.read_text() == "s1,1\ns1,2\ns1,3\n"


@pytest.mark.parametrize(
    "text", ["", "http://x", "mqtt://", "mqtt://host:0", "host:99999", "host:x", "mqtt://h/path"]
)
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(BrokerAddressError, match="expected"):
        BrokerAddress.parse(text)


def test_a_refused_address_does_not_show_its_password():
    with pytest.raises(BrokerAddressError) as caught:
        BrokerAddress.parse("mqtt://sim:secret@host:99999")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(BrokerAddress.parse("mqtt://sim:secret@host"))


def test_addresses():
    assert BrokerAddress.parse("[::1]:1884") == BrokerAddress("::1", 1884)
    assert BrokerAddress.parse("mqtts://a:b%40c@h") == BrokerAddress("h", 8883, "a", "b@c", True)


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0, 60.0, math.inf])
def test_live_times_are_never_in_the_future(speed):
    start, duration, now = 1_000.0, 3_600.0, 50_000.0
    offset = live_offset(start, duration, speed, now)
    into = np.linspace(0, duration, 100)
    leaves = now + into / speed
    assert np.all(start + into + offset <= leaves + 1e-6)
    if speed >= 1:
        assert start + duration + offset == pytest.approx(leaves[-1])


def test_shift_moves_all_times_and_nothing_else():
    trace = make_trace(["pm25"], events=((START + 5, "tamper"),))
    moved = shift_trace(trace, 100.0)
    assert np.array_equal(moved.time, trace.time + 100)
    assert np.array_equal(moved.sent, trace.sent + 100)
    assert moved.events == ((START + 105, "tamper"),)
    assert moved.values is trace.values
