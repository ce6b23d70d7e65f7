"""Test that MQTT input acknowledges durable messages in order, is bounded, and never raises."""

import asyncio
import contextlib
import itertools
import time

import aiomqtt
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.errors import BrokerError, BrokerReason
from ingest.intake import Intake, OutcomeKind
from ingest.integrity import MAX_PER_S, PER_S
from ingest.mqtt import connection, intake_loop
from ingest.mqtt.connection import BrokerSettings
from ingest.mqtt.examine import examine
from ingest.mqtt.intake_loop import CANARY_TOPICS, Arrivals, Canary, CanarySettings, SourceState
from ingest.mqtt.link import AT_LEAST_ONCE, DUP, RETAIN
from ingest.mqtt.source import Subscriptions
from storage.reading import ClockSteps
from tests.support.broker import Mosquitto, free_port
from tests.support.mqtt_source import TOPIC, RunningSource, send
from tests.support.service import Publisher
from tests.support.waiting import until


class TestArrivals:
    @pytest.fixture
    def arrivals(self):
        return Arrivals(lambda: 7.0, SourceState())

    async def test_in_order_with_the_flags_of_the_broker(self, arrivals):
        arrivals.on_publish(TOPIC.encode(), b"{}", DUP | AT_LEAST_ONCE, 3)
        arrivals.on_publish(TOPIC.encode(), b"{}", RETAIN | AT_LEAST_ONCE, 4)
        group = await arrivals.take_group()
        assert [m.packet for m in group] == [3, 4]
        assert [(m.duplicate, m.retained) for m in group] == [(True, False), (False, True)]
        assert {m.received for m in group} == {7.0}

    async def test_groups_are_bounded(self, arrivals):
        for k in range(intake_loop.MAX_GROUP + 10):
            arrivals.on_publish(TOPIC.encode(), b"{}", AT_LEAST_ONCE, k + 1)
        assert len(await arrivals.take_group()) == intake_loop.MAX_GROUP
        assert len(await arrivals.take_group()) == 10

    async def test_qos_0_is_bounded_and_counted(self, monkeypatch):
        monkeypatch.setattr(intake_loop, "MAX_UNACKNOWLEDGED_QOS0", 3)
        state = SourceState()
        arrivals = Arrivals(lambda: 7.0, state)
        for _ in range(5):
            arrivals.on_publish(TOPIC.encode(), b"{}", 0, 0)
        arrivals.on_publish(TOPIC.encode(), b"{}", AT_LEAST_ONCE, 1)
        assert (state.received, state.dropped_qos0) == (6, 2)
        group = await arrivals.take_group()
        assert [m.packet for m in group] == [0, 0, 0, 1]
        arrivals.mark_decided(group)
        arrivals.on_publish(TOPIC.encode(), b"{}", 0, 0)
        assert state.dropped_qos0 == 2
        arrivals.abandon()
        assert state.dropped_qos0 == 3, "what is not decided when the connection ends is counted"

    @pytest.mark.attack
    @pytest.mark.parametrize("qos", [0, AT_LEAST_ONCE])
    async def test_a_flood_takes_no_room_from_others_and_is_not_read(self, qos, monkeypatch):
        """The flood is not decoded, and causes no loss of other senders' QoS 0 messages."""
        monkeypatch.setattr(intake_loop, "MAX_UNACKNOWLEDGED_QOS0", 5_000)
        canary = Canary(CanarySettings(), "x")
        state, times = SourceState(), itertools.count(10.0, 1 / 10_000)
        arrivals = Arrivals(lambda: next(times), state, canary)
        arrivals.on_publish(
            CANARY_TOPICS.encode() + b"x", canary.take_due_payload(0.0), AT_LEAST_ONCE, 1
        )
        for k in range(15_000):
            arrivals.on_publish(TOPIC.encode(), b'{"pm25": 4.0,}', qos, 1 + k % 500)
            if k % 500 == 0:
                arrivals.on_publish(b"tele/other/SENSOR", b"{}", qos, 1 + k % 500)
        waiting = [await arrivals.take_group() for _ in range(-(-len(arrivals) // 500))]
        found = [message for group in waiting for message in group]
        assert sum(message.topic == "tele/other/SENSOR" for message in found) == 30
        flood = [message for message in found if message.topic == TOPIC]
        assert sum(not message.left_out for message in flood) <= 2 * (MAX_PER_S + PER_S)
        assert len(flood) + state.dropped_qos0 == 15_000
        outcomes = {Intake().on_message(message).kind for message in flood if message.left_out}
        assert outcomes == {OutcomeKind.FLOODED}, "at QoS 0 one a second, which is reported"

    async def test_waits_for_the_first(self, arrivals):
        waiting = asyncio.create_task(arrivals.take_group())
        await asyncio.sleep(0)
        assert not waiting.done()
        arrivals.on_publish(TOPIC.encode(), b"{}", AT_LEAST_ONCE, 1)
        assert len(await waiting) == 1

    async def test_a_clock_that_is_set_is_noticed_with_the_message_behind_it(self):
        times = iter([100.0, 100.0002, 3700.0003, 3700.0004, 100.0005])
        monotonic = iter([40.0, 40.0002, 40.0003, 40.0004, 40.0005])
        steps = ClockSteps(monotonic.__next__)
        arrivals = Arrivals(times.__next__, SourceState(), step_of=steps.make_reader())
        for _ in range(5):
            arrivals.on_publish(TOPIC.encode(), b"{}", AT_LEAST_ONCE, 1)
        steps = [round(m.clock_step) for m in await arrivals.take_group()]
        assert steps == [0, 0, 3600, 0, -3600]

    async def test_a_step_is_carried_by_the_first_message_that_is_decided(self, monkeypatch):
        monkeypatch.setattr(intake_loop, "MAX_UNACKNOWLEDGED_QOS0", 0)
        steps = iter([-3600.0, 0.0, 0.0, 0.0])
        times = iter([100.0, 101.0, 102.0, 103.0])
        arrivals = Arrivals(times.__next__, SourceState(), step_of=lambda _: next(steps))
        arrivals.on_publish(b"plumewatch/canary/x", b"1", AT_LEAST_ONCE, 1)
        arrivals.on_publish(TOPIC.encode(), b"{}", 0, 0)  # dropped, because it exceeds the limit
        arrivals.on_publish(TOPIC.encode(), b"{}", AT_LEAST_ONCE, 2)
        arrivals.on_publish(TOPIC.encode(), b"{}", AT_LEAST_ONCE, 3)
        assert [m.clock_step for m in await arrivals.take_group()] == [0.0, -3600.0, 0.0]


@pytest.fixture
def broker():
    with Mosquitto("max_inflight_messages 20") as started:
        yield started


async def test_nothing_is_acknowledged_while_the_disk_refuses(broker):
    async with RunningSource(broker) as running:
        with Publisher(broker.port) as publisher:
            running.full = True
            send(publisher, range(100))
            await until(lambda: running.refused > 2 and running.state.received == 20)
            assert running.state.acknowledged == 0
            assert running.state.received == 20  # the broker's window is full
            assert "disk is full" in running.commits.failing
            running.full = False
            await until(lambda: running.state.acknowledged == 100)
        assert running.kept == list(range(100))
        assert running.commits.failing == ""


async def test_topics_that_are_not_wanted_any_more_are_given_up(broker, tmp_path):
    """Without an UNSUBSCRIBE, the session would keep them forever."""
    other = "plumewatch/v1/b3/reading"
    held = tmp_path / "held"
    async with RunningSource(broker, [TOPIC, other], subscriptions=held):
        pass
    with Publisher(broker.port) as publisher:
        send(publisher, [1], other)  # queued, because the session was still subscribed
        publisher.settle()
        async with RunningSource(broker, subscriptions=held) as again:
            send(publisher, [2], other)
            send(publisher, [3])
            await until(lambda: 3 in again.kept)
    assert again.kept == [1, 3]
    settings = BrokerSettings(port=broker.port, client_id="under-test")
    assert Subscriptions(held, settings).get_filters() == (TOPIC,)


async def test_joined_values_are_acknowledged_once_their_reading_is_kept(broker):
    now = [time.time()]
    async with RunningSource(broker, ["#"], clock=lambda: now[0]) as running:
        with Publisher(broker.port) as publisher:
            send(publisher, [1])
            await until(lambda: running.state.acknowledged == 1)
            now[0] += 0.1
            publisher.send("room7/sensor/pm_2_5/state", b"7.5")
            publisher.send("room7/sensor/humidity/state", b"41.0")
            now[0] += 0.1
            send(publisher, [2])
            await until(lambda: len(running.readings) == 2 and running.state.received == 4)
            assert running.state.acknowledged == 1
            now[0] += 2.0
            await until(lambda: running.state.acknowledged == 4)
    assert running.readings[-1].values == {"pm25": 7.5, "rh": 41.0}


async def test_more_filters_than_fit_into_one_request_are_subscribed(tmp_path):
    topics = tuple(f"plumewatch/v1/{'x' * 60}-{k:03d}/reading" for k in range(900))
    held = tmp_path / "held"
    with Mosquitto("max_packet_size 65536") as broker, Publisher(broker.port) as publisher:
        async with RunningSource(broker, topics, subscriptions=held) as running:
            for k in (0, 450, 899):
                send(publisher, [k], topics[k])
            await until(lambda: running.kept == [0, 450, 899])
        async with RunningSource(broker, subscriptions=held):
            settings = BrokerSettings(port=broker.port, client_id="under-test")
            assert Subscriptions(held, settings).get_filters() == (TOPIC,)


async def test_probe(broker):
    await examine(BrokerSettings(port=broker.port), trial=False)
    port = free_port()
    with pytest.raises(BrokerError, match=f"127.0.0.1:{port} is not reachable: [A-Z]") as refused:
        await examine(BrokerSettings(port=port), trial=False)
    assert refused.value.reason is BrokerReason.UNREACHABLE


class Mute:
    """A server that accepts connections but is not a broker."""

    def __init__(self):
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.received = self.answer = b""

    async def __call__(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1000):
                self.received += piece
                writer.write(self.answer)
                self.begun.set()
        writer.close()
        self.ended.set()


@pytest.fixture
async def mute():
    found = Mute()
    async with await asyncio.start_server(found, "127.0.0.1", 0) as server, asyncio.timeout(60):
        found.port = server.sockets[0].getsockname()[1]
        yield found


async def test_a_broker_that_never_answers_is_reported_and_disconnected(mute, monkeypatch):
    monkeypatch.setattr(connection, "_TIMEOUT_S", 0.1)
    with pytest.raises(BrokerError, match="is not reachable: no answer within 0 s"):
        await examine(BrokerSettings(port=mute.port), trial=False)
    await mute.ended.wait()
    assert mute.received.startswith(b"\x10")
    assert mute.received.endswith(b"\xe0\x00")  # DISCONNECT, in case it was only frozen


async def test_another_server_is_reported(mute):
    mute.answer = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(BrokerError, match=f"127.0.0.1:{mute.port}"):
        await examine(BrokerSettings(port=mute.port), trial=False)
    await mute.ended.wait()


async def test_given_up_while_it_connects_nothing_goes_on(mute, caplog):
    attempt = asyncio.create_task(examine(BrokerSettings(port=mute.port), trial=False))
    await mute.begun.wait()
    attempt.cancel()
    await asyncio.wait((attempt,))
    await mute.ended.wait()
    await asyncio.sleep(0)
    assert attempt.cancelled()
    assert mute.received.endswith(b"\xe0\x00")
    assert [r.message for r in caplog.records if r.name == "asyncio"] == []


async def test_a_lost_session_becomes_an_incident_with_its_start(broker, tmp_path, caplog):
    held = tmp_path / "subscriptions.json"
    async with RunningSource(broker, subscriptions=held) as running:
        assert running.state.sessions_lost == 0  # there is no session before the first connection
        async with aiomqtt.Client("127.0.0.1", broker.port, identifier="under-test"):
            pass  # takes over the session and deletes it
        await until(lambda: running.state.connections == 2)
        assert running.state.sessions_lost == 1
        await until(lambda: running.found == ["session_lost"])
    assert "UTC: was it restarted without persistence" in caplog.text
    async with RunningSource(broker, subscriptions=held) as running:  # the session exists
        assert running.state.sessions_lost == 0
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="under-test"):
        pass  # while the service is down
    async with RunningSource(broker, subscriptions=held) as running:
        await until(lambda: running.found == ["session_lost"])


async def test_a_session_that_two_clients_fight_for_becomes_an_incident(broker):
    async with RunningSource(broker) as running:
        other = Client(CallbackAPIVersion.VERSION2, client_id="under-test", clean_session=False)
        other.connect("127.0.0.1", broker.port)
        other.loop_start()  # acknowledges messages and reconnects, like our service
        async with asyncio.timeout(60):
            while "session_contended" not in running.found:
                await asyncio.sleep(0.1)
                if running.state.connected:
                    with Publisher(broker.port) as publisher:
                        send(publisher, [running.state.connections])
        other.disconnect()
        other.loop_stop()
