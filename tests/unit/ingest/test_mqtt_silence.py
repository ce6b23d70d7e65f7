"""Test with a real broker that canaries return, and that dead subscriptions are repaired."""

import asyncio
import contextlib
import logging
import time

import aiomqtt
import pytest

from ingest.mqtt import intake_loop, source
from ingest.mqtt.intake_loop import Arrivals, CanarySettings, SourceState
from tests.support.broker import Mosquitto
from tests.support.mqtt_source import TOPIC, RunningSource, publish
from tests.support.waiting import until

SETTINGS = CanarySettings(every_s=0.05, silent_after_s=3_600.0)


class Clock:
    """The source's monotonic clock, which a test advances instead of waiting."""

    def __init__(self):
        self.ahead, self.looks = 0.0, 0

    def monotonic(self):
        self.looks += 1
        return time.monotonic() + self.ahead

    async def pass_by(self, seconds):
        """Advance the time, and let the source check it a few times."""
        self.ahead += seconds
        before = self.looks
        await until(lambda: self.looks > before + 20)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    for module in (source, intake_loop):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def broker():
    with Mosquitto("sys_interval 1\nmax_inflight_messages 20") as started:
        yield started


def running_on(broker, topics=(TOPIC,)):
    return RunningSource(broker, topics, canary=SETTINGS)


async def test_canaries_make_the_round_and_are_no_readings(broker):
    async with running_on(broker, ["#"]) as running:
        await until(lambda: running.canary.returned >= 3)
        assert running.canary.round_trip_s > 0
        assert running.canary.is_fresh(time.monotonic())
        assert (running.state.received, running.state.acknowledged) == (0, 0)
        assert not running.intake.counters
        await asyncio.to_thread(publish, broker.port, range(100))
        await until(lambda: running.state.acknowledged == 100)
    assert running.kept == list(range(100))
    assert not running.state.refused_topics


def forgetful(monkeypatch, times):
    """Make the first subscriptions have no effect, as if the broker had lost them."""
    subscribe = aiomqtt.Client.subscribe
    calls = []

    async def lost(self, topic, *arguments, **options):
        if not any(name.startswith("$SYS") for name, _ in topic):
            calls.append(topic)
            if len(calls) <= times:
                return (1,) * len(topic)
        return await subscribe(self, topic, *arguments, **options)

    monkeypatch.setattr(aiomqtt.Client, "subscribe", lost)


async def test_a_lost_subscription_is_made_anew(broker, clock, monkeypatch, caplog):
    forgetful(monkeypatch, 1)
    async with running_on(broker) as running:
        with caplog.at_level(logging.INFO):
            await until(lambda: running.canary.sent >= 2)
            await clock.pass_by(SETTINGS.silent_after_s + 1.0)
            await until(lambda: running.canary.returned >= 2)
        assert running.state.connections == 2
        await asyncio.to_thread(publish, broker.port, [1])
        await until(lambda: running.kept == [1])
    lines = [r.message for r in caplog.records]
    assert sum("nothing is arriving" in line for line in lines) == 1
    assert sum("messages are arriving again" in line for line in lines) == 1


async def test_a_slow_disk_is_no_silence(broker, clock):
    """The broker's window is full while the disk is slow, so silence must not cause a repair."""
    async with running_on(broker) as running:
        await until(lambda: running.canary.returned >= 1)
        running.held.clear()
        await asyncio.to_thread(publish, broker.port, range(100))
        await until(lambda: running.state.received >= 10)
        await clock.pass_by(4 * SETTINGS.silent_after_s)
        assert running.kept == []
        running.held.set()
        await until(lambda: running.kept == list(range(100)))
        assert running.state.connections == 1


async def test_the_broker_reports_how_much_it_stores(broker):
    async with running_on(broker) as running:
        await until(lambda: running.state.broker_stored is not None)
        assert running.state.broker_dropped == 0


async def test_without_the_right_to_publish_canaries(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write plumewatch/v1/#\n")
    acl.chmod(0o644)
    with Mosquitto(f"acl_file {acl}") as broker:
        async with running_on(broker) as running:
            await until(lambda: running.canary.sent > 2)
            await asyncio.to_thread(publish, broker.port, [1])
            await until(lambda: running.kept == [1])
            assert running.canary.returned == 0
            assert not running.canary.is_fresh(time.monotonic())


def dropped(state, *payloads, topic="$SYS/broker/publish/messages/dropped"):
    arrivals = Arrivals(lambda: 7.0, state)
    for payload in payloads:
        arrivals.on_publish(topic.encode(), payload, 0, 0)
    return state.broker_dropped


def test_what_the_broker_drops_is_counted_from_the_first_word_on(caplog):
    state = SourceState()
    assert dropped(state, b"500", b"500") == 0  # before our time
    assert dropped(state, b"510", b"517") == 17
    assert dropped(state, b"3") == 20  # the count started over
    assert [r.message for r in caplog.records] == ["the broker dropped 10 more messages"]
    assert state.received == 0


@pytest.mark.parametrize("payload", [b"", b"-1", b"x", b"1" * 30, b"1.5", b"\xb2"])
def test_nonsense_about_the_broker(payload):
    assert dropped(SourceState(), b"1", payload) == 0


async def test_a_canary_that_misses_its_cancellation_ends_with_its_connection(broker, monkeypatch):
    """Python 3.11's `asyncio.wait_for` loses a cancellation if it coincides with the PUBACK."""
    send = aiomqtt.Client.publish

    async def deaf(self, *arguments, **options):
        await send(self, *arguments, **options)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)

    monkeypatch.setattr(aiomqtt.Client, "publish", deaf)
    async with running_on(broker) as running:
        for connection in range(1, 4):
            await until(lambda n=connection: running.state.connections == n)
            await until(lambda n=connection: running.canary.returned >= n)
            async with aiomqtt.Client("127.0.0.1", broker.port, identifier="under-test"):
                pass  # takes over the session, which ends the connection
        await until(lambda: running.state.connections == 4)
        canaries = [task for task in asyncio.all_tasks() if "_send_canaries" in repr(task)]
        assert len(canaries) == 1
