from __future__ import annotations

import asyncio
import math

import aiomqtt
import pytest

from sensor_sim.publish import BrokerUnreachableError, Publisher, prefetch
from sensor_sim.wire import WireMessage
from tests.support.broker import Mosquitto


async def publish(messages, broker):
    publisher = Publisher(broker.host, broker.port, math.inf)
    await publisher.run(prefetch(messages))
    return publisher.published


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


@pytest.mark.parametrize("qos", [0, 1])
async def test_all_arrive_in_order(broker, qos):
    messages = list(stream(500, qos=qos))
    got, count = await collect(broker, "plumewatch/v1/+/reading", 500, publish(messages, broker))
    assert [m.payload for m in got] == [m.payload for m in messages]
    assert count == 500


@pytest.mark.parametrize(("speed", "waited"), [(1.0, 9.0), (3.0, 3.0), (0.5, 18.0)])
async def test_speed_stretches_the_time_between_messages(broker, speed, waited):
    clock = FakeTime()
    publisher = Publisher(
        broker.host, broker.port, speed, monotonic=clock.monotonic, sleep=clock.sleep
    )
    await publisher.run(prefetch(stream(10)))
    assert publisher.published == 10
    assert sum(clock.waits) == pytest.approx(waited)


async def test_a_broker_that_goes_away_is_one_sentence():
    with Mosquitto() as broker:

        def stream_and_kill():
            for k, message in enumerate(stream(1500)):
                if k == 600:
                    broker.kill9()
                yield message

        publisher = Publisher(broker.host, broker.port, math.inf)
        with pytest.raises(BrokerUnreachableError, match="is not reachable"):
            await publisher.run(prefetch(stream_and_kill(), batch=100))
    assert publisher.published < 1500


async def test_patience_waits_for_a_broker_that_comes_late():
    broker = Mosquitto()
    clock = FakeTime()

    async def sleep(seconds):
        await clock.sleep(seconds)
        if len(clock.waits) == 3:
            broker.start()

    try:
        publisher = Publisher(
            broker.host, broker.port, math.inf, monotonic=clock.monotonic, sleep=sleep
        )
        await publisher.run(prefetch(stream(5)))
    finally:
        broker.__exit__(None, None, None)
    assert publisher.published == 5
    assert len(clock.waits) >= 3
