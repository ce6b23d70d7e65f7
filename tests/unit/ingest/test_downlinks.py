"""Downlinks: what is published where, within which bounds, and which answer belongs to it."""

import asyncio
import base64
import contextlib
import json

import aiomqtt
import pytest

from ingest.commit import GroupCommit
from ingest.downlinks import ENDINGS, Answer, Asked, Downlink, Downlinks
from ingest.errors import BrokerError, BrokerReason
from ingest.intake import Intake
from ingest.message import Message
from ingest.mqtt.connection import BrokerSettings
from ingest.mqtt.source import MqttSource
from ingest.states import States
from tests.support.broker import Mosquitto

NOW = 1_790_000_000.0
EUI = "24e124000000a001"
GS601_60_S = base64.b64encode(bytes.fromhex("60003c00")).decode()
TOPICS = {
    "tasmota": "cmnd/b2/TelePeriod",
    "chirpstack": f"application/7/device/{EUI}/command/down",
    "tts": "v3/school@ttn/devices/b2/down/push",
    "milesight_gateway": "our/own/topic",
    "qingping": "qingping/582D34000001/down",
}


def downlink(made_for, sensor="b2"):
    return Downlink(sensor, made_for, TOPICS[made_for], (sensor,))


@pytest.mark.parametrize(
    ("made_for", "payload"),
    [
        ("chirpstack", {"confirmed": False, "fPort": 85, "data": GS601_60_S, "devEui": EUI}),
        (
            "tts",
            {"downlinks": [{"f_port": 85, "frm_payload": GS601_60_S, "priority": "NORMAL"}]},
        ),
        ("milesight_gateway", {"confirmed": False, "fPort": 85, "data": GS601_60_S}),
        ("tasmota", 60),
        ("qingping", {"type": "12", "up_itvl": "60", "duration": "21600"}),
    ],
)
def test_what_sets_a_minute(made_for, payload):
    one = downlink(made_for)
    assert json.loads(one.payload(60, 6)) == payload
    assert not ENDINGS[made_for] or one.topic.endswith(ENDINGS[made_for])


@pytest.mark.parametrize("made_for", TOPICS)
@pytest.mark.parametrize(("every_s", "hours"), [(9, 1), (3601, 1), (0, 1), (-60, 1)])
def test_an_interval_has_bounds(made_for, every_s, hours):
    with pytest.raises(ValueError, match="10 to 3600 s"):
        downlink(made_for).payload(every_s, hours)


@pytest.mark.parametrize("hours", [0, 25])
def test_real_time_reports_end(hours):
    with pytest.raises(ValueError, match="1 to 24 hours"):
        downlink("qingping").payload(15, hours)


class Device:
    """A broker that keeps what is published, and the decoders' memory."""

    def __init__(self, made_for, sensor="b2"):
        self.published, self.states, self.now, self.error = [], States(), NOW, None
        self.tries = []
        self.downlinks = Downlinks(
            [downlink(made_for, sensor)], self.publish, self.states, lambda: self.now
        )

    async def publish(self, topic, payload):
        self.tries.append(self.now)
        if self.error:
            raise self.error
        self.published.append((topic, payload))

    def says(self, every_s, after_s, name="b2"):
        self.states.name_interval(name, every_s, Message("t", b"", NOW + after_s))
        return self.downlinks.take_answers()


async def test_the_answer_is_what_the_device_names_afterwards():
    device = Device("tasmota", "B2")
    assert device.says(300, -1) == {}
    assert await device.downlinks.send("B2", 60) == ""
    assert device.published == [("cmnd/b2/TelePeriod", b"60")]
    assert device.downlinks.take_answers() == {}, "what it named before is no answer"
    assert device.says(60, 2) == {"B2": Answer(60, NOW + 2)}
    assert device.says(60, 3) == {}, "one command has one answer"


async def test_a_device_may_answer_with_another_interval():
    device = Device("chirpstack")
    await device.downlinks.send("b2", 10)
    assert device.says(600, 700) == {"b2": Answer(600, NOW + 700)}


async def test_measured_intervals_are_an_answer_only_if_they_are_near():
    device = Device("qingping")
    await device.downlinks.send("b2", 15, 6)
    assert device.says(900, 10) == {}
    assert device.says(16.5, 30) == {"b2": Answer(16.5, NOW + 30)}


async def test_what_ends_is_asked_for_again_before():
    device = Device("qingping")
    await device.downlinks.send("b2", 15, 6, renews=True)
    device.now = NOW + 6 * 3600 - 601
    assert await device.downlinks.renew() == {}
    device.now += 1
    device.error = BrokerError(BrokerReason.UNREACHABLE, "not connected")
    assert await device.downlinks.renew() == {}
    device.error = None
    assert await device.downlinks.renew() == {}, "it is tried again in a minute"
    device.now += 60
    assert await device.downlinks.renew() == {"b2": Asked(15, device.now, 6)}
    assert len(device.published) == 2
    await device.downlinks.send("b2", 15, 6)
    device.now += 86_400
    assert await device.downlinks.renew() == {}, "a person ended it"


async def test_after_a_long_outage_it_is_asked_once_a_minute():
    device = Device("qingping")
    await device.downlinks.send("b2", 15, 6, renews=True)
    device.error = BrokerError(BrokerReason.UNREACHABLE, "not connected")
    device.now += 86_400
    for _ in range(4):
        await device.downlinks.renew()
        device.now += 20
    assert device.tries[1:] == [NOW + 86_400, NOW + 86_460]


async def test_what_cannot_be_sent_waits_for_no_answer():
    device = Device("tasmota")
    device.error = BrokerError(BrokerReason.UNREACHABLE, "the broker is not connected")
    assert await device.downlinks.send("b2", 60) == "the broker is not connected"
    assert await device.downlinks.send("b2", 5) == "10 to 3600 s"
    assert device.downlinks.waiting == {}


async def test_over_the_connection_of_ingest_to_a_tasmota_and_back():
    """A device on the broker gets the command and answers; the decoder notes it."""

    async def commit(_readings, _letters):
        """Store nothing."""

    with Mosquitto() as broker:
        settings = BrokerSettings(port=broker.port)
        intake, commits = Intake(), GroupCommit(commit)
        source = MqttSource(settings, ("stat/#",), intake, commits.commit, clock=lambda: NOW + 1)
        downlinks = Downlinks(
            [downlink("tasmota")], source.publish, intake.config.context.states, lambda: NOW
        )
        assert await downlinks.send("b2", 60) == "the broker is not connected"
        tasks = [asyncio.create_task(work) for work in (commits.run(), source.run())]
        async with asyncio.timeout(60), aiomqtt.Client("127.0.0.1", broker.port) as tasmota:
            await tasmota.subscribe("cmnd/b2/+")
            await source.attempted.wait()
            assert await downlinks.send("b2", 60) == ""
            async for message in tasmota.messages:
                answer = {"TelePeriod": int(message.payload)}
                await tasmota.publish("stat/b2/RESULT", json.dumps(answer))
                break
            found = {}
            for _ in range(500):
                found = downlinks.take_answers()
                if found:
                    break
                await asyncio.sleep(0.01)
        assert found == {"b2": Answer(60, NOW + 1)}
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
